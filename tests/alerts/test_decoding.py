"""Packets of every survey: each becomes an alert or is set aside, in one schema, and none is lost."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import fastavro
import numpy as np
import pytest
from astropy.table import Table

from astrid.alerts import (
    Intake,
    Quarantine,
    SchemaBook,
    decode,
    layouts,
    read_alerts,
    read_layouts,
    read_packets,
)
from astrid.errors import PacketError, UsageError
from astrid.images.packets import read_packets as read_own
from astrid.images.packets import write_packets

COUNTS = {  # of the data folder's own description: alerts, of these without images, in quarantine
    "ztf_alerts_dev.tar.gz": (49, 0, 0),
    "other_surveys_dev.tar.gz": (22, 0, 0),
    "edge_cases.tar.gz": (7, 3, 2),
    "lsst_packets.tar.gz": (2, 0, 0),
    "schemas.tar.gz": (3, 3, 2),  # two examples of LSST are dated to the year 4,055,000
    "fink_ztf_alerts_51.parquet": (51, 0, 0),
    "fink_ztf_labelled_72.parquet": (72, 0, 0),
    "fink_lsst_or4_v7.1_50.parquet": (50, 0, 0),
}


def alerts_of(real_data: Path, *names: str, **options):
    book = SchemaBook(real_data / "alerts" / "schemas.tar.gz")
    return list(read_alerts([real_data / "alerts" / name for name in names], book=book, **options))


@pytest.mark.real_data
@pytest.mark.parametrize("name", COUNTS)
def test_every_file_of_the_data_folder_gives_the_right_counts(real_data, name):
    intake = Intake()
    alerts = alerts_of(real_data, name, intake=intake)
    good, without, quarantined = COUNTS[name]
    assert (intake.n_good, intake.without_images.total(), len(intake.quarantined)) == COUNTS[name]
    assert len(alerts) == good
    assert intake.n_packets == good + quarantined
    assert sum(bool(alert.image_problem) for alert in alerts) == without


@pytest.mark.real_data
def test_surveys_and_versions_are_told_apart(real_data):
    intake = Intake()
    alerts_of(real_data, "ztf_alerts_dev.tar.gz", "other_surveys_dev.tar.gz", "lsst_packets.tar.gz",
              intake=intake)  # fmt: skip
    assert intake.good == Counter(
        {
            ("ztf", ""): 11, ("ztf", "3.0"): 15, ("ztf", "3.3"): 6, ("ztf", "4.01"): 12, ("ztf", "4.02"): 5,
            ("pgir", "0.1"): 9, ("winter", "0.1"): 6, ("turbo", "0.1"): 6, ("decam", ""): 1,
            ("lsst", "7.1"): 1, ("lsst", "9.0"): 1,
        }
    )  # fmt: skip


@pytest.mark.real_data
def test_fluxes_and_magnitudes_are_those_that_the_packets_say(real_data):
    for alert in alerts_of(real_data, "ztf_alerts_dev.tar.gz"):
        candidate, found = alert.extras["candidate"], alert.detection
        assert found.mag == candidate["magpsf"]
        assert found.positive == (candidate["isdiffpos"] in ("t", "1"))
        assert math.copysign(1, found.flux) == (1 if found.positive else -1)
        # 23.9 mag is a microjansky
        assert abs(found.flux) == pytest.approx(1e3 * 10 ** (0.4 * (23.9 - found.mag)), rel=1e-12)
        assert found.band == "gri"[candidate["fid"] - 1]
    (decam,) = (one for one in alerts_of(real_data, "other_surveys_dev.tar.gz") if one.survey == "decam")
    candidate = decam.extras["candidate"]
    assert decam.detection.mag == pytest.approx(candidate["forcediffimmag"], abs=1e-6)
    assert decam.detection.mag_err == pytest.approx(candidate["forcediffimmagunc"], abs=1e-6)
    assert [one.forced for one in decam.history] == [True]
    lsst = alerts_of(real_data, "lsst_packets.tar.gz")
    assert [one.detection.positive for one in lsst] == [True, False]
    assert lsst[1].detection.flux == lsst[1].extras["diaSource"]["psfFlux"] < 0
    assert {one.time_scale for one in lsst} == {"tai"}
    assert not any(one.flipped for one in lsst)


@pytest.mark.real_data
def test_histories_keep_every_visit_and_forced_ones_are_marked(real_data):
    with tarfile.open(real_data / "alerts" / "ztf_alerts_dev.tar.gz") as archive:
        raw = {}
        for member in archive:
            if member.isfile():
                (record,) = fastavro.reader(archive.extractfile(member))
                raw[str(record["candid"])] = record
    for alert in alerts_of(real_data, "ztf_alerts_dev.tar.gz"):
        record = raw[alert.alert_id]
        earlier, forced = record.get("prv_candidates") or [], record.get("fp_hists") or []
        assert [one.forced for one in alert.history] == [False] * len(earlier) + [True] * len(forced)
        for one, point in zip(alert.history, earlier, strict=False):
            assert one.mag == point["magpsf"]
            assert one.limiting_mag == point["diffmaglim"]
            assert (one.flux is None) == (point["magpsf"] is None)
        for one, point in zip(alert.history[len(earlier) :], forced, strict=True):
            known = point["forcediffimflux"] != -99999 and point["magzpsci"] != -99999
            assert (one.flux is not None) == known
            if known and one.flux > 0:
                expected = point["magzpsci"] - 2.5 * math.log10(point["forcediffimflux"])
                assert one.mag == pytest.approx(expected, abs=1e-9)


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["ztf_alerts_dev.tar.gz", "other_surveys_dev.tar.gz", "lsst_packets.tar.gz"])
def test_skipping_a_history_changes_nothing_else(real_data, name):
    whole, short = alerts_of(real_data, name), alerts_of(real_data, name, history=False)
    assert len(whole) == len(short) > 0
    for one, other in zip(whole, short, strict=True):
        assert other.history is None
        assert one.history is not None
        assert (one.alert_id, one.detection) == (other.alert_id, other.detection)
        assert repr(one.extras) == repr(other.extras)
        for cutout in one.cutouts:
            np.testing.assert_array_equal(one.cutouts[cutout].image, other.cutouts[cutout].image)


@pytest.mark.real_data
def test_what_a_packet_does_not_say_is_none(real_data):
    by_survey = {one.survey: one for one in alerts_of(real_data, "other_surveys_dev.tar.gz")}
    winter = by_survey["winter"].detection  # the system of its magnitudes is nowhere said
    assert (winter.flux, winter.mag, winter.limiting_mag) == (None, None, None)
    assert by_survey["winter"].extras["candidate"]["magpsf"] is not None
    assert by_survey["pgir"].time_scale is None
    assert by_survey["decam"].x is None


@pytest.mark.real_data
def test_numbers_of_schemas_that_nobody_knows_wait_in_quarantine(real_data, tmp_path):
    path, place = real_data / "alerts" / "lsst_packets.tar.gz", Quarantine(tmp_path / "q")
    intake = Intake()
    assert list(read_alerts([path], quarantine=place, intake=intake)) == []
    assert "number 701 (LSST's v7.1) is not known" in intake.quarantined[0][1]
    kept = place.paths()
    assert len(kept) == 2
    assert {path.suffix for path in kept} == {".bin"}
    again = Intake()
    alerts = list(read_alerts(kept, book=SchemaBook(real_data / "alerts" / "schemas.tar.gz"), intake=again))
    assert len(alerts) == again.n_good == 2


@pytest.mark.real_data
def test_quarantine_keeps_bytes_reason_and_name_once(real_data, tmp_path):
    path, place = real_data / "alerts" / "edge_cases.tar.gz", Quarantine(tmp_path / "q")
    for _ in range(2):
        list(read_alerts([path], quarantine=place))
    with tarfile.open(path) as archive:
        raw = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}
    entries = place.entries()
    assert sorted(one["name"] for one in entries) == [
        "edge/516401801315010009.avro",
        "edge/516434762915010006.avro",
    ]
    for one in entries:
        assert Path(one["path"]).read_bytes() == raw[one["name"]]
        assert "beyond the end" in one["reason"]
    place.release(Path(entries[0]["path"]))
    assert len(place.entries()) == 1


@pytest.mark.real_data
def test_a_row_of_a_table_in_quarantine_can_be_read_again(real_data, tmp_path):
    packet = next(iter(read_packets(real_data / "alerts" / "fink_ztf_alerts_51.parquet")))
    path = Quarantine(tmp_path).add(packet, "a test")
    (again,) = read_packets(path)
    assert decode(again).detection == decode(packet).detection


def test_our_own_packets_come_back(tmp_path):
    rng = np.random.default_rng(1)
    table = Table(
        {"id": [1, 2], "x": [40.0, 50.0], "y": [40.0, 41.0], "snr": [8.0, -9.0], "flags": ["", "edge"]}
        | {"ra": [10.5, 11.5], "dec": [-3.0, 4.0]}
    )
    planes = rng.normal(0, 1, (3, 2, 63, 63)).astype(np.float32)
    triplets = dict(zip(("science", "reference", "difference"), planes, strict=True))
    write_packets(tmp_path / "alerts.avro", table, triplets, {"mjd": 60000.25, "filter": "r"}, run="test")
    alerts = list(read_alerts([tmp_path / "alerts.avro"]))
    own, stamps = read_own(tmp_path / "alerts.avro")
    assert [one.alert_id for one in alerts] == [str(number) for number in own["candid"]]
    assert [(one.ra, one.dec, one.mjd, one.detection.band) for one in alerts] == [
        (10.5, -3.0, 60000.25, "r"), (11.5, 4.0, 60000.25, "r"),
    ]  # fmt: skip
    assert [one.detection.positive for one in alerts] == [True, False]
    assert not any(one.flipped for one in alerts)  # ours is always science minus reference
    for k, one in enumerate(alerts):
        for name, cutout in one.cutouts.items():
            np.testing.assert_array_equal(cutout.image, stamps[name][k])


def test_a_long_file_is_read_block_by_block_and_its_packets_stay_readable(tmp_path):
    n = 60
    table = Table(
        {"id": np.arange(n), "x": np.zeros(n), "y": np.zeros(n), "snr": np.ones(n), "flags": [""] * n}
    )
    planes = np.random.default_rng(2).normal(0, 1, (3, n, 63, 63)).astype(np.float32)
    triplets = dict(zip(("science", "reference", "difference"), planes, strict=True))
    write_packets(tmp_path / "long.avro", table, triplets, {}, run="long")
    assert (tmp_path / "long.avro").stat().st_size > 1 << 20
    packets = list(read_packets(tmp_path / "long.avro"))
    assert len({packet.name for packet in packets}) == n
    (tmp_path / "one.avro").write_bytes(packets[41].content())
    (again,) = read_alerts([tmp_path / "one.avro"])
    assert again.alert_id == decode(packets[41]).alert_id
    np.testing.assert_array_equal(again.cutouts["science"].image, planes[0][41])


FOREIGN = """
[mysurvey]
schemas = ["my.packet"]
alert_id = "number"
detection = "source"
time_scale = "tt"
cutouts = { science = "images.new", difference = "images.change" }
[mysurvey.photometry]
mjd = "when"
mag = "mag"
mag_err = "dmag"
sign = "brighter"
constant_band = "V"
system = { V = 0.02 }
"""


def test_a_survey_that_nobody_knows_is_described_in_a_few_lines(tmp_path):
    schema = {
        "type": "record", "name": "my.packet",
        "fields": [
            {"name": "number", "type": "long"},
            {"name": "source", "type": {"type": "record", "name": "s", "fields": [
                {"name": name, "type": "double"} for name in ("ra", "dec", "when", "mag", "dmag")
            ] + [{"name": "brighter", "type": "boolean"}]}},
            {"name": "images", "type": {"type": "map", "values": "bytes"}},
            {"name": "colour", "type": "string"},
        ],
    }  # fmt: skip
    source = {"ra": 1.0, "dec": 2.0, "when": 60000.5, "mag": 18.0, "dmag": 0.1, "brighter": False}
    record = {"number": 7, "source": source, "images": {"new": b"no image"}, "colour": "blue"}
    with (tmp_path / "a.avro").open("wb") as file:
        fastavro.writer(file, schema, [record], codec="deflate")
    intake = Intake()
    assert list(read_alerts([tmp_path / "a.avro"], intake=intake)) == []
    assert "the schema my.packet are of no survey that is known" in intake.quarantined[0][1]
    (tmp_path / "my.toml").write_text(FOREIGN)
    (alert,) = read_alerts([tmp_path / "a.avro"], layouts=read_layouts(tmp_path / "my.toml"))
    assert (alert.survey, alert.alert_id, alert.object_id, alert.mjd) == ("mysurvey", "7", None, 60000.5)
    assert (alert.detection.mag, alert.detection.band) == (18.02, "V")
    assert alert.detection.flux < 0
    assert alert.image_problem == (
        "science: a stamp is no FITS image; reference: is absent; difference: is absent"
    )
    assert alert.extras["colour"] == "blue"


def test_a_layout_with_a_wrong_word_says_which(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text(FOREIGN.replace("dmag", "dmag").replace("mag_err =", "magerr ="))
    with pytest.raises(UsageError, match=r"photometry\.magerr"):
        read_layouts(path)
    path.write_text("a = ")
    with pytest.raises(UsageError, match="give a layout in TOML"):
        read_layouts(path)


def test_files_that_are_absent_or_of_another_kind_are_named(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "bad.parquet").write_text("x")
    (tmp_path / "bad.tar.gz").write_text("x")
    for name, message in (
        ("absent.avro", "no such file"),
        ("notes.txt", r"expected \.avro"),
        ("bad.parquet", "not a readable Parquet file"),
        ("bad.tar.gz", "not a readable archive"),
    ):
        with pytest.raises(PacketError, match=message):
            list(read_packets(tmp_path / name))


def test_schemas_are_found_by_number_in_a_folder_and_asked_of_a_registry(tmp_path, monkeypatch):
    schema = {"type": "record", "name": "lsst.v12_3.alert", "fields": [{"name": "a", "type": "int"}]}
    (tmp_path / "1203.avsc").write_text(json.dumps(schema))
    assert SchemaBook(tmp_path).find(1203).name == "lsst.v12_3.alert"
    asked = []

    def answer(address, timeout):
        asked.append(address)
        return io.BytesIO(json.dumps({"schema": json.dumps(schema)}).encode())

    monkeypatch.setattr("urllib.request.urlopen", answer)
    book = SchemaBook(registry="https://registry.example/")
    assert book.find(1203).name == book.find(1203).name == "lsst.v12_3.alert"
    assert asked == ["https://registry.example/schemas/ids/1203"]
    with pytest.raises(UsageError, match="begins with https"):
        SchemaBook(registry="file:///etc/passwd")


def test_layouts_of_all_surveys_of_the_catalogue_are_valid():
    assert [one.name for one in layouts()] == ["ztf", "lsst", "decam", "pgir", "winter", "turbo", "astrid"]


@pytest.mark.real_data
def test_decoding_loads_no_torch_and_no_astropy(real_data):
    path = real_data / "alerts" / "ztf_alerts_dev.tar.gz"
    script = (
        "import sys; from astrid.alerts import read_alerts, centred_triplet\n"
        f"n = sum(centred_triplet(a).shape == (63, 63, 3) for a in read_alerts([{str(path)!r}]))\n"
        "print(n, [m for m in ('torch', 'astropy', 'onnxruntime', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "49 []"


def test_a_packet_of_an_archive_that_is_cut_short_is_said(tmp_path, real_data):
    whole = (real_data / "alerts" / "edge_cases.tar.gz").read_bytes()
    (tmp_path / "short.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PacketError, match="not a readable archive"):
        list(read_alerts([tmp_path / "short.tar.gz"]))
