"""Reading any FITS image into a `Frame`.

Everything that a file can have wrong ends either in a sentence in
``Frame.warnings`` or in a `FrameError`; nothing is calibrated here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import FrameError, UsageError
from astrid.images import headers, planes
from astrid.images.celestial import celestial_wcs
from astrid.images.fitsfile import choose_image, damage_refused, image_shape, open_fits
from astrid.images.frame import Flag, Frame
from astrid.images.profiles import Profile, detect_profile, load_profile

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ["read_frame"]

# Facts that the user can give, with the option that names each in a message.
OPTIONS = {
    "gain": "--gain (e-/ADU)",
    "read_noise": "--read-noise (e-)",
    "saturation": "--saturation (ADU)",
    "exposure": "--exposure (s)",
    "filter": "--filter",
    "mjd": "--mjd (middle of the exposure, UTC)",
    "zero_point": "--zero-point (mag)",
    "mask": "--mask FILE",
    "variance": "--variance FILE",
}
_NUMBERS = ("gain", "read_noise", "saturation", "exposure", "mjd", "zero_point")

# Astronomical fill values such as the largest float32 are far above, counts far below.
_ABSURD = 1e30


def read_frame(
    path: str | os.PathLike[str],
    *,
    ext: int | str | None = None,
    profile: str | Path | None = None,
    overrides: Mapping[str, float | str | None] | None = None,
    require: Collection[str] = ("gain",),
) -> Frame:
    """Read one FITS image, whatever its layout, and the facts about it.

    Pixels that are a rate are multiplied by the exposure time, so that a frame
    always holds total counts; electrons count as ADU with a gain of 1.

    Parameters
    ----------
    path : str or path-like
        FITS file, plain, ``.gz``, ``.bz2``, ``.xz`` or tile-compressed (``.fz``).
    ext : int or str, optional
        Number or name of the HDU; ``"SCI,2"`` is the second of that name. Found if not given.
    profile : str or Path, optional
        Name of a survey profile or path of a user's own; recognised if not given.
    overrides : mapping, optional
        Facts that replace the header's: ``gain`` (e-/ADU), ``read_noise`` (e-),
        ``saturation`` (ADU of the total counts), ``exposure`` (s), ``filter``,
        ``mjd`` (days), ``zero_point`` (mag of 1 ADU of the total counts), and
        the paths ``mask`` and ``variance``.
    require : collection of str
        Facts without which the frame is refused; ``"wcs"`` is possible too.

    Returns
    -------
    frame : Frame

    Raises
    ------
    FrameError
        Not a readable image, or a required fact is absent.
    UsageError
        An override or a profile that means nothing.
    """
    name = os.fspath(path)
    given = _checked(overrides or {})
    chosen = load_profile(profile) if profile is not None else None
    with open_fits(path) as (hdus, problems), damage_refused(name):
        survey = chosen or detect_profile(headers.JointHeader([hdu.header for hdu in hdus]))
        hdu = hdus[choose_image(hdus, ext, survey, name)]
        head = [hdu.header] if hdu is hdus[0] else [hdu.header, hdus[0].header]
        data = _pixels(hdu, survey, name)
        facts = headers.read_facts(head, survey)
        problems += [sentence for sentence in facts.warnings if not _replaced(sentence, given, facts)]
        values: dict[str, Any] = {**facts.values, **{key: given[key] for key in given if key in OPTIONS}}
        data, scale = _total_counts(data, head, survey, values, given, name, problems)
        if "mjd" not in values:
            values["mjd"] = headers.mid_exposure(head, survey.time, values.get("exposure"), problems)
        mask = planes.read_mask(hdus, hdu, survey, data.shape, name, problems)
        variance = planes.read_variance(hdus, hdu, survey, data.shape, scale, mask, name, problems)
        if "saturation" not in values:
            values["saturation"] = planes.saturation_plateau(hdu, data, problems)
        wcs = celestial_wcs(hdu.header, data.shape, problems)
        correlation = planes.read_noise_correlation(hdus)
    if "mask" in given:
        mask |= planes.mask_file(given["mask"], survey, data.shape, name)
    if "variance" in given:
        variance = planes.variance_file(given["variance"], survey, data.shape, name)
    if values.get("saturation") is not None:
        # A level beyond single precision saturates nothing.
        level = np.float32(min(values["saturation"], float(np.finfo(np.float32).max)))
        mask |= np.where(data >= level, np.uint16(Flag.SATURATED), np.uint16(0))
    mask |= _without_data(data, name, problems)
    if values.get("gain") is None and variance is not None:
        values["gain"] = planes.gain_of_variance(data, variance, mask, problems)
    for fact in require:
        if (wcs if fact == "wcs" else values.get(fact)) is None:
            raise FrameError(_absent(name, fact, facts))
    fact_values = {key: values.get(key) for key in (*_NUMBERS, "filter", "telescope", "instrument")}
    return Frame(
        data,
        mask,
        variance,
        noise_correlation=correlation,
        wcs=wcs,
        name=name,
        warnings=tuple(dict.fromkeys(problems)),
        **fact_values,
    )


def _absent(name: str, fact: str, facts: headers.Facts) -> str:
    if fact == "wcs":
        return f"{name}: a celestial WCS is needed and the header has no usable one; solve the field first"
    return headers.missing(facts, name, fact, OPTIONS.get(fact, "another image"))


def _checked(overrides: Mapping[str, float | str | None]) -> dict[str, Any]:
    """Overrides with numbers as numbers."""
    given: dict[str, Any] = {}
    for fact, value in overrides.items():
        if fact not in OPTIONS:
            raise UsageError(f"{fact!r} cannot be given for a frame; give some of {', '.join(OPTIONS)}")
        if value is None:
            continue
        number = headers.as_number(value) if fact in _NUMBERS else None
        low = 0 if fact in ("gain", "saturation", "exposure") else -math.inf
        if fact in _NUMBERS and (number is None or number <= low or (fact == "read_noise" and number < 0)):
            raise UsageError(f"{fact.replace('_', ' ')} is {value!r}, expected a number that is physical")
        given[fact] = number if fact in _NUMBERS else str(value)
    return given


def _replaced(sentence: str, given: Mapping[str, Any], facts: headers.Facts) -> bool:
    """Whether a complaint about a keyword is settled by what the user gave."""
    return any(sentence.startswith(key + " ") for fact in given for key in facts.tried.get(fact, ()))


def _pixels(hdu: Any, profile: Profile, name: str) -> NDArray[Any]:
    """Pixels as native float with NaN where the file has no value."""
    raw = hdu.data
    if raw is None:
        raise FrameError(f"{name}: the HDU holds no pixels; choose another with --ext")
    raw = np.reshape(raw, image_shape(hdu))
    kind = (
        np.float64
        if raw.dtype.itemsize > 4 or (raw.dtype.kind in "iu" and raw.dtype.itemsize == 4)
        else np.float32
    )
    with np.errstate(all="ignore"):
        data = raw.astype(kind)
        data[~(np.abs(data) < _ABSURD)] = np.nan
        for fill in profile.fill_values:
            data[data == kind(fill)] = np.nan
        if profile.asinh:
            data = _from_asinh(data, hdu.header)
    finite = data[np.isfinite(data)]
    if not finite.size:
        raise FrameError(f"{name}: no pixel has data (all {data.size} are NaN, infinite or fill values)")
    if finite.min() == finite.max():
        raise FrameError(
            f"{name}: every pixel has the value {finite[0]:g}, expected an image of the sky; check the file"
        )
    return data


def _from_asinh(data: NDArray[Any], header: Header) -> NDArray[Any]:
    """Undo the asinh compression of Pan-STARRS: f = BOFFSET + 2 BSOFTEN sinh(v ln10 / 2.5)."""
    softening = headers.as_number(headers.keyword_value([header], "BSOFTEN"))
    offset = headers.as_number(headers.keyword_value([header], "BOFFSET"))
    if softening is None or offset is None:
        return data
    linear: NDArray[Any] = offset + 2 * softening * np.sinh(data.astype(np.float64) * (math.log(10) / 2.5))
    return linear


def _total_counts(
    data: NDArray[Any],
    head: Sequence[Header],
    profile: Profile,
    values: dict[str, Any],
    given: Mapping[str, Any],
    name: str,
    problems: list[str],
) -> tuple[NDArray[np.float32], float]:
    """Pixels as total counts, and the factor that was applied; gain and zero point follow."""
    text = str(headers.keyword_value(head, "BUNIT") or profile.unit)
    unit = headers.pixel_unit(text, head)
    if isinstance(unit, str):
        raise FrameError(f"{name}: BUNIT {text!r} is {unit}; convert the pixels to counts first")
    if not unit.known:
        problems.append(f"BUNIT {text!r} is not known; the pixels are taken for total counts")
    exposure = values.get("exposure")
    if unit.per_second and exposure is None:
        raise FrameError(
            f"{name}: the pixels are a rate ({text}) and no exposure time is known; "
            f"pass {OPTIONS['exposure']}"
        )
    factor = float(exposure) if unit.per_second and exposure is not None else 1.0
    if unit.divide_by:
        factor /= headers.as_number(headers.keyword_value(head, unit.divide_by)) or 1.0
        values.setdefault("zero_point", headers.surface_brightness_zero_point(head))
    if unit.electrons and "gain" not in given:
        if values.get("gain") not in (None, 1.0):
            problems.append(f"the pixels are electrons ({text}), so the gain is 1 and not {values['gain']:g}")
        values["gain"] = 1.0
    if unit.zero_point is not None:
        values.setdefault("zero_point", unit.zero_point)
    of_one_second = (unit.per_second or profile.zero_point_per_second) and "zero_point" not in given
    if of_one_second and values.get("zero_point") is not None and exposure is not None:
        values["zero_point"] += 2.5 * math.log10(exposure)
    with np.errstate(over="ignore", invalid="ignore"):
        return (data * factor).astype(np.float32), factor


def _without_data(data: NDArray[np.float32], name: str, problems: list[str]) -> NDArray[np.uint16]:
    broken = ~np.isfinite(data)
    count = int(broken.sum())
    if count == data.size:
        raise FrameError(f"{name}: no pixel has data once the pixels are converted to counts; check BUNIT")
    if count:
        problems.append(f"{count} pixels ({100 * count / data.size:.2g} %) are NaN, infinite or fill values")
    return np.where(broken, np.uint16(Flag.NO_DATA), np.uint16(0))
