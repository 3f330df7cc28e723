"""How both frames see a point source, and which way of subtracting that allows.

PSFs are measured where stars permit and assumed where they do not; the choice
between proper subtraction and a fitted kernel is made here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from astrid.errors import PSFError, SubtractionError
from astrid.images.frame import Frame
from astrid.images.psf import PSF, moffat_psf
from astrid.images.psf_stack import measure_psf
from astrid.images.sources import Sources, stars_of

__all__ = ["Method", "Optics", "measure_optics"]

Method = Literal["auto", "zogy", "kernel"]

_FEWEST_STARS = 12  # fewer cannot tell a PSF from its noise
_WORST_QUALITY = 0.03
_CROWDED = 0.4  # share of the image within 1.5 FWHM of a source


@dataclass(frozen=True, eq=False)
class Optics:
    """PSFs of both frames, and the method that they allow.

    Parameters
    ----------
    science, reference : PSF
        Measured, or of Moffat shape where stars were too few.
    method : {"zogy", "kernel"}
    reason : str
        Why that method.
    crowded : bool
        Whether sources hide the sky of either frame.
    warnings : tuple of str
    """

    science: PSF
    reference: PSF
    method: str
    reason: str
    crowded: bool
    warnings: tuple[str, ...]


def measure_optics(
    science: tuple[Frame, Sources], reference: tuple[Frame, Sources], method: Method = "auto"
) -> Optics:
    """Measure both PSFs and choose the method by how well that went.

    Parameters
    ----------
    science, reference : (Frame, Sources)
        Background-subtracted frames on one grid, and what was found on them.
    method : {"auto", "zogy", "kernel"}

    Returns
    -------
    optics : Optics

    Raises
    ------
    PSFError
        `method` is "zogy" and a PSF cannot be measured.
    SubtractionError
        No source tells how wide a star is.
    """
    psfs, troubles, any_crowded = [], [], False
    for role, (frame, sources) in (("science", science), ("reference", reference)):
        fwhm = _typical_fwhm(frame, sources)
        covered = len(sources) * np.pi * (1.5 * fwhm) ** 2 / frame.data.size
        crowded = covered > _CROWDED
        any_crowded |= crowded
        if crowded:
            troubles.append(
                f"sources cover {min(covered, 1):.0%} of the {role} frame, so no star is isolated"
            )
        try:
            psf = measure_psf(frame, sources, degree=0 if crowded else None)
        except PSFError as error:
            if method == "zogy":
                raise
            troubles.append(f"the {role} PSF cannot be measured: {error}")
            psf = moffat_psf(fwhm, frame.shape)
        else:
            if psf.n_stars < _FEWEST_STARS:
                troubles.append(f"the {role} PSF rests on {psf.n_stars} stars only")
            elif psf.quality > _WORST_QUALITY:
                troubles.append(f"the {role} PSF leaves residuals of {psf.quality:.0%} of a star's peak")
        psfs.append(psf)
    if method != "auto":
        return Optics(psfs[0], psfs[1], method, "asked for", any_crowded, tuple(troubles))
    if troubles:
        return Optics(psfs[0], psfs[1], "kernel", troubles[0], any_crowded, ())
    counts = f"{psfs[0].n_stars} and {psfs[1].n_stars} stars"
    return Optics(psfs[0], psfs[1], "zogy", f"both PSFs were measured, on {counts}", any_crowded, ())


def _typical_fwhm(frame: Frame, sources: Sources) -> float:
    """Median FWHM of the most star-like sources."""
    stars = sources[stars_of(sources, snr=10)]
    if not len(stars):
        stars = sources[sources.fwhm > 1]
    if not len(stars):
        raise SubtractionError(
            f"{frame.name}: no source of {len(sources)} tells how wide a star is; use a deeper frame"
        )
    return float(np.median(stars.fwhm))
