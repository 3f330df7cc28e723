"""Alert packets of surveys as triplets, and labels only where somebody gave one.

Packets are decoded in `astrid.alerts`; triplets of AstrID's own differences come from
`realbogus_data` and `real_triplets`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.alerts import Alert, centred_triplet, decode, missing_pixels, read_packets
from astrid.errors import PacketError
from astrid.learn.dataset import DatasetWriter
from astrid.survey.realbogus_data import TRIPLET, number

__all__ = ["AlertSummary", "alert_triplets"]

_BOGUS_BELOW = 0.3  # drb
_BATCH = 256

# Classes that do not say that something changed here: a galaxy's own light, an unclear spectrum, a burst
# without an optical counterpart.
_NO_CHANGE = {"Galaxy", "Other", "FRB"}
# SIMBAD marks what is not certain by "?" or "Candidate"; Fink's own guesses have no catalogue in front.
_UNCERTAIN = ("?", "candidate")

_NUMBERS = (
    "fid", "ra", "dec", "magpsf", "sigmapsf", "diffmaglim", "scorr", "rb", "drb", "ndethist", "ncovhist",
    "magnr", "distnr", "sgscore1", "distpsnr1", "fwhm", "elong", "classtar", "nbad", "rcid", "xpos", "ypos",
)  # fmt: skip
_TEXTS = ("drbversion", "rbversion")

_LABELS = (
    "real: the object has a spectroscopic class at TNS, or a certain type in SIMBAD; "
    f"bogus: drb below {_BOGUS_BELOW}, the score of ZTF's own network and no more than that; "
    "label_source says which; all others have no label"
)


@dataclass(frozen=True)
class AlertSummary:
    """What became of the packets.

    Parameters
    ----------
    out : str
    n_packets, n_rows : int
        Packets found, unreadable ones included, and rows written.
    n_real, n_bogus, n_unlabelled : int
    n_objects : int
    label_sources : dict of str to int
    set_aside : dict of str to str
        Packet to the reason why it is no row.
    """

    out: str
    n_packets: int
    n_rows: int
    n_real: int
    n_bogus: int
    n_unlabelled: int
    n_objects: int
    label_sources: dict[str, int]
    set_aside: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """The counts as plain values."""
        return dict(self.__dict__)


def alert_triplets(
    files: Sequence[str | Path], out: str | Path, *, on_progress: Callable[[int, int], None] | None = None
) -> AlertSummary:
    """Write the triplets of alert packets as a data set.

    A packet without usable stamps, and one whose ``candid`` was there before, is set aside with
    its reason, which the recipe of the data set keeps.

    Parameters
    ----------
    files : sequence of str or Path
        See `astrid.alerts.read_packets`.
    out : str or Path
        Directory of the data set ``alerts``.
    on_progress : callable, optional
        Called with the number of files read and of all.

    Returns
    -------
    AlertSummary

    Raises
    ------
    PacketError
        A file is absent or holds no packet.
    OutputError
        `out` cannot be written.
    """
    rows: list[dict[str, Any]] = []
    stamps: list[NDArray[np.float32]] = []
    set_aside: dict[str, str] = {}
    seen: dict[int, str] = {}
    found = 0
    for done, path in enumerate(files):
        for packet in read_packets(path):
            found += 1
            try:
                alert = decode(packet, history=False)
                row, triplet = _row(alert), centred_triplet(alert)
                if row["candid"] in seen:
                    raise PacketError(f"the same candid as {seen[row['candid']]}")
            except PacketError as error:
                set_aside[packet.name] = str(error)
                continue
            seen[row["candid"]] = packet.name
            rows.append({"id": str(row["candid"]), "file": packet.name, **row, **_missing(alert)})
            stamps.append(triplet)
        if on_progress is not None:
            on_progress(done + 1, len(files))
    if not rows:
        reasons = "; ".join(sorted(set(set_aside.values()))[:3])
        raise PacketError(f"no packet has usable stamps ({reasons}); give files of ZTF packets")
    with DatasetWriter(
        out,
        name="alerts",
        inputs={"triplet": TRIPLET},
        kind="real",
        group="objectId",
        time="mjd",
        recipe={"files": [Path(path).name for path in files], "set_aside": set_aside},
        labels=_LABELS,
        licence="as the packets'",
    ) as writer:
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            columns = {name: [row[name] for row in batch] for name in rows[0]}
            writer.append({"triplet": np.stack(stamps[start : start + _BATCH])}, columns)
    labels = Counter(row["real"] or "" for row in rows)
    return AlertSummary(
        out=str(out),
        n_packets=found,
        n_rows=len(rows),
        n_real=labels["real"],
        n_bogus=labels["bogus"],
        n_unlabelled=labels[""],
        n_objects=len({row["objectId"] for row in rows}),
        label_sources=dict(Counter(row["label_source"] for row in rows if row["label_source"])),
        set_aside=set_aside,
    )


def _row(alert: Alert) -> dict[str, Any]:
    """The columns of a packet; what it does not know is None."""
    record, positive = alert.extras, alert.detection.positive is True
    candidate = record.get("candidate")
    if not isinstance(candidate, Mapping):
        raise PacketError("it has no candidate record; expected a packet laid out as ZTF's")
    candid = record.get("candid", candidate.get("candid"))
    object_id = record.get("objectId", record.get("objectid"))
    if candid is None or object_id is None:
        raise PacketError("it has no candid or no objectId")
    if "isdiffpos" not in candidate:
        raise PacketError("it has no isdiffpos, so that the sign of its difference is not known")
    jd = number(candidate.get("jd"))
    label, source = _label(record, candidate)
    snr = _known(candidate, "scorr")
    return {
        "objectId": str(object_id),
        "candid": int(candid),
        "survey": "ZTF" if str(object_id).startswith("ZTF") else str(record.get("publisher") or ""),
        "schemavsn": str(record.get("schemavsn") or ""),
        "real": label,
        "label_source": source,
        "jd": jd,
        "mjd": None if jd is None else jd - 2400000.5,
        "isdiffpos": "t" if positive else "f",
        "snr": snr if snr is None or positive else -snr,
        **{name: _known(candidate, name) for name in _NUMBERS},
        **{name: candidate.get(name) for name in _TEXTS},
        "cdsxmatch": record.get("cdsxmatch"),
        "tnsclass": record.get("tnsclass"),
    }


def _known(candidate: Mapping[str, Any], name: str) -> float | None:
    """A number of the candidate; ZTF writes -999 for one that is not known."""
    value = candidate.get(name)
    known = number(value) if isinstance(value, int | float) else None
    return None if known == -999 else known


def _label(record: Mapping[str, Any], candidate: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Real or bogus, and who says so; None where nobody does."""
    for name in ("tnsclass", "cdsxmatch"):
        catalogue, _, kind = str(record.get(name) or "").partition(") ")
        if catalogue == "(TNS" and kind not in _NO_CHANGE:
            return "real", "TNS class"
        if catalogue == "(SIMBAD" and not any(mark in kind.lower() for mark in _UNCERTAIN):
            return "real", "SIMBAD type"
    # only ZTF's scores have a version, and only of theirs is the scale known
    score = _known(candidate, "drb") if candidate.get("drbversion") else None
    return ("bogus", "machine score") if score is not None and score < _BOGUS_BELOW else (None, None)


def _missing(alert: Alert) -> dict[str, int]:
    names = {"reference": "template"}  # as the survey calls it
    return {f"n_missing_{names.get(name, name)}": count for name, count in missing_pixels(alert).items()}
