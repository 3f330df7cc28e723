"""How detections compare with the truth of a simulated pair: recall, false positives, photometry.

The same scoring serves us and the peers; nothing here differences images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["MATCH_PX", "Score", "chance_detections", "score"]

MATCH_PX = 3.0


@dataclass(frozen=True, eq=False)
class Score:
    """What was found of the truth, and what else.

    Parameters
    ----------
    n_bright : int
        True changes of S/N above 7 that can be observed.
    recall_bright, recall_all : float
        Share of them, and of all observable changes, within 3 px of a detection.
    false_positive, false_negative : int
        Detections of either sign further than 3 px from every true change.
    flux, flux_true, flux_err : (n,) float64 ndarray, ADU
        Of the recovered changes of S/N above 7; empty without photometry.
    """

    n_bright: int
    recall_bright: float
    recall_all: float
    false_positive: int
    false_negative: int
    flux: NDArray[np.float64]
    flux_true: NDArray[np.float64]
    flux_err: NDArray[np.float64]

    @property
    def false_detections(self) -> int:
        """Of both signs."""
        return self.false_positive + self.false_negative


def score(
    truth: Table,
    found: NDArray[np.float64],
    flux: NDArray[np.float64] | None = None,
    flux_err: NDArray[np.float64] | None = None,
    *,
    bright: float = 7.0,
) -> Score:
    """Compare detections with the truth.

    Parameters
    ----------
    truth : `~astropy.table.Table`
        Of a `SimulatedPair`.
    found : (n, 3) float64 ndarray
        x, y (px) and signed S/N.
    flux, flux_err : (n,) float64 ndarray, ADU, optional
    bright : float
        True S/N above which a change must be found.

    Returns
    -------
    Score
    """
    from scipy.spatial import cKDTree

    places = np.stack([np.asarray(truth["x"], float), np.asarray(truth["y"], float)], axis=1)
    observable = np.asarray(truth["observable"], bool)
    loud = observable & (np.abs(np.asarray(truth["snr_true"])) > bright)
    nothing = np.zeros(0)
    if not len(found):
        return Score(int(loud.sum()), 0.0, 0.0, 0, 0, nothing, nothing, nothing)
    distance, index = cKDTree(found[:, :2]).query(places)
    hit = distance <= MATCH_PX
    alone = cKDTree(places).query(found[:, :2])[0] > MATCH_PX if len(places) else np.ones(len(found), bool)
    measured = loud & hit
    return Score(
        n_bright=int(loud.sum()),
        recall_bright=float(hit[loud].mean()) if loud.any() else float("nan"),
        recall_all=float(hit[observable].mean()) if observable.any() else float("nan"),
        false_positive=int(np.sum(alone & (found[:, 2] > 0))),
        false_negative=int(np.sum(alone & (found[:, 2] < 0))),
        flux=nothing if flux is None else flux[index[measured]],
        flux_true=np.asarray(truth["flux"], float)[measured],
        flux_err=nothing if flux_err is None else flux_err[index[measured]],
    )


def chance_detections(shape: tuple[int, int], fwhm: tuple[float, float], threshold: float = 5.0) -> float:
    """Peaks beyond a threshold, of both signs, that pure noise has in a perfect significance map.

    Parameters
    ----------
    shape : (int, int)
    fwhm : (float, float), px
        Of the two PSFs, taken as Gaussians, and the noise as equal in both frames.
    threshold : float, sigma

    Returns
    -------
    expected : float

    References
    ----------
    Bardeen et al. 1986, ApJ 304, 15, and Bond & Efstathiou 1987, MNRAS 226, 655:
    density of high peaks in a Gaussian field in two dimensions.
    """
    k = 2 * np.pi * np.fft.fftfreq(128)
    square = k**2 + k[:, None] ** 2
    first, second = (np.exp(-square * (width / 2.3548) ** 2) for width in fwhm)  # |P|^2
    power = first * second / (first + second + 1e-30)  # of the score S, Zackay et al. 2016, eq. 16
    curvature = np.sum(power * square) / (2 * np.sum(power))
    density = curvature * threshold * np.exp(-(threshold**2) / 2) / (2 * np.pi) ** 1.5
    return float(2 * density * shape[0] * shape[1])
