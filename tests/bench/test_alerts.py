"""The benchmark of the alerts compares like with like, on packets that are what it says they are."""

from __future__ import annotations

import tarfile
import time

import numpy as np
import pytest

from astrid.alerts import centred_triplet, decode
from astrid.alerts.container import packets_in
from astrid.alerts.schemas import SchemaBook
from astrid.bench import alerts
from astrid.bench._alert_latency import _Arriving
from astrid.bench._alert_night import CATALOGS, Night, filters, make_catalogs, templates
from astrid.catalogs import open_catalog
from astrid.stream.columns import Columns
from astrid.stream.filters import FilterBank

EPOCH = 2461364.75 - 2400000.5


@pytest.fixture(scope="module")
def packets(real_data):
    return real_data / "alerts" / "ztf_alerts_dev.tar.gz"


@pytest.fixture(scope="module")
def night(packets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("night")
    make_catalogs(folder, 2000)
    return Night(templates(packets), folder), folder


def read(content):
    (packet,) = packets_in("", content, SchemaBook(), lambda schema: {})
    return decode(packet)


def originals(path):
    with tarfile.open(path) as archive:
        return [read(archive.extractfile(one).read()) for one in archive if one.isfile()]


@pytest.mark.real_data
def test_the_straightforward_way_gives_the_same_triplet(packets):
    with tarfile.open(packets) as archive:
        for member in archive:
            if member.isfile():
                content = archive.extractfile(member).read()
                (packet,) = packets_in("", content, SchemaBook(), lambda schema: frozenset())
                np.testing.assert_array_equal(
                    centred_triplet(decode(packet)), alerts._straightforward(content)
                )


@pytest.mark.real_data
def test_repeated_packets_are_distinct_alerts_and_otherwise_the_real_ones(night, packets):
    real = originals(packets)
    made = [read(content) for content in night[0].contents(3 * len(real))]
    assert len({one.alert_id for one in made}) == len(made)
    assert len({one.object_id for one in made}) == len(made)
    mjd = np.array([one.mjd for one in made])
    assert (np.diff(mjd) > 0).all()
    np.testing.assert_allclose(mjd, EPOCH, atol=0.01)
    for number, one in enumerate(made):
        old = real[number % len(real)]
        assert len(one.history) == len(old.history)
        assert (one.detection.mag, one.detection.band) == (old.detection.mag, old.detection.band)
        ages = [[found.mjd - point.mjd for point in found.history] for found in (one, old)]
        np.testing.assert_allclose(*ages, atol=2e-4)
        for name, cutout in one.cutouts.items():
            np.testing.assert_array_equal(cutout.image, old.cutouts[name].image)


@pytest.mark.real_data
def test_the_night_goes_on_where_it_was(night):
    assert list(night[0].contents(7, first=3000)) == list(night[0].contents(3007))[3000:]


@pytest.mark.real_data
def test_some_of_the_alerts_are_on_sources_of_each_catalogue(night):
    ra, dec = night[0].places(0, 1000)
    for name, share in zip(CATALOGS, (0.5, 0.25, 0.1), strict=True):
        found = open_catalog(str(night[1] / "catalogs" / name)).nearest(ra, dec, CATALOGS[name])
        assert abs(len(found) / 1000 - share) < 0.05


@pytest.mark.real_data
def test_there_are_25_filters_and_all_can_be_asked(night):
    many = filters(night[0])
    assert len({one.hash for one in many}) == 25
    table = Columns().to_table([read(content) for content in night[0].contents(49)], arrived=1.8e9)
    bank = FilterBank(many)
    passes = bank.passes(table)
    assert bank.failures == {}
    assert passes["watched"].any()
    assert 0 < passes["moc"].sum() < 49


@pytest.mark.real_data
def test_packets_arrive_at_the_rate_that_is_asked_and_not_before(night):
    source = _Arriving(night[0], 200, 0.5)
    before, n = time.time(), 0
    for delivery in source.deliveries(16, 0.02):
        assert len(delivery.packets) <= 16
        assert source.arrived[-1].max() <= time.time()
        n += len(delivery.packets)
    assert n == 100
    assert 0.2 < source.arrived[-1][-1] - before - 1 < 1


@pytest.mark.real_data
@pytest.mark.parametrize("name", list(alerts.FILES))
def test_every_file_of_real_packets_is_taken_in(real_data, name):
    """The good and the bad are those that its README describes, and the samples of LSST's schemas."""
    assert alerts.file_counts(real_data / "alerts", name) == alerts.FILES[name]


@pytest.mark.real_data
def test_no_file_of_real_packets_is_left_out(real_data):
    found = {path.name for path in (real_data / "alerts").iterdir() if path.suffix != ".md"}
    assert found == set(alerts.FILES)
