"""How far the distribution of one quantity has moved, and whether that could be chance.

Arrays in, numbers out; which quantities of a night are compared, and what follows, is in `drift`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Shift", "corrected", "shift_of_numbers", "shift_of_shares", "stability_index"]

_BINS = 10
_PER_BIN = 10  # items of the smaller sample for each bin: an expected count of 5 with room to spare
_SMOOTHING = 0.5  # added to each count, so that an empty bin has a logarithm


@dataclass(frozen=True)
class Shift:
    """A sample beside its reference.

    Parameters
    ----------
    n, n_reference : int
        Items that have a value.
    centre, centre_reference : float
        Median, or the share.
    psi : float
        Population stability index less what it would be by chance; not below 0.
    p : float
        Of a test that nothing has changed: Kolmogorov-Smirnov's for numbers, Fisher's exact one for
        shares.
    distance : float
        Largest difference of the cumulative distributions.
    """

    n: int
    n_reference: int
    centre: float
    centre_reference: float
    psi: float
    p: float
    distance: float

    def as_dict(self) -> dict[str, Any]:
        """The numbers as plain values."""
        return asdict(self)


def stability_index(
    counts: NDArray[np.integer], reference: NDArray[np.integer], *, unbiased: bool = True
) -> float:
    r"""Population stability index of counts in the same bins.

    Parameters
    ----------
    counts, reference : (k,) int ndarray
    unbiased : bool
        Take off the mean that it has without any change, and give 0 for what is left below 0.

    Returns
    -------
    psi : float
        Sum over bins of (a - b) ln(a / b), where a and b are the shares of the two.

    Notes
    -----
    Without a change PSI / (1 / n + 1 / m) follows a chi-squared distribution with k - 1 degrees of
    freedom, whose mean is k - 1; for 90 items against 90 in ten bins that is a PSI of 0.2, twice the
    usual limit for a small change.

    References
    ----------
    Yurdakul & Naranjo 2020, Journal of Risk Model Validation 14(4), 89; Yurdakul 2018, Statistical
    Properties of Population Stability Index, Western Michigan University, chapter 3.
    """
    n, m, k = int(counts.sum()), int(reference.sum()), len(counts)
    a, b = ((one + _SMOOTHING) / (one.sum() + _SMOOTHING * k) for one in (counts, reference))
    psi = float(((a - b) * np.log(a / b)).sum())
    return max(psi - (k - 1) * (1 / n + 1 / m), 0.0) if unbiased else psi


def shift_of_numbers(sample: NDArray[np.floating], reference: NDArray[np.floating]) -> Shift:
    """How far numbers have moved.

    Bins are quantiles of the reference, ten or fewer where there are few items; a value that many
    items share is a bin of its own.

    Parameters
    ----------
    sample, reference : (n,) float ndarray
        Finite, at least one each.

    References
    ----------
    Hodges 1958, Arkiv för Matematik 3, 469, for the p-value of the two-sample test.
    """
    from scipy.stats import ks_2samp

    bins = int(np.clip(min(len(sample), len(reference)) // _PER_BIN, 2, _BINS))
    inner = np.quantile(reference, np.arange(1, bins) / bins, method="inverted_cdf")
    shared = inner[1:][np.diff(inner) == 0] if len(np.unique(reference)) > 1 else reference[:1]
    edges = np.unique(np.concatenate([inner, shared, np.nextafter(shared, np.inf)]))
    counts, expected = (
        np.bincount(np.searchsorted(edges, one, side="right"), minlength=len(edges) + 1)
        for one in (sample, reference)
    )
    found = ks_2samp(sample, reference, method="asymp")
    return Shift(
        len(sample), len(reference), float(np.median(sample)), float(np.median(reference)),
        stability_index(counts, expected), float(found.pvalue), float(found.statistic),
    )  # fmt: skip


def shift_of_shares(yes: int, n: int, yes_reference: int, n_reference: int) -> Shift:
    """How far a share has moved.

    Parameters
    ----------
    yes, n : int
        Items that have the property, of how many; at least one.
    yes_reference, n_reference : int
    """
    from scipy.stats import fisher_exact

    counts, expected = np.array([yes, n - yes]), np.array([yes_reference, n_reference - yes_reference])
    share, other = yes / n, yes_reference / n_reference
    p = float(fisher_exact([counts, expected]).pvalue)
    return Shift(n, n_reference, share, other, stability_index(counts, expected), p, abs(share - other))


def corrected(p: Sequence[float]) -> NDArray[np.float64]:
    """p-values of many tests, so that of those below a limit no more than that share is wrong.

    Parameters
    ----------
    p : sequence of float

    Returns
    -------
    adjusted : (n,) float64 ndarray

    References
    ----------
    Benjamini & Hochberg 1995, Journal of the Royal Statistical Society B 57, 289; Benjamini & Yekutieli
    2001, Annals of Statistics 29, 1165, show that it holds for tests that depend positively too.
    """
    from scipy.stats import false_discovery_control

    return np.asarray(false_discovery_control(p) if len(p) else [], np.float64)
