"""Alert packets: every one ends as a row or with a reason, and stamps mean the same for all surveys."""

from __future__ import annotations

import tarfile

import numpy as np
import pytest

from astrid.errors import PacketError
from astrid.learn.dataset import Dataset
from astrid.survey.alert_triplets import alert_triplets


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
    # 49 + 9 + 51 + 72
    assert summary.n_packets == 181 == summary.n_rows + len(summary.set_aside)
    broken = {name.split("/")[-1]: reason for name, reason in summary.set_aside.items()}
    assert broken["ZTF20abyfpze.avro"] == "the science cutout cannot be used: is absent"
    assert broken["404105201415015000.avro"].endswith("a stamp is no FITS image")
    assert "a block goes on beyond the end" in broken["516434762915010006.avro"]
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


def test_a_packet_seen_before_is_set_aside(real_data, tmp_path):
    path = real_data / "alerts" / "fink_ztf_alerts_51.parquet"
    summary = alert_triplets([path, path], tmp_path / "twice")
    assert (summary.n_packets, summary.n_rows) == (102, 51)
    assert "the same candid as" in summary.set_aside[next(iter(summary.set_aside))]


def test_an_archive_without_a_packet_makes_no_data_set(tmp_path):
    with tarfile.open(tmp_path / "empty.tar.gz", "w:gz"):
        pass
    with pytest.raises(PacketError, match="no packet has usable stamps"):
        alert_triplets([tmp_path / "empty.tar.gz"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
