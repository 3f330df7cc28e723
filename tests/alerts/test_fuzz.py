"""Mutated packets: never a crash, never anything but our own errors, never much memory."""

from __future__ import annotations

import io
import tarfile
import tracemalloc
import zlib

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid.alerts import SchemaBook, centred_triplet, decode
from astrid.alerts.container import packets_in
from astrid.alerts.intake import mapped_histories, without_histories
from astrid.alerts.schemas import parse_schema
from astrid.alerts.skipping import skip, skipping_steps, varint
from astrid.bench._alert_fuzz import fuzz
from astrid.errors import AstridError, PacketError

NUMBERS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-200, 200))


def outcome(content: bytes, book: SchemaBook, *, history: bool = True) -> str:
    """Decode whatever is in the bytes as the commands do."""
    said = ""
    skips = mapped_histories() if history else without_histories()
    for packet in packets_in("fuzz", content, book, skips):
        try:
            centred_triplet(decode(packet, history=history))
        except AstridError as error:
            said = str(error)
            assert said
            assert isinstance(packet.content(), bytes)
    return said


@pytest.fixture(scope="module")
def packets(real_data):
    folder, found = real_data / "alerts", []
    for name in ("ztf_alerts_dev.tar.gz", "other_surveys_dev.tar.gz", "lsst_packets.tar.gz"):
        with tarfile.open(folder / name) as archive:
            seen = set()
            for member in archive:
                group = member.name.split("/")[0]
                if member.isfile() and group not in seen:
                    seen.add(group)
                    found.append(archive.extractfile(member).read())
    assert len(found) == 10
    return found, SchemaBook(folder / "schemas.tar.gz")


@pytest.mark.real_data
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_mutated_packets_end_as_an_alert_or_with_a_reason(packets, data):
    contents, book = packets
    content = bytearray(data.draw(st.sampled_from(contents)))
    for _ in range(data.draw(st.integers(1, 6))):
        # half of the changes in the headers, where few bytes mean much
        last = data.draw(st.sampled_from([200, 20_000, len(content) - 1]))
        place = data.draw(st.integers(0, min(last, len(content) - 1)))
        match data.draw(st.sampled_from(["change", "cut", "insert", "drop"])):
            case "change":
                content[place] = data.draw(st.integers(0, 255))
            case "cut":
                del content[max(place, 6) :]
            case "insert":
                content[place:place] = data.draw(st.binary(max_size=9))
            case "drop":
                del content[place : place + data.draw(st.integers(1, 200))]
        if not content:
            break
    outcome(bytes(content), book, history=data.draw(st.booleans()))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", b"Obj\x01", b"\x00\x00\x00\x03\x84"]))
def test_noise_is_set_aside(noise, start):
    outcome(start + noise, SchemaBook())


def container(schema: str, body: bytes, count: int) -> bytes:
    text = schema.encode()

    def number(value):
        value, out = (value << 1) ^ (value >> 63), bytearray()
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        return bytes([*out, value])

    head = b"Obj\x01\x02" + number(11) + b"avro.schema" + number(len(text)) + text + b"\x00" + b"s" * 16
    return head + number(count) + number(len(body)) + body + b"s" * 16


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ('[{"name": "a", "type": {"type": "array", "items": "null"}}]', "items take no bytes"),
        ('[{"name": "a", "type": "null"}]', "records that take no bytes"),
        ('[{"name": "a", "type": ["null", "r"]}]', "holds itself"),
        ('[{"name": "a", "type": {"type": "fixed", "name": "f", "size": 999999999999}}]', "broken"),
        ('[{"name": "a", "type": "nothing"}]', "cannot be used"),
        (
            '[{"name": "a", "type": ' + '{"type": "array", "items": ' * 60 + '"int"' + "}" * 60 + "}]",
            "deeply",
        ),
    ],
)
def test_schemas_that_make_little_into_much_are_refused(fields, message):
    schema = f'{{"type": "record", "name": "r", "fields": {fields}}}'
    body = b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f" + b"\x00" * 20
    tracemalloc.start()
    said = outcome(container(schema, body, 2**40), SchemaBook())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert message in said
    assert peak < 20e6


def test_a_bomb_in_a_compressed_block_is_refused():
    packer = zlib.compressobj(9, wbits=-15)
    body = b"".join(packer.compress(bytes(1 << 20)) for _ in range(2)) + packer.flush()
    head = container('{"type": "record", "name": "r", "fields": [{"name": "a", "type": "int"}]}', body, 1)
    bomb = head.replace(b"Obj\x01\x02", b"Obj\x01\x04\x14avro.codec\x0edeflate")
    (packet,) = packets_in("bomb", bomb, SchemaBook(), mapped_histories(), largest=1 << 20)
    with pytest.raises(PacketError, match="when unpacked"):
        decode(packet)


@settings(max_examples=200, deadline=None)
@given(NUMBERS)
def test_numbers_are_read_as_avro_writes_them(number):
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, "long", number)
    assert varint(stream.getvalue(), 0) == (number, len(stream.getvalue()))


PLAIN = st.sampled_from(["int", "long", "float", "double", "boolean", "string", "bytes"])
VALUES = {
    "int": st.integers(-(2**31), 2**31 - 1), "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False), "double": st.floats(allow_nan=False),
    "boolean": st.booleans(), "string": st.text(max_size=200), "bytes": st.binary(max_size=200),
}  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_value_of_any_schema_is_skipped_to_its_end(data):
    kinds = data.draw(st.lists(PLAIN, min_size=1, max_size=6))
    fields, value = [], {}
    for k, kind in enumerate(kinds):
        form = data.draw(st.sampled_from(["plain", "optional", "list", "map"]))
        one = VALUES[kind]
        schema, drawn = {
            "plain": (kind, one),
            "optional": (["null", kind], st.one_of(st.none(), one)),
            "list": ({"type": "array", "items": kind}, st.lists(one, max_size=5)),
            "map": ({"type": "map", "values": kind}, st.dictionaries(st.text(max_size=9), one, max_size=4)),
        }[form]
        fields.append({"name": f"f{k}", "type": schema})
        value[f"f{k}"] = data.draw(drawn)
    schema = {"type": "record", "name": "r", "fields": fields}
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, schema, value)
    content = stream.getvalue()
    assert skip(skipping_steps(schema, {}), content, 0) == len(content)
    with pytest.raises(PacketError):
        skip(skipping_steps(schema, {}), content[:-1], 0)


@pytest.mark.real_data
def test_a_null_default_that_cannot_be_is_repaired(real_data):
    with tarfile.open(real_data / "alerts" / "other_surveys_dev.tar.gz") as archive:
        content = archive.extractfile("turbo/1.avro").read()
    with pytest.raises(fastavro.schema.SchemaParseException):
        fastavro.reader(io.BytesIO(content))
    (packet,) = packets_in("turbo/1.avro", content, SchemaBook(), lambda schema: frozenset())
    assert packet.record["candidate"]["magpsf"] == 1
    assert np.isfinite(decode(packet).mjd)


def test_schemas_are_parsed_once():
    text = b'{"type": "record", "name": "r", "fields": [{"name": "a", "type": "int"}]}'
    assert parse_schema(text) is parse_schema(bytes(bytearray(text)))


@pytest.mark.real_data
def test_of_thousands_of_damaged_packets_none_is_lost(real_data):
    tracemalloc.start()
    found = fuzz(real_data / "alerts", 2000, seed=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.lost == 0
    assert found.alerts + found.kept >= found.n == 2000
    assert min(found.alerts, found.kept) > 10
    assert peak < 100e6
