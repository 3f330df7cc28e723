"""Alert packets: every one ends as a row or with a reason, and stamps mean the same for all surveys."""

from __future__ import annotations

import gzip
import io
import tarfile

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from astrid.errors import PacketError
from astrid.learn.dataset import Dataset
from astrid.survey.alert_stamps import centred_stamps, missing_pixels, raw_stamps, read_alerts, unpack_stamp
from astrid.survey.alert_triplets import alert_triplets

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=70)


def packed(image, compress=True) -> bytes:
    buffer = io.BytesIO()
    fits.PrimaryHDU(np.asarray(image)).writeto(buffer)
    return gzip.compress(buffer.getvalue()) if compress else buffer.getvalue()


def packet(science, template, difference, **candidate):
    facts = {"jd": 2459000.5, "isdiffpos": "t", "xpos": 1000.0, "ypos": 1000.0, **candidate}
    stamps = {"Science": science, "Template": template, "Difference": difference}
    return {
        "objectId": "ZTF20abc",
        "candid": 1,
        "candidate": facts,
        **{f"cutout{name}": {"stampData": packed(image)} for name, image in stamps.items()},
    }


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


def test_double_precision_is_read_and_whole_numbers_are_refused():
    image = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(unpack_stamp(packed(image)), image)
    with pytest.raises(PacketError, match="expected one image of floating-point numbers"):
        unpack_stamp(packed(image.astype(np.int16)))


def test_raw_stamps_are_those_of_production(real_data):
    archive = real_data / "alerts" / "ztf_alerts_dev.tar.gz"
    name, record = next(iter(read_alerts(archive)))
    assert name.endswith(".avro")
    raw = raw_stamps(record)
    for channel, label in enumerate(("Science", "Template", "Difference")):
        content = io.BytesIO(gzip.decompress(record[f"cutout{label}"]["stampData"]))
        with pytest.warns(fits.verify.VerifyWarning, match="SIMPLE card"), fits.open(content) as hdus:
            np.testing.assert_array_equal(raw[..., channel], np.nan_to_num(hdus[0].data))


def test_raw_stamps_keep_overflows_and_are_padded_at_the_high_end():
    science = np.full((51, 63), 7, np.float32)
    science[0, 0], science[0, 1] = np.nan, np.inf
    raw = raw_stamps(packet(science, science, science))
    assert raw[0, 0, 0] == 0
    assert raw[0, 1, 0] == np.finfo(np.float32).max
    assert (raw[51:] == 0).all()
    assert (raw[1:51] == 7).all()
    with pytest.raises(PacketError, match="65 x 65 px"):
        raw_stamps(packet(*[np.zeros((65, 65), np.float32)] * 3))


def test_the_sky_is_taken_off_and_the_difference_is_always_science_minus_reference():
    rng = np.random.default_rng(0)
    science = rng.normal(200, 1, (63, 63)).astype(np.float32)
    template = rng.normal(300, 1, (63, 63)).astype(np.float32)
    difference = rng.normal(0, 1, (63, 63)).astype(np.float32)
    template[31, 31] += 50
    difference[31, 31] += 50  # the packet of a faded source has reference minus science
    triplet = centred_stamps(packet(science, template, difference, isdiffpos="f"))
    assert np.median(triplet[..., 0]) == pytest.approx(0, abs=1e-3)
    assert np.median(triplet[..., 1]) == pytest.approx(0, abs=1e-3)
    np.testing.assert_array_equal(triplet[..., 2], -difference)
    positive = centred_stamps(packet(science, template, difference, isdiffpos="1"))
    np.testing.assert_array_equal(positive[..., 2], difference)


def test_missing_pixels_are_zero_and_counted():
    image = np.full((63, 63), 10, np.float32)
    image[:5] = np.nan
    image[5, 0] = np.finfo(np.float32).max
    record = packet(image, image, image)
    triplet = centred_stamps(record)
    assert np.isfinite(triplet).all()
    assert (triplet[:5] == 0).all()
    assert triplet[5, 0, 0] == 0
    assert missing_pixels(record) == {"science": 316, "template": 316, "difference": 316}
    with pytest.raises(PacketError, match="no pixel with a value"):
        centred_stamps(packet(np.full((63, 63), np.nan, np.float32), image, image))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 3072), st.integers(1, 3080))
def test_the_candidate_is_in_the_middle_whichever_edge_has_clipped_its_stamp(xpos, ypos):
    # a chip of 3072 x 3080 px, cut as a survey does: what is beyond the edge is left out
    low, left = max(ypos - 1 - 31, 0), max(xpos - 1 - 31, 0)
    high, right = min(ypos - 1 + 32, 3080), min(xpos - 1 + 32, 3072)
    stamp = np.zeros((high - low, right - left), np.float32)
    stamp[ypos - 1 - low, xpos - 1 - left] = 100
    triplet = centred_stamps(packet(stamp, stamp, stamp, xpos=float(xpos), ypos=float(ypos)))
    # a corner that clips both axes alike is not told from a smaller stamp
    if not (stamp.shape[0] == stamp.shape[1] < 63 and xpos > 32 and ypos > 32):
        assert (triplet[31, 31] == 100).all()
    assert (triplet.sum(axis=(0, 1)) == 100).all()


def test_smaller_and_larger_stamps_of_other_surveys_keep_their_middle():
    for size in (61, 81):
        stamp = np.zeros((size, size), np.float32)
        stamp[size // 2, size // 2] = 9
        assert (centred_stamps(packet(stamp, stamp, stamp))[31, 31] == 9).all()


@pytest.fixture(scope="module")
def real_set(real_data, tmp_path_factory):
    folder = real_data / "alerts"
    files = [
        folder / name
        for name in (
            "ztf_alerts_dev.tar.gz",
            "edge_cases.tar.gz",
            "fink_ztf_alerts_51.parquet",
            "fink_ztf_labelled_72.parquet",
        )
    ]
    out = tmp_path_factory.mktemp("alerts") / "set"
    summary = alert_triplets(files, out)
    return summary, Dataset.open(out, verify=True)


def test_every_real_packet_ends_as_a_row_or_with_a_reason(real_set):
    summary, data = real_set
    # 49 + 9 (one file holds a packet and a break) + 51 + 72
    assert summary.n_packets == 182 == summary.n_rows + len(summary.set_aside)
    broken = {name.split("/")[-1]: reason for name, reason in summary.set_aside.items()}
    assert broken["ZTF20abyfpze.avro"] == "cutoutScience is absent"
    assert broken["404105201415015000.avro"] == "a stamp is no FITS image"
    assert "cannot be decoded" in broken["516434762915010006.avro"]
    assert len(set(data.column("candid"))) == len(data)
    assert data.info.recipe["set_aside"] == summary.set_aside


def test_the_middle_of_every_real_difference_has_the_sign_that_its_packet_says(real_set):
    _, data = real_set
    middle = data.arrays["triplet"][:, 29:34, 29:34, 2].mean(axis=(1, 2))
    positive = data.column("isdiffpos") == "t"
    named = data.column("drb") > 0.3  # bogus ones may be anything
    assert (np.sign(middle[named]) == np.where(positive[named], 1, -1)).all()
    assert positive.any()
    assert (~positive).any()


def test_labels_are_only_where_somebody_gave_one(real_set):
    summary, data = real_set
    label, source, score = (data.column(name) for name in ("real", "label_source", "drb"))
    assert ((label == "") == (source == "")).all()
    assert (label[np.isin(source, ["TNS class", "SIMBAD type"])] == "real").all()
    assert (score[source == "machine score"] < 0.3).all()
    catalogued = data.column("cdsxmatch")
    for row in np.flatnonzero(source == "SIMBAD type"):
        assert "?" not in catalogued[row]
        assert "andidate" not in catalogued[row]
    assert (
        not np.isin(catalogued[source == "TNS class"], ["(TNS) FRB", "(TNS) Galaxy"]).any()
        or (data.column("tnsclass") != "Unknown").any()
    )
    assert summary.n_real > 40
    assert summary.n_bogus > 10


def test_a_clipped_real_stamp_is_filled_on_the_side_of_the_edge(real_data):
    packets = dict(read_alerts(real_data / "alerts" / "edge_cases.tar.gz"))
    triplet = centred_stamps(packets["edge/595277915515015000.avro"])
    assert (triplet[:12] == 0).all()
    assert (triplet[12:] != 0).any(axis=(1, 2)).all()
    inner = np.abs(triplet[29:34, 29:34, 2]).max()
    assert inner == np.abs(triplet[24:39, 24:39, 2]).max()  # the candidate, in the middle


def test_a_packet_seen_before_is_set_aside(real_data, tmp_path):
    path = real_data / "alerts" / "fink_ztf_alerts_51.parquet"
    summary = alert_triplets([path, path], tmp_path / "twice")
    assert (summary.n_packets, summary.n_rows) == (102, 51)
    assert "the same candid as" in summary.set_aside[next(iter(summary.set_aside))]


def test_files_that_are_absent_or_of_another_kind_are_named(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "bad.parquet").write_text("x")
    (tmp_path / "bad.tar.gz").write_text("x")
    for name, message in (
        ("absent.avro", "no such file"),
        ("notes.txt", r"expected \.avro, \.parquet"),
        ("bad.parquet", "not a readable Parquet file"),
        ("bad.tar.gz", "not a readable archive"),
    ):
        with pytest.raises(PacketError, match=message):
            list(read_alerts(tmp_path / name))
    with tarfile.open(tmp_path / "empty.tar.gz", "w:gz"):
        pass
    with pytest.raises(PacketError, match="no packet has usable stamps"):
        alert_triplets([tmp_path / "empty.tar.gz"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
