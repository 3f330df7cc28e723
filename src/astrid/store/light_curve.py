"""The light curve of an object, from all that its alerts have told: themselves and their histories."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

__all__ = ["FIELDS", "NEEDED", "light_curve"]

_MEASURED = {
    "mjd": pa.float64(), "band": pa.string(), "flux": pa.float64(), "flux_err": pa.float64(),
    "magpsf": pa.float64(), "sigmapsf": pa.float64(), "limiting_mag": pa.float64(), "positive": pa.bool_(),
}  # fmt: skip

FIELDS = pa.schema({**_MEASURED, "forced": pa.bool_(), "id": pa.string(), "alert_id": pa.string()})
"""Of a light curve: a measurement, and the alert that told of it."""


NEEDED = ("alert_id", *_MEASURED, "history")
"""The columns of candidate rows that it is made of."""


def light_curve(rows: pa.Table) -> pa.Table:
    """The measurements in some candidate rows, each once.

    Parameters
    ----------
    rows : pyarrow.Table
        `NEEDED` of one object, in the order in which they came.

    Returns
    -------
    table : pyarrow.Table
        `FIELDS`, in order of time. An alert's own measurement goes before the same in the history of
        another, and what was told first before what was told later. Measurements are the same if they have
        the same identifier; those without one, if they are of the same time and band.
    """
    own: list[dict[str, Any]] = []
    told: list[dict[str, Any]] = []
    for row in rows.to_pylist():
        measured = {name: row.get(name) for name in _MEASURED}
        source = {"alert_id": row["alert_id"]}
        own.append({**measured, "forced": False, "id": row["alert_id"], **source})
        told += [{**one, **source} for one in row.get("history") or ()]
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    times: set[tuple[Any, ...]] = set()
    for one in (*own, *told):
        forced, name = bool(one.get("forced")), one.get("id")
        moment = (forced, one.get("mjd"), one.get("band"))
        if name is None and moment in times:
            continue
        times.add(moment)
        found.setdefault((forced, name) if name is not None else moment, one)
    ordered = sorted(
        found.values(), key=lambda one: (one["mjd"] is None, one["mjd"] or 0.0, one["band"] or "")
    )
    return pa.Table.from_pylist([{name: one.get(name) for name in FIELDS.names} for one in ordered], FIELDS)
