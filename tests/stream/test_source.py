"""Packets from files, archives and servers: all of them, in their order, whatever happens on the way."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid.alerts import SchemaBook
from astrid.errors import OutputError, PacketError, StreamError, UsageError
from astrid.stream.http import fetched, retry_after
from astrid.stream.source import FileSource, open_source

SCHEMA = fastavro.parse_schema(
    {"type": "record", "name": "small.alert", "fields": [{"name": "id", "type": "long"}]}
)


def packet(number: int) -> bytes:
    stream = io.BytesIO()
    fastavro.writer(stream, SCHEMA, [{"id": number}])
    return stream.getvalue()


def archive(path: Path, numbers) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for number in numbers:
            content = packet(number)
            member = tarfile.TarInfo(f"night/{number:05d}.avro")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def ids(source, size=7):
    return [one.record["id"] for delivery in source.deliveries(size, 0.0) for one in delivery.packets]


@pytest.fixture(scope="module")
def night(tmp_path_factory) -> Path:
    """A folder with a file of its own, an archive, a table and a long file."""
    folder = tmp_path_factory.mktemp("night")
    (folder / "a.avro").write_bytes(packet(0))
    archive(folder / "b.tar.gz", range(1, 41))
    pq.write_table(pa.table({"id": range(41, 241)}), folder / "c.parquet")
    with (folder / "d.avro").open("wb") as file:
        fastavro.writer(file, SCHEMA, [{"id": number} for number in range(241, 251)])
    (folder / "readme.txt").write_text("no packet")
    return folder


def test_deliveries_hold_every_packet_once_in_its_order(night):
    seen = []
    source = open_source(night, on_progress=lambda done, n: seen.append((done, n)))
    before = time.time()
    deliveries = list(source.deliveries(64, 0.5))
    assert [one.record["id"] for each in deliveries for one in each.packets] == list(range(251))
    assert [len(each.packets) for each in deliveries] == [64, 64, 64, 59]
    assert all(before <= each.arrived <= time.time() and each.behind is None for each in deliveries)
    deliveries[0].acknowledge()
    assert seen == [(1, 1)]
    source.close()


def test_files_are_read_in_the_order_in_which_they_are_given(night):
    places = [night / "d.avro", str(night / "a.avro"), night / "b.tar.gz"]
    assert ids(open_source(places)) == [*range(241, 251), 0, *range(1, 41)]


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_workers_share_a_night_without_overlap_or_gap(night, n):
    shares = [ids(open_source([night, night / "b.tar.gz"], share=(k, n))) for k in range(n)]
    assert sorted(number for share in shares for number in share) == sorted([*range(251), *range(1, 41)])
    if n < 5:  # each gets its part of the members of archives and of the rows of tables too
        assert min(len(share) for share in shares) > 0.4 * 291 / n


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(1, 20), st.integers(1, 4))
def test_any_sizes_and_shares_give_each_packet_once(tmp_path_factory, counts, size, n):
    folder = tmp_path_factory.mktemp("some")
    places, total = [], 0
    for k, count in enumerate(counts):
        places.append(archive(folder / f"{k}.tar.gz", range(total, total + count)))
        total += count
    for worker in range(n):
        deliveries = list(FileSource(places, share=(worker, n)).deliveries(size, 0.0))
        assert all(1 <= len(one.packets) <= size for one in deliveries)
    assert sorted(number for k in range(n) for number in ids(FileSource(places, share=(k, n)), size)) == list(
        range(total)
    )


@pytest.mark.parametrize("cut", [10 * 1024 + 600, 10 * 1024 + 100, 10 * 1024])
def test_what_was_read_before_an_archive_breaks_off_is_delivered_and_the_break_is_said(tmp_path, night, cut):
    whole = gzip.decompress((night / "b.tar.gz").read_bytes())
    broken = tmp_path / "broken.tar"
    broken.write_bytes(whole[:cut])  # in the content, in the header, and between two members
    got = []

    def read() -> None:
        for delivery in open_source(broken).deliveries(100, 0.0):
            got.extend(one.record["id"] for one in delivery.packets)

    with pytest.raises(PacketError, match="not a readable archive"):
        read()
    assert got == list(range(1, 11))


def test_a_packet_that_cannot_be_read_is_delivered_with_its_problem(tmp_path):
    (tmp_path / "1.avro").write_bytes(packet(1))
    (tmp_path / "2.avro").write_bytes(b"nothing of use")
    (tmp_path / "3.avro").write_bytes(packet(3))
    (delivery,) = open_source(tmp_path).deliveries(10, 0.0)
    assert [one.record is None for one in delivery.packets] == [False, True, False]
    assert delivery.packets[1].content() == b"nothing of use"


def test_options_reach_the_reader(night):
    seen = []
    source = open_source(night / "a.avro", skips=lambda schema: seen.append(schema) or {})
    assert ids(source) == [0]
    assert seen == ["small.alert"]


@pytest.mark.real_data
def test_real_nights_come_through_whole(real_data):
    book = SchemaBook(real_data / "alerts" / "schemas.tar.gz")
    folder = real_data / "alerts"
    places = [folder / "ztf_alerts_dev.tar.gz", folder / "lsst_packets.tar.gz", folder / "edge_cases.tar.gz"]
    packets = [one for each in open_source(places, book=book).deliveries(10, 0.0) for one in each.packets]
    assert len(packets) == 49 + 2 + 9
    assert sum(one.record is None for one in packets) == 2
    halves = [
        [
            one.name
            for each in open_source(places, book=book, share=(k, 2)).deliveries(10, 0.0)
            for one in each.packets
        ]
        for k in range(2)
    ]
    assert sorted(halves[0] + halves[1]) == sorted(one.name for one in packets)


@pytest.mark.parametrize(
    ("address", "options", "match"),
    [
        ([], {}, "no source of packets is given"),
        ("night.tar.gz", {"share": (2, 2)}, "count the workers from 0 to 1"),
        (["kafka://here:1/topic", "a.avro"], {}, "give it alone"),
        ("kafka://here/topic", {}, "no broker is called 'here'"),
        ("kafka://here:1", {}, "no address of a topic"),
    ],
)
def test_what_is_no_source_is_said_at_once(address, options, match):
    with pytest.raises(UsageError, match=match):
        open_source(address, **options)


def test_a_file_that_is_not_there_is_said_before_the_first_is_read(night):
    with pytest.raises(PacketError, match="there is no such file"):
        open_source([night / "a.avro", night / "nothing.tar.gz"])


# --- files on a server ---


class Site:
    """What a server does, one behaviour for each request in turn; the last one stays."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.turns: list[Callable[[BaseHTTPRequestHandler], None]] = []
        self.asked: list[dict[str, str]] = []
        self.tag = '"1"'
        self.address = ""

    def whole(self, request) -> None:
        part = request.headers.get("Range")
        begin = int(part[6:-1]) if part and request.headers.get("If-Range") == self.tag else 0
        self.head(request, 206 if begin else 200, begin)
        request.wfile.write(self.content[begin:])

    def breaks(self, after: int) -> Callable[[BaseHTTPRequestHandler], None]:
        def answer(request) -> None:
            part = request.headers.get("Range")
            begin = int(part[6:-1]) if part and request.headers.get("If-Range") == self.tag else 0
            self.head(request, 206 if begin else 200, begin)
            request.wfile.write(self.content[begin : begin + after])
            request.wfile.flush()
            request.connection.close()

        return answer

    def head(self, request, code: int, begin: int) -> None:
        request.send_response(code)
        request.send_header("Content-Length", str(len(self.content) - begin))
        request.send_header("ETag", self.tag)
        if code == 206:
            request.send_header("Content-Range", f"bytes {begin}-{len(self.content) - 1}/{len(self.content)}")
        request.end_headers()

    @staticmethod
    def refuses(code: int, **headers) -> Callable[[BaseHTTPRequestHandler], None]:
        def answer(request) -> None:
            request.send_response(code)
            for name, value in headers.items():
                request.send_header(name.replace("_", "-"), value)
            request.send_header("Content-Length", "0")
            request.end_headers()

        return answer


@contextmanager
def served(content: bytes, name: str = "night.tar.gz") -> Iterator[Site]:
    site = Site(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(dict(self.headers))
            turn = site.turns.pop(0) if len(site.turns) > 1 else (site.turns or [site.whole])[0]
            turn(self)

        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    site.address = f"http://127.0.0.1:{server.server_port}/{name}?token=hidden"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_night_on_a_server_is_read_like_a_file(night):
    content = (night / "b.tar.gz").read_bytes()
    progress = []
    with served(content) as site:
        source = open_source(
            [night / "a.avro", site.address], on_fetch=lambda done, n: progress.append((done, n))
        )
        assert ids(source) == list(range(41))
    assert progress[-1] == (len(content), len(content))


def test_a_broken_connection_is_resumed_where_it_broke(night):
    content = (night / "c.parquet").read_bytes()
    with served(content, "c.parquet") as site:
        site.turns = [site.breaks(500), site.breaks(300), site.refuses(503, Retry_After="0"), site.whole]
        with fetched(site.address, pause=0.01) as path:
            assert path.read_bytes() == content
        assert not path.exists()
    ranges = [one.get("Range") for one in site.asked]
    assert ranges == [None, "bytes=500-", "bytes=800-", "bytes=800-"]


def test_a_file_that_changed_meanwhile_comes_whole(night):
    content = (night / "b.tar.gz").read_bytes()
    with served(content) as site:

        def changed(request) -> None:
            site.content, site.tag = content[::-1], '"2"'
            site.whole(request)

        site.turns = [site.breaks(200), changed]
        with fetched(site.address, pause=0.01) as path:
            assert path.read_bytes() == content[::-1]


@pytest.mark.parametrize(
    ("code", "match"), [(404, "no such file"), (403, "lets only some in"), (400, "the server refuses")]
)
def test_a_refusal_is_said_without_what_is_secret_in_the_address(code, match):
    with served(b"") as site:
        site.turns = [site.refuses(code)]
        with pytest.raises(StreamError, match=match) as caught, fetched(site.address):
            pass
        assert "hidden" not in str(caught.value)


def test_a_server_that_never_delivers_is_given_up(night):
    with served((night / "b.tar.gz").read_bytes()) as site:
        site.turns = [site.refuses(500)]
        with pytest.raises(StreamError, match="the server answers 500"), fetched(site.address, pause=0.001):
            pass
        assert len(site.asked) == 6


def test_web_pages_and_files_without_end_are_refused():
    with served(b"\n<!doctype html><title>log in</title>") as site:
        with pytest.raises(StreamError, match="web page"), fetched(site.address):
            pass
        site.content = bytes(5000)
        with pytest.raises(StreamError, match="more than 4000 bytes"), fetched(site.address, largest=4000):
            pass


def test_no_room_for_the_file_is_said_before_it_is_fetched(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with served(bytes(5000)) as site, pytest.raises(OutputError, match="TMPDIR"), fetched(site.address):
        pass


@pytest.mark.parametrize(
    ("address", "match"),
    [
        ("https://me:opensesame@host/night.tar.gz", "must not hold"),
        ("https://host/page.html", "names no file of packets"),
    ],
)
def test_addresses_of_no_packets_are_refused(address, match):
    with pytest.raises(UsageError, match=match) as caught, fetched(address):
        pass
    assert "opensesame" not in str(caught.value)


def test_waits_are_understood_as_seconds_and_as_dates():
    assert retry_after({}, 0.0) is None
    assert retry_after({"Retry-After": "12"}, 0.0) == 12
    assert retry_after({"Retry-After": "Thu, 01 Jan 1970 00:01:40 GMT"}, 40.0) == 60
    assert retry_after({"Retry-After": "Thu, 01 Jan 1970 00:01:40 GMT"}, 400.0) == 0
    assert retry_after({"Retry-After": "soon"}, 0.0) is None
    assert retry_after({"Retry-After": "1e9"}, 0.0) == 300
