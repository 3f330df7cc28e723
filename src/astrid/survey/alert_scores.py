"""Scores of alerts in files: what a real/bogus model says about each, beside the model's name and hash.

Every alert has a row: one that was not scored says why. Decoding is done in `astrid.alerts`, choosing
and running the model in `scoring`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from astrid.alerts import Alert, centred_triplet
from astrid.alerts.tables import batched
from astrid.errors import BundleError, PacketError
from astrid.files.atomic import atomic_path
from astrid.learn.bundle import Bundle
from astrid.survey.realbogus_data import TRIPLET
from astrid.survey.scoring import LIVE, choose_model, score_candidates

__all__ = ["ScoreSummary", "score_alerts"]

_BATCH = 512
_PLANES = TRIPLET.channels


@dataclass(frozen=True)
class ScoreSummary:
    """What became of the alerts.

    Parameters
    ----------
    out, bundle, hash : str
    n_alerts, n_scored : int
    n_real : int
        Of those scored, by the model's threshold.
    unscored : dict of str to int
        Reasons.
    """

    out: str
    bundle: str
    hash: str
    n_alerts: int
    n_scored: int
    n_real: int
    unscored: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """The counts as plain values."""
        return dict(self.__dict__)


def score_alerts(
    alerts: Iterable[Alert], out: str | Path, *, model: Bundle | str | Path = LIVE
) -> ScoreSummary:
    """Score alerts and write a Parquet file with a row for each.

    Parameters
    ----------
    alerts : iterable of Alert
        With their cutouts.
    out : str or Path
    model : Bundle, str or Path
        A bundle, its name or path; the live one of the system ``braai`` if not given.

    Returns
    -------
    ScoreSummary

    Raises
    ------
    BundleError
        There is no such model, or it takes something else than triplets of alerts.
    OutputError
        `out` cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    bundle, warning = choose_model(model, TRIPLET.shape[0])
    if bundle is None:
        raise BundleError(f"no alert can be scored ({warning}); make a bundle live, or give --model")
    text, real = pa.string(), pa.float64()
    schema = pa.schema(
        {
            "survey": text, "alert_id": text, "object_id": text, "ra": real, "dec": real, "mjd": real,
            "band": text, "bundle": text, "hash": text, "real": pa.float32(), "real_spread": pa.float32(),
            "real_decision": text, "real_set": text, "applicable": text, "unscored": text,
        }
    )  # fmt: skip
    n = scored = positive = 0
    reasons: dict[str, int] = {}
    with atomic_path(out) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        for batch in batched(alerts, _BATCH):
            rows = _scored(batch, bundle)
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            n += len(rows)
            scored += sum(row["real"] is not None for row in rows)
            positive += sum(row["real_decision"] == "real" for row in rows)
            for row in rows:
                if row["unscored"]:
                    reasons[row["unscored"]] = reasons.get(row["unscored"], 0) + 1
    return ScoreSummary(str(out), bundle.name, bundle.hash, n, scored, positive, reasons)


def _scored(batch: list[Alert], bundle: Bundle) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    images, places = [], []
    for place, alert in enumerate(batch):
        row = {name: getattr(alert, name) for name in ("survey", "alert_id", "object_id", "ra", "dec", "mjd")}
        row |= {"band": alert.detection.band, "bundle": bundle.name, "hash": bundle.hash}
        row |= dict.fromkeys(("real", "real_spread", "real_decision", "real_set", "applicable", "unscored"))
        try:
            images.append(centred_triplet(alert))
            places.append(place)
        except PacketError as error:
            row["unscored"] = str(error)
        rows.append(row)
    if images:
        stack = np.stack(images)
        triplets = {name: stack[..., k] for k, name in enumerate(_PLANES)}
        found = {name: values.tolist() for name, values in score_candidates(triplets, bundle).items()}
        for k, place in enumerate(places):
            rows[place] |= {name: values[k] for name, values in found.items()}
            if rows[place]["real"] is None:
                rows[place]["unscored"] = rows[place]["applicable"]
    return rows
