"""Artificial sources in real frames: how faint a change is still found, and how much else is.

The sources are drawn with the PSF that the pipeline itself measured; what the
PSF gets wrong is therefore not tested here but on simulated pairs (`simulation`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrid.errors import FrameError, PSFError, UsageError
from astrid.images.completeness import Completeness, completeness
from astrid.images.differencing import DifferenceConfig, DifferenceResult, difference
from astrid.images.frame import Flag, Frame
from astrid.images.psf import PSF
from astrid.images.sources import find_sources

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["InjectionResult", "inject", "injection_recovery"]

log = logging.getLogger(__name__)

_PER_SOURCE = 96  # one injection per square of this side and round, px: they must not disturb each other


def inject(
    frame: Frame,
    x: ArrayLike,
    y: ArrayLike,
    *,
    flux: ArrayLike | None = None,
    magnitude: ArrayLike | None = None,
    psf: PSF | None = None,
    seed: int = 0,
) -> Frame:
    """Add point sources with their own photon noise to a frame.

    Parameters
    ----------
    frame : Frame
        With a gain, from which the photon noise follows.
    x, y : (n,) float, px
        Positions, 0-based; those off the frame have no effect.
    flux : (n,) float, ADU
        Total flux, positive. Give either this or `magnitude`.
    magnitude : (n,) float, mag
        By the zero point of the frame; without one, -2.5 log10 of the flux in ADU.
    psf : PSF, optional
        The frame's own if not given.
    seed : int
        Of the photon noise.

    Returns
    -------
    frame : Frame
        Masked pixels unchanged; those that reach saturation are flagged; the
        variance, where there is one, includes the new photons.

    Raises
    ------
    UsageError
        Neither or both of `flux` and `magnitude`, arrays that do not match, or
        a flux that is not positive.
    PSFError
        No PSF.
    FrameError
        No gain.
    """
    if (flux is None) == (magnitude is None):
        raise UsageError("give the sources either a flux or a magnitude, one of the two")
    given = magnitude if flux is None else flux
    try:
        x, y, values = np.broadcast_arrays(*(np.atleast_1d(np.asarray(v, float)) for v in (x, y, given)))
    except ValueError as error:
        raise UsageError(f"positions and fluxes have different lengths ({error}); give one each") from error
    fluxes = to_flux(frame, values) if flux is None else values
    if not (np.isfinite(fluxes).all() and (fluxes > 0).all()):
        raise UsageError(
            "a flux to inject is not a positive number; to make a source fade, inject it into the reference"
        )
    psf = frame.psf if psf is None else psf
    if psf is None:
        raise PSFError(f"{frame.name}: sources cannot be drawn without a PSF; measure it first or give one")
    if frame.gain is None:
        raise FrameError(f"{frame.name}: the photon noise of a source needs the gain; pass --gain e-/ADU")
    rng = np.random.default_rng(seed)
    light = np.zeros(frame.shape, np.float64)
    for xi, yi, fi in zip(x, y, fluxes, strict=True):
        stamp, (row, column) = psf.draw(float(xi), float(yi))
        _add(light, fi * stamp, row, column)
    # a measured PSF may dip below zero in its wings, photons cannot
    expected = np.maximum(light, 0)
    photons = light - expected + rng.poisson(expected * frame.gain) / frame.gain
    good = frame.mask & Flag.NO_DATA == 0
    data = np.where(good, frame.data + photons, frame.data).astype(np.float32)
    mask = frame.mask
    if frame.saturation is not None:
        full = good & (data >= frame.saturation)
        data = np.where(full, np.float32(frame.saturation), data)
        mask = mask | np.where(full, np.uint16(Flag.SATURATED), np.uint16(0))
    variance = frame.variance
    if variance is not None:
        variance = np.where(variance > 0, variance + expected / frame.gain, variance).astype(np.float32)
    return frame.with_(data=data, mask=mask, variance=variance)


@dataclass(frozen=True, eq=False)
class InjectionResult:
    """What became of the injected sources.

    Parameters
    ----------
    injections : `~astropy.table.Table`
        One row each: ``round``, ``x``, ``y`` (px), ``mag``, ``flux`` (ADU) as
        injected; ``hosted``; ``matched`` (a positive candidate lies within
        `match_radius`), ``recovered`` (and it carries no flag); ``snr``,
        ``flux_measured``, ``flux_err``, ``separation`` (px), ``flags`` of that
        candidate.
    completeness : Completeness
        Of ``recovered`` against magnitude, with the 50 and 90 % limits.
    calibrated : bool
        Whether magnitudes are on the frame's zero point; if not they are
        instrumental, -2.5 log10(flux in ADU).
    false_positives : float
        Unflagged candidates, of either sign, that match no injection; mean over
        the rounds. Real changes count too, so it is an upper limit.
    new_false_positives : float
        Those of them that are not in the run without injections either: what the
        injections themselves and chance make.
    area_deg2 : float or None
        Good area of the pair; None without a WCS.
    match_radius : float, px
    rounds : int
    without : DifferenceResult
        The run without injections.
    """

    injections: Table
    completeness: Completeness
    calibrated: bool
    false_positives: float
    new_false_positives: float
    area_deg2: float | None
    match_radius: float
    rounds: int
    without: DifferenceResult

    def _per_area(self, count: float) -> float | None:
        return None if self.area_deg2 is None else count / self.area_deg2

    @property
    def false_positives_per_deg2(self) -> float | None:
        """`false_positives` over the area; None without a WCS."""
        return self._per_area(self.false_positives)

    @property
    def new_false_positives_per_deg2(self) -> float | None:
        """`new_false_positives` over the area; None without a WCS."""
        return self._per_area(self.new_false_positives)

    def summary(self) -> dict[str, float | int | bool | None]:
        """The numbers of the run, by name, for machines."""
        curve = self.completeness
        return {
            "n_injected": len(self.injections),
            "n_matched": int(np.sum(self.injections["matched"])),
            "n_recovered": int(np.sum(self.injections["recovered"])),
            "rounds": self.rounds,
            "limit_50": curve.limit_50,
            "limit_50_err": curve.limit_50_err,
            "limit_90": curve.limit_90,
            "limit_90_err": curve.limit_90_err,
            "calibrated_magnitudes": self.calibrated,
            "false_positives": self.false_positives,
            "false_positives_per_deg2": self.false_positives_per_deg2,
            "new_false_positives": self.new_false_positives,
            "new_false_positives_per_deg2": self.new_false_positives_per_deg2,
            "area_deg2": self.area_deg2,
        }


def injection_recovery(
    science: Frame,
    reference: Frame,
    *,
    magnitudes: tuple[float, float] | None = None,
    n: int = 200,
    hosted: float = 0.0,
    bins: int = 10,
    seed: int = 0,
    config: DifferenceConfig | None = None,
    on_stage: Callable[[str], None] | None = None,
) -> InjectionResult:
    """Inject sources into the science frame, difference again and count what comes back.

    Parameters
    ----------
    science, reference : Frame
        As for `difference`; the science frame needs its gain.
    magnitudes : (float, float), mag, optional
        Brightest and faintest, drawn uniformly; from 2.5 mag brighter to 1.5 mag
        fainter than the 5 sigma limit if not given.
    n : int
        Sources in all; they are spread over as many rounds as it takes for them
        not to disturb each other.
    hosted : float
        Share that is placed in galaxies, at offsets drawn from a Gaussian of the
        galaxy's own width; the rest is uniform over good pixels.
    bins : int
        Of the completeness curve.
    seed : int
    config : DifferenceConfig, optional
    on_stage : callable, optional
        Called with a sentence for each run.

    Returns
    -------
    InjectionResult

    Raises
    ------
    UsageError
        Numbers that make no experiment.
    AstridError
        Whatever `difference` raises.
    """
    if n < 1 or bins < 1 or not 0 <= hosted <= 1:
        raise UsageError(f"n={n}, bins={bins}, hosted={hosted}: give n and bins of 1 or more, hosted 0 to 1")
    if magnitudes is not None and not (np.isfinite(magnitudes).all() and magnitudes[0] < magnitudes[1]):
        raise UsageError(f"magnitudes are {magnitudes}; give the brightest first, then a fainter one")
    config = DifferenceConfig() if config is None else config
    say = on_stage or (lambda stage: None)
    say("without injections")
    without = difference(science, reference, config)
    psf = without.psf_science
    if magnitudes is None:
        limit = float(to_magnitude(science, np.array([without.limiting_flux_5sigma]))[0])
        magnitudes = (limit - 2.5, limit + 1.5)
    rng = np.random.default_rng(seed)
    radius = max(2.0, 0.75 * without.fwhm_science)
    places = _Places(without, psf.fwhm, radius)
    drawn = rng.uniform(*magnitudes, n)
    rounds = max(1, int(np.ceil(n * _PER_SOURCE**2 / science.data.size)))
    rows: list[dict[str, object]] = []
    unmatched, new = 0, 0
    known = _positions(without.candidates)
    for i, chunk in enumerate(np.array_split(drawn, rounds)):
        say(f"round {i + 1} of {rounds}: {len(chunk)} sources")
        x, y, in_galaxy = places.draw(len(chunk), hosted, rng)
        flux = to_flux(science, chunk[: len(x)])
        with_sources = inject(science, x, y, flux=flux, psf=psf, seed=int(rng.integers(2**31)))
        candidates = difference(with_sources, reference, config).candidates
        rows += _matches(candidates, x, y, chunk, flux, in_galaxy, i, radius)
        clean = candidates[np.asarray(candidates["flags"]) == ""]
        stray = _positions(clean)[_nearest(_positions(clean), np.stack([x, y], axis=1)) > radius]
        unmatched += len(stray)
        new += int(np.sum(_nearest(stray, known) > radius))
    return _result(rows, without, science, magnitudes, bins, unmatched / rounds, new / rounds, radius, rounds)


def to_flux(frame: Frame, magnitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """Flux in ADU of a magnitude, by the frame's zero point, 0 without one."""
    fluxes: NDArray[np.float64] = 10 ** (-0.4 * (np.asarray(magnitude) - (frame.zero_point or 0.0)))
    return fluxes


def to_magnitude(frame: Frame, flux: NDArray[np.float64]) -> NDArray[np.float64]:
    """Magnitude of a positive flux in ADU, by the frame's zero point, 0 without one."""
    magnitudes: NDArray[np.float64] = (frame.zero_point or 0.0) - 2.5 * np.log10(flux)
    return magnitudes


class _Places:
    """Where a source may be injected: good pixels, away from what is there already."""

    def __init__(self, without: DifferenceResult, fwhm: float, radius: float) -> None:
        from scipy.ndimage import binary_dilation

        reach = int(np.ceil(fwhm))
        bad = without.mask != 0
        bad[:reach], bad[-reach:], bad[:, :reach], bad[:, -reach:] = True, True, True, True
        self.good = ~binary_dilation(bad, np.ones((3, 3), bool), iterations=reach)
        for x, y in _positions(without.candidates):
            low, left = max(int(y - 2 * radius), 0), max(int(x - 2 * radius), 0)
            self.good[low : int(y + 2 * radius) + 1, left : int(x + 2 * radius) + 1] = False
        if not self.good.any():
            raise UsageError(f"{without.science.name}: no good pixel is left to inject a source at")
        sources = find_sources(without.science)
        wide = (sources.fwhm > 1.3 * fwhm) & (sources.snr > 10) & (sources.flags == 0)
        self.galaxies = sources[wide]
        self.rows, self.columns = np.nonzero(self.good)

    def draw(
        self, n: int, hosted: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Draw n places, at least half of the usual distance apart where there is room."""
        x, y, in_galaxy = np.zeros(n), np.zeros(n), np.zeros(n, bool)
        for i in range(n):
            wanted = len(self.galaxies) > 0 and rng.random() < hosted
            for attempt in range(100):
                in_galaxy[i] = wanted and attempt < 50
                x[i], y[i] = self._galaxy(rng) if in_galaxy[i] else self._anywhere(rng)
                apart = i == 0 or np.min(np.hypot(x[:i] - x[i], y[:i] - y[i])) > _PER_SOURCE / 3
                if apart and self._is_good(x[i], y[i]):
                    break
            else:
                x[i], y[i] = self._anywhere(rng)
        return x, y, in_galaxy

    def _anywhere(self, rng: np.random.Generator) -> tuple[float, float]:
        pixel = rng.integers(len(self.rows))
        dx, dy = rng.uniform(-0.5, 0.5, 2)
        return float(self.columns[pixel] + dx), float(self.rows[pixel] + dy)

    def _galaxy(self, rng: np.random.Generator) -> tuple[float, float]:
        host = rng.integers(len(self.galaxies))
        dx, dy = rng.standard_normal(2) * self.galaxies.fwhm[host] / 2.3548
        return float(self.galaxies.x[host] + dx), float(self.galaxies.y[host] + dy)

    def _is_good(self, x: float, y: float) -> bool:
        row, column = round(y), round(x)
        ny, nx = self.good.shape
        return 0 <= row < ny and 0 <= column < nx and bool(self.good[row, column])


def _add(image: NDArray[np.float64], stamp: NDArray[np.floating], row: int, column: int) -> None:
    ny, nx = image.shape
    height, width = stamp.shape
    low, left, high, right = max(row, 0), max(column, 0), min(row + height, ny), min(column + width, nx)
    if low < high and left < right:
        image[low:high, left:right] += stamp[low - row : high - row, left - column : right - column]


def _positions(candidates: Table) -> NDArray[np.float64]:
    return np.stack([np.asarray(candidates["x"], float), np.asarray(candidates["y"], float)], axis=1)


def _nearest(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance from each point to the nearest of the others, infinite if there is none."""
    from scipy.spatial import cKDTree

    if not len(points) or not len(others):
        return np.full(len(points), np.inf)
    distances: NDArray[np.float64] = cKDTree(others).query(points)[0]
    return distances


def _matches(
    candidates: Table,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    magnitude: NDArray[np.float64],
    flux: NDArray[np.float64],
    hosted: NDArray[np.bool_],
    number: int,
    radius: float,
) -> list[dict[str, object]]:
    """One row for each injection; of several candidates in reach the nearest positive one."""
    positive = candidates[np.asarray(candidates["snr"]) > 0]
    rows: list[dict[str, object]] = []
    for i in range(len(x)):
        row: dict[str, object] = {
            "round": number, "x": x[i], "y": y[i], "mag": magnitude[i], "flux": flux[i],
            "hosted": bool(hosted[i]), "matched": False, "recovered": False, "snr": np.nan,
            "flux_measured": np.nan, "flux_err": np.nan, "separation": np.nan, "flags": "",
        }  # fmt: skip
        separation = np.hypot(np.asarray(positive["x"]) - x[i], np.asarray(positive["y"]) - y[i])
        if len(separation) and separation.min() <= radius:
            found = positive[int(np.argmin(separation))]
            flags = str(found["flags"])
            row |= {
                "matched": True, "recovered": flags == "", "snr": float(found["snr"]),
                "flux_measured": float(found["flux"]), "flux_err": float(found["flux_err"]),
                "separation": float(separation.min()), "flags": flags,
            }  # fmt: skip
        rows.append(row)
    return rows


def _result(
    rows: list[dict[str, object]],
    without: DifferenceResult,
    science: Frame,
    magnitudes: tuple[float, float],
    bins: int,
    unmatched: float,
    new: float,
    radius: float,
    rounds: int,
) -> InjectionResult:
    from astropy.table import Table

    table = Table(rows=rows)
    for name, unit in {"x": "pix", "y": "pix", "mag": "mag", "separation": "pix"}.items():
        table[name].unit = unit
    area = None
    if science.wcs is not None:
        from astropy.wcs.utils import proj_plane_pixel_area

        area = float(proj_plane_pixel_area(science.wcs) * np.sum(without.mask == 0))
    curve = completeness(
        np.asarray(table["mag"], float), np.asarray(table["recovered"], bool), magnitudes, bins=bins
    )
    return InjectionResult(
        injections=table,
        completeness=curve,
        calibrated=science.zero_point is not None,
        false_positives=unmatched,
        new_false_positives=new,
        area_deg2=area,
        match_radius=radius,
        rounds=rounds,
        without=without,
    )
