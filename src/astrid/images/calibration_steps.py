"""The steps of calibration, one method each, on one frame on its way.

What is asked for and what was done before is decided in `calibration`; here the
arithmetic is done, by ccdproc where it can, and each step leaves a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import CalibrationError
from astrid.images.frame import Flag, Frame
from astrid.images.sections import Section
from astrid.images.trails import Trail, find_trails, trail_mask

__all__ = ["Reduction"]

# A flat below this part of its median is no measurement of the pixel's response.
_MIN_FLAT = 0.1
_MIRROR = 12
_BAD_MASTER = int(Flag.BAD | Flag.NO_DATA)


class Reduction:
    """One frame on its way through the steps.

    Parameters
    ----------
    raw : Frame

    Attributes
    ----------
    frame : Frame
        As it is after the steps so far.
    steps : dict of str to str
        The steps so far, in order, with one sentence each.
    """

    def __init__(self, raw: Frame) -> None:
        self.frame = raw
        self.steps: dict[str, str] = {}
        self._raw_shape = raw.shape
        self._kept: Section | None = None
        self._offset = 0.0  # level of the overscan, that a bias must not hold again

    def overscan(self, section: str | None, trim: str | None) -> None:
        """Subtract the overscan and cut the frame to the section that is kept."""
        import ccdproc

        name = self.frame.name
        ccd = _ccd(self.frame)
        if section is not None:
            strip = Section.parse(section, self._raw_shape, name)
            along_rows = strip.height >= strip.width
            self._offset = float(np.median(self.frame.data[strip.slices]))
            ccd = ccdproc.subtract_overscan(
                ccd, fits_section=str(strip), overscan_axis=1 if along_rows else 0, median=True
            )
            line = "row" if along_rows else "column"
            self.steps["overscan"] = (
                f"median of each {line} of {strip} subtracted (level {self._offset:.2f} ADU)"
            )
        frame = self._with_data(ccd.data, self._offset)
        if trim is not None:
            self._kept = Section.parse(trim, self._raw_shape, name)
            frame = _cut(frame, self._kept)
            if "overscan" in self.steps:
                self.steps["overscan"] += f", trimmed to {self._kept}"
        self.frame = frame

    def fitted(self, master: Frame, what: str) -> Frame:
        """A master on the pixels of the frame."""
        if master.shape == self.frame.shape:
            return master
        if self._kept is not None and master.shape == self._raw_shape:
            return _cut(master, self._kept)
        raise CalibrationError(
            f"{self.frame.name}: the {what} {master.name} has the shape {master.shape}, the image "
            f"{self.frame.shape}; give one of the same detector and binning"
        )

    def subtract_bias(self, bias: Frame) -> None:
        """Subtract a master bias."""
        import ccdproc

        level = _median(bias)
        if "overscan" in self.steps and abs(level) > 0.5 * abs(self._offset) > 0:
            raise CalibrationError(
                f"{self.frame.name}: the bias {bias.name} holds {level:.1f} ADU of the offset that the "
                "overscan takes away; give a bias with its overscan subtracted, or leave the overscan out"
            )
        data = ccdproc.subtract_bias(_ccd(self.frame), _ccd(bias)).data
        self.frame = self._flagged(self._with_data(data, level), bias.mask & _BAD_MASTER != 0)
        self.steps["bias"] = f"{_base(bias)} subtracted (median {level:.2f} ADU)"

    def subtract_dark(self, dark: Frame, bias: Frame | None, done: Mapping[str, str]) -> None:
        """Subtract a master dark, scaled by the exposure times."""
        import ccdproc
        from astropy import units

        exposure, dark_exposure = self.frame.exposure, dark.exposure
        if exposure is None or dark_exposure is None:
            which = dark.name if dark_exposure is None else self.frame.name
            raise CalibrationError(
                f"{which}: the dark is scaled by the exposure times and this one is not known; "
                "pass --exposure (s)"
            )
        note = ""
        held = _median(dark)
        unbiased = bias is None and "bias" not in done and "overscan" not in self.steps
        if bias is not None and _median(bias) > 10 and held > 0.5 * _median(bias):
            dark = dark.with_(data=dark.data - bias.data)
            note = ", its own bias subtracted first"
        elif unbiased and held > 10 and abs(dark_exposure / exposure - 1) > 0.01:
            raise CalibrationError(
                f"{self.frame.name}: the dark {dark.name} of {dark_exposure:g} s may still hold the bias "
                f"and cannot be scaled to {exposure:g} s; give the bias too"
            )
        scale = exposure / dark_exposure
        level = _median(dark) * scale
        data = ccdproc.subtract_dark(
            _ccd(self.frame), _ccd(dark), dark_exposure=dark_exposure * units.s,
            data_exposure=exposure * units.s, exposure_unit=units.s, scale=True,
        ).data  # fmt: skip
        self.frame = self._flagged(self._with_data(data, level), dark.mask & _BAD_MASTER != 0)
        self.steps["dark"] = f"{_base(dark)} subtracted, scaled by {scale:.6g}{note} (median {level:.3f} ADU)"

    def divide_flat(self, flat: Frame) -> None:
        """Divide by a master flat over its median; dead pixels are flagged and left."""
        import ccdproc

        if flat.filter and self.frame.filter and flat.filter != self.frame.filter:
            raise CalibrationError(
                f"{self.frame.name}: the flat {flat.name} is of filter {flat.filter!r} and the image of "
                f"{self.frame.filter!r}; give the flat of the same filter"
            )
        norm = _median(flat)
        if not norm > 0:
            raise CalibrationError(
                f"{self.frame.name}: the flat {flat.name} has the median {norm:g}, expected a positive one; "
                "give another flat"
            )
        dead = ~(flat.data > _MIN_FLAT * norm) | (flat.mask & _BAD_MASTER != 0)
        safe = flat.with_(data=np.where(dead, np.float32(norm), flat.data))
        data = ccdproc.flat_correct(_ccd(self.frame), _ccd(safe), norm_value=norm).data
        frame = self._with_data(data, 0.0)
        if frame.variance is not None:
            frame = frame.with_(variance=frame.variance / np.square(safe.data / np.float32(norm)))
        self.frame = self._flagged(frame, dead)
        self.steps["flat"] = (
            f"divided by {_base(flat)} over its median {norm:.6g}, {int(dead.sum())} dead pixels flagged"
        )

    def mask_bad(self, bad: NDArray[Any]) -> None:
        """Flag the pixels that are not zero in a bad-pixel mask."""
        if bad.shape != self.frame.shape and self._kept is not None and bad.shape == self._raw_shape:
            bad = bad[self._kept.slices]
        if bad.shape != self.frame.shape:
            raise CalibrationError(
                f"{self.frame.name}: the bad-pixel mask has the shape {bad.shape}, the image "
                f"{self.frame.shape}; give one of the same detector and binning"
            )
        self.frame = self._flagged(self.frame, bad != 0)
        self.steps["bad_pixels"] = f"{int((bad != 0).sum())} pixels flagged"

    def mask_cosmic_rays(self) -> None:
        """Flag cosmic rays (van Dokkum 2001) with astroscrappy."""
        from astroscrappy import detect_cosmics

        frame = self.frame
        for fact, option in (("gain", "--gain (e-/ADU)"), ("read_noise", "--read-noise (e-)")):
            if getattr(frame, fact) is None:
                raise CalibrationError(
                    f"{frame.name}: the {fact.replace('_', ' ')} is needed to tell cosmic rays from noise; "
                    f"pass {option}"
                )
        # astroscrappy takes stars within 6 px of the border for cosmic rays: mirror it
        padded = np.pad(frame.data, _MIRROR, mode="symmetric")
        masked = np.pad(frame.mask != 0, _MIRROR, mode="symmetric")
        hits, _ = detect_cosmics(
            np.ascontiguousarray(padded, np.float32), inmask=np.ascontiguousarray(masked),
            gain=frame.gain, readnoise=max(float(frame.read_noise or 0), 0.1),
            satlevel=float(frame.saturation or 1e30), sigclip=4.5, sigfrac=0.3, objlim=5.0,
            cleantype="medmask",
        )  # fmt: skip
        hits = hits[_MIRROR:-_MIRROR, _MIRROR:-_MIRROR]
        mask = frame.mask | np.where(hits, np.uint16(Flag.COSMIC_RAY), np.uint16(0))
        self.frame = frame.with_(mask=mask)
        self.steps["cosmic_rays"] = (
            f"{int(hits.sum())} pixels flagged by astroscrappy (sigclip 4.5, objlim 5)"
        )

    def mask_trails(self) -> tuple[Trail, ...]:
        """Flag straight trails and return them."""
        found = tuple(find_trails(self.frame))
        self.frame = self.frame.with_(mask=self.frame.mask | trail_mask(self.frame.shape, list(found)))
        ends = "; ".join(f"({t.x0:.0f}, {t.y0:.0f}) to ({t.x1:.0f}, {t.y1:.0f})" for t in found)
        self.steps["trails"] = f"{len(found)} straight trails flagged" + (f": {ends}" if ends else "")
        return found

    def _with_data(self, data: NDArray[Any], offset: float) -> Frame:
        """The frame with new pixels; the saturation level moves with the level taken away."""
        saturation = self.frame.saturation
        if saturation is not None and saturation - offset > 0:
            saturation -= offset
        return self.frame.with_(data=np.asarray(data, np.float32), saturation=saturation)

    def _flagged(self, frame: Frame, bad: NDArray[np.bool_]) -> Frame:
        return frame.with_(mask=frame.mask | np.where(bad, np.uint16(Flag.BAD), np.uint16(0)))


def _ccd(frame: Frame) -> Any:
    from astropy.nddata import CCDData

    return CCDData(frame.data.astype(np.float64), unit="adu")


def _cut(frame: Frame, section: Section) -> Frame:
    rows, columns = section.slices
    return frame.with_(
        data=frame.data[rows, columns],
        mask=frame.mask[rows, columns],
        variance=None if frame.variance is None else frame.variance[rows, columns],
        wcs=None if frame.wcs is None else frame.wcs[rows, columns],
    )


def _median(frame: Frame) -> float:
    return float(np.median(frame.data[frame.mask & _BAD_MASTER == 0]))


def _base(frame: Frame) -> str:
    return Path(frame.name).name
