"""The service: its rate and its latency by kind of call and number of clients, its memory, and slow clients.

Real packets of ZTF; the same network is run by ONNX Runtime alone in the same run, on the same machine.
"""

from __future__ import annotations

import io
import os
import tarfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from astrid.alerts import SchemaBook, centred_triplet, decode
from astrid.alerts.container import packets_in
from astrid.alerts.intake import without_histories
from astrid.bench._real_pairs import real_images
from astrid.bench._serve_load import Asked, Call, Server, contents, crowd, load, npz, started, tensors
from astrid.bench.frame import ONE_THREAD, Report, Row, measure_process
from astrid.errors import DataError
from astrid.learn.registry import live

__all__ = ["run"]

_PACKAGES = ("fastapi", "uvicorn", "h11", "onnxruntime", "pydantic")
_FILE = "ztf_alerts_dev.tar.gz"
_MANY = 64
_JSON = {"Content-Type": "application/json"}
_BYTES = {"Content-Type": "application/octet-stream"}
_CROWD = 1000


def run(quick: bool = False, on_stage: Callable[[str], None] | None = None) -> Report:
    """Measure the service.

    Parameters
    ----------
    quick : bool
        Shorter, within a minute; memory is then watched for some seconds only.
    on_stage : callable, optional
        Called with the name of each stage as it begins.

    Returns
    -------
    Report

    Raises
    ------
    DataError
        The real packets are not there, or the service does not start.
    """
    say = on_stage or (lambda stage: None)
    images = real_images()
    path = Path() if images is None else images.parent / "alerts" / _FILE
    if not path.is_file():
        raise DataError(f"there are no real packets ({_FILE}); set ASTRID_REAL_DATA to the folder of alerts/")
    packets = contents(path)
    triplets = _triplets(packets)
    say("ONNX Runtime alone")
    alone = measure_process(_alone, triplets, 1.0 if quick else 5.0, environment=ONE_THREAD).result
    with TemporaryDirectory(prefix="astrid-") as folder:
        store = Path(folder) / "store"
        say("a store of real alerts")
        _fill(store, packets, Path(folder), 2 if quick else 40)
        os.environ.update(ONE_THREAD)
        with started(store) as server:
            rows = _rate_rows(server, _calls(packets, triplets), alone, quick, say)
            rows += _memory_rows(server, _calls(packets, triplets), 15.0 if quick else 600.0, say)
            rows += _crowd_rows(server, _calls(packets, triplets)[0], 5.0 if quick else 30.0, say)
    return Report("serve", tuple(rows), _PACKAGES)


def _triplets(packets: Sequence[bytes]) -> NDArray[np.float32]:
    book, skips = SchemaBook(), without_histories()
    found = [
        centred_triplet(decode(packet, history=False))
        for content in packets
        for packet in packets_in("", content, book, skips)
    ]
    return np.stack(found)


def _alone(triplets: NDArray[np.float32], seconds: float) -> dict[int, float]:
    """Triplets a second of one thread of ONNX Runtime and nothing else, by the size of a batch."""
    import onnxruntime

    bundle = live("braai")
    if bundle is None:
        raise DataError("no bundle of braai is live; make one live with astrid models stage NAME live")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(bundle.path / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    found = {}
    for size in (1, _MANY):
        batch = np.resize(triplets, (size, *triplets.shape[1:]))
        session.run(None, {"triplet": batch})
        n, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            session.run(None, {"triplet": batch})
            n += size
        found[size] = n / (time.perf_counter() - began)
    return found


def _fill(store: Path, packets: Sequence[bytes], folder: Path, turns: int) -> None:
    """The real packets, some times over as distinct alerts."""
    import fastavro

    from astrid.stream.settings import StreamSettings
    from astrid.stream.workers import run_stream

    archive = folder / "packets.tar"
    with tarfile.open(archive, "w") as file:
        for turn in range(turns):
            for k, content in enumerate(packets):
                reader = fastavro.reader(io.BytesIO(content))
                (record,) = reader
                record["candid"] += turn
                record["candidate"]["candid"] = record["candid"]
                stream = io.BytesIO()
                fastavro.writer(stream, reader.writer_schema, [record], codec="null")
                member = tarfile.TarInfo(f"{turn}_{k}.avro")
                member.size = stream.tell()
                stream.seek(0)
                file.addfile(member, stream)
    run_stream(StreamSettings(sources=(str(archive),), store=store))


def _calls(packets: Sequence[bytes], triplets: NDArray[np.float32]) -> list[list[Call]]:
    """The kinds of call, each with some examples."""
    import fastavro

    # those of one schema: a file of several packets has one
    readers = [fastavro.reader(io.BytesIO(content)) for content in packets]
    schema = readers[0].writer_schema
    records = [record for reader in readers if reader.writer_schema == schema for record in reader]
    stream = io.BytesIO()
    fastavro.writer(stream, schema, [records[k % len(records)] for k in range(_MANY)], codec="null")
    many = np.resize(triplets, (_MANY, *triplets.shape[1:]))
    post, ask = "/api/v1/classify", "/v2/models/live/infer"
    one, some = f"{post}/triplets", f"{post}/packets"
    near = "/api/v1/candidates?filter=realbogus+%3E+0.5+and+magpsf+%3C+19&limit=100"
    return [
        [Call("npz of 1", "POST", one, npz(triplets[k : k + 1]), _BYTES, 1) for k in range(16)],
        [Call(f"npz of {_MANY}", "POST", one, npz(many), _BYTES, _MANY)],
        [Call("ZTF packet", "POST", some, content, _BYTES, 1) for content in packets[:16]],
        [Call(f"{_MANY} ZTF packets", "POST", some, stream.getvalue(), _BYTES, _MANY)],
        [Call("Open Inference, JSON of 1", "POST", ask, tensors(triplets[:1]), _JSON, 1)],
        [Call("Open Inference, JSON of 32", "POST", ask, tensors(many[:32]), _JSON, 32)],
        [Call("question for 100 candidates by a condition", "GET", near)],
    ]


def _rate_rows(
    server: Server,
    calls: Sequence[Sequence[Call]],
    alone: dict[int, float],
    quick: bool,
    say: Callable[[str], None],
) -> list[Row]:
    rows = [
        Row(f"ONNX Runtime alone, one thread, batches of {size}", rate, "triplets/s", "real")
        for size, rate in alone.items()
    ]
    for kind in calls:
        name, n = kind[0].name, kind[0].n
        load(server, kind, 1, 0.5)  # what is loaded at the first time
        for clients in (1, 4, 16):
            say(f"{name}, {clients} client{'s' if clients > 1 else ''}")
            found = load(server, kind, clients, 1.2 if quick else 10.0)
            rows += _rows_of(found, f"{name}, {clients} client{'s' if clients > 1 else ''}", n, alone)
    return rows


def _rows_of(found: Asked, name: str, n: int, alone: dict[int, float]) -> list[Row]:
    asked = len(found.latencies)
    if n:
        peer = 1 if n == 1 else _MANY
        first = Row(f"{name}: rate", n * found.rate, "triplets/s", "real", asked)
        first = first.beside(f"ONNX Runtime alone, batches of {peer}", alone[peer])
        cost = Row(
            f"{name}: processor time of the service",
            1000 * found.cpu / (n * asked),
            "ms/triplet",
            "real",
            asked,
        )
    else:
        first = Row(f"{name}: rate", found.rate, "/s", "real", asked)
        cost = Row(f"{name}: processor time of the service", 1000 * found.cpu / asked, "ms", "real", asked)
    return [
        first,
        cost,
        Row(f"{name}: latency p50", found.percentile(50), "ms", "real", asked),
        Row(f"{name}: latency p99", found.percentile(99), "ms", "real", asked),
        Row(f"{name}: failed", found.failed, "", "real", asked, "= 0"),
    ]


def _memory_rows(
    server: Server, calls: Sequence[Sequence[Call]], seconds: float, say: Callable[[str], None]
) -> list[Row]:
    """All kinds of call together for some minutes; the memory of the second tenth and of the last one."""
    say(f"memory under load for {seconds:g} s")
    samples: list[tuple[float, float]] = []
    done = threading.Event()

    def watch() -> None:
        began = time.monotonic()
        while not done.wait(0.5):
            samples.append((time.monotonic() - began, server.memory()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    found = load(server, [call for kind in calls for call in kind], 8, seconds)
    done.set()
    watcher.join()
    early = _median(samples, 0.1 * seconds, 0.2 * seconds)
    late = _median(samples, 0.9 * seconds, seconds)
    what = f"all kinds of call by 8 clients for {seconds:g} s"
    asked = len(found.latencies)
    return [
        Row(f"{what}: memory of the service at the end", late, "MiB", "real", asked),
        Row(
            f"{what}: growth of the memory from the second tenth to the last",
            late - early,
            "MiB",
            "real",
            asked,
            "<= 30",
        ),
        Row(f"{what}: failed", found.failed, "", "real", asked, "= 0"),
    ]


def _median(samples: Sequence[tuple[float, float]], low: float, high: float) -> float:
    return float(np.median([value for at, value in samples if low <= at <= high] or [np.nan]))


def _crowd_rows(
    server: Server, calls: Sequence[Call], seconds: float, say: Callable[[str], None]
) -> list[Row]:
    say("a good client alone")
    before = load(server, calls, 1, seconds)
    say(f"a good client among {_CROWD:,} slow and broken ones")
    with crowd(server, _CROWD) as connected:
        among = load(server, calls, 1, seconds)
        n = connected()
    after = load(server, calls, 1, min(seconds, 5.0))
    what = f"a good client ({calls[0].name}) among {_CROWD:,} slow and broken ones"
    asked = len(among.latencies)
    median = Row(f"{what}: latency p50", among.percentile(50), "ms", "real", asked)
    slowest = Row(f"{what}: latency p99", among.percentile(99), "ms", "real", asked, "<= 1000")
    return [
        Row(f"{what}: those that got through", n, "", "real", goal=f">= {0.9 * _CROWD:g}"),
        Row(f"{what}: its failed requests", among.failed, "", "real", asked, "= 0"),
        median.beside("without them", before.percentile(50)),
        slowest.beside("without them", before.percentile(99)),
        Row(
            "after they are gone: its failed requests", after.failed, "", "real", len(after.latencies), "= 0"
        ),
    ]
