"""The other programs that `difference` is measured beside, each called as its authors document it.

They receive frames that are already registered and free of sky (ours), so their
cost is that of subtraction and detection alone; our own cost includes all of it.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from astrid.errors import AstridError

__all__ = ["FAILURES", "PEERS", "Peer", "PeerInput", "detections", "matched_map"]

# what may go wrong in one part of a benchmark without ending it: the part becomes a missed row
FAILURES = (AstridError, ArithmeticError, ImportError, LookupError, OSError, TypeError, ValueError)

_SIGMA = 2.354820045  # FWHM of a Gaussian of unit sigma


@dataclass(frozen=True, eq=False)
class PeerInput:
    """What a peer is given.

    Parameters
    ----------
    science, reference : (ny, nx) float32 ndarray, ADU
        On one grid, sky subtracted, the reference not scaled in flux; no pixel is masked.
    fwhm_science, fwhm_reference : float, px
        The true ones, which the peers cannot measure themselves.
    flux_ratio : float
        The true one; only the Gaussian recipe uses it, the others fit it.
    sky_science, sky_reference : float, ADU
        What was subtracted, for noise models that start from counts.
    gain : float, e-/ADU
    """

    science: NDArray[np.float32]
    reference: NDArray[np.float32]
    fwhm_science: float
    fwhm_reference: float
    flux_ratio: float
    sky_science: float
    sky_reference: float
    gain: float


@dataclass(frozen=True)
class Peer:
    """A program to stand beside.

    Parameters
    ----------
    name : str
        Of the package, with what was chosen in it.
    package : str or None
        Distribution on PyPI; None for a recipe of a few lines.
    find : callable
        From `PeerInput` to the detections, (n, 3): x, y, signed S/N.
    repeats : int
        Calls of which the cheapest counts: 2 where the first one compiles.
    """

    name: str
    package: str | None
    find: Callable[[PeerInput], NDArray[np.float64]]
    repeats: int

    @property
    def installed(self) -> bool:
        """Whether it can be run here."""
        return self.package is None or util.find_spec(self.package) is not None

    @property
    def label(self) -> str:
        """Name and version."""
        if self.package is None or not self.installed:
            return self.name
        return f"{self.name} {metadata.version(self.package)}"


def matched_map(difference: NDArray[np.floating], fwhm: float) -> NDArray[np.float64]:
    """Difference filtered by a Gaussian PSF, over its robust sigma, (ny, nx) float64."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(np.nan_to_num(np.asarray(difference, np.float64)), fwhm / _SIGMA)
    sigma = 1.4826 * np.median(np.abs(smooth - np.median(smooth)))
    filtered: NDArray[np.float64] = smooth / sigma
    return filtered


def detections(significance: NDArray[np.floating], threshold: float = 5.0) -> NDArray[np.float64]:
    """Local extrema of either sign beyond a threshold, at least 8 px from the edge.

    Parameters
    ----------
    significance : (ny, nx) float ndarray, sigma
    threshold : float, sigma

    Returns
    -------
    found : (n, 3) float64 ndarray
        x, y (px, 0-based) and signed S/N.
    """
    from scipy.ndimage import maximum_filter

    size = np.abs(significance)
    peaks = (size == maximum_filter(size, 7)) & (size > threshold)
    peaks[:8], peaks[-8:], peaks[:, :8], peaks[:, -8:] = False, False, False, False
    y, x = np.nonzero(peaks)
    return np.stack([x, y, significance[y, x]], axis=1).astype(np.float64)


def gaussian_match(pair: PeerInput) -> NDArray[np.float64]:
    """Blur the sharper frame by a Gaussian, subtract, divide by the rms: what many scripts do."""
    from scipy.ndimage import gaussian_filter

    science, reference = pair.science, pair.reference / np.float32(pair.flux_ratio)
    blur = np.sqrt(abs(pair.fwhm_reference**2 - pair.fwhm_science**2)) / _SIGMA
    if pair.fwhm_science < pair.fwhm_reference:
        science = gaussian_filter(science, blur)
    else:
        reference = gaussian_filter(reference, blur)
    fwhm = max(pair.fwhm_science, pair.fwhm_reference)
    return detections(matched_map(science - reference, fwhm))


def sfft_constant(pair: PeerInput) -> NDArray[np.float64]:
    """SFFT (Hu et al. 2022): numpy back end, one kernel for the frame, the sharper frame is convolved."""
    from astropy.io import fits
    from sfft.CustomizedPacket import Customized_Packet

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        paths = {name: str(Path(folder) / f"{name}.fits") for name in ("science", "reference")}
        fits.writeto(paths["science"], pair.science.astype(np.float64))
        fits.writeto(paths["reference"], pair.reference.astype(np.float64))
        _, difference = Customized_Packet.CP(
            FITS_REF=paths["reference"],
            FITS_SCI=paths["science"],
            FITS_mREF=paths["reference"],
            FITS_mSCI=paths["science"],
            ForceConv="SCI" if pair.fwhm_science < pair.fwhm_reference else "REF",
            GKerHW=6,
            KerPolyOrder=0,
            BGPolyOrder=0,
            BACKEND_4SUBTRACT="Numpy",
            NUM_CPU_THREADS_4SUBTRACT=1,
            VERBOSE_LEVEL=0,
        )[:2]
    # SFFT works on transposed arrays
    return detections(matched_map(difference.T, max(pair.fwhm_science, pair.fwhm_reference)))


def stdpipe_sfft(pair: PeerInput) -> NDArray[np.float64]:
    """The run_sfft of stdpipe, with noise maps and one 13 x 13 kernel; the sharper frame is convolved.

    Its default kernel, 7 x 7 and quadratic in position, cost five times as much
    and left three times as many false detections on these pairs.
    """
    from stdpipe.subtraction import run_sfft

    sharper_science = pair.fwhm_science < pair.fwhm_reference
    image, template = (pair.reference, pair.science) if sharper_science else (pair.science, pair.reference)
    skies = (
        (pair.sky_reference, pair.sky_science) if sharper_science else (pair.sky_science, pair.sky_reference)
    )
    with contextlib.redirect_stdout(io.StringIO()):
        _, scaled = run_sfft(
            image + skies[0],
            template + skies[1],
            err=True,
            template_err=True,
            image_gain=pair.gain,
            template_gain=pair.gain,
            kernel_shape=(13, 13),
            kernel_poly_order=0,
            bg_poly_order=0,
            flux_poly_order=0,
            get_scaled=True,
        )
    sign = -1 if sharper_science else 1
    return detections(sign * matched_map(scaled, max(pair.fwhm_science, pair.fwhm_reference)))


PEERS = (
    Peer("Gaussian match with the true flux ratio", None, gaussian_match, repeats=2),
    Peer("sfft, numpy back end, constant kernel", "sfft", sfft_constant, repeats=2),
    Peer("stdpipe run_sfft, constant kernel", "stdpipe", stdpipe_sfft, repeats=1),
)
