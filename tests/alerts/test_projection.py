"""Lists that are read in part give what the library gives of the same fields, and broken ones do not pass."""

from __future__ import annotations

import io

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid.alerts import decode, read_packets
from astrid.alerts.intake import mapped_histories
from astrid.alerts.schemas import SchemaBook, parse_schema
from astrid.errors import PacketError

VALUES = {
    "double": st.floats(allow_nan=False),
    "float": st.floats(allow_nan=False, width=32),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "boolean": st.booleans(),
    "string": st.one_of(st.text(max_size=6), st.text("ab", min_size=50, max_size=300)),
    "bytes": st.binary(max_size=80),
}


@st.composite
def lists(draw):
    """A record with a list of records between two other fields."""
    kinds = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=7))
    fields, values = [], {}
    for k, kind in enumerate(kinds):
        shape = draw(st.sampled_from(["plain", "or null", "null or"]))
        kind_or_union = {"plain": kind, "or null": [kind, "null"], "null or": ["null", kind]}[shape]
        fields.append({"name": f"f{k}", "type": kind_or_union})
        values[f"f{k}"] = VALUES[kind] if shape == "plain" else st.none() | VALUES[kind]
    items = {"type": "array", "items": {"type": "record", "name": "item", "fields": fields}}
    wrapped = draw(st.sampled_from([items, ["null", items], [items, "null"]]))
    schema = {
        "type": "record",
        "name": "packet",
        "fields": [
            {"name": "before", "type": "string"},
            {"name": "items", "type": wrapped},
            {"name": "after", "type": "long"},
        ],
    }
    content = st.lists(st.fixed_dictionaries(values), max_size=5)
    record = {
        "before": draw(st.text(max_size=5)),
        "items": draw(content if wrapped is items else st.none() | content),
        "after": draw(st.integers(0, 10)),
    }
    wanted = draw(st.sets(st.sampled_from([*values, "absent"]), min_size=1))
    return schema, record, frozenset(wanted)


def written(schema, record) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), record)
    return stream.getvalue()


def reader(schema, wanted):
    import json

    return parse_schema(json.dumps(schema).encode()).reader({"items": wanted})


@settings(max_examples=300, deadline=None)
@given(lists())
def test_wanted_fields_are_those_that_the_library_reads(drawn):
    schema, record, wanted = drawn
    content = b"xx" + written(schema, record)
    found, end = reader(schema, wanted)(content, 2)
    assert end == len(content)
    assert (found["before"], found["after"]) == (record["before"], record["after"])
    whole = fastavro.schemaless_reader(io.BytesIO(content[2:]), fastavro.parse_schema(schema), None)
    if whole["items"] is None:
        assert found["items"] is None
        return
    assert len(found["items"]) == len(whole["items"])
    for mine, theirs in zip(found["items"], whole["items"], strict=True):
        assert {name: mine[name] for name in wanted if name in theirs} == {
            name: theirs[name] for name in wanted if name in theirs
        }


@settings(max_examples=100, deadline=None)
@given(lists(), st.data())
def test_a_list_that_is_cut_off_is_refused(drawn, data):
    schema, record, wanted = drawn
    content = written(schema, record)
    short = content[: data.draw(st.integers(0, len(content) - 1))]
    with pytest.raises(PacketError):
        reader(schema, wanted)(short, 0)


@pytest.mark.real_data
def test_real_histories_read_in_part_make_the_same_measurements(real_data):
    folder, n = real_data / "alerts", 0
    book = SchemaBook(folder / "schemas.tar.gz")
    for name in ("ztf_alerts_dev", "other_surveys_dev", "lsst_packets", "edge_cases"):
        whole = read_packets(folder / f"{name}.tar.gz", book)
        part = read_packets(folder / f"{name}.tar.gz", book, mapped_histories())
        for one, other in zip(whole, part, strict=True):
            if one.record is None:
                assert one.problem
                assert other.problem
                continue
            mine, theirs = decode(other), decode(one)
            assert mine.history == theirs.history
            assert mine.detection == theirs.detection
            assert repr(dict(mine.extras)) == repr(dict(theirs.extras))
            n += len(mine.history or ())
    assert n > 1000
