"""Packets are what fastavro and astropy, knowing nothing of us, read back."""

from __future__ import annotations

import contextlib
import copy
import gzip
import io

import fastavro
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astrid.errors import PacketError
from astrid.images.packets import candidate_schema, read_packets, write_packets

FACTS = {"mjd": 60000.25, "filter": "r", "zero_point": 25.0, "science_sha256": "ab" * 32, "telescope": None}


def candidates(n: int, rng: np.random.Generator) -> Table:
    table = Table()
    table["id"] = np.arange(1, n + 1)
    table["x"] = rng.uniform(0, 1000, n)
    table["y"] = rng.uniform(0, 1000, n)
    table["ra"] = MaskedColumn(rng.uniform(0, 360, n), mask=np.ones(n, bool))
    table["snr"] = rng.normal(0, 20, n)
    table["flux"] = table["snr"] * 40
    table["mag"] = np.full(n, np.nan)
    table["fwhm"] = rng.uniform(2, 5, n).astype(np.float32)
    table["flags"] = ["" if i % 2 else "edge,dipole" for i in range(n)]
    return table


def triplets(n: int, rng: np.random.Generator, size: int = 63) -> dict[str, np.ndarray]:
    planes = {
        k: rng.normal(size=(n, size, size)).astype(np.float32) for k in ("science", "reference", "difference")
    }
    return {**planes, "id": np.arange(1, n + 1), "padded": rng.integers(0, 9, (n, 4)).astype(np.int16)}


def test_fastavro_and_astropy_read_what_was_written(tmp_path):
    rng = np.random.default_rng(1)
    table, stamps = candidates(4, rng), triplets(4, rng)
    write_packets(tmp_path / "a.avro", table, stamps, FACTS, run="r")
    with (tmp_path / "a.avro").open("rb") as file:
        packets = list(fastavro.reader(file))
    assert len(packets) == 4
    for row, packet in enumerate(packets):
        record = packet["candidate"]
        assert record["snr"] == table["snr"][row]
        assert record["isdiffpos"] == (table["snr"][row] > 0)
        assert record["flags"] == table["flags"][row]
        assert record["ra"] is None
        assert record["mag"] is None
        assert record["telescope"] is None
        assert record["jd"] == 2460000.75
        assert packet["objectId"] is None
        assert packet["cutoutPadding"]["left"] == stamps["padded"][row, 0]
        for name, key in (("Science", "science"), ("Template", "reference"), ("Difference", "difference")):
            stamp = packet[f"cutout{name}"]
            assert stamp["fileName"].endswith(".fits.gz")
            with fits.open(io.BytesIO(gzip.decompress(stamp["stampData"]))) as hdus:
                np.testing.assert_array_equal(hdus[0].data, stamps[key][row])


def test_packets_have_the_layout_in_which_ztf_brokers_look():
    names = {field["name"] for field in candidate_schema()["fields"]}
    assert names >= {"schemavsn", "publisher", "objectId", "candid", "candidate"}
    assert names >= {"cutoutScience", "cutoutTemplate", "cutoutDifference"}
    fastavro.parse_schema(candidate_schema())


def test_every_field_is_documented():
    def walk(record):
        for field in record["fields"]:
            assert field["doc"], field["name"]
            kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
            for kind in kinds:
                if isinstance(kind, dict):
                    walk(kind)

    walk(candidate_schema())


def test_the_same_run_gives_the_same_bytes_and_another_run_other_candids(tmp_path):
    rng = np.random.default_rng(2)
    table, stamps = candidates(3, rng), triplets(3, rng, 5)
    for name, run in (("a", "one"), ("b", "one"), ("c", "two")):
        write_packets(tmp_path / name, table, stamps, FACTS, run=run)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    one, two = read_packets(tmp_path / "a")[0], read_packets(tmp_path / "c")[0]
    assert len({*one["candid"], *two["candid"]}) == 6
    assert (one["candid"] > 0).all()


SCORES = ("real", "real_spread", "real_decision", "real_set", "applicable")


def scored(table: Table) -> Table:
    """The candidates with the columns of a model that could not score the last of them."""
    n = len(table)
    last = np.arange(n) == n - 1
    table["real"] = MaskedColumn(np.linspace(1, 0, n, dtype=np.float32), mask=last)
    table["real_spread"] = MaskedColumn(np.full(n, 0.125, np.float32), mask=last)
    table["real_decision"] = np.where(last, "", "real")
    table["real_set"] = np.where(last, "", "bogus+real")
    table["applicable"] = np.where(last, "a cutout has pixels that are not finite", "")
    return table


def test_scores_and_the_model_that_gave_them_come_back(tmp_path):
    rng = np.random.default_rng(5)
    table = scored(candidates(4, rng))
    facts = {**FACTS, "model": "braai.sim1", "model_hash": "cd" * 32}
    write_packets(tmp_path / "a.avro", table, triplets(4, rng, 5), facts, run="r")
    back, _ = read_packets(tmp_path / "a.avro")
    for name in SCORES:
        mask = np.ma.getmaskarray(table[name])
        np.testing.assert_array_equal(np.ma.getmaskarray(back[name]), mask)
        assert back[name][~mask].tolist() == table[name][~mask].tolist()
    assert set(back["model"]) == {"braai.sim1"}
    assert set(back["model_hash"]) == {"cd" * 32}


def test_without_a_model_scores_are_null(tmp_path):
    rng = np.random.default_rng(6)
    write_packets(tmp_path / "a.avro", candidates(2, rng), triplets(2, rng, 5), FACTS, run="r")
    with (tmp_path / "a.avro").open("rb") as file:
        for packet in fastavro.reader(file):
            assert {packet["candidate"][name] for name in (*SCORES, "model", "model_hash")} == {None}


def test_packets_of_the_version_before_scores_are_read_with_null_in_their_place(tmp_path):
    rng = np.random.default_rng(7)
    table, stamps = candidates(3, rng), triplets(3, rng, 5)
    write_packets(tmp_path / "new.avro", table, stamps, FACTS, run="r")
    old = copy.deepcopy(candidate_schema())
    old["version"] = "1.0"
    record = next(field for field in old["fields"] if field["name"] == "candidate")["type"]
    record["fields"] = [
        one for one in record["fields"] if one["name"] not in (*SCORES, "model", "model_hash")
    ]
    assert record["fields"][-1]["name"] == "reference_sha256"
    with (tmp_path / "new.avro").open("rb") as new, (tmp_path / "old.avro").open("wb") as file:
        fastavro.writer(file, old, fastavro.reader(new, reader_schema=old))
    back, planes = read_packets(tmp_path / "old.avro")
    assert back["snr"].tolist() == table["snr"].tolist()
    assert all(np.ma.getmaskarray(back[name]).all() for name in (*SCORES, "model", "model_hash"))
    np.testing.assert_array_equal(planes["science"], stamps["science"])


finite = st.floats(allow_nan=False, allow_infinity=False)
anything = st.floats(allow_nan=True, allow_infinity=True)
FINITE_TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00"), max_size=20)


@given(
    rows=st.lists(st.tuples(finite, finite, finite, anything, FINITE_TEXT), max_size=5),
    size=st.integers(1, 9),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_read_is_what_was_written(tmp_path, rows, size, seed):
    n = len(rows)
    table = Table()
    table["id"] = np.arange(n, dtype=np.int64)
    for i, name in enumerate(("x", "y", "snr", "mag")):
        table[name] = np.array([row[i] for row in rows], np.float64)
    table["flags"] = np.array([row[4] for row in rows], object)
    stamps = triplets(n, np.random.default_rng(seed), size)
    stamps["id"] = np.arange(n)
    write_packets(tmp_path / "p.avro", table, stamps, {}, run="r")
    back, planes = read_packets(tmp_path / "p.avro")
    assert len(back) == n
    for row in range(n):
        for name in ("x", "y", "snr"):
            assert back[name][row] == table[name][row]
        assert back["flags"][row] == table["flags"][row]
        if np.isfinite(table["mag"][row]):
            assert back["mag"][row] == table["mag"][row]
        else:
            assert np.ma.is_masked(back["mag"][row])
    for key in ("science", "reference", "difference", "padded"):
        np.testing.assert_array_equal(planes[key].reshape(stamps[key].shape), stamps[key])


@pytest.fixture(scope="module")
def good_file(tmp_path_factory):
    rng = np.random.default_rng(3)
    path = tmp_path_factory.mktemp("packets") / "good.avro"
    write_packets(path, candidates(2, rng), triplets(2, rng, 5), FACTS, run="r")
    return path.read_bytes()


@given(data=st.data())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_broken_file_is_named_and_never_a_traceback(tmp_path, good_file, data):
    broken = bytearray(good_file)
    if data.draw(st.booleans()):
        broken = broken[: data.draw(st.integers(0, len(broken)))]
    for _ in range(data.draw(st.integers(0, 3))):
        if broken:
            broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "broken.avro"
    path.write_bytes(broken)
    with contextlib.suppress(PacketError):  # anything else is a failure
        table, planes = read_packets(path)
        assert len(table) == len(planes["science"])


def test_packets_of_another_schema_are_refused(tmp_path):
    schema = {
        "type": "record",
        "name": "alert",
        "namespace": "ztf",
        "fields": [{"name": "candid", "type": "long"}],
    }
    with (tmp_path / "z.avro").open("wb") as file:
        fastavro.writer(file, schema, [{"candid": 1}])
    with pytest.raises(PacketError, match=r"schema 'ztf.alert'"):
        read_packets(tmp_path / "z.avro")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, s: t.add_column([1.0, 2.0], name="colour"), "no field colour"),
        (lambda t, s: t["snr"].__setitem__(0, np.nan), "snr, isdiffpos must have a value"),
        (lambda t, s: s.pop("science"), "expected 2 science cutouts"),
        (lambda t, s: s.__setitem__("difference", s["difference"][:1]), "expected 2 difference cutouts"),
        (lambda t, s: s.__setitem__("id", s["id"][::-1]), "one order"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(tmp_path, change, message):
    rng = np.random.default_rng(4)
    table, stamps = candidates(2, rng), triplets(2, rng, 5)
    change(table, stamps)
    with pytest.raises(PacketError, match=message):
        write_packets(tmp_path / "a.avro", table, stamps, FACTS, run="r")
    assert not (tmp_path / "a.avro").exists()
