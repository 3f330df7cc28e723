"""Announcements: the same thing to every receiver, and what each of them must be able to rely on."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import io
import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.etree import ElementTree as ET

import fastavro
import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid.errors import OutputError, StreamError, UsageError
from astrid.stream.announcement import Announcement, ScoreOf, announcement_schema, packed_cutout
from astrid.stream.sinks import FileSink, OpenSinks, RefusedError, open_sink
from astrid.stream.topic_sink import TopicSink
from astrid.stream.voevent import VOEventFiles, VOEventPost, voevent
from astrid.stream.webhook import Webhook, signature

HASH = "0123456789abcdef" * 4
VOE = "{http://www.ivoa.net/xml/VOEvent/v2.0}VOEvent"
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


def announcement(number: int = 1, **facts) -> Announcement:
    given = {
        "filter": "my_sn",
        "filter_hash": HASH,
        "survey": "ztf",
        "alert_id": f"{number}",
        "object_id": "ZTF20aaa",
        "night": "2026-11-01",
        "ra": 187.5,
        "dec": -12.25,
        "mjd": 61345.25,
        "time_scale": "utc",
        "band": "g",
        "flux": 1200.5,
        "flux_err": 30.0,
        "magpsf": 23.7,
        "sigmapsf": 0.03,
        "scores": [ScoreOf("braai.real1", "ab" * 32, "real", 0.93, 0.01, "real", "real", "")],
        "matches": {"gaia_distance": math.inf, "gaia_id": None, "gaia_count": 0},
    }
    return Announcement(**(given | facts))


def parsed(document: bytes) -> ET.Element:
    return ET.fromstring(document)  # noqa: S314 - it is our own


# --- the announcement ---


def test_an_avro_announcement_reads_back_by_any_reader_and_is_the_same_bytes_each_time():
    image = np.arange(12, dtype=np.float32).reshape(3, 4)
    one = announcement(cutouts={"difference": packed_cutout(image)})
    assert one.as_avro() == announcement(cutouts={"difference": packed_cutout(image)}).as_avro()
    (record,) = fastavro.reader(io.BytesIO(one.as_avro()))
    assert record["key"] == "ztf:1:my_sn:0123456789abcdef"
    assert (record["ra"], record["dec"], record["mjd"], record["magpsf"]) == (187.5, -12.25, 61345.25, 23.7)
    assert record["scores"][0]["hash"] == "ab" * 32
    assert json.loads(record["matches"]) == {"gaia_distance": None, "gaia_id": None, "gaia_count": 0}
    assert record["cutout_science"] is None
    with fits.open(io.BytesIO(gzip.decompress(record["cutout_difference"]))) as hdus:
        np.testing.assert_array_equal(hdus[0].data, image)


def test_every_field_of_the_schema_says_what_it_is():
    def fields(schema):
        for field in schema["fields"]:
            yield field
            kind = field["type"]
            if isinstance(kind, dict) and isinstance(kind.get("items"), dict):
                yield from fields(kind["items"])

    assert all(len(field["doc"]) > 5 for field in fields(announcement_schema()))
    names = {field["name"] for field in announcement_schema()["fields"]}
    assert names >= set(announcement().as_dict()) - {"scores", "matches"}


def test_json_has_no_number_that_json_has_not():
    one = announcement(
        flux=math.nan, matches={"d": math.inf, "n": np.int64(3), "t": datetime(2026, 1, 1, tzinfo=UTC)}
    )
    facts = json.loads(one.as_json(), parse_constant=pytest.fail)
    assert facts["flux"] is None
    assert facts["matches"] == {"d": None, "n": 3, "t": "2026-01-01 00:00:00+00:00"}


def test_another_version_of_a_filter_is_another_announcement():
    keys = {announcement(filter_hash=h * 64).key for h in "ab"} | {announcement(k).key for k in (1, 2)}
    assert len(keys) == 4


# --- files ---


def test_files_are_one_for_each_key_however_often_they_are_sent(tmp_path):
    sink = open_sink(f"files:{tmp_path}/out")
    sink.send([announcement(1), announcement(2)])
    sink.send([announcement(2)])
    files = sorted((tmp_path / "out" / "2026-11-01").iterdir())
    assert [file.name for file in files] == [f"ztf,{k},my_sn,0123456789abcdef.json" for k in (1, 2)]
    assert json.loads(files[1].read_text())["alert_id"] == "2"


def test_files_can_be_avro_with_cutouts(tmp_path):
    sink = open_sink(f"files:{tmp_path}?format=avro&cutouts=yes")
    assert sink.cutouts
    sink.send([announcement(night=None)])
    (file,) = (tmp_path / "unknown").iterdir()
    with file.open("rb") as stream:
        assert next(iter(fastavro.reader(stream)))["alert_id"] == "1"


@settings(max_examples=40, deadline=None)
@given(texts, texts, texts)
def test_no_identifier_leads_out_of_the_folder_or_takes_the_place_of_another(
    tmp_path_factory, survey, alert, other
):
    folder = tmp_path_factory.mktemp("out")
    ones = [announcement(survey=survey, alert_id=one, night="..") for one in {alert, other}]
    FileSink(folder).send(ones)
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert {json.loads(file.read_bytes())["key"] for file in files} == {one.key for one in ones}


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        open_sink(f"files:{tmp_path}/file").send([announcement()])


# --- VOEvents ---


def test_a_voevent_has_the_parts_of_the_standard_in_their_places():
    root = parsed(voevent(announcement(), authority="org.example", now=datetime(2026, 11, 2, tzinfo=UTC)))
    assert root.tag == VOE
    assert root.attrib["version"] == "2.0"
    assert root.attrib["role"] == "observation"
    assert root.attrib["ivorn"] == "ivo://org.example/ztf/my_sn#1-0123456789abcdef"
    # children are unqualified: the schema has elementFormDefault="unqualified"
    assert [one.tag for one in root] == ["Who", "What", "WhereWhen", "Why"]
    assert root.findtext("Who/AuthorIVORN") == "ivo://org.example"
    assert root.findtext("Who/Date") == "2026-11-02T00:00:00"
    where = root.find("WhereWhen/ObsDataLocation")
    assert [one.tag for one in where] == ["ObservatoryLocation", "ObservationLocation"]
    assert where.find("ObservationLocation/AstroCoordSystem").attrib == {"id": "UTC-ICRS-TOPO"}
    coords = where.find("ObservationLocation/AstroCoords")
    assert coords.attrib == {"coord_system_id": "UTC-ICRS-TOPO"}
    assert [one.tag for one in coords] == ["Time", "Position2D"]
    assert coords.findtext("Time/TimeInstant/ISOTime") == "2026-11-01T06:00:00.000"
    assert [one.tag for one in coords.find("Position2D")] == ["Name1", "Name2", "Value2", "Error2Radius"]
    assert float(coords.findtext("Position2D/Value2/C1")) == 187.5
    assert float(coords.findtext("Position2D/Value2/C2")) == -12.25
    parameters = {one.attrib["name"]: one.attrib for one in root.findall("What/Param")}
    assert parameters["magpsf"] == {
        "name": "magpsf", "value": "23.7", "dataType": "float", "unit": "mag", "ucd": "phot.mag",
    }  # fmt: skip
    assert {one.attrib["dataType"] for one in root.iter("Param")} <= {"string", "float", "int"}
    score = {one.attrib["name"]: one.attrib["value"] for one in root.find("What/Group[@type='score']")}
    assert (score["bundle"], score["hash"], score["value"]) == ("braai.real1", "ab" * 32, "0.93")
    assert root.find("Why/Inference").attrib == {"probability": "0.93"}
    assert root.findtext("Why/Name") == "ZTF20aaa"


def test_times_of_a_voevent_are_utc_whatever_the_survey_counts_in():
    root = parsed(voevent(announcement(time_scale="tai")))
    found = Time(root.findtext(".//ISOTime"), scale="utc")
    assert abs((found - Time(61345.25, format="mjd", scale="tai")).sec) < 1e-3
    assert (Time(61345.25, format="mjd", scale="utc") - found).sec == pytest.approx(37.0, abs=1e-3)
    unsaid = parsed(voevent(announcement(time_scale=None)))
    assert "does not say" in unsaid.findtext("WhereWhen/Description")


def test_what_is_not_known_is_not_in_a_voevent():
    bare = Announcement("f", HASH, "lsst", "7")
    root = parsed(voevent(bare))
    assert root.find(".//Time") is None
    assert root.find(".//Position2D") is None
    assert {one.attrib["name"] for one in root.iter("Param")} == {
        "survey",
        "alert_id",
        "filter",
        "filter_hash",
        "key",
    }


@given(texts, texts, texts)
def test_any_text_makes_a_well_formed_voevent(alert_id, object_id, value):
    one = announcement(alert_id=alert_id, object_id=object_id, matches={"m_name": value})
    root = parsed(voevent(one))
    assert root.attrib["ivorn"].count("#") == 1
    assert " " not in root.attrib["ivorn"]


def test_voevents_are_written_as_files(tmp_path):
    open_sink(f"voevent:{tmp_path}?authority=org.example").send([announcement()])
    (file,) = (tmp_path / "2026-11-01").iterdir()
    assert file.suffix == ".xml"
    assert parsed(file.read_bytes()).attrib["ivorn"].startswith("ivo://org.example/")


# --- web hooks ---


class Receiver:
    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.address = ""


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, content))
            code, headers = receiver.answers.pop(0) if receiver.answers else (200, {})
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    receiver.address = f"http://127.0.0.1:{server.server_port}/hook/open-sesame"
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def receiver():
    with receiving() as given:
        yield given


def test_a_web_hook_gets_signed_json_that_it_can_check(receiver, monkeypatch):
    monkeypatch.setenv("ASTRID_WEBHOOK_SECRET", "key")
    Webhook(receiver.address).send([announcement(1), announcement(2, filter="ünïcode")])
    assert [json.loads(content)["alert_id"] for _, content in receiver.got] == ["1", "2"]
    headers, content = receiver.got[0]
    stamp = headers["x-astrid-timestamp"]
    expected = hmac.new(b"key", f"{stamp}.".encode() + content, hashlib.sha256).hexdigest()
    assert headers["x-astrid-signature"] == f"sha256={expected}" == signature("key", stamp, content)
    assert headers["idempotency-key"] == "ztf:1:my_sn:0123456789abcdef"
    assert headers["content-type"] == "application/json"


def test_a_web_hook_without_a_secret_is_not_signed(receiver, monkeypatch):
    monkeypatch.delenv("ASTRID_WEBHOOK_SECRET", raising=False)
    Webhook(receiver.address).send([announcement()])
    assert "x-astrid-signature" not in receiver.got[0][0]


def test_a_busy_receiver_is_waited_for_as_it_asks(receiver, monkeypatch):
    waits = []
    monkeypatch.setattr("astrid.stream.webhook.time.sleep", waits.append)
    receiver.answers = [(429, {"Retry-After": "7"}), (503, {})]
    Webhook(receiver.address, pause=0.5).send([announcement()])
    assert waits == [7.0, 1.0]
    assert len({content for _, content in receiver.got}) == 1


@pytest.mark.parametrize(
    ("answers", "error", "match", "n"),
    [
        ([(500, {})] * 3, StreamError, "cannot be reached .it answers 500", 3),
        ([(429, {"Retry-After": "299"})], StreamError, "it answers 429", 1),  # not to hold up all others
        ([(404, {})], StreamError, "takes no announcements .it answers 404", 1),
        ([(302, {"Location": "http://127.0.0.1:1/"})], StreamError, "it answers 302", 1),
        ([(422, {})], RefusedError, "does not take the announcement .it answers 422", 1),
    ],
)
def test_what_a_receiver_answers_decides_whether_it_is_tried_again(receiver, answers, error, match, n):
    receiver.answers = list(answers)
    with pytest.raises(error, match=match) as caught:
        Webhook(receiver.address, pause=0.001).send([announcement()])
    assert len(receiver.got) == n
    assert isinstance(caught.value, RefusedError) == (error is RefusedError)
    assert "open-sesame" not in str(caught.value)


def test_a_receiver_that_is_not_there_is_said():
    with pytest.raises(StreamError, match=r"cannot be reached .*refused") as caught:
        Webhook("http://127.0.0.1:1/open-sesame", pause=0.001).send([announcement()])
    assert "open-sesame" not in str(caught.value)


def test_voevents_are_posted_and_the_authority_is_kept_out_of_the_address(receiver):
    sink = open_sink(f"voevent:{receiver.address}?authority=org.example&token=1")
    assert isinstance(sink, VOEventPost)
    sink.send([announcement()])
    headers, content = receiver.got[0]
    assert headers["content-type"] == "text/xml"
    assert parsed(content).attrib["ivorn"].startswith("ivo://org.example/")


# --- topics ---


def consumed(cluster: str, topic: str, n: int) -> list[tuple[str, dict]]:
    import confluent_kafka as kafka

    consumer = kafka.Consumer(
        {"bootstrap.servers": cluster, "group.id": "reader", "enable.auto.commit": False, "log_level": 0}
    )
    try:
        consumer.assign([kafka.TopicPartition(topic, part, 0) for part in range(4)])
        messages: list[kafka.Message] = []
        for _ in range(100):
            messages += [one for one in consumer.consume(50, 0.1) if one.error() is None]
            if len(messages) >= n:
                break
        return [
            (one.key().decode(), next(iter(fastavro.reader(io.BytesIO(one.value()))))) for one in messages
        ]
    finally:
        consumer.close()


def test_a_topic_gets_every_announcement_under_its_key(cluster):
    sink = open_sink(f"kafka://{cluster}/announced")
    assert isinstance(sink, TopicSink)
    sink.send([announcement(k) for k in range(30)])
    sink.send([announcement(30)])
    sink.close()
    got = consumed(cluster, "announced", 31)
    assert sorted(key for key, _ in got) == sorted(announcement(k).key for k in range(31))
    assert all(key == record["key"] for key, record in got)
    assert {record["scores"][0]["bundle"] for _, record in got} == {"braai.real1"}


def test_what_is_too_large_for_a_topic_is_refused(cluster):
    noise = np.random.default_rng(1).bytes(11_000_000)
    with pytest.raises(RefusedError, match="does not take an announcement"):
        TopicSink(f"kafka://{cluster}/large").send([announcement(cutouts={"science": noise})])


def test_a_broker_that_does_not_confirm_is_said_within_its_time():
    sink = TopicSink("kafka://127.0.0.1:1/t", timeout=1.0)
    for _ in range(2):  # it starts anew
        with pytest.raises(
            StreamError, match=r"does not confirm announcements for t \(.*refused.*sent again later"
        ):
            sink.send([announcement(k) for k in range(3)])


# --- addresses ---


@pytest.mark.parametrize(
    ("address", "match"),
    [
        ("mail:me@example.org", "'mail' is no kind of receiver"),
        ("https://me:open-sesame@host/x", "must not hold"),
        ("http://host/x", "go to https:// only"),
        ("kafka://me:open-sesame@h:1/t", "must not hold"),
        ("kafka://h:1/a,b", "go to one topic"),
        ("kafka://h:1/^a", "go to one topic"),
        ("kafka://h:1/a?cutouts=maybe", "no option of this receiver"),
        ("files:", "names no place"),
        ("files:x?colour=red", "it takes format, cutouts"),
        ("files:x?cutouts=yes", "JSON files hold no cutouts"),
        ("voevent:x?authority=a b", "no authority of the Virtual Observatory"),
        ("voevent:https://host/?authority=-", "no authority of the Virtual Observatory"),
    ],
)
def test_wrong_addresses_are_explained_when_they_are_opened(address, match):
    with pytest.raises(UsageError, match=match) as caught:
        open_sink(address)
    assert "open-sesame" not in str(caught.value)


def test_opening_a_sink_asks_nobody_and_makes_nothing(tmp_path):
    opened = OpenSinks()
    for address in (
        "kafka://127.0.0.1:1/t",
        "https://nobody.invalid/x",
        f"files:{tmp_path}/a",
        f"voevent:{tmp_path}/b",
        "voevent:https://nobody.invalid/x",
    ):
        assert opened(address) is opened(address)
    opened.close()
    assert list(tmp_path.iterdir()) == []
    assert isinstance(open_sink(f"voevent:{tmp_path}"), VOEventFiles)
