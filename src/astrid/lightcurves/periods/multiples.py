"""Half or double: which multiple of a frequency is the period of the star.

A binary with two like eclipses repeats its light curve twice an orbit, so every periodogram prefers half its
period. The shape of the folded curve tells; the rules and their numbers are below, one by one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrid.lightcurves.periods.harmonics import bands_of, harmonic_power_at
from astrid.lightcurves.periods.points import Points

__all__ = ["Shape", "fold_shape", "resolve_multiple"]

LONGEST_HALF = 3.0
"""Days. Longer half periods are not doubled: Cepheids of population II have shapes like eclipses."""

NARROW, MILD, SHORT = 0.3, 0.2, 0.1
"""Narrowness of the minima (`Shape.narrow`) of eclipsing binaries, for the rules of `resolve_multiple`."""

SHORTEST_HALF, LONGEST_SINE = 0.09, 0.235
"""Days. A sine between these is half the orbit of a contact binary.

RR Lyrae stars are slower, and most pulsators that are as fast have saw-tooth shapes.
"""

GAIN = 10.0
"""Difference of the Bayesian information criterion from which the minima are unequal."""


@dataclass(frozen=True)
class Shape:
    """The first two harmonics of a folded light curve, relative to the first.

    Attributes
    ----------
    ratio : float
        Amplitude of the second harmonic over that of the first.
    narrow : float
        Its part that is in phase with the first harmonic: positive where the faint extreme is the narrow one
        (eclipses), negative where it is the bright one (RR Lyrae and Cepheids).
    skewed : float
        Size of the part that is not: 0 for a curve that is symmetric in time.
    """

    ratio: float
    narrow: float
    skewed: float


def fold_shape(points: Points, frequency: float) -> Shape:
    """Measure the shape of the curve folded at a frequency, in magnitudes (faint is high).

    In several bands it is measured in that with the largest signal.
    """
    best, shape = -1.0, Shape(0.0, 0.0, 0.0)
    for part in bands_of(points, 2):
        first, second = harmonics(part, frequency, 2)
        if part.weight.sum() * abs(first) ** 2 > best and abs(first) > 0:
            best = part.weight.sum() * abs(first) ** 2
            turned = (
                second / (first * first) * abs(first)
            )  # time shifted so that the first harmonic is a cosine
            shape = Shape(abs(second / first), float(turned.real), float(abs(turned.imag)))
    return shape


def resolve_multiple(points: Points, frequency: float) -> tuple[float, str]:
    """Decide between a frequency, its double and its half.

    First, while the even harmonics hold more than twice the power of the odd ones, the frequency is doubled:
    it was that of a whole orbit, or of a spurious multiple. The half frequency is then taken where one of
    these holds (all with symmetric curves):

    - ``narrow``: the minima are much narrower than the maxima, but do not show two in a cycle;
    - ``sine``: a nearly sinusoidal curve is too fast for an RR Lyrae star;
    - ``mild``: the minima are somewhat narrower;
    - ``unequal``: harmonics of the half frequency lower the Bayesian information criterion by more than 10:
      alternate minima differ.

    The limits were set on 484 stars of the Catalina survey with catalogue periods (Drake et al. 2014); they
    encode that among short-period variables symmetric curves are binaries.

    Parameters
    ----------
    points : Points
        In magnitudes.
    frequency : float, 1/days

    Returns
    -------
    frequency : float, 1/days
    rule : str
        The rule that halved it, or an empty string.
    """
    base = frequency
    for _ in range(2):
        power = np.abs(strongest_harmonics(points, base, 4)) ** 2
        if power[1] + power[3] <= 2 * (power[0] + power[2]):
            break
        base *= 2
    shape, half = fold_shape(points, base), 1.0 / base
    if half > LONGEST_HALF or shape.ratio > 1:
        return (base / 2, "unequal") if half < LONGEST_HALF and gain(points, base) > GAIN else (base, "")
    if shape.narrow > NARROW and shape.skewed < 0.5 * shape.narrow:
        return base / 2, "narrow"
    # the fastest of them share their periods with saw-toothed pulsators
    blunt = -0.09 if half > 0.13 else -0.05
    symmetric = shape.skewed < 0.12 + 0.5 * max(shape.narrow, 0.0)
    if SHORTEST_HALF < half < LONGEST_SINE and symmetric and shape.narrow > blunt:
        return base / 2, "sine"
    if half < 1.0 and shape.narrow > (MILD if half > LONGEST_SINE else SHORT) and shape.skewed < shape.narrow:
        return base / 2, "mild"
    if shape.narrow > 0 and shape.skewed < max(shape.narrow, 0.1) and gain(points, base) > GAIN:
        return base / 2, "unequal"
    return base, ""


def gain(points: Points, frequency: float) -> float:
    """By how much the half frequency, with twice the harmonics, lowers the Bayesian information criterion."""
    n = points.time.size
    gains = []
    for n_terms in (2, 4):
        if n <= (4 * n_terms + 1) * points.n_bands + 1:
            continue
        whole = harmonic_power_at(points, frequency, n_terms)[0]
        half = harmonic_power_at(points, frequency / 2, 2 * n_terms)[0]
        added = 2 * n_terms * points.n_bands
        gains.append(n * np.log(max(1 - whole, 1e-12) / max(1 - half, 1e-12)) - added * np.log(n))
    return max(gains, default=-np.inf)


def strongest_harmonics(points: Points, frequency: float, n_terms: int) -> NDArray[np.complex128]:
    """Complex amplitudes in the band with the largest signal."""
    best = np.zeros(n_terms, dtype=np.complex128)
    size = -1.0
    for part in bands_of(points, min(n_terms, 2)):
        found = harmonics(part, frequency, n_terms)
        signal = float(part.weight.sum() * np.sum(np.abs(found) ** 2))
        if signal > size:
            size, best = signal, found
    return best


def harmonics(points: Points, frequency: float, n_terms: int) -> NDArray[np.complex128]:
    """Fit m = mean + Re sum a_k exp(-i k phase) by weighted least squares, and return the a_k."""
    angle = 2 * np.pi * ((points.time * frequency) % 1.0)
    columns = [np.ones_like(angle)]
    for k in range(1, n_terms + 1):
        columns += [np.cos(k * angle), np.sin(k * angle)]
    root = np.sqrt(points.weight)
    solution = np.linalg.lstsq(np.stack(columns, axis=1) * root[:, None], points.mag * root, rcond=None)[0]
    return np.asarray(solution[1::2] + 1j * solution[2::2])
