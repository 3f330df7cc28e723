"""What strangers send: read where it is sound, refused where it is not, without memory growing."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid.errors import AstridError
from astrid.service.decoding import ARRAYS, alerts_of, arrays_of, curves_in, fits_of, json_of, unpacked
from astrid.service.errors import Problem

MIB = 1 << 20


@contextmanager
def little_memory(most: int = 150) -> Iterator[None]:
    """What is done here takes less than so many MiB."""
    tracemalloc.start()
    try:
        yield
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < most * MIB


def status(call, *arguments, most: int = 150) -> int:
    with pytest.raises(Problem) as caught, little_memory(most):
        call(*arguments)
    assert "\n" not in caught.value.detail
    return caught.value.status_code


def npz(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


@given(
    st.dictionaries(
        st.text("abcxyz", min_size=1, max_size=5),
        st.tuples(st.sampled_from(["f4", "f8", "i2", "u1", "?", ">f4"]),
        st.lists(st.integers(0, 4), max_size=4)),
        min_size=1, max_size=4,
    )
)  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_arrays_are_those_that_numpy_wrote(made):
    rng = np.random.default_rng(0)
    arrays = {name: (rng.normal(size=shape) * 9).astype(kind) for name, (kind, shape) in made.items()}
    arrays |= {"fortran": np.asfortranarray(rng.normal(size=(3, 4)))}
    found = arrays_of(npz(**arrays))
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert np.array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_an_npz_of_more_than_numbers_is_refused():
    for content in (
        npz(a=np.array([{"x": 1}], object)), npz(a=np.array(["text"])), npz(a=np.zeros(3, "c8")), b"",
        b"PK\x03\x04",
        npz(a=np.zeros(3))[:-30], b"\x93NUMPY",
    ):  # fmt: skip
        assert status(arrays_of, content) == 422


def test_a_bomb_of_zeros_is_refused_before_it_is_unpacked():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (100 * MIB,)}
        )
        for _ in range(100):
            file.write(bytes(4 * MIB))
    content = stream.getvalue()
    assert len(content) < MIB
    assert status(arrays_of, content) == 413
    # one that lies about its size is not read beyond what it says
    lying = content.replace(struct.pack("<L", 400 * MIB + 128), struct.pack("<L", 1000))
    assert lying != content
    assert status(arrays_of, lying) == 422


def test_huge_shapes_and_many_members_are_refused():
    for shape in ((1 << 40,), (1 << 33, 1 << 33, 1 << 33), (-1, 3)):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive, archive.open("a.npy", "w") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "<f4", "fortran_order": False, "shape": shape}
            )
            file.write(bytes(64))
        assert status(arrays_of, stream.getvalue()) == 422
    assert status(arrays_of, npz(**{f"a{k}": np.zeros(1) for k in range(17)})) == 413
    assert ARRAYS < 128 * MIB


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_what_unpacks_to_too_much_is_refused_in_every_compression(pack):
    assert unpacked(pack(b"abc" * 1000), 4000) == b"abc" * 1000
    assert status(unpacked, pack(bytes(8 * MIB)), MIB) == 413
    assert status(unpacked, pack(b"abc" * 1000)[:-20], 4000) == 422


def image(ny: int, nx: int) -> bytes:
    stream = io.BytesIO()
    fits.PrimaryHDU(np.zeros((ny, nx), np.float32)).writeto(stream)
    return stream.getvalue()


def test_an_image_is_let_through_whole_and_unpacked():
    content = image(20, 30)
    assert fits_of(content, "image") == content == fits_of(gzip.compress(content), "image")


def test_huge_images_are_refused_by_their_headers():
    cards = {"SIMPLE": "T", "BITPIX": -32, "NAXIS": 2, "NAXIS1": 100_000, "NAXIS2": 100_000}
    head = b"".join(
        f"{name:8}= {value!s:>20}".ljust(80).encode() for name, value in cards.items()
    ) + b"END".ljust(80)
    assert status(fits_of, head.ljust(2880), "image") == 413
    assert status(fits_of, gzip.compress(bytes(300 * MIB)), "image", most=250) == 413
    stream = io.BytesIO()
    fits.HDUList(
        [fits.PrimaryHDU(), fits.CompImageHDU(np.zeros((64, 64), np.int16), compression_type="RICE_1")]
    ).writeto(stream)
    small = stream.getvalue()
    assert fits_of(small, "image") == small
    large = small.replace(b"ZNAXIS1 =                   64", b"ZNAXIS1 =            900000000")
    assert large != small
    assert status(fits_of, large, "image") == 413
    assert status(fits_of, b"not an image", "image") == 422


def test_packets_are_read_or_have_their_reason(samples):
    found = alerts_of(samples.packet(1))
    assert found[0][1].alert_id == "1"
    ((_, reason),) = alerts_of(b"nonsense")
    assert "expected an Avro file" in reason
    stream = io.BytesIO()
    records = [
        record for number in range(5) for record in fastavro.reader(io.BytesIO(samples.packet(number)))
    ]
    fastavro.writer(stream, samples.SCHEMA, records, codec="deflate")
    assert [alert.alert_id for _, alert in alerts_of(stream.getvalue())] == [str(k) for k in range(5)]
    assert status(alerts_of, stream.getvalue(), None, 4) == 413


def test_a_packet_with_huge_lengths_and_a_block_that_is_a_bomb_are_told_not_read(samples):
    content = samples.packet(1)
    sync = content.index(b"s" * 16) + 16
    for number in (b"\x80\x80\x80\x80\x10", b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f"):
        ((_, reason),) = alerts_of(content[:sync] + b"\x02" + number + content[sync + 3 :])
        assert isinstance(reason, str)
        ((_, reason),) = alerts_of(content[:sync] + number + content[sync + 1 :])
        assert isinstance(reason, str)
    packed = zlib.compressobj(wbits=-15)
    block = packed.compress(bytes(200 * MIB)) + packed.flush()
    head = content[:sync].replace(b"\x14avro.codec\x08null", b"\x14avro.codec\x0edeflate")
    assert head != content[:sync]
    size = bytearray()
    value = len(block) << 1
    while value > 0x7F:
        size.append(value & 0x7F | 0x80)
        value >>= 7
    size.append(value)
    with little_memory():
        ((_, reason),) = alerts_of(head + b"\x02" + bytes(size) + block + b"s" * 16)
    assert "more than" in reason


@given(st.binary(max_size=300), st.integers(0, 2000))
@settings(max_examples=100, deadline=None)
def test_damaged_packets_have_a_reason_and_nothing_else_happens(samples, noise, place):
    content = bytearray(samples.packet(1))
    content[place : place + len(noise)] = noise
    for _, one in alerts_of(bytes(content)):
        assert one


CURVE = {"mjd": [1.0 + 58000, 58002.0, 58005.0], "mag": [15.0, 15.2, 14.9], "magerr": [0.1, 0.1, 0.1]}


def test_light_curves_are_the_same_from_each_form(tmp_path):
    table = pa.table(CURVE)
    pq.write_table(table, tmp_path / "a.parquet")
    rows = [dict(zip(CURVE, values, strict=True)) for values in zip(*CURVE.values(), strict=True)]
    text = "\n".join([",".join(CURVE), *(",".join(map(str, row.values())) for row in rows)])
    forms = [
        (json.dumps(CURVE).encode(), "json"), (json.dumps(rows).encode(), "json"), (text.encode(), "csv"),
        (gzip.compress(text.encode()), "csv"), ((tmp_path / "a.parquet").read_bytes(), "parquet"),
    ]  # fmt: skip
    for content, kind in forms:
        (curve,) = curves_in(content, kind, {})
        assert curve.time.tolist() == CURVE["mjd"]
        assert curve.value.tolist() == CURVE["mag"]


def test_tables_that_are_too_much_or_none_are_refused(tmp_path):
    def read(content: bytes, kind: str) -> None:
        list(curves_in(content, kind, {}))

    assert status(read, b"mjd,mag\n" + b"1,2\n" * 1_100_000, "csv") == 413
    assert status(read, gzip.compress(bytes(100 * MIB)), "csv") == 413
    assert status(read, b"[" * 100_000, "json") == 400
    assert status(read, b'{"mjd": [1], "mag": 3}', "json") == 422
    assert status(read, b'{"mjd": [[1]], "mag": [3]}', "json") == 422
    assert status(read, b'{"mjd": [1' + b"0" * 400 + b'], "mag": [3]}', "json") == 422
    assert status(read, b"PAR1 nothing PAR1", "parquet") == 422
    assert status(read, b"# %ECSV 1.0\n", "csv") == 422
    pq.write_table(
        pa.table({"mjd": np.zeros(10_000_000), "mag": np.zeros(10_000_000)}), tmp_path / "bomb.parquet"
    )
    bomb = (tmp_path / "bomb.parquet").read_bytes()
    assert len(bomb) < MIB
    assert status(read, bomb, "parquet") == 413


@given(st.binary(max_size=400), st.sampled_from(["csv", "json", "parquet"]))
@settings(max_examples=150, deadline=None)
def test_whatever_is_sent_as_a_table_ends_in_curves_or_a_sentence(content, kind):
    try:
        list(curves_in(content, kind, {}))
    except (Problem, AstridError) as refusal:
        said = str(getattr(refusal, "detail", refusal))
    else:
        said = "curves"
    assert said


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
@settings(max_examples=50, deadline=None)
def test_json_is_what_the_standard_library_reads(value):
    text = json.dumps(value, allow_nan=True)
    assert repr(json_of(text.encode())) == repr(json.loads(text))


def test_long_json_is_refused():
    assert status(json_of, b"[" + b"1," * (9 * MIB) + b"1]") == 413
