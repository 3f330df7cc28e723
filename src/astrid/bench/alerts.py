"""The alert path: decoding beside the usual tools, the whole path, its latency, its memory, what it endures.

Real packets, those of ZTF repeated as distinct alerts; every row is measured here and now.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.alerts import SchemaBook, centred_triplet, decode
from astrid.alerts.container import packets_in
from astrid.alerts.intake import mapped_histories, without_histories
from astrid.alerts.tables import to_table
from astrid.bench._alert_fuzz import fuzz_rows
from astrid.bench._alert_latency import latency_rows
from astrid.bench._alert_stream import memory_rows, path_rows, prepare
from astrid.bench._real_pairs import real_images
from astrid.bench.frame import ONE_THREAD, Report, Row, measure_process
from astrid.errors import DataError
from astrid.learn.prediction import Predictor
from astrid.learn.registry import live

__all__ = ["FILES", "file_counts", "run"]

_PACKAGES = ("fastavro", "pyarrow", "onnxruntime", "duckdb", "sqlalchemy")
FILES = {
    "edge_cases.tar.gz": (7, 2), "fink_lsst_or4_v7.1_50.parquet": (50, 0),
    "fink_ztf_alerts_51.parquet": (51, 0), "fink_ztf_labelled_72.parquet": (72, 0),
    "lsst_packets.tar.gz": (2, 0),
    "other_surveys_dev.tar.gz": (22, 0), "schemas.tar.gz": (3, 2), "ztf_alerts_dev.tar.gz": (49, 0),
}  # fmt: skip
"""Files of real packets, and how many in them are good, and how many are not; see `file_counts`."""

_FILE = "ztf_alerts_dev.tar.gz"
_CUTOUTS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
_BATCH = 64
_MAPPED, _WITHOUT = mapped_histories(), without_histories()


def run(quick: bool = False, on_stage: Callable[[str], None] | None = None) -> Report:
    """Measure the alert path.

    Parameters
    ----------
    quick : bool
        Fewer packets, within a minute.
    on_stage : callable, optional
        Called with the name of each stage as it begins.

    Returns
    -------
    Report

    Raises
    ------
    DataError
        The real packets are not there.
    """
    say = on_stage or (lambda stage: None)
    path = _real_packets()
    rows = _decoding_rows(path, quick, say)
    say("every file of real packets")
    rows += _file_rows(path.parent)
    say("damaged packets")
    rows += fuzz_rows(path.parent, 1_000 if quick else 100_000)
    stars = 50_000 if quick else 1_000_000
    with TemporaryDirectory(prefix="astrid-") as folder:
        say(f"three catalogues of {stars:,} rows")
        prepared = prepare(path, Path(folder), stars)
        rows += path_rows(prepared, 1_200 if quick else 20_000, stars, say)
        if not quick:
            rows += memory_rows(prepared, 60_000, True, say)
            rows += memory_rows(prepared, 100_000, False, say)
        rows += latency_rows(prepared, (35.0,) if quick else (35.0, 333.0), 3 if quick else 60, say)
    return Report("alerts", tuple(rows), _PACKAGES)


def _decoding_rows(path: Path, quick: bool, say: Callable[[str], None]) -> list[Row]:
    n, turns = (490, 2) if quick else (4900, 3)
    say("decoding, in turns with fastavro and astropy")
    rates = measure_process(_rates, str(path), n, turns, environment=ONE_THREAD).result
    what = "ZTF packets, one core, processor time"
    peer, plain = "fastavro + astropy + numpy", rates["plain"]
    bare = Row(f"decoded and normalised to triplets: {what}", rates["triplets"], "/s", "real", n, ">= 1000")
    scored = Row(
        f"the same, and scored by the live bundle: {what}", rates["scored"], "/s", "real", n, ">= 600"
    )
    whole = Row(f"as the first, with histories: {what}", rates["histories"], "/s", "real", n)
    return [
        bare.beside(peer, plain),
        scored.beside("fastavro + astropy + onnxruntime", rates["plain scored"]),
        whole.beside(peer, plain),
        Row(f"decoded, without images and histories: {what}", rates["metadata"], "/s", "real", n),
        Row(f"as Arrow tables, with histories and extras: {what}", rates["tables"], "/s", "real", n),
        Row("largest difference of a pixel from the straightforward way", rates["difference"], "ADU", "real",
            n, "= 0"),
    ]  # fmt: skip


def _file_rows(folder: Path) -> list[Row]:
    rows = []
    for name, (good, bad) in FILES.items():
        found = file_counts(folder, name)
        for text, value, wanted in (("good", found[0], good), ("in quarantine", found[1], bad)):
            rows.append(Row(f"{name}: packets {text}", value, "", "real", sum(found), f"= {wanted}"))
    return rows


def file_counts(folder: Path, name: str) -> tuple[int, int]:
    """How many packets of a file are taken in as alerts, and how many go to quarantine.

    Parameters
    ----------
    folder : Path
        Of the real packets, with the schemas of those that carry none.
    name : str
    """
    from astrid.stream.settings import StreamSettings
    from astrid.stream.workers import run_stream

    with TemporaryDirectory(prefix="astrid-") as work:
        settings = StreamSettings(
            sources=(str(folder / name),), store=Path(work), models=(), schemas=folder / "schemas.tar.gz"
        )
        summary = run_stream(settings)
    return summary.n_packets - summary.n_quarantined, summary.n_quarantined


def _real_packets() -> Path:
    images = real_images()
    path = Path() if images is None else images.parent / "alerts" / _FILE
    if not path.is_file():
        raise DataError(f"there are no real packets ({_FILE}); set ASTRID_REAL_DATA to the folder of alerts/")
    return path


def _rates(path: str, n: int, turns: int) -> dict[str, float]:
    """Alerts a second of each way, the best of some turns; the ways take turns."""
    bundle = live("braai")
    if bundle is None:
        raise DataError("no bundle of braai is live; make one live with astrid models stage NAME live")
    predictor, session = Predictor(bundle), _session(bundle.path / "model.onnx")
    with tarfile.open(path) as archive:
        streams = (archive.extractfile(member) for member in archive if member.isfile())
        some = [stream.read() for stream in streams if stream is not None]
    contents = [some[k % len(some)] for k in range(n)]
    ways: dict[str, Callable[[Sequence[bytes]], Any]] = {
        "triplets": lambda part: [centred_triplet(one) for one in _alerts(part, history=False)],
        "plain": lambda part: [_straightforward(content) for content in part],
        "scored": lambda part: predictor.probabilities(
            {"triplet": np.stack([centred_triplet(one) for one in _alerts(part, history=False)])}
        ),
        "plain scored": lambda part: [
            session.run(None, {"triplet": _straightforward(content)[None]}) for content in part
        ],
        "histories": lambda part: [centred_triplet(one) for one in _alerts(part)],
        "metadata": lambda part: list(_alerts(part, history=False, cutouts=False)),
        "tables": lambda part: to_table(list(_alerts(part, cutouts=False))),
    }
    for way in ways.values():
        way(contents[: len(some)])  # imports and schemas
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(turns):
        for name, way in ways.items():
            start = time.process_time()
            for first in range(0, n, _BATCH):
                way(contents[first : first + _BATCH])
            best[name] = min(best[name], time.process_time() - start)
    pairs = zip(ways["triplets"](some), ways["plain"](some), strict=True)
    difference = max(float(np.abs(one - other).max()) for one, other in pairs)
    return {**{name: n / seconds for name, seconds in best.items()}, "difference": difference}


def _alerts(contents: Sequence[bytes], *, history: bool = True, cutouts: bool = True) -> Any:
    book, skips = SchemaBook(), _MAPPED if history else _WITHOUT
    for content in contents:
        for packet in packets_in("", content, book, skips):
            yield decode(packet, history=history, cutouts=cutouts)


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _straightforward(content: bytes) -> NDArray[np.float32]:
    """The same triplet by the usual tools: what a first script would do."""
    import fastavro
    from astropy.io import fits

    (record,) = fastavro.reader(io.BytesIO(content))
    planes = []
    for name in _CUTOUTS:
        raw = gzip.decompress(record[name]["stampData"])
        with warnings.catch_warnings(action="ignore"), fits.open(io.BytesIO(raw)) as hdus:
            image = np.asarray(hdus[0].data, np.float32)
        good = np.isfinite(image)
        level = 0 if name == "cutoutDifference" else np.median(image[good])
        planes.append(np.where(good, image - level, 0).astype(np.float32))
    if record["candidate"]["isdiffpos"] not in ("t", "1"):
        planes[2] = -planes[2]
    return np.stack(planes, axis=-1)
