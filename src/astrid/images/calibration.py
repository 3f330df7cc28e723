"""Instrumental calibration: overscan, bias, dark, flat, bad pixels, cosmic rays, trails.

It applies master frames, it does not make them; and it refuses any step that the
header says was done before.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import CalibrationError, UsageError
from astrid.images import headers
from astrid.images.calibration_steps import Reduction
from astrid.images.fitsfile import choose_image, damage_refused, open_fits
from astrid.images.frame import Flag, Frame
from astrid.images.profiles import Profile, detect_profile, load_profile
from astrid.images.provenance import RECORDS, history_lines, inherited_cards, steps_done
from astrid.images.reading import read_frame
from astrid.images.trails import Trail
from astrid.images.writing import write_fits

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ["Calibrated", "CalibrationSummary", "calibrate", "calibrate_file"]


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A calibrated frame and what was done to it.

    Parameters
    ----------
    frame : Frame
    steps : dict of str to str
        Each step that was done, in order, with one sentence.
    trails : tuple of Trail
    """

    frame: Frame
    steps: dict[str, str] = field(default_factory=dict)
    trails: tuple[Trail, ...] = ()


@dataclass(frozen=True)
class CalibrationSummary:
    """What `calibrate_file` did.

    Parameters
    ----------
    input, output : str
        Paths.
    profile : str
        Name of the survey profile that was used.
    shape : (ny, nx)
        Of the calibrated image.
    steps : tuple of str
        Names of the steps, in order.
    history : tuple of str
        One sentence for each.
    n_bad, n_saturated, n_cosmic_ray, n_trail : int
        Flagged pixels.
    trails : tuple of Trail
    warnings : tuple of str
    """

    input: str
    output: str
    profile: str
    shape: tuple[int, int]
    steps: tuple[str, ...]
    history: tuple[str, ...]
    n_bad: int
    n_saturated: int
    n_cosmic_ray: int
    n_trail: int
    trails: tuple[Trail, ...]
    warnings: tuple[str, ...]


def calibrate(
    raw: Frame,
    *,
    bias: Frame | None = None,
    dark: Frame | None = None,
    flat: Frame | None = None,
    bad_pixels: NDArray[Any] | None = None,
    overscan: str | None = None,
    trim: str | None = None,
    cosmic_rays: bool = False,
    trails: bool = False,
    done: Mapping[str, str] | None = None,
) -> Calibrated:
    """Calibrate one exposure with master frames.

    The steps are applied in this order: overscan and trim, bias, dark scaled by
    the exposure times, flat divided by its median, bad pixels, cosmic rays
    (van Dokkum 2001, by astroscrappy) and straight trails. Pixels are flagged
    and never replaced.

    Parameters
    ----------
    raw : Frame
        As read, in ADU.
    bias, dark, flat : Frame, optional
        Masters; those of the size of the raw frame are trimmed with it. A dark
        that still holds the bias is cleared of it when the bias is given.
    bad_pixels : (ny, nx) ndarray, optional
        Non-zero is bad; of the size of the raw or of the trimmed frame.
    overscan : str, optional
        FITS section ``[x1:x2,y1:y2]``, 1-based and inclusive; the median of each
        row (or column, if the section is wider than high) is subtracted.
    trim : str, optional
        Section that is kept.
    cosmic_rays, trails : bool
        Whether to look for them.
    done : dict of str to str, optional
        Steps already done, with the evidence, from `steps_done`.

    Returns
    -------
    calibrated : Calibrated

    Raises
    ------
    CalibrationError
        A step was done already, or a master does not fit.
    UsageError
        Nothing was asked for.

    References
    ----------
    van Dokkum 2001, PASP 113, 1420 (cosmic rays).
    """
    asked = {
        "overscan": overscan, "bias": bias, "dark": dark, "flat": flat, "bad_pixels": bad_pixels,
        "cosmic_rays": cosmic_rays or None, "trails": trails or None,
    }  # fmt: skip
    steps = [step for step, value in asked.items() if value is not None]
    if not steps and trim is None:
        raise UsageError(f"{raw.name}: no calibration step was asked for; give at least a bias, dark or flat")
    for step in steps:
        if step in (done or {}):
            raise CalibrationError(
                f"{raw.name}: the {step.replace('_', ' ')} step was done already ({(done or {})[step]}); "
                "leave it out"
            )
    work = Reduction(raw)
    if overscan is not None or trim is not None:
        work.overscan(overscan, trim)
    masters = {
        name: work.fitted(frame, name)
        for name, frame in (("bias", bias), ("dark", dark), ("flat", flat))
        if frame
    }
    if "bias" in masters:
        work.subtract_bias(masters["bias"])
    if "dark" in masters:
        work.subtract_dark(masters["dark"], masters.get("bias"), (done or {}))
    if "flat" in masters:
        work.divide_flat(masters["flat"])
    if bad_pixels is not None:
        work.mask_bad(np.asarray(bad_pixels))
    if cosmic_rays:
        work.mask_cosmic_rays()
    found = work.mask_trails() if trails else ()
    return Calibrated(work.frame, work.steps, found)


def calibrate_file(
    raw: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    bias: str | os.PathLike[str] | None = None,
    dark: str | os.PathLike[str] | None = None,
    flat: str | os.PathLike[str] | None = None,
    bad_pixels: str | os.PathLike[str] | None = None,
    overscan: str | bool | None = None,
    trim: str | None = None,
    cosmic_rays: bool = False,
    trails: bool = False,
    ext: int | str | None = None,
    profile: str | Path | None = None,
    overrides: Mapping[str, float | str] | None = None,
) -> CalibrationSummary:
    """Calibrate one FITS file into another; see `calibrate` for the steps.

    Parameters
    ----------
    raw, out : path
        The image, and the file to write.
    bias, dark, flat, bad_pixels : path, optional
        FITS files of the masters.
    overscan : str or bool, optional
        A FITS section, or true for the header's BIASSEC.
    trim : str, optional
        A FITS section; with `overscan`, TRIMSEC or DATASEC of the header if not given.
    cosmic_rays, trails : bool
    ext : int or str, optional
        HDU of the raw image.
    profile, overrides
        As in `read_frame`.

    Returns
    -------
    summary : CalibrationSummary

    Raises
    ------
    CalibrationError, FrameError, OutputError, UsageError
    """
    frame = read_frame(raw, ext=ext, profile=profile, overrides=overrides, require=())
    header, survey = _raw_header(raw, ext, profile)
    if overscan is True or overscan == "":
        overscan = _keyword_section(header, ("BIASSEC",), frame.name, "--overscan [x1:x2,y1:y2]")
    overscan = overscan or None
    if overscan is not None and trim is None:
        found = headers.header_mapping([header], ("TRIMSEC", "DATASEC"))
        trim = str(next(iter(found.values()))) if found else None
    paths = {"bias": bias, "dark": dark, "flat": flat}
    # a master is read by the profile of the image, but a gain given for the image says nothing of it
    masters = {
        step: read_frame(path, profile=profile, require=())
        for step, path in paths.items()
        if path is not None
    }
    bad = None if bad_pixels is None else _bad_pixel_file(bad_pixels, survey, frame)
    result = calibrate(
        frame, bad_pixels=bad, overscan=overscan, trim=trim, cosmic_rays=cosmic_rays, trails=trails,
        done=steps_done(header, survey), **masters,
    )  # fmt: skip
    used = {
        **{step: Path(path).name for step, path in paths.items() if path},
        "bad_pixels": _name(bad_pixels),
    }
    records = {
        RECORDS[step]: (used.get(step) or True, sentence[:40]) for step, sentence in result.steps.items()
    }
    history = [f"AstrID calibrate: {step}: {sentence}" for step, sentence in result.steps.items()]
    write_fits(
        out,
        result.frame,
        header={**inherited_cards(header, result.frame), "BUNIT": "adu", **records},
        history=[*history_lines(header), f"AstrID calibrate: input {Path(raw).name}", *history],
    )
    mask = result.frame.mask
    return CalibrationSummary(
        input=os.fspath(raw),
        output=os.fspath(out),
        profile=survey.name,
        shape=result.frame.shape,
        steps=tuple(result.steps),
        history=tuple(result.steps.values()),
        n_bad=_count(mask, Flag.BAD),
        n_saturated=_count(mask, Flag.SATURATED),
        n_cosmic_ray=_count(mask, Flag.COSMIC_RAY),
        n_trail=_count(mask, Flag.TRAIL),
        trails=result.trails,
        warnings=result.frame.warnings,
    )


def _raw_header(
    path: str | os.PathLike[str], ext: int | str | None, profile: str | Path | None
) -> tuple[Header, Profile]:
    """Header of the image with what only the primary header says, and the profile."""
    name = os.fspath(path)
    with open_fits(path) as (hdus, _), damage_refused(name):
        found = (
            load_profile(profile)
            if profile is not None
            else detect_profile(headers.JointHeader([hdu.header for hdu in hdus]))
        )
        header = hdus[choose_image(hdus, ext, found, name)].header.copy()
        if header is not hdus[0].header:
            header.extend(hdus[0].header, unique=True, update=False, strip=True)
        return header, found


def _keyword_section(header: Header, keywords: Sequence[str], name: str, option: str) -> str:
    found = headers.header_mapping([header], keywords)
    if not found:
        raise CalibrationError(f"{name}: there is no {keywords[0]} in the header; pass {option}")
    return str(next(iter(found.values())))


def _bad_pixel_file(path: str | os.PathLike[str], profile: Profile, frame: Frame) -> NDArray[Any]:
    name = os.fspath(path)
    with open_fits(path) as (hdus, _), damage_refused(name):
        return np.nan_to_num(np.asarray(hdus[choose_image(hdus, None, profile, name)].data), nan=1.0)


def _count(mask: NDArray[np.uint16], flag: Flag) -> int:
    return int((mask & np.uint16(flag) != 0).sum())


def _name(path: str | os.PathLike[str] | None) -> str | None:
    return None if path is None else Path(path).name
