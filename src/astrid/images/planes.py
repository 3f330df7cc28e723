"""The planes beside an image: mask, variance and noise correlation, as a profile says.

It also finds what the pixels themselves give away, saturation and gain; which
HDU holds the image is decided in `fitsfile`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import FrameError
from astrid.images.fitsfile import choose_image, damage_refused, image_shape, is_image, open_fits
from astrid.images.frame import Flag
from astrid.images.headers import as_number, keyword_value
from astrid.images.profiles import Profile

if TYPE_CHECKING:
    from astropy.io.fits import HDUList, Header

__all__ = [
    "gain_of_variance",
    "mask_file",
    "read_mask",
    "read_noise_correlation",
    "read_variance",
    "saturation_plateau",
    "variance_file",
]

# An image has its brightest value once; as many equal maxima as this are a ceiling.
_PLATEAU = 4
_MIN_PLATEAU = 1000.0
_KIND_BY_NAME = {"ERR": "sigma", "ERROR": "sigma", "STDDEV": "sigma", "UNCERT": "sigma", "IVAR": "inverse"}


def read_mask(
    hdus: HDUList, image: Any, profile: Profile, shape: tuple[int, int], name: str, problems: list[str]
) -> NDArray[np.uint16]:
    """Mask of the image as `Flag` bits, all zero if the file has none.

    Parameters
    ----------
    hdus : HDUList
    image : HDU
        The image that the mask belongs to.
    profile : Profile
    shape : (ny, nx)
    name : str
        Of the file, for messages.
    problems : list of str
        Sentences are appended.

    Returns
    -------
    mask : (ny, nx) uint16 ndarray
    """
    hdu = _companion(hdus, image, profile.mask_extensions, shape, problems)
    if hdu is None:
        return np.zeros(shape, np.uint16)
    values = np.reshape(hdu.data, shape)
    return flags_of(values, hdu.header, profile, name)


def mask_file(path: str, profile: Profile, shape: tuple[int, int], name: str) -> NDArray[np.uint16]:
    """Mask from a file of its own, by the bits of the same profile.

    Parameters
    ----------
    path : str
    profile : Profile
    shape : (ny, nx)
        Of the image.
    name : str
        Of the image, for messages.

    Returns
    -------
    mask : (ny, nx) uint16 ndarray

    Raises
    ------
    FrameError
        Unreadable, or of another shape.
    """
    values, header = _plane_of_file(path, profile, profile.mask_extensions, shape, name, "mask")
    return flags_of(values, header, profile, path)


def variance_file(path: str, profile: Profile, shape: tuple[int, int], name: str) -> NDArray[np.float32]:
    """Variance (ADU^2 of the total counts) from a file of its own; see `mask_file`."""
    values, _ = _plane_of_file(path, profile, profile.variance_extensions, shape, name, "variance")
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float32)


def flags_of(
    values: NDArray[Any], header: Header | Mapping[str, Any], profile: Profile, name: str
) -> NDArray[np.uint16]:
    """Translate a survey's mask values into `Flag` bits."""
    bits: dict[int, Flag] = dict(profile.mask_bits)
    numbered = {plane: as_number(keyword_value([header], f"MP_{plane}")) for plane in profile.mask_planes}
    if any(bit is not None for bit in numbered.values()):
        bits = {int(bit): profile.mask_planes[plane] for plane, bit in numbered.items() if bit is not None}
    with np.errstate(invalid="ignore"):
        # a mask scaled by BZERO arrives as float; NaN is BLANK
        whole = np.where(np.isfinite(values), values, 0).astype(np.int64)
    mask = np.zeros(values.shape, np.uint16)
    if profile.mask_codes and whole.max() <= max(profile.mask_codes):
        for code, flag in profile.mask_codes.items():
            mask[whole == code] |= np.uint16(flag)
        return mask
    for bit, flag in bits.items():
        if 0 <= bit < 63 and flag:
            mask |= np.where(whole & (1 << bit), np.uint16(flag), np.uint16(0))
    if not bits and profile.mask_nonzero:
        mask |= np.where(whole != 0, np.uint16(profile.mask_nonzero), np.uint16(0))
    return mask


def read_variance(
    hdus: HDUList,
    image: Any,
    profile: Profile,
    shape: tuple[int, int],
    factor: float,
    mask: NDArray[np.uint16],
    name: str,
    problems: list[str],
) -> NDArray[np.float32] | None:
    """Variance of the total counts; a relative weight only marks pixels without data.

    Parameters
    ----------
    factor : float
        By which the pixels were multiplied to be total counts.
    mask : (ny, nx) uint16 ndarray
        Pixels of zero weight are flagged in place.

    Returns
    -------
    variance : (ny, nx) float32 ndarray, ADU^2, or None
    """
    hdu = _companion(hdus, image, profile.variance_extensions, shape, problems)
    if hdu is None:
        return None
    values = np.reshape(hdu.data, shape).astype(np.float64)
    kind = _KIND_BY_NAME.get(hdu.name.upper(), profile.variance_kind)
    if kind == "weight":
        mask |= np.where(values > 0, np.uint16(0), np.uint16(Flag.NO_DATA))
        return None
    with np.errstate(all="ignore"):
        if kind == "sigma":
            values = values**2
        elif kind == "inverse":
            values = 1 / values
        variance = (values * factor**2).astype(np.float32)
    usable = np.isfinite(variance) & (variance > 0)
    if not usable.any():
        problems.append(f"the plane {hdu.name!r} holds no usable variance; it is ignored")
        return None
    return variance


def read_noise_correlation(hdus: HDUList) -> NDArray[np.float32] | None:
    """Noise correlation of a frame that was written by `write_fits`."""
    for hdu in hdus:
        if hdu.name == "NOISECOR" and is_image(hdu):
            plane = np.asarray(hdu.data, np.float32)
            square = plane.ndim == 2 and plane.shape[0] == plane.shape[1] and plane.shape[0] % 2 == 1
            return plane if square and np.isfinite(plane).all() else None
    return None


def saturation_plateau(hdu: Any, data: NDArray[np.float32], problems: list[str]) -> float | None:
    """Saturation level of an integer image, from the ceiling that its pixels pile up at.

    Parameters
    ----------
    hdu : HDU
        For the type of the stored pixels.
    data : (ny, nx) float32 ndarray, ADU
    problems : list of str
        A sentence is appended if a level was found.

    Returns
    -------
    saturation : float, ADU, or None
    """
    if (as_number(keyword_value([hdu.header], "ZBITPIX")) or _stored_bits(hdu)) not in (8, 16, 32):
        return None
    finite = data[np.isfinite(data)]
    if not finite.size:
        return None
    top = float(finite.max())
    count = int((finite == top).sum())
    if count < _PLATEAU or top < _MIN_PLATEAU:
        return None
    problems.append(
        f"no keyword gives the saturation level; {count} pixels share the highest value {top:g}, "
        "which is taken for it (--saturation sets it)"
    )
    return top


def _stored_bits(hdu: Any) -> int:
    return int(getattr(hdu, "_orig_bitpix", None) or hdu.header.get("BITPIX", 0))


def gain_of_variance(
    data: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: NDArray[np.uint16],
    problems: list[str],
) -> float | None:
    """Gain from the slope of the variance plane against the pixels.

    The variance of a pixel is a constant plus counts / gain, so a plane that
    includes the noise of the sources gives the gain away.

    Parameters
    ----------
    data, variance : (ny, nx) float32 ndarray, ADU and ADU^2
    mask : (ny, nx) uint16 ndarray
    problems : list of str
        A sentence is appended if a gain was found.

    Returns
    -------
    gain : float, e-/ADU, or None
        `None` unless the slope is known within a few per cent.
    """
    good = (mask == 0) & np.isfinite(data) & np.isfinite(variance) & (variance > 0)
    counts, noise = data[good].astype(np.float64), variance[good].astype(np.float64)
    if counts.size < 1000:
        return None
    edges = np.quantile(counts, [0.0, 0.5, 0.9, 0.99, 0.999, 1.0])
    means, medians = [], []
    for low, high in pairwise(edges[1:]):
        inside = (counts > low) & (counts <= high)
        if inside.sum() >= 5:
            means.append(np.median(counts[inside]))
            medians.append(np.median(noise[inside]))
    if len(means) < 3 or np.ptp(means) <= 0:
        return None
    slopes = np.diff(medians) / np.diff(means)
    slope = float((medians[-1] - medians[0]) / (means[-1] - means[0]))
    if not (slope > 0 and np.all(np.abs(slopes / slope - 1) < 0.25)):
        return None
    problems.append(
        f"no keyword gives the gain; the variance plane rises with the counts as for {1 / slope:.3g} e-/ADU, "
        "which is taken (--gain sets it)"
    )
    return 1 / slope


def _companion(
    hdus: HDUList, image: Any, names: Iterable[str], shape: tuple[int, int], problems: list[str]
) -> Any:
    """The plane of the same version as the image, if its shape is that of the image."""
    for wanted in names:
        found = [
            hdu for hdu in hdus if hdu.name.upper() == wanted.upper() and is_image(hdu) and hdu is not image
        ]
        same = [hdu for hdu in found if hdu.ver == image.ver] or found[:1]
        if not same:
            continue
        if image_shape(same[0]) == shape:
            return same[0]
        problems.append(
            f"the plane {wanted!r} has the shape {image_shape(same[0])} and not {shape}; it is ignored"
        )
    return None


def _plane_of_file(
    path: str, profile: Profile, names: tuple[str, ...], shape: tuple[int, int], name: str, what: str
) -> tuple[NDArray[Any], Header]:
    with open_fits(path) as (hdus, _), damage_refused(path):
        named = [i for i, hdu in enumerate(hdus) if hdu.name.upper() in names and is_image(hdu)]
        hdu = hdus[named[0] if named else choose_image(hdus, None, profile, path)]
        found = image_shape(hdu)
        if found != shape:
            raise FrameError(
                f"{name}: the {what} {path} has the shape {found}, the image {shape}; "
                "give one of the same shape"
            )
        return np.reshape(np.asarray(hdu.data), shape), hdu.header
