"""Dips and views in numbers: the same for one definition of them, whoever found them."""

from __future__ import annotations

import csv
import warnings

import numpy as np
import pytest

from astrid.lightcurves.transits import (
    ORBIT,
    SHAPE,
    SIGNAL,
    Transits,
    find_transits,
    in_transit,
    measure_dip,
    orbit_numbers,
    shape_numbers,
    signal_numbers,
    transit_views,
)
from astrid.lightcurves.transits.dip import transit_shape

pytest.importorskip("numba")
TIME = np.arange(0, 27, 10 / 1440)


def found(period, epoch, duration, depth):
    return Transits(period, epoch, duration, depth, 1e-5, depth, 1e-5, depth, 1e-5, 50.0, 20.0, 8)


def planet(period=3.3, epoch=1.1, duration=0.12, depth=2e-3, noise=2e-4, seed=1):
    turns = (TIME - epoch) / period
    shape = transit_shape((turns - np.rint(turns)) * period / (duration / 2))
    return 1 - depth * shape + noise * np.random.default_rng(seed).normal(size=TIME.size)


def test_shape_falls_from_the_middle_to_the_darkened_limb():
    x = np.array([-1.1, -0.999999, -0.6, 0, 0.6, 0.999999, 1.1])
    dark = 1 - np.sqrt(1 - 0.36)
    side = 1 - 0.4804 * dark - 0.1867 * dark**2
    limb = 1 - 0.4804 - 0.1867
    assert transit_shape(x) == pytest.approx([0, limb, side, 1, side, limb, 0], abs=2e-3)


@pytest.mark.parametrize("start", [0.6, 1.0, 1.6])
def test_length_and_depth_are_measured_whatever_box_was_found(start):
    dip = measure_dip(TIME, planet(), found(3.3, 1.11, 0.12 * start, 1.5e-3))
    assert dip.duration == pytest.approx(0.12, rel=0.1)
    assert dip.depth == pytest.approx(2e-3, rel=0.05)
    assert dip.epoch == pytest.approx(1.1, abs=0.004)
    inside = np.count_nonzero(in_transit(TIME, 3.3, dip.epoch, dip.duration))
    assert dip.snr == pytest.approx(dip.mean_depth / 2e-4 * inside**0.5, rel=0.05)
    assert dip.depth_odd == pytest.approx(dip.depth_even, rel=0.08)


def test_numbers_of_a_search_by_boxes_are_those_of_tls():
    tls = pytest.importorskip("transitleastsquares")
    flux = planet(depth=1e-3, noise=3e-4)
    (box,) = find_transits(TIME, flux, shortest=0.6)
    dip = measure_dip(TIME, flux, box)
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        theirs = tls.transitleastsquares(TIME, flux, verbose=False).power(
            period_min=0.6, use_threads=1, show_progress_bar=False
        )
    assert dip.period == pytest.approx(theirs.period, rel=2e-3)
    assert np.log10(dip.duration / theirs.duration) == pytest.approx(0, abs=0.08)
    assert np.log10(dip.depth / (1 - theirs.depth)) == pytest.approx(0, abs=0.06)
    assert np.log10(dip.snr / theirs.snr) == pytest.approx(0, abs=0.06)
    assert np.log10(box.sde / theirs.SDE) == pytest.approx(0, abs=0.08)
    assert dip.n_transits == theirs.distinct_transit_count


def test_earth_before_the_sun_is_a_planet_of_one_radius_at_279_k():
    depth = (6378.1 / 695700) ** 2
    one = np.ones(1)
    signal = signal_numbers(
        365.25 * one, 13.0 * one, depth * one, depth * one, depth * one, 3 * one, 9 * one, 8 * one
    )
    numbers = dict(zip(ORBIT, orbit_numbers(signal, [[4.8, 5772, 4.438, 1, 1]])[0], strict=True))
    assert 10 ** numbers["radius"] == pytest.approx(1, rel=0.01)
    assert 10 ** numbers["temperature"] == pytest.approx(278.3, rel=0.01)
    assert numbers["density"] == 0
    assert 10 ** numbers["relative_duration"] == pytest.approx(1, rel=0.02)
    assert 10 ** numbers["duty"] == pytest.approx(13 / 24 / 365.25, rel=1e-4)


def test_a_dip_that_only_one_half_covers_counts_as_no_difference():
    one = np.ones(1)
    numbers = signal_numbers(one, one, 1e-3 * one, np.nan * one, 1e-3 * one, one, 9 * one, 8 * one)
    assert dict(zip(SIGNAL, numbers[0], strict=True))["odd_even"] == 0
    assert np.isfinite(numbers).all()


def numbers_of(flux, period=3.3, epoch=1.1, duration=0.12):
    views = transit_views(TIME, flux, period, epoch, duration)
    rows = shape_numbers(
        views.global_view[None], views.local_view[None], views.half_phase_view[None], [duration / period]
    )
    return dict(zip(SHAPE, rows[0].tolist(), strict=True))


def test_numbers_of_views_tell_a_second_dip_waves_and_a_dip_elsewhere():
    plain = numbers_of(planet(depth=0.01))
    second = numbers_of(planet(depth=0.01) + planet(depth=0.004, epoch=1.1 + 1.65, noise=0) - 1)
    waves = numbers_of(planet(depth=0.01) + 0.003 * np.cos(4 * np.pi * (TIME - 1.1) / 3.3))
    elsewhere = numbers_of(planet(depth=0.01) + planet(depth=0.02, epoch=2.0, noise=0) - 1)
    assert abs(plain["half_phase"]) < 0.05
    assert second["half_phase"] == pytest.approx(0.8, abs=0.15)
    assert second["secondary_sigma"] > 5 > plain["secondary_sigma"]
    assert waves["cosine_2"] > 0.1 > abs(plain["cosine_2"])
    assert waves["slow"] > plain["slow"] + 0.5
    assert elsewhere["centre"] > 40 > plain["centre"]


def test_a_grazing_dip_is_narrow_inside():
    turns = (TIME - 1.1) / 3.3
    offset = np.abs(turns - np.rint(turns)) * 3.3 / 0.06
    grazing = 1 - 0.01 * np.clip(1 - offset, 0, 1)
    flat = numbers_of(planet(depth=0.01, noise=0))
    assert numbers_of(grazing)["inner"] > flat["inner"] + 0.3


@pytest.mark.real_data
def test_injected_copies_of_published_planets_have_the_published_numbers(real_data):
    """Signals of the periods, lengths, depths and SNR of 25 planets give the shapes of their views."""
    folder = real_data / "lightcurves" / "tess_views"
    with (folder / "nigraha_train.csv").open(newline="") as file:
        facts = list(csv.DictReader(file))
    rows = [
        k for k, one in enumerate(facts) if one["Disposition"] in ("KP", "CP") and float(one["snr"]) > 20
    ][:25]
    with np.load(folder / "nigraha_train.npz") as archive:
        views = [archive[name][rows] for name in ("global_view", "local_view", "odd_even_view")]
    period, hours, left, snr = (
        np.array([float(facts[k][name]) for k in rows]) for name in ("Period", "Duration", "Depth", "snr")
    )
    theirs = shape_numbers(*views, hours / 24 / period)
    ours = []
    for p, d, depth, ratio in zip(period, hours / 24, 1 - left, snr, strict=True):
        clean = planet(p, 0.4 * p, d, depth, noise=0)
        inside = in_transit(TIME, p, 0.4 * p, d)
        noise = (1 - clean[inside]).mean() * np.count_nonzero(inside) ** 0.5 / ratio
        flux = clean + noise * np.random.default_rng(0).normal(size=TIME.size)
        ours.append(list(numbers_of(flux, p, 0.4 * p, d).values()))
    spread = np.subtract(*np.percentile(theirs, [90, 10], axis=0))
    away = dict(zip(SHAPE, np.median(np.array(ours) - theirs, axis=0) / spread, strict=True))
    for name in ("core", "inner", "width", "far", "half_phase", "centre", "secondary", "slow_deepest"):
        assert abs(away[name]) < 0.5, (name, away[name])
