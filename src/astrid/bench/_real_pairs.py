"""The rows of `difference` that come from real telescope images.

The images are those described in the README beside them; where they are absent
the rows are left out and the benchmark says so.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from astrid.bench._peers import FAILURES
from astrid.bench.frame import Row
from astrid.images.differencing import DifferenceResult, difference
from astrid.images.reading import read_frame

__all__ = ["real_images", "real_rows"]

log = logging.getLogger(__name__)

_TRANSIENT = (129.0, 127.5)  # decam_pair, px, 0-based
_EVENT = (271.5, 225.7)  # microlensing_series, px of frame 172
_AFTER = ("0158", "0164", "0176", "0180")  # frames in which the event has faded


def real_images() -> Path | None:
    """The folder with the real images: $ASTRID_REAL_DATA/images, or beside the source tree; or None."""
    given = os.environ.get("ASTRID_REAL_DATA")
    root = Path(given) if given else Path(__file__).resolve().parents[4] / "shared" / "data"
    return root / "images" if (root / "images").is_dir() else None


def real_rows(
    images: Path, on_stage: Callable[[str], None], only: tuple[str, ...] | None = None
) -> list[Row]:
    """All rows from real images; a set that fails gives its rows without a value.

    Parameters
    ----------
    images : Path
        From `real_images`.
    on_stage : callable
        Called with the name of each set.
    only : tuple of str, optional
        Names of the sets; all if not given.
    """
    rows: list[Row] = []
    for name, measure in (
        ("decam_pair", _decam), ("eso085_pair", _eso085), ("microlensing_series", _microlensing),
    ):  # fmt: skip
        if only is None or name in only:
            on_stage(f"real: {name}")
            rows += measure(images / name)
    return rows


# The header's gain is a single exposure's. A median of 5 has the noise of 5 x 0.697 exposures, 0.697
# being its efficiency against the mean for Gaussian noise.
_STACK_FACTS: dict[str, float | str] = {"gain": 3.984 * 5 * 0.697}


def _failed(name: str, goal: str | None, error: Exception) -> Row:
    log.warning("%s: %s", name, error)
    return Row(f"{name} (failed: {type(error).__name__})", None, goal=goal, data="real")


def _decam(folder: Path) -> list[Row]:
    rows: list[Row] = []
    single = "DEC-OBS{}{}.mini.fits.gz"
    pairs: list[tuple[str, str, str, int, dict[str, float | str]]] = [
        (f"DECam single pair {letter}", single.format("04", letter), single.format("18", letter), 13, {})
        for letter in "ab"
    ]
    pairs.append(("DECam stacks", "Stack-DEC-OBS04.fits.gz", "Stack-DEC-OBS18.fits.gz", 28, _STACK_FACTS))
    for name, science, reference, goal, facts in pairs:
        try:
            frames = [read_frame(folder / file, overrides=facts) for file in (science, reference)]
            result = difference(frames[0], frames[1])
        except FAILURES as error:
            rows.append(_failed(f"{name}: S/N of the transient", f">= {goal}", error))
            continue
        snr, others = _transient(result)
        rows.append(Row(f"{name}: S/N of the transient", snr, "sigma", "real", 1, f">= {goal}"))
        rows.append(Row(f"{name}: other unflagged candidates", others, "", "real", 1, "= 0"))
        if goal == 28:
            rows.append(_upstream(result, folder))
    return rows


def _transient(result: DifferenceResult) -> tuple[float | None, int]:
    """S/N of the unflagged candidate at the known place, and the number of other unflagged ones."""
    candidates = result.candidates[np.asarray(result.candidates["flags"]) == ""]
    x, y = (np.asarray(candidates[name], float) for name in "xy")
    near = np.hypot(x - _TRANSIENT[0], y - _TRANSIENT[1]) <= 3
    snr = np.asarray(candidates["snr"], float)[near]
    return (float(snr.max()) if len(snr) else None), int(np.sum(~near))


def _upstream(result: DifferenceResult, folder: Path) -> Row:
    """Correlation of our S_corr with the upstream decorrelated difference, smoothed by the science PSF."""
    from scipy.ndimage import gaussian_filter

    upstream = read_frame(folder / "FinalDifference.DeCorr.fits.gz", require=())
    smooth = gaussian_filter(upstream.data.astype(np.float64), result.fwhm_science / 2.3548)
    good = (result.mask == 0) & (upstream.mask == 0)
    border = 16
    good[:border], good[-border:], good[:, :border], good[:, -border:] = False, False, False, False
    coefficient = np.corrcoef(result.significance[good], smooth[good])[0, 1]
    name = "DECam stacks: correlation of S_corr with the upstream decorrelated difference"
    return Row(name, float(coefficient), "", "real", int(good.sum()))


def _eso085(folder: Path) -> list[Row]:
    name = "ESO 085-030, consecutive exposures: unflagged candidates"
    try:
        # the headers have no gain; 1.5 e-/ADU is what half the variance of the difference of the
        # two gives at their sky level of 8200 ADU
        facts: dict[str, float | str] = {"gain": 1.5, "saturation": 60_000.0}
        first, second = (
            read_frame(folder / f"aligned_eso085-030-00{i}.fit.gz", overrides=facts) for i in (4, 5)
        )
        result = difference(first, second)
    except FAILURES as error:
        return [_failed(name, "= 0", error)]
    clean = int(np.sum(np.asarray(result.candidates["flags"]) == ""))
    return [
        Row(name, clean, "", "real", 1, "= 0"),
        Row("ESO 085-030: robust sigma of S_corr", result.significance_sigma, "", "real", 1),
    ]


def _microlensing(folder: Path) -> list[Row]:
    names = [
        "Microlensing event: peak S/N",
        "Microlensing event: largest |S/N| after the caustic exit",
        "Microlensing event: flux after the exit over flux at peak",
        "Microlensing series: median registration rms",
    ]
    goals = [">= 170", "<= 5", "<= 0.02", "< 0.1"]
    try:
        from astrid.images.forced import forced_photometry

        paths = sorted(folder.glob("AKB13475I*.fits.gz"))
        frames = [read_frame(path) for path in paths if "0172" not in path.name]
        reference = read_frame(folder / "AKB13475I0172.fits.gz")
        table = forced_photometry(frames, reference, at=_EVENT)
    except FAILURES as error:
        return [_failed(name, goal, error) for name, goal in zip(names, goals, strict=True)]
    snr, flux = (np.asarray(table[column], float) for column in ("snr", "flux"))
    after = np.array([any(label in str(name) for label in _AFTER) for name in table["name"]])
    values = [
        np.nanmax(snr),
        np.nanmax(np.abs(snr[after])),
        abs(np.nanmedian(flux[after])) / np.nanmax(flux),
        np.nanmedian(np.asarray(table["registration_rms_px"], float)),
    ]
    units = ["sigma", "sigma", "", "px"]
    counts = [len(table), int(after.sum()), int(after.sum()), len(table)]
    return [
        Row(name, float(value), unit, "real", n, goal)
        for name, value, unit, n, goal in zip(names, values, units, counts, goals, strict=True)
    ]
