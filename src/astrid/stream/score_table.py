"""Scores of alerts in files: a table of what models say about each, beside their names and hashes.

Every alert has a row: one that was not scored says why. Choosing and running models is done in
`scores`; nothing is stored in a database.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from astrid.alerts import Alert
from astrid.alerts.tables import batched
from astrid.errors import BundleError
from astrid.files.atomic import atomic_path
from astrid.stream.scores import Scorer

__all__ = ["ScoreSummary", "score_alerts"]

_BATCH = 256


@dataclass
class ScoreSummary:
    """What became of the alerts.

    Parameters
    ----------
    out : str
    hashes : dict of str to str
        Of each bundle.
    n_alerts : int
    scored : Counter
        Alerts by bundle.
    decisions : Counter
        Alerts by bundle and label.
    unscored : Counter
        Reasons.
    """

    out: str
    hashes: dict[str, str]
    n_alerts: int = 0
    scored: Counter[str] = field(default_factory=Counter)
    decisions: Counter[tuple[str, str]] = field(default_factory=Counter)
    unscored: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """The counts as plain values."""
        bundles = [
            {
                "bundle": name,
                "hash": hash,
                "n_scored": self.scored[name],
                "decisions": {label: n for (one, label), n in sorted(self.decisions.items()) if one == name},
            }
            for name, hash in self.hashes.items()
        ]
        unscored = dict(self.unscored.most_common())
        return {"out": self.out, "n_alerts": self.n_alerts, "bundles": bundles, "unscored": unscored}


def score_alerts(alerts: Iterable[Alert], out: str | Path, scorer: Scorer) -> ScoreSummary:
    """Score alerts and write a Parquet file with a row for each.

    Parameters
    ----------
    alerts : iterable of Alert
        With their cutouts.
    out : str or Path
    scorer : Scorer

    Returns
    -------
    ScoreSummary

    Raises
    ------
    BundleError
        There is no bundle to score with.
    OutputError
        `out` cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not scorer.bundles:
        raise BundleError("no bundle can score alerts; train one, or give its path with --model")
    text, real = pa.string(), pa.float64()
    known = {"survey": text, "alert_id": text, "object_id": text, "ra": real, "dec": real, "mjd": real}
    fields = [pa.field(name, kind) for name, kind in known.items()]
    fields += [pa.field("band", text)]
    fields += [
        pa.field(one.name, one.type, metadata={"unit": one.unit, "meaning": one.meaning})
        for one in scorer.columns
    ]
    schema = pa.schema([*fields, pa.field("unscored", text)])
    summary = ScoreSummary(str(out), {bundle.name: bundle.hash for bundle in scorer.bundles})
    with atomic_path(out) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        for batch in batched(alerts, _BATCH):
            scores = scorer(batch)
            columns: dict[str, Any] = {
                name: [getattr(one, name) for one in batch] for name in list(known)[:6]
            }
            columns["band"] = [one.detection.band for one in batch]
            columns |= scores.arrays
            columns["unscored"] = [reason or None for reason in scores.unscored]
            writer.write_table(pa.table(columns, schema=schema))
            summary.n_alerts += len(batch)
            summary.unscored.update(reason for reason in scores.unscored if reason)
            seen: set[tuple[int, str]] = set()
            for one in scores.records:
                if one.value is not None and (one.row, one.bundle) not in seen:  # once, of several labels
                    seen.add((one.row, one.bundle))
                    summary.scored[one.bundle] += 1
                    summary.decisions[one.bundle, one.decision or ""] += 1
    return summary
