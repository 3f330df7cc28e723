"""Numbers that describe a transit-like signal: as it was found, its orbit, and the shape of its views.

Made for many signals at once, by one definition for those that a model learns from and those that it
judges; their meaning is fixed by `NUMBERS_VERSION`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrid.errors import UsageError
from astrid.lightcurves.periods.boxes import transit_duration

__all__ = [
    "EARTH", "NUMBERS_VERSION", "ORBIT", "SHAPE", "SIGNAL", "STAR", "orbit_numbers", "shape_numbers",
    "signal_numbers",
]  # fmt: skip

NUMBERS_VERSION = 1

SIGNAL = ("period", "odd_even", "duration", "depth", "transits", "snr", "sde")
"""All but the second as log10: d, relative difference of the depths, h, 1, 1, 1, 1."""

STAR = ("tmag", "teff", "logg", "radius", "mass")
"""TESS mag, K, dex, solar radius, solar mass."""

ORBIT = ("radius", "relative_duration", "density", "temperature", "span", "duty")
"""All as log10: the planet's radius if it is one [Earth radii], duration over that of a central transit, the
star's density [Sun's], temperature of a black body at that distance [K], period times transits [d], and the
part of the period that the dip takes."""

SHAPE = (
    "scatter", "deepest", "deep", "highest", "slow", "slow_deepest", "secondary", "secondary_sigma",
    "cosine", "sine", "cosine_2", "sine_2", "centre",
    "core", "inner", "outer", "edge", "near", "far", "near_scatter", "step", "asymmetry", "roughness",
    "width", "local_centre", "half_phase", "half_phase_scatter", "half_phase_sigma",
)  # fmt: skip
"""Of the global view outside the dip, then of the local view, then half a period later; in depths."""

EARTH = 109.1
"""Earth radii in one of the Sun."""

AU = 215.03  # solar radii
YEAR = 365.25


def signal_numbers(
    period: ArrayLike,
    duration: ArrayLike,
    depth: ArrayLike,
    depth_odd: ArrayLike,
    depth_even: ArrayLike,
    transits: ArrayLike,
    snr: ArrayLike,
    sde: ArrayLike,
) -> NDArray[np.float32]:
    """Describe signals as they were found.

    Parameters
    ----------
    period, duration : (n,) array_like, days, hours
    depth, depth_odd, depth_even : (n,) array_like
        Of the flux; the depths of every second dip may be NaN, which counts as no difference.
    transits, snr, sde : (n,) array_like

    Returns
    -------
    numbers : (n, 7) float32 ndarray
        In the order of `SIGNAL`.
    """
    odd, even = (np.maximum(np.asarray(one, np.float64), 1e-6) for one in (depth_odd, depth_even))
    columns = [
        logarithm(period, 1e-3),
        np.nan_to_num(np.abs(odd - even) / (odd + even)),
        logarithm(duration, 1e-3),
        logarithm(depth, 1e-6),
        logarithm(transits, 1),
        logarithm(snr, 1e-3),
        logarithm(sde, 1e-3),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def orbit_numbers(signal: ArrayLike, star: ArrayLike) -> NDArray[np.float32]:
    """Say what a signal would be if it were a planet of its star.

    Parameters
    ----------
    signal : (n, 7) array_like
        As `signal_numbers` gives them.
    star : (n, 5) array_like
        In the order and the units of `STAR`.

    Returns
    -------
    numbers : (n, 6) float32 ndarray
        In the order of `ORBIT`.

    References
    ----------
    Seager & Mallen-Ornelas 2003, ApJ 585, 1038, eqs. 4 and 19.
    """
    found, known = np.asarray(signal, np.float64), np.asarray(star, np.float64)
    period, _, hours, depth, transits, _, _ = found.T
    _, kelvin, _, radius, mass = known.T
    radius, mass = np.maximum(radius, 0.05), np.maximum(mass, 0.05)
    density = mass / radius**3
    central = 24.0 * transit_duration(10**period, 1.0) / np.cbrt(density)
    distance = np.cbrt(mass * (10**period / YEAR) ** 2) * AU / radius  # in radii of the star
    columns = [
        0.5 * depth + np.log10(radius * EARTH),
        hours - np.log10(central),
        np.log10(density),
        logarithm(kelvin, 1000) - 0.5 * np.log10(2 * distance),
        transits + period,
        hours - np.log10(24.0) - period,
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def shape_numbers(
    global_view: ArrayLike, local_view: ArrayLike, half_phase_view: ArrayLike, duty: ArrayLike
) -> NDArray[np.float32]:
    """Summarise the views of signals.

    Parameters
    ----------
    global_view : (n, 201) array_like
    local_view : (n, 81) array_like
    half_phase_view : (n, 162) array_like
        As `transit_views` makes them: 1 outside, -1 at the lowest bin.
    duty : (n,) array_like
        Duration over period.

    Returns
    -------
    numbers : (n, 28) float32 ndarray
        In the order of `SHAPE`.
    """
    whole, local, both = (np.asarray(one, np.float64) for one in (global_view, local_view, half_phase_view))
    part = np.clip(np.asarray(duty, np.float64), 0.01, 0.2)
    found = {**outside_of(whole, part), **inside_of(local), **half_a_period_later(both)}
    return np.stack([found[name] for name in SHAPE], axis=1).astype(np.float32)


def outside_of(view: NDArray[np.float64], duty: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
    """The global view without the dip: noise, red noise, a second dip, waves."""
    n = view.shape[1]
    phase = (np.arange(n) + 0.5) / n - 0.5
    outside = np.abs(phase) > duty[:, None]
    bare = np.where(outside, view, np.nan)
    level = np.nanmedian(bare, axis=1)
    scatter = 1.4826 * np.nanmedian(np.abs(bare - level[:, None]), axis=1)
    clipped = np.where(outside, np.clip(view, -1, 3), 1.0)
    around = np.pad(clipped, ((0, 0), (4, 4)), mode="wrap")
    slow = np.lib.stride_tricks.sliding_window_view(around, 9, axis=1).mean(axis=2)
    slow = np.where(outside, slow, np.nan)
    half = np.abs(np.abs(phase) - 0.5) < 0.5 * np.maximum(duty, 0.015)[:, None]
    secondary = 1.0 - np.nanmean(np.where(half, view, np.nan), axis=1)
    waves = {}
    for name, harmonic in (("", 1), ("_2", 2)):
        for kind, wave in (("cosine", np.cos), ("sine", np.sin)):
            product = (clipped - 1.0) @ wave(2 * np.pi * harmonic * phase) / outside.sum(axis=1)
            waves[kind + name] = product if kind == "cosine" else np.abs(product)
    return {
        "scatter": logarithm(scatter, 1e-4),
        "deepest": np.nanmin(bare, axis=1),
        "deep": np.nanpercentile(bare, 2, axis=1),
        "highest": logarithm(np.nanmax(bare, axis=1) - level, 1e-3),
        "slow": logarithm(np.nanstd(slow, axis=1), 1e-4),
        "slow_deepest": np.nanmin(slow, axis=1),
        "secondary": secondary,
        "secondary_sigma": secondary / np.maximum(scatter, 1e-3),
        "centre": np.abs(view.argmin(axis=1) - (n - 1) / 2),
        **waves,
    }


def inside_of(view: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
    """The local view: how the dip goes down and up, and what is beside it."""
    n = view.shape[1]
    offset = (np.arange(n) - (n - 1) / 2) / ((n - 1) / 4)  # in durations
    clipped = np.clip(view, -1, 3)

    def zone(least: float, most: float) -> NDArray[np.float64]:
        return np.asarray(clipped[:, (np.abs(offset) >= least) & (np.abs(offset) <= most)].mean(axis=1))

    beside = view[:, np.abs(offset) > 0.8]
    median = np.median(beside, axis=1, keepdims=True)
    step = view[:, offset > 0.7].mean(axis=1) - view[:, offset < -0.7].mean(axis=1)
    return {
        "core": zone(0, 0.12),
        "inner": zone(0.12, 0.3),
        "outer": zone(0.3, 0.45),
        "edge": zone(0.45, 0.6),
        "near": zone(0.65, 1),
        "far": zone(1.2, 2),
        "near_scatter": logarithm(1.4826 * np.median(np.abs(beside - median), axis=1), 1e-4),
        "step": np.minimum(np.abs(step), 5.0),
        "asymmetry": np.abs(clipped - clipped[:, ::-1]).mean(axis=1),
        "roughness": logarithm(np.abs(np.diff(clipped, axis=1)).mean(axis=1), 1e-3),
        "width": (clipped < 0).mean(axis=1),
        "local_centre": np.abs(view.argmin(axis=1) - (n - 1) / 2),
    }


def half_a_period_later(view: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
    """Whether there is another dip opposite the first, as of two stars that eclipse each other."""
    if view.shape[1] % 2:
        raise UsageError(f"a view of two dips has {view.shape[1]} bins; give as many of each")
    later = view[:, : view.shape[1] // 2]
    n = later.shape[1]
    core = np.abs(np.arange(n) - (n - 1) / 2) < 0.3 * (n - 1) / 4
    level = np.median(later[:, ~core], axis=1)
    scatter = 1.4826 * np.median(np.abs(later[:, ~core] - level[:, None]), axis=1)
    depth = level - np.median(later[:, core], axis=1)
    return {
        "half_phase": depth,
        "half_phase_scatter": logarithm(scatter, 1e-3),
        "half_phase_sigma": depth / np.maximum(scatter, 1e-3),
    }


def logarithm(values: ArrayLike, least: float) -> NDArray[np.float64]:
    """log10, of no less than `least`."""
    return np.asarray(np.log10(np.maximum(np.asarray(values, np.float64), least)))
