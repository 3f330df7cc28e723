"""What an explanation is: attributions, what they cost, and how far they can be trusted.

It can be stored as JSON and draws itself; making one is the business of `methods`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from astrid._version import __version__
from astrid.files.atomic import atomic_path
from astrid.files.record import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Attribution", "Explanation", "Response", "Unit"]

Unit = Literal["logit", "probability", "value"]
"""What is explained; see `Explanation`."""

FORMAT = 1
_DIGITS = 7  # significant ones of an attribution in JSON: those of single precision


@dataclass(frozen=True, eq=False)
class Response:
    """How the score follows each feature or channel when that alone is multiplied.

    Parameters
    ----------
    names : tuple of str
        Of the p features or channels.
    factors : (k,) float64 ndarray
    scores : (p, k) float64 ndarray
    """

    names: tuple[str, ...]
    factors: NDArray[np.float64]
    scores: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Attribution:
    """What a method finds about one item, before anything is known about its worth.

    Parameters
    ----------
    values : dict of str to float64 ndarray
        For each input that the method speaks about; an axis of length 1 was taken as a whole.
    base_value : float, optional
        What the values add up from; None where a method does not promise that they add up.
    replaced_by : str
        What stood where a part of the item was hidden; empty where nothing was.
    notes : tuple of str
        What a reader must know.
    response : Response, optional
    """

    values: dict[str, NDArray[np.float64]]
    base_value: float | None = None
    replaced_by: str = ""
    notes: tuple[str, ...] = ()
    response: Response | None = None


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a model says what it says about one item.

    Parameters
    ----------
    method : str
    head, target : str
        Which answer is explained: the label (or number, or pixel) of the head.
    of : {"logit", "probability", "value"}
        ``probability`` is the calibrated one. ``logit`` is what the network gives before any
        calibration, less the mean over the classes where there are several (only differences of
        those have a meaning). ``value`` is the number itself, of regressions and heat maps. Of an
        ensemble, each is the mean over the members.
    inputs : dict of str to float32 ndarray
        The item.
    positions : dict of str to int
        How many leading axes of each input are positions in an image or along a series.
    features : dict of str to tuple of str
        Names along the last axis of each input.
    values : dict of str to float64 ndarray
        Attributions, in units of `of`; positive where the input speaks for the target. An axis of
        length 1 was taken as a whole; an input that is absent is one that the method is silent about.
    prediction : float
        Of the item, in units of `of`.
    probability : float or None
        Calibrated, of the target; None for regressions and heat maps.
    base_value : float or None
        What the values add up from: the score with everything hidden. None for methods which do
        not promise that they add up: occlusion, channels, Grad-CAM, LIME and perturbation.
    completeness_error : float or None
        Sum of all values + `base_value` - `prediction`, in units of `of`; 0 for a perfect one.
    sanity : float or None
        Mean rank correlation (Spearman) of the sizes of the values with those found in the same
        way for networks whose weights were drawn at random. Near 0 is good; near 1 the explanation
        hardly depends on what the network has learned. None, with the reason in `notes`, where it
        cannot be found.
    n_evals : int
        Items that went through the model, without those for `sanity`.
    seconds : float
        Of the explanation alone.
    seed : int
    replaced_by : str
        What stood where a part of the item was hidden; empty where nothing was.
    notes : tuple of str
        What a reader must know.
    response : Response, optional
        The curves of the method ``perturbation``.
    bundle, hash : str
        Name and identity of the model.

    References
    ----------
    Adebayo et al. 2018, arXiv:1810.03292, section 3.1 (randomised weights).
    """

    method: str
    head: str
    target: str
    of: Unit
    inputs: dict[str, NDArray[np.float32]]
    positions: dict[str, int]
    features: dict[str, tuple[str, ...]]
    values: dict[str, NDArray[np.float64]]
    prediction: float
    probability: float | None
    base_value: float | None
    completeness_error: float | None
    sanity: float | None
    n_evals: int
    seconds: float
    seed: int
    replaced_by: str
    notes: tuple[str, ...]
    response: Response | None
    bundle: str
    hash: str

    def to_json(self) -> dict[str, Any]:
        """Everything but the item itself, in JSON's own types.

        Returns
        -------
        facts : dict
            Attributions have the seven digits of single precision.
        """
        facts: dict[str, Any] = {
            "format": FORMAT,
            "software": f"AstrID {__version__}",
            "bundle": self.bundle,
            "hash": self.hash,
            "method": self.method,
            "head": self.head,
            "target": self.target,
            "of": self.of,
            "prediction": self.prediction,
            "probability": self.probability,
            "base_value": self.base_value,
            "completeness_error": self.completeness_error,
            "sanity": self.sanity,
            "n_evals": self.n_evals,
            "seconds": round(self.seconds, 4),
            "seed": self.seed,
            "replaced_by": self.replaced_by,
            "notes": self.notes,
            "shapes": {name: one.shape for name, one in self.inputs.items()},
            "features": self.features,
            "values": _shortened(self.values),
        }
        if self.response is not None:
            facts["response"] = {
                "names": self.response.names,
                "factors": self.response.factors,
                "scores": self.response.scores,
            }
        return dict(plain(facts))

    def save(self, path: str | PathLike[str]) -> None:
        """Write `to_json` into a file, whole or not at all.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        text = json.dumps(self.to_json(), allow_nan=False, ensure_ascii=False)
        with atomic_path(path) as temporary:
            temporary.write_text(text + "\n", "utf-8")

    def plot(self) -> Figure:
        """Draw the explanation beside the item.

        Returns
        -------
        figure : `~matplotlib.figure.Figure`
            Not tied to any window; call ``savefig``.
        """
        from astrid.learn.explanation.drawing import draw

        return draw(self)


def _shortened(values: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    def short(value: Any) -> Any:
        return [short(one) for one in value] if isinstance(value, list) else float(f"{value:.{_DIGITS}g}")

    return {name: short(one.tolist()) for name, one in values.items()}
