"""What a light curve did before an alert: a dozen numbers of the history that came in its packet.

Only measurements of an earlier time are used, whatever else the packet holds, so that an answer given
again later is the same. Which columns a row has is said in `columns`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["summarise"]

_COLOUR_DAYS = 1.0  # within which magnitudes in two bands make a colour

_Real = NDArray[np.float64]
_Index = NDArray[np.int64]


def summarise(table: pa.Table) -> dict[str, NDArray[np.float64]]:
    """Summaries of the histories of a table of alerts.

    Parameters
    ----------
    table : pyarrow.Table
        `alerts.tables.alert_schema`: ``mjd``, ``band``, ``magpsf``, ``positive`` and ``history``.

    Returns
    -------
    summaries : dict of str to (n,) float64 ndarray
        Of the names and units of `columns`; NaN is unknown, and so is all where the history was not read
        or the alert has no time.
    """
    import pyarrow.compute as pc

    n = len(table)
    history = table["history"].combine_chunks()
    points = history.flatten()
    row = pc.list_parent_indices(history).to_numpy().astype(np.int64)
    mjd = _numbers(points.field("mjd"))
    mag, flux, flux_err = (_numbers(points.field(name)) for name in ("magpsf", "flux", "flux_err"))
    limit = _numbers(points.field("limiting_mag"))
    sign = _signs(points.field("positive"))
    forced = points.field("forced").to_numpy(zero_copy_only=False).astype(bool)
    named = points.field("id").is_valid().to_numpy(zero_copy_only=False)
    own = {name: _numbers(table[name].combine_chunks()) for name in ("mjd", "magpsf")}
    own_sign = _signs(table["positive"].combine_chunks())
    band, own_band = _bands(points.field("band"), table["band"].combine_chunks())

    known = history.is_valid().to_numpy(zero_copy_only=False) & np.isfinite(own["mjd"])
    earlier = mjd < own["mjd"][row]  # false where either is not known
    seen = earlier & ~forced & (named | np.isfinite(mag))
    unseen = earlier & ~forced & ~seen
    alike = seen & (band == own_band[row]) & (band >= 0)
    comparable = alike & (sign == own_sign[row]) & np.isfinite(mag)

    first = np.minimum(_least(mjd, row, seen, n), own["mjd"])
    before, limited = _latest(mjd, row, alike, n), _latest(mjd, row, unseen, n)
    any_before = _latest(mjd, row, seen, n)
    same_sign = before >= 0
    same_sign[same_sign] = sign[before[same_sign]] == own_sign[same_sign]
    gap = own["mjd"] - _taken(mjd, before)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.where(same_sign, (own["magpsf"] - _taken(mag, before)) / gap, np.nan)
        significance = flux / flux_err
    strong = earlier & forced & (flux_err > 0) & np.isfinite(flux)
    found = {
        "n_detections": _count(row, seen, n),
        "n_negative": _count(row, seen & (sign == 0), n),
        "n_bands": _distinct(row, band, seen & (band >= 0), n),
        "first_mjd": first,
        "age": own["mjd"] - first,
        "gap": own["mjd"] - _taken(mjd, any_before),
        "mjd_before": _taken(mjd, before),
        "magpsf_before": _taken(mag, before),
        "mag_rate": rate,
        "peak_magpsf": _finite(_least(mag, row, comparable, n)),
        "g_r": _colour(mjd, mag, row, band, seen & (sign == 1), own, own_band, own_sign),
        "last_limit": _taken(limit, limited),
        "last_limit_age": own["mjd"] - _taken(mjd, limited),
        "peak_forced_snr": _finite(-_least(-significance, row, strong, n)),
    }
    return {name: np.where(known, values, np.nan) for name, values in found.items()}


def _numbers(values: pa.Array) -> _Real:
    return values.to_numpy(zero_copy_only=False).astype(np.float64)


def _signs(values: pa.Array) -> NDArray[np.int8]:
    """1 and 0; -1 where it is not known."""
    return values.cast("int8").fill_null(-1).to_numpy(zero_copy_only=False)


def _bands(points: pa.Array, alerts: pa.Array) -> tuple[_Index, _Index]:
    """Bands as numbers, alike for both; g is 0, r is 1, and -1 is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    both = pa.concat_arrays([pa.array(["g", "r"]), points.cast("string"), alerts.cast("string")])
    codes = pc.fill_null(pc.dictionary_encode(both).indices, -1).to_numpy(zero_copy_only=False)
    numbers = codes[2:].astype(np.int64)
    return numbers[: len(points)], numbers[len(points) :]


def _count(row: _Index, chosen: NDArray[np.bool_], n: int) -> _Real:
    return np.bincount(row[chosen], minlength=n).astype(np.float64)


def _distinct(row: _Index, band: _Index, chosen: NDArray[np.bool_], n: int) -> _Real:
    most = int(band.max(initial=0)) + 1
    return np.bincount(np.unique(row[chosen] * most + band[chosen]) // most, minlength=n).astype(np.float64)


def _least(values: _Real, row: _Index, chosen: NDArray[np.bool_], n: int) -> _Real:
    """Of each alert; infinite where none is chosen."""
    least = np.full(n, np.inf)
    np.minimum.at(least, row[chosen], values[chosen])
    return least


def _finite(values: _Real) -> _Real:
    return np.where(np.isfinite(values), values, np.nan)


def _latest(mjd: _Real, row: _Index, chosen: NDArray[np.bool_], n: int) -> _Index:
    """Which point of each alert is the last of those chosen; -1 where there is none."""
    points = np.flatnonzero(chosen)
    order = points[np.lexsort((mjd[points], row[points]))]
    last = np.full(n, -1, np.int64)
    last[row[order]] = order  # of several the last one stays
    return last


def _taken(values: _Real, points: _Index) -> _Real:
    if not len(values):
        return np.full(len(points), np.nan)
    return np.where(points >= 0, values[points], np.nan)


def _colour(
    mjd: _Real, mag: _Real, row: _Index, band: _Index, bright: NDArray[np.bool_],
    own: dict[str, _Real], own_band: _Index, own_sign: NDArray[np.int8],
) -> _Real:  # fmt: skip
    """The last g minus the last r of a source that has brightened, this alert's among them."""
    n = len(own_band)
    sides = []
    for number in (0, 1):
        near = bright & (band == number) & np.isfinite(mag) & (own["mjd"][row] - mjd <= _COLOUR_DAYS)
        earlier = _taken(mag, _latest(mjd, row, near, n))
        sides.append(np.where((own_band == number) & (own_sign == 1), own["magpsf"], earlier))
    return sides[0] - sides[1]
