"""Whether a bundle still is what its card says: its files, its graphs, and its weights against its graphs.

Hashes are checked whenever a bundle is read; this runs it as well.
"""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from astrid.errors import BundleError, UsageError
from astrid.learn.bundle import Bundle
from astrid.learn.prediction import Predictor

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Verification", "verify"]

_ITEMS = 3


@dataclass(frozen=True)
class Verification:
    """What was found to be in order.

    Parameters
    ----------
    name, hash : str
    files : tuple of str
        Whose content is what the card says.
    graphs : tuple of str
        That run in ONNX Runtime and give finite numbers.
    parity : float or None
        Largest difference between torch with the bundle's weights and its graphs, in a probability.
    note : str
        Why there is no parity; else empty.
    """

    name: str
    hash: str
    files: tuple[str, ...]
    graphs: tuple[str, ...]
    parity: float | None
    note: str

    def as_dict(self) -> dict[str, Any]:
        """The facts as plain values."""
        return asdict(self)


def verify(bundle: Bundle) -> Verification:
    """Run every graph of a bundle, and compare it with torch where that is installed.

    Parameters
    ----------
    bundle : Bundle
        Was read, so its hashes are right.

    Returns
    -------
    Verification

    Raises
    ------
    BundleError
        A graph cannot be run, gives something that is not a number, or differs from the weights.
    """
    graphs = tuple(name for name in sorted(bundle.card.files) if name.endswith(".onnx"))
    rng = np.random.default_rng(0)
    noise = {
        name: rng.standard_normal((_ITEMS, *one.shape), np.float32)
        for name, one in bundle.task.inputs.items()
    }
    for int8 in (False, True):
        if int8 and "model.int8.onnx" not in graphs:
            continue
        prediction = Predictor(bundle, int8=int8)(noise)
        for name, head in prediction.heads.items():
            spread_wanted = bundle.card.uncertainty.method != "none"
            if not np.isfinite(head.values).all() or (spread_wanted and not np.isfinite(head.spread).all()):
                raise BundleError(
                    f"{bundle.path}: {name} is not finite for random numbers; export the bundle again"
                )
    parity, note = None, ""
    if importlib.util.find_spec("torch") is None:
        note = "torch is not installed"
    else:
        try:
            parity = _parity(bundle)
        except UsageError as error:  # somebody's network that is not here; serving does not need it
            note = str(error)
    return Verification(bundle.name, bundle.hash, tuple(sorted(bundle.card.files)), graphs, parity, note)


def _parity(bundle: Bundle) -> float:
    """Largest difference of all graphs but the quantised one from the weights in torch."""
    from astrid.learn.graph import largest_difference
    from astrid.learn.uncertainty import Members, Passes

    networks = bundle.networks()
    uncertainty = bundle.card.uncertainty
    modules: dict[str, nn.Module] = {"model.onnx": Members(networks, bundle.task)}
    if uncertainty.method == "mc_dropout":
        modules["spread.onnx"] = Passes(networks[0], bundle.task, uncertainty.passes, uncertainty.seed)
    return max(
        largest_difference(module, (bundle.path / name).read_bytes(), bundle.task)
        for name, module in modules.items()
    )
