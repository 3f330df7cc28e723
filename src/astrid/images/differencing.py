"""The main job: from a science frame and a reference to measured candidates.

It reads like the method section of a paper and does no arithmetic of its own;
each step is a function of a module beside this one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

import numpy as np
from numpy.typing import NDArray

from astrid.errors import SubtractionError, UsageError
from astrid.images.alignment import Alignment, align
from astrid.images.background import sky_level, subtract_background
from astrid.images.cutouts import triplets
from astrid.images.detection import detect
from astrid.images.filling import fill_masked, flag_dead_borders
from astrid.images.flux_ratio import FluxRatio, measure_flux_ratio
from astrid.images.frame import Flag, Frame
from astrid.images.kernel import FittedKernel, fit_kernel
from astrid.images.matching import match_sources
from astrid.images.measurement import Surroundings, limiting_flux, limiting_mag, measure
from astrid.images.noise import measure_noise
from astrid.images.optics import Method, Optics, measure_optics
from astrid.images.photometry import psf_fluxes
from astrid.images.proper import MatchedPSFs, Matching, Subtraction, subtract
from astrid.images.psf import PSF
from astrid.images.significance import (
    Significance,
    corrected_significance,
    significance_sigma,
)
from astrid.images.sources import Sources, find_sources, stars_of

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["DifferenceConfig", "DifferenceResult", "difference"]

log = logging.getLogger(__name__)

_MOST_STARS = 500


@dataclass(frozen=True)
class DifferenceConfig:
    """How to difference.

    Parameters
    ----------
    method : {"auto", "zogy", "kernel"}
        Proper subtraction with measured PSFs, a fitted kernel, or the choice between
        them by how well the PSFs could be measured.
    threshold : float
        Detection threshold on ``|S_corr|``.
    cutout_size : int, px
        Side of the cutouts, odd.
    background_mesh : int, px
        Side of a cell of the sky mesh; no more than a quarter of the image is taken. Small
        cells follow the sky more closely and add their own noise to S_corr.

    Raises
    ------
    UsageError
        A value that cannot work.
    """

    method: Method = "auto"
    threshold: float = 5.0
    cutout_size: int = 63
    background_mesh: int = 128

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise UsageError(f"method is {self.method!r}; choose one of {', '.join(get_args(Method))}")
        if not 1 <= self.threshold < 1e6:
            raise UsageError(f"threshold is {self.threshold}; give a number of sigma of at least 1")
        if self.cutout_size < 3 or self.cutout_size % 2 == 0:
            raise UsageError(f"cutout size is {self.cutout_size}; give an odd number of pixels, 3 or more")
        if self.background_mesh < 16:
            raise UsageError(f"background mesh is {self.background_mesh} px; give 16 or more")


@dataclass(frozen=True, eq=False)
class DifferenceResult:
    """What differencing found; images are (ny, nx) on the science grid.

    Parameters
    ----------
    science, reference : Frame
        Background-subtracted; the reference resampled but not scaled in flux.
    difference : float32 ndarray, ADU of the science frame
        The proper difference D: a new source of flux f appears as f P_D.
    significance : float32 ndarray
        S_corr; Gaussian with unit width where nothing changed.
    flux, flux_err : float32 ndarray, ADU of the science frame
        PSF flux, and its error, of a source at each pixel.
    mask : uint16 ndarray
        Flags of either frame.
    candidates : `~astropy.table.Table`
        One row for each detection, both signs; see `measurement.measure`.
    triplets : dict of ndarray
        Science, reference and difference cutouts of the candidates.
    method, method_reason : str
        What was used, "zogy" or "kernel", and why.
    registration_rms_px : float, px
    registration_method : str
    flux_ratio, flux_ratio_err : float
        Flux of a star in the reference over its flux in the science frame.
    significance_sigma : float
        Robust width of S_corr over pixels without sources; 1 is right.
    limiting_flux_5sigma : float, ADU
        Median over the image.
    limiting_mag_5sigma : float, mag, or None
        None without a zero point.
    fwhm_science, fwhm_reference : float, px
    n_stars : int
        Stars matched between the frames.
    psf_science, psf_reference : PSF
    warnings : tuple of str
    stage_seconds : dict
        Wall seconds of each stage.
    """

    science: Frame
    reference: Frame
    difference: NDArray[np.float32]
    significance: NDArray[np.float32]
    flux: NDArray[np.float32]
    flux_err: NDArray[np.float32]
    mask: NDArray[np.uint16]
    candidates: Table
    triplets: dict[str, NDArray[np.generic]]
    method: str
    method_reason: str
    registration_rms_px: float
    registration_method: str
    flux_ratio: float
    flux_ratio_err: float
    significance_sigma: float
    limiting_flux_5sigma: float
    limiting_mag_5sigma: float | None
    fwhm_science: float
    fwhm_reference: float
    n_stars: int
    psf_science: PSF
    psf_reference: PSF
    warnings: tuple[str, ...]
    stage_seconds: dict[str, float]


def difference(
    science: Frame,
    reference: Frame,
    config: DifferenceConfig | None = None,
    *,
    on_stage: Callable[[str], None] | None = None,
) -> DifferenceResult:
    """Difference two frames: from raw pixels to measured candidates.

    Parameters
    ----------
    science, reference : Frame
        As read, sky included; in any orientation. The result is on the science grid.
    config : DifferenceConfig, optional
    on_stage : callable, optional
        Called with the name of each stage as it begins.

    Returns
    -------
    result : DifferenceResult

    Raises
    ------
    FrameError, AlignmentError, PSFError, SubtractionError
        What is wrong with the frames, in one sentence.

    References
    ----------
    Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27; Alard & Lupton 1998, ApJ 503, 325.
    """
    config = config or DifferenceConfig()
    clock = Clock(on_stage)
    found = reduce_pair(science, reference, config, clock)
    science, reference, mask = found.science, found.reference, found.mask
    subtraction, significance = found.subtraction, found.significance
    fwhm = found.optics.science.fwhm
    with clock("detect and measure"):
        no_data = mask & np.uint16(Flag.NO_DATA) != 0
        row, column = detect(significance.image, no_data, threshold=config.threshold, fwhm=fwhm)
        around = Surroundings(science, reference, found.reference_sources, found.flux_ratio.value, mask, fwhm)
        candidates = measure(row, column, subtraction, significance, around)
        images = {"science": science.data, "reference": reference.data, "difference": subtraction.difference}
        x, y = (np.asarray(candidates[name], float) for name in ("x", "y"))
        cutouts = triplets(images, np.asarray(candidates["id"]), x, y, config.cutout_size)
        limit = limiting_flux(subtraction, significance, mask)
        width = significance_sigma(significance.image, subtraction, mask)
    return DifferenceResult(
        science=science,
        reference=reference,
        difference=subtraction.difference,
        significance=significance.image,
        flux=subtraction.score / subtraction.gain,
        flux_err=np.asarray(np.sqrt(significance.variance) / subtraction.gain, np.float32),
        mask=mask,
        candidates=candidates,
        triplets=cutouts,
        method=found.optics.method,
        method_reason=found.optics.reason,
        registration_rms_px=found.aligned.rms_px,
        registration_method=found.aligned.method,
        flux_ratio=found.flux_ratio.value,
        flux_ratio_err=found.flux_ratio.error,
        significance_sigma=width,
        limiting_flux_5sigma=limit,
        limiting_mag_5sigma=limiting_mag(limit, science.zero_point),
        fwhm_science=fwhm,
        fwhm_reference=found.optics.reference.fwhm,
        n_stars=found.n_stars,
        psf_science=found.optics.science,
        psf_reference=found.optics.reference,
        warnings=(*found.warnings, *_judge(width, found)),
        stage_seconds=clock.seconds,
    )


@dataclass(frozen=True, eq=False)
class Reduction:
    """Two frames on one grid and their difference, before anything is detected.

    Parameters
    ----------
    science, reference : Frame
        Background-subtracted; the reference resampled, holes filled.
    reference_sources : Sources
        On the science grid.
    aligned : Alignment
    optics : Optics
    flux_ratio : FluxRatio
    n_stars : int
        Stars matched between the frames.
    subtraction : Subtraction
    significance : Significance
    """

    science: Frame
    reference: Frame
    reference_sources: Sources
    aligned: Alignment
    optics: Optics
    flux_ratio: FluxRatio
    n_stars: int
    subtraction: Subtraction
    significance: Significance

    @property
    def mask(self) -> NDArray[np.uint16]:
        """Flags of either frame."""
        return self.science.mask | self.reference.mask

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was wrong with the input, each sentence once and with the frame that it is about."""
        of_frames = [
            f"{role}: {sentence}"
            for role, frame in (("science", self.science), ("reference", self.reference))
            for sentence in frame.warnings
        ]
        return tuple(dict.fromkeys([*of_frames, *self.aligned.warnings, *self.optics.warnings]))


def reduce_pair(science: Frame, reference: Frame, config: DifferenceConfig, clock: Clock) -> Reduction:
    """Everything up to the significance map, for detection and for forced photometry alike."""
    with clock("sky and noise"):
        science, reference = (_prepare(frame, config) for frame in (science, reference))
    with clock("sources"):
        science_sources, reference_sources = find_sources(science), find_sources(reference)
    with clock("align"):
        aligned = align(reference, science, reference_sources, science_sources)
        reference, science = fill_masked(aligned.frame), fill_masked(science)
        reference_sources = _moved(reference_sources, aligned, reference)
    with clock("PSFs"):
        optics = measure_optics((science, science_sources), (reference, reference_sources), config.method)
    with clock("match"):
        stars = _common_stars(science, reference, science_sources, reference_sources, optics)
        matching, ratio = _match(science, reference, stars, optics)
        if isinstance(matching, FittedKernel):
            science = science.with_(data=science.data - matching.background)
    with clock("subtract"):
        subtraction = subtract(science, reference, matching)
        if optics.crowded:
            # Where sources hide the sky, it is seen best once they are gone.
            science = science.with_(data=science.data - _left_sky(subtraction, science, reference, config))
            subtraction = subtract(science, reference, matching)
    with clock("significance"):
        significance = corrected_significance(
            subtraction,
            stars.x,
            stars.y,
            fwhm=optics.science.fwhm,
            registered_by_kernel=optics.method == "kernel",
        )
    return Reduction(
        science, reference, reference_sources, aligned, optics, ratio, len(stars.x), subtraction, significance
    )


class Clock:
    """Times the stages and tells the caller that they begin."""

    def __init__(self, on_stage: Callable[[str], None] | None) -> None:
        self.on_stage = on_stage
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        if self.on_stage:
            self.on_stage(stage)
        start = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - start
        log.debug("%s: %.3f s", stage, self.seconds[stage])


@dataclass(frozen=True, eq=False)
class _Stars:
    """Stars that both frames show, on the science grid, and their PSF fluxes."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    science: tuple[NDArray[np.float64], NDArray[np.float64]]
    reference: tuple[NDArray[np.float64], NDArray[np.float64]]


def _moved(sources: Sources, aligned: Alignment, reference: Frame) -> Sources:
    """The reference's sources on the science grid; resampling conserves their fluxes."""
    x, y = aligned.mapping.inverse(sources.x, sources.y)
    ny, nx = reference.shape
    inside = (x > -0.5) & (y > -0.5) & (x < nx - 0.5) & (y < ny - 0.5)
    moved = sources[inside]
    x, y = x[inside], y[inside]
    scale = np.sqrt(aligned.mapping.jacobian())
    row, column = np.clip(np.rint(y).astype(int), 0, ny - 1), np.clip(np.rint(x).astype(int), 0, nx - 1)
    return replace(moved, x=x, y=y, fwhm=moved.fwhm / scale, flags=moved.flags | reference.mask[row, column])


def _prepare(frame: Frame, config: DifferenceConfig) -> Frame:
    mesh = _mesh(frame, config)
    frame, _ = subtract_background(flag_dead_borders(frame), mesh)
    return measure_noise(frame, mesh)


def _mesh(frame: Frame, config: DifferenceConfig) -> int:
    return max(16, min(config.background_mesh, min(frame.shape) // 4))


def _common_stars(
    science: Frame, reference: Frame, science_sources: Sources, reference_sources: Sources, optics: Optics
) -> _Stars:
    ours = science_sources[stars_of(science_sources, snr=10)]
    theirs = reference_sources[stars_of(reference_sources, snr=10)]
    first, _ = match_sources(ours.x, ours.y, theirs.x, theirs.y, max(1.0, 0.5 * optics.science.fwhm))
    x, y = ours.x[first][:_MOST_STARS], ours.y[first][:_MOST_STARS]
    return _Stars(
        x, y, psf_fluxes(science, optics.science, x, y), psf_fluxes(reference, optics.reference, x, y)
    )


def _match(science: Frame, reference: Frame, stars: _Stars, optics: Optics) -> tuple[Matching, FluxRatio]:
    """Make the frames alike: by PSFs and the stars' flux ratio, or by a fitted kernel."""
    if optics.method == "zogy":
        ratio = measure_flux_ratio(*stars.science, *stars.reference)
        return MatchedPSFs(optics.science, optics.reference, ratio.value), ratio
    kernel = fit_kernel(science, reference, optics.science, fwhm_reference=optics.reference.fwhm)
    try:
        ratio = measure_flux_ratio(*stars.science, *stars.reference)
    except SubtractionError:
        ratio = FluxRatio(kernel.flux_ratio, float("nan"), 0, float("nan"))
    return kernel, ratio


def _left_sky(
    subtraction: Subtraction, science: Frame, reference: Frame, config: DifferenceConfig
) -> NDArray[np.float32]:
    """Sky that is left on the difference, which has the scale of the science frame at low frequency."""
    changed = np.square(subtraction.score) > 25 * subtraction.variance
    flagged = (science.mask | reference.mask) != 0
    if (changed | flagged).all():
        return np.zeros(science.shape, np.float32)
    return sky_level(subtraction.difference, changed | flagged, _mesh(science, config))


def _judge(width: float, found: Reduction) -> tuple[str, ...]:
    """What the result itself says about its quality, one sentence each."""
    rms, flux_error = found.aligned.rms_px, found.significance.flux_error
    sentences = []
    if abs(width - 1) > 0.1:
        sentences.append(
            f"the significance map scatters by {width:.2f} where nothing is, and 1 is right; "
            "check gain, read noise and background before trusting S/N"
        )
    if rms > 0.2:
        sentences.append(f"stars are misregistered by {rms:.2f} px rms; expect dipoles")
    if flux_error > 0.03:
        sentences.append(
            f"static stars leave residuals of {flux_error:.1%} of their flux; "
            "changes on bright stars are hard to see"
        )
    return tuple(sentences)
