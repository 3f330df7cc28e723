"""What comes in is stored once, judged, or set aside with its reason, and acknowledged after that alone."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from astrid.alerts import SchemaBook
from astrid.alerts.container import packets_in
from astrid.cli.main import app
from astrid.errors import OutputError, StoreError, StreamError, UsageError
from astrid.store import open_store
from astrid.stream.filters import Filter
from astrid.stream.ingest import ingest
from astrid.stream.live import StoredFilters
from astrid.stream.scores import Scorer
from astrid.stream.settings import parse_catalog, read_settings
from astrid.stream.source import Delivery, FileSource
from astrid.stream.turns import Latencies, Summary, Turn
from astrid.stream.workers import Stop, run_stream

samples = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("samples.py"))))
WEIGHTS = [[0], [0], [1]]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return [
        samples.bundle(folder, "toy.one", WEIGHTS, size=samples.SIZE),
        samples.bundle(folder, "toy.two", [[0], [0], [-1]], size=samples.SIZE),
    ]


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "store", patience=5) as opened:
        yield opened


def files(folder: Path, contents) -> Path:
    folder.mkdir()
    for k, content in enumerate(contents):
        (folder / f"{k:05d}.avro").write_bytes(content)
    return folder


def scores(store, bundle: str) -> dict[str, float | None]:
    table = store.scores(bundle=bundle)
    assert len(set(table["alert_id"].to_pylist())) == len(table), "one score for each alert"
    return dict(zip(table["alert_id"].to_pylist(), table["value"].to_pylist(), strict=True))


class Deliveries:
    """A source that writes down when it is acknowledged."""

    def __init__(self, batches, events=None) -> None:
        self.events = [] if events is None else events
        self._batches = batches
        self.closed = False

    def deliveries(self, size, linger):
        for k, contents in enumerate(self._batches):
            packets = [
                one for content in contents for one in packets_in(f"p{k}", content, SchemaBook(), _whole)
            ]
            yield Delivery(packets, time.time(), lambda k=k: self.events.append(("acknowledged", k)), None)

    def close(self):
        self.closed = True


def _whole(schema):
    return {}


def test_each_alert_is_stored_once_with_a_score_of_each_bundle(store, bundles, tmp_path):
    folder = files(tmp_path / "in", [samples.packet(k) for k in range(30)])
    summary = ingest(FileSource([folder]), store, Scorer(bundles), size=8)
    assert (summary.n_packets, summary.n_stored, summary.n_quarantined) == (30, 30, 0)
    assert summary.as_dict()["scored"] == {"toy.one": 30, "toy.two": 30}
    (table,) = store.history()
    expected = {str(k): 1 / (1 + np.exp(-samples.peak(k))) for k in range(30)}
    found = dict(zip(table["alert_id"].to_pylist(), table["toy_one"].to_pylist(), strict=True))
    assert found == pytest.approx(expected, abs=1e-5)
    assert scores(store, "toy.two") == pytest.approx({k: 1 - p for k, p in expected.items()}, abs=1e-5)
    assert store.packet("ztf", "7") == (samples.packet(7), ".avro")
    assert table["n_detections"].to_pylist() == [2] * 30
    again = ingest(FileSource([folder]), store, Scorer(bundles[:1]), size=30)
    assert (again.n_stored, again.as_dict()["n_known"], again.as_dict()["scored"]) == (0, 30, {})


def test_a_new_bundle_adds_its_scores_to_known_alerts(store, bundles, tmp_path):
    folder = files(tmp_path / "in", [samples.packet(k) for k in range(5)])
    ingest(FileSource([folder]), store, Scorer(bundles[:1]))
    ingest(FileSource([folder]), store, Scorer(bundles))
    assert set(scores(store, "toy.one")) == set(scores(store, "toy.two")) == {str(k) for k in range(5)}


def test_nothing_is_acknowledged_before_it_is_stored_or_set_aside(store, bundles):
    events = []

    class Watched:
        folder = store.folder

        def write(self, batch):
            written = store.write(batch)
            events.append(("stored", len(batch.packets), batch.n_quarantined))
            return written

    class Keeper:
        def add(self, packet, reason):
            events.append(("kept", reason.split()[0]))

    broken = samples.packet(9)[:-30]
    source = Deliveries([[samples.packet(1), broken], [broken], [samples.packet(2)]], events)
    summary = ingest(source, Watched(), Scorer(bundles), quarantine=Keeper())
    assert events == [
        ("kept", "a"), ("stored", 1, 1), ("acknowledged", 0),
        ("kept", "a"), ("stored", 0, 1), ("acknowledged", 1),
        ("stored", 1, 0), ("acknowledged", 2),
    ]  # fmt: skip
    assert source.closed
    assert (summary.n_packets, summary.n_stored, summary.n_quarantined) == (4, 2, 2)
    assert [one.n_quarantined for one in store.batches()] == [1, 1, 0]


@pytest.mark.parametrize("error", [StoreError("the database is away"), OutputError("the disk is full")])
def test_what_cannot_be_stored_is_not_acknowledged(store, bundles, error):
    class Full:
        folder = store.folder

        def write(self, batch):
            if batch.rows["alert_id"].to_pylist() == ["2"]:
                raise error
            return store.write(batch)

    source = Deliveries([[samples.packet(k)] for k in (1, 2, 3)])
    with pytest.raises(type(error), match=str(error)):
        ingest(source, Full(), Scorer(bundles))
    assert source.events == [("acknowledged", 0)]
    assert source.closed


def test_packets_of_another_survey_and_broken_ones_wait_in_quarantine(store, bundles, tmp_path):
    folder = files(tmp_path / "in", [samples.packet(1), samples.packet(2)[:-5], b"Obj\x01nonsense"])
    summary = ingest(FileSource([folder]), store, Scorer(bundles), survey="lsst")
    assert (summary.n_stored, summary.n_quarantined) == (0, 3)
    assert "it is a packet of ztf, expected one of lsst" in summary.quarantined
    kept = sorted((store.folder / "quarantine").glob("*.avro"))
    assert {one.read_bytes() for one in kept} == {one.read_bytes() for one in folder.iterdir()}


def test_an_alert_without_images_is_stored_with_the_reason(store, bundles, tmp_path):
    folder = files(tmp_path / "in", [samples.packet(1), samples.packet(2, images=False)])
    summary = ingest(FileSource([folder]), store, Scorer(bundles))
    assert summary.as_dict()["scored"] == {"toy.one": 1, "toy.two": 1}
    assert sum(summary.without_images.values()) == 1
    table = store.scores(bundle="toy.one")
    found = {row["alert_id"]: row for row in table.to_pylist()}
    assert found["2"]["value"] is None
    assert found["2"]["unscored"] == "the science cutout cannot be used: is absent"
    assert found["1"]["unscored"] is None


def test_an_edited_filter_applies_to_the_next_batch(store, bundles, tmp_path):
    def save(sql):
        filter = Filter(name="mine", sql=sql)
        store.save_filter("mine", filter.hash, json.loads(filter.to_json()))
        return filter.hash

    first = save("alert_id = '1'")
    edits = {2: lambda: save("toy_one > 2 or magpsf < 15.035")}
    seen = []

    def after():
        seen.append(len(seen))
        if len(seen) in edits:
            edits[len(seen)]()

    source = Deliveries([[samples.packet(k), samples.packet(k + 100)] for k in (1, 2, 3, 4)])
    summary = ingest(source, store, Scorer(bundles), filters=StoredFilters(store), after=after)
    found = {(one.alert_id, one.hash == first) for one in store.passes("mine")}
    assert found == {("1", True), ("3", False)}
    assert summary.as_dict()["passes"] == {"mine": 2}
    assert {one.state for one in store.passes("mine")} == {"delivered"}, "nobody is to be told"


def test_a_filter_that_cannot_be_asked_stops_nothing(store, bundles, caplog):
    store.save_filter("broken", "x", {"name": "broken", "sql": "no such ("})
    filter = Filter(name="fine", sql="true")
    store.save_filter("fine", filter.hash, json.loads(filter.to_json()))
    batches = [[samples.packet(1)], [samples.packet(2)]]
    summary = ingest(Deliveries(batches), store, Scorer(bundles), filters=StoredFilters(store))
    assert summary.as_dict()["passes"] == {"fine": 2}
    assert sum("filter broken" in one.getMessage() for one in caplog.records) == 1


def test_an_alert_that_breaks_a_step_is_set_aside_alone(store, bundles, tmp_path):
    class Fussy:
        columns = ()

        def __call__(self, ra, dec, mjd):
            if np.any(np.round(ra, 9) == np.round(odd, 9)):
                raise ValueError("no such place")
            return {}

    odd = samples.candidate(3, 0)["ra"]
    folder = files(tmp_path / "in", [samples.packet(k) for k in range(6)])
    summary = ingest(FileSource([folder]), store, Scorer(bundles), Fussy())
    assert (summary.n_stored, summary.n_quarantined) == (5, 1)
    assert list(summary.quarantined) == ["it cannot be made a candidate row (ValueError: no such place)"]
    assert set(scores(store, "toy.one")) == {"0", "1", "2", "4", "5"}


def test_what_breaks_on_every_alert_is_no_fault_of_the_packets(store, bundles, tmp_path):
    class Broken:
        columns = ()

        def __call__(self, ra, dec, mjd):
            raise ValueError("never works")

    folder = files(tmp_path / "in", [samples.packet(k) for k in range(3)])
    with pytest.raises(ValueError, match="never works"):
        ingest(FileSource([folder]), store, Scorer(bundles), Broken())
    assert not (store.folder / "quarantine").exists()


def test_a_stop_finishes_the_batch(store, bundles):
    stop = Stop()
    source = Deliveries([[samples.packet(k)] for k in range(5)])

    def tell(turn):
        stop.requested = turn.stored.total() > 0 and len(source.events) == 2

    summary = ingest(source, store, Scorer(bundles), stop=stop, on_turn=tell)
    assert source.events == [("acknowledged", 0), ("acknowledged", 1)]
    assert source.closed
    assert summary.n_stored == 2


def test_settings_of_a_file_can_be_replaced_and_its_paths_are_beside_it(tmp_path):
    config = tmp_path / "stream.yaml"
    config.write_text(
        "sources: night.tar.gz\nstore: kept\nmodels: [toy.one, mine/toy.two]\nworkers: 3\n"
        "catalogs:\n- gaia:2:parallax,pm\n- {name: ./ned, radius: 30}\n"
    )
    found = read_settings(config, {"workers": 2, "survey": None})
    assert found.sources == (str(tmp_path / "night.tar.gz"),)
    assert (found.store, found.workers, found.models) == (
        tmp_path / "kept",
        2,
        ("toy.one", str(tmp_path / "mine" / "toy.two")),
    )
    assert [(one.name, one.radius, one.columns) for one in found.catalogs] == [
        ("gaia", 2.0, ("parallax", "pm")),
        (str(tmp_path / "ned"), 30.0, ()),
    ]
    assert read_settings(None, {"sources": ("kafka://host/topic",)}).store == Path("astrid-store")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wrokers: 2", "wrokers: Extra inputs"),
        ("workers: none", "workers: Input should be a valid integer"),
        ("[1, 2]", "expected names and values"),
        ("a: [", "is not YAML"),
        ("catalogs: ['gaia:x']", "catalogue 'gaia:x' cannot be understood"),
    ],
)
def test_settings_that_are_wrong_are_said_in_a_sentence(tmp_path, text, message):
    config = tmp_path / "stream.yaml"
    config.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        read_settings(config, {})
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="cannot be understood"):
        parse_catalog(":3")


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=60), st.sampled_from([50, 99]))
def test_percentiles_are_those_of_numpy_to_a_twentieth(values, share):
    found = Latencies()
    for value in values:
        found.add(value)
    exact = np.percentile(values, share, method="inverted_cdf")
    assert found.percentile(share) == pytest.approx(exact, rel=0.05)


def test_reasons_without_end_take_no_memory_without_end():
    summary = Summary()
    for k in range(2000):
        turn = Turn()
        turn.quarantined["ztf", f"broken at byte {k} by {'x' * k}"] += 1
        summary.add(turn)
    assert len(summary.quarantined) <= 101
    assert summary.n_quarantined == 2000


def cli(*arguments):
    result = CliRunner().invoke(app, ["alerts", "ingest", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.mark.real_data
def test_every_real_file_is_taken_in_and_late_schemas_free_what_waited(real_data, tmp_path):
    folder, store = real_data / "alerts", tmp_path / "store"
    paths = [one for one in sorted(folder.iterdir()) if one.suffix in (".gz", ".parquet")]
    paths = [one for one in paths if one.name != "schemas.tar.gz"]
    counts = json.loads(cli(*paths, "--store", store, "--no-scores", "--json").stdout)
    assert (counts["n_packets"], counts["n_quarantined"]) == (255, 4)
    assert counts["surveys"] == {"decam": 1, "lsst": 50, "pgir": 9, "turbo": 6, "winter": 6, "ztf": 179}
    late = json.loads(
        cli(
            "--retry", "--store", store, "--schemas", folder / "schemas.tar.gz", "--no-scores", "--json"
        ).stdout
    )
    assert (late["n_packets"], late["surveys"], late["n_quarantined"]) == (4, {"lsst": 2}, 2)
    assert len(list((store / "quarantine").glob("*.json"))) == 2
    with open_store(store) as opened:
        assert opened.counts().alerts == 253


def test_problems_of_the_command_are_one_line(tmp_path, bundles):
    packets = files(tmp_path / "in", [samples.packet(1)])
    for arguments, code, said in (
        ((), 2, "no source of packets"),
        ((tmp_path / "none",), 1, "there is no such file"),
        ((packets, "--model", "no.such"), 2, "there is no bundle 'no.such'"),
        ((packets, "--no-scores", "--model", "live"), 2, "exclude each other"),
        ((packets, "--catalog", "none"), 2, "there is no catalogue 'none'"),
        ((packets, "--workers", 0), 2, "workers"),
    ):
        result = cli(*arguments, "--store", tmp_path / "store")
        assert result.exit_code == code, arguments
        assert said in result.stderr
        assert result.stderr.count("\n") == 1


FULL = """
mount -t tmpfs -o size=2m tmpfs {disk} || exit 99
{python} -c "from astrid.cli.main import main; main()" alerts ingest {packets} \\
    --store {disk}/store --model {model} --batch 20
code=$?
cp -r {disk}/store {out}
exit $code
"""


def test_a_full_disk_is_said_and_what_was_acknowledged_is_there(tmp_path, bundles):
    if shutil.which("unshare") is None:
        pytest.skip("no program unshare, which gives a disk of our own")
    packets = files(tmp_path / "in", [samples.packet(k) for k in range(400)])
    (tmp_path / "disk").mkdir()
    script = FULL.format(
        disk=tmp_path / "disk", python=sys.executable, packets=packets, model=bundles[0].path,
        out=tmp_path / "out",
    )  # fmt: skip
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True)
    if done.returncode == 99 or "unshare" in done.stderr:
        pytest.skip(f"no disk of our own can be had here: {done.stderr.strip()}")
    assert done.returncode == 1, done.stderr
    (problem,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "disk" in problem
    assert "full" in problem
    with open_store(tmp_path / "out") as store:
        kept = store.counts().alerts
        assert 0 < kept < 400
        assert len(scores(store, "toy.one")) == kept
        for name in list(scores(store, "toy.one"))[:: max(kept // 20, 1)]:
            assert store.packet("ztf", name)[0] == samples.packet(int(name))
        ingest(FileSource([packets]), store, Scorer(bundles[:1]))
        assert store.counts().alerts == 400


def test_a_run_of_nothing_ends_well(tmp_path, bundles):
    packets = files(tmp_path / "in", [])
    settings = read_settings(None, {"sources": (str(packets),), "store": tmp_path / "s", "models": ()})
    assert run_stream(settings).n_packets == 0
    with pytest.raises(UsageError, match="no source of packets"):
        run_stream(read_settings(None, {"store": tmp_path / "s"}))


def test_a_worker_that_cannot_begin_gives_its_reason_to_the_one_who_started_it(tmp_path):
    packets = files(tmp_path / "in", [samples.packet(1)])
    settings = read_settings(
        None,
        {"sources": (str(packets),), "store": tmp_path / "s", "models": ("no.such",), "workers": 2},
    )
    with pytest.raises(UsageError, match=r"there is no bundle 'no\.such'"):
        run_stream(settings)


def test_streams_end_where_their_source_breaks_and_keep_what_came_before(store, bundles):
    class Breaks(Deliveries):
        def deliveries(self, size, linger):
            yield from super().deliveries(size, linger)
            raise StreamError("the broker is gone")

    source = Breaks([[samples.packet(1)]])
    with pytest.raises(StreamError, match="the broker is gone"):
        ingest(source, store, Scorer(bundles))
    assert source.events == [("acknowledged", 0)]
    assert store.counts().alerts == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_what_passes_is_announced_and_can_be_held_back(tmp_path, bundles, workers):
    packets = files(tmp_path / "in", [samples.packet(k) for k in range(15, 40)])
    filter = Filter(name="some", sql="toy_one > 0.6", sinks=(f"files:{tmp_path / 'out'}",))
    with open_store(tmp_path / "s") as store:
        store.save_filter("some", filter.hash, json.loads(filter.to_json()))
    given = {
        "sources": (str(packets),), "store": tmp_path / "s", "models": (str(bundles[0].path),),
        "workers": workers,
    }  # fmt: skip
    expected = sum(samples.peak(k) > np.log(0.6 / 0.4) for k in range(15, 40))
    held = run_stream(read_settings(None, {**given, "publish": False}))
    assert held.as_dict()["passes"] == {"some": expected}
    assert not (tmp_path / "out").exists()
    sent = run_stream(read_settings(None, given))
    assert sent.as_dict()["published"] == {"delivered": expected}
    assert len(list((tmp_path / "out").rglob("*.json"))) == expected
