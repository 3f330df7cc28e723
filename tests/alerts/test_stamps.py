"""Cutouts parsed by hand: what astropy reads, bit by bit; everything else is refused."""

from __future__ import annotations

import gzip
import io
import warnings
import zlib

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from astrid.alerts import read_packets
from astrid.alerts.schemas import SchemaBook
from astrid.alerts.stamps import DamagedError, good_pixels, unpack_stamp
from astrid.errors import PacketError

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=70)
FILES = (
    "ztf_alerts_dev.tar.gz", "other_surveys_dev.tar.gz", "edge_cases.tar.gz", "lsst_packets.tar.gz",
    "fink_ztf_alerts_51.parquet", "fink_ztf_labelled_72.parquet", "fink_lsst_or4_v7.1_50.parquet",
)  # fmt: skip


def packed(image, compress=True) -> bytes:
    buffer = io.BytesIO()
    fits.PrimaryHDU(np.asarray(image)).writeto(buffer)
    return gzip.compress(buffer.getvalue()) if compress else buffer.getvalue()


def header(**cards) -> bytes:
    """A FITS header with whatever it is told."""
    lines = [b"SIMPLE  =                    T"]
    lines += [f"{key:8}= {value:>20}".encode() for key, value in cards.items()]
    return b"".join(line.ljust(80) for line in [*lines, b"END"]).ljust(2880)


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.float32, SHAPES, elements=st.floats(width=32)), st.booleans())
def test_a_stamp_is_read_as_a_fits_library_wrote_it(image, compress):
    np.testing.assert_array_equal(unpack_stamp(packed(image, compress)), image)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 6000), st.integers(0, 255))
def test_bytes_that_are_no_stamp_are_refused_and_never_crash(noise, place, value):
    whole = bytearray(packed(np.ones((5, 5), np.float32), compress=False))
    damaged = bytes(whole[:place]) + bytes([value]) + bytes(whole[place + 1 :])
    for content in (noise, damaged, bytes(whole[:place]), b"\x1f\x8b" + noise):
        try:
            image = unpack_stamp(content)
        except PacketError:
            continue
        assert image.ndim == 2


@pytest.mark.real_data
def test_every_real_stamp_is_what_astropy_reads_bit_by_bit(real_data):
    book = SchemaBook(real_data / "alerts" / "schemas.tar.gz")
    n = 0
    for file in FILES:
        for packet in read_packets(real_data / "alerts" / file, book):
            for key, value in (packet.record or {}).items():
                content = value.get("stampData") if isinstance(value, dict) else value
                if not key.lower().startswith("cutout") or not content or content[:2] == b"\xff\xd8":
                    continue
                n += 1
                whole = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
                with warnings.catch_warnings(action="ignore"), fits.open(io.BytesIO(whole)) as hdus:
                    expected = hdus[0].data.astype(np.float32)
                np.testing.assert_array_equal(
                    unpack_stamp(content).view(np.uint32), expected.view(np.uint32), strict=True
                )
    assert n == 3 * (49 + 22 + 4 + 2 + 51 + 72 + 50)


def test_what_is_not_a_plain_image_of_floats_is_left_to_astropy():
    image = np.arange(6, dtype=np.int16).reshape(2, 3)
    np.testing.assert_array_equal(unpack_stamp(packed(image)), image)
    np.testing.assert_array_equal(unpack_stamp(packed(image.astype(float))), image)
    unsigned = packed(np.array([[0, 65535]], np.uint16))  # written with BZERO
    np.testing.assert_array_equal(unpack_stamp(unsigned), [[0, 65535]])
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image)]).writeto(buffer)
    np.testing.assert_array_equal(unpack_stamp(buffer.getvalue()), image)


def test_damage_is_told_from_what_is_no_image():
    whole = packed(np.ones((5, 5), np.float32))
    checksum = whole[:-8] + bytes(4) + whole[-4:]
    for damaged in (checksum, whole[:-20], whole[:30]):
        with pytest.raises(DamagedError):
            unpack_stamp(damaged)
    for other in (b"\xff\xd8\xff\xe0 a JPEG", b"", b"SIMPLE", gzip.compress(b"text")):
        with pytest.raises(PacketError) as caught:
            unpack_stamp(other)
        assert not isinstance(caught.value, DamagedError)


def test_bombs_are_refused_before_they_take_memory():
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(17)) + packer.flush()
    with pytest.raises(PacketError, match="when unpacked"):
        unpack_stamp(bomb)
    wide = header(BITPIX=-32, NAXIS=2, NAXIS1=1_000_000, NAXIS2=1_000_000)
    with pytest.raises(PacketError, match="1000000 x 1000000 px"):
        unpack_stamp(wide)
    with pytest.raises(PacketError, match="larger than those of any cutout"):
        unpack_stamp(header(BITPIX=16, NAXIS=2, NAXIS1=1_000_000, NAXIS2=1_000_000))
    with pytest.raises(PacketError, match="ends after"):
        unpack_stamp(header(BITPIX=-32, NAXIS=2, NAXIS1=2000, NAXIS2=2000))


@pytest.mark.parametrize("value", ["--1", "-", "1e3", "'63'", "9" * 20, "6 3", ""])
def test_a_header_with_an_axis_that_is_no_number_is_refused(value):
    with pytest.raises(PacketError):
        unpack_stamp(header(BITPIX=-32, NAXIS=2, NAXIS1=value, NAXIS2=63) + bytes(2880 * 6))


def test_fill_values_have_no_value():
    stamp = np.array([[1, np.nan, np.inf, np.finfo(np.float32).max, -1e29]], np.float32)
    assert good_pixels(stamp).tolist() == [[True, False, False, False, True]]
