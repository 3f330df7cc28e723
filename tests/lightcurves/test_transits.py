"""Trends, dips and views: injected transits, peers, and curves of Kepler, K2 and TESS."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from astropy.io import fits

from astrid.errors import LightCurveError, UsageError
from astrid.lightcurves.transits import (
    clip_bright,
    detrend,
    find_transits,
    in_transit,
    transit_views,
)

pytest.importorskip("numba")
SEED = 20203


def dips(time, period=3.2, epoch=1.3, duration=0.12, depth=1e-3, noise=3e-4, seed=SEED):
    """A flat star with boxes in its flux."""
    flux = 1 + noise * np.random.default_rng(seed).normal(size=time.size)
    flux[in_transit(time, period, epoch, duration)] -= depth
    return flux


TIME = np.arange(0, 27, 0.0203747)  # no period is a multiple of the cadence


# --- trends


def test_trend_is_taken_out_and_dips_stay():
    trend = 1000 * (1 + 0.005 * np.sin(2 * np.pi * TIME / 6))
    flux = trend * dips(TIME, depth=4e-3, noise=1e-4)
    flat, found = detrend(TIME, flux)
    inside = in_transit(TIME, 3.2, 1.3, 0.1)
    middle = (TIME > 0.5) & (TIME < 26.5)  # at the ends half of the window is empty
    assert np.abs(found / trend - 1)[middle].max() < 1e-3
    assert np.median(flat[inside]) == pytest.approx(1 - 4e-3, abs=4e-4)
    assert np.std(flat[middle & ~in_transit(TIME, 3.2, 1.3, 0.2)]) < 3e-4


def test_trend_is_that_of_wotan_within_a_part_of_the_noise():
    pytest.importorskip("wotan")
    flux = (1 + 0.01 * np.sin(2 * np.pi * TIME / 5)) * dips(TIME)
    _, ours = detrend(TIME, flux, 0.7)
    _, theirs = detrend(TIME, flux, 0.7, method="rspline")
    middle = np.isfinite(theirs) & (TIME > 1) & (TIME < 26)
    assert np.std((ours / theirs)[middle]) < 3e-4


def test_parts_across_a_gap_have_trends_of_their_own():
    time = np.concatenate([np.arange(0, 5, 0.02), np.arange(8, 13, 0.02)])
    flux = np.where(time < 6, 1000.0, 700.0)
    flat, _ = detrend(time, flux)
    assert np.allclose(flat, 1)


def test_what_is_not_finite_stays_so_and_masked_points_are_not_followed():
    flux = dips(TIME, depth=0.1, duration=0.5, noise=1e-5)
    flux[100] = np.nan
    flat, trend = detrend(TIME, flux, 0.6, mask=in_transit(TIME, 3.2, 1.3, 0.6))
    assert np.isnan(flat[100])
    assert np.nanmax(np.abs(trend - 1)) < 1e-3
    keep = clip_bright(np.where(TIME < 0.1, 1.5, flat))
    assert not keep[100]
    assert not keep[:5].any()
    assert keep[in_transit(TIME, 3.2, 1.3, 0.4) & np.isfinite(flat)].all()


@pytest.mark.parametrize(
    ("time", "flux", "window", "method", "error"),
    [
        (TIME[::-1], TIME + 1, 1.0, "biweight", LightCurveError),
        (TIME, -1 - TIME, 1.0, "biweight", LightCurveError),
        (TIME, TIME[1:], 1.0, "biweight", LightCurveError),
        (TIME, TIME + 1, 0.0, "biweight", UsageError),
        (TIME, TIME + 1, 1.0, "no such trend", UsageError),
    ],
)
def test_trend_that_cannot_be_measured_is_refused(time, flux, window, method, error):
    if method != "biweight":
        pytest.importorskip("wotan")
    with pytest.raises(error):
        detrend(time, flux, window, method=method)


# --- the search


@pytest.mark.parametrize(("period", "depth"), [(1.1, 6e-4), (3.2, 1e-3), (8.7, 2e-3), (12.4, 2e-3)])
def test_injected_dips_come_back_with_their_ephemeris(period, depth):
    flux = dips(TIME, period, 0.9, 0.14, depth)
    (found,) = find_transits(TIME, flux)
    assert found.is_event
    assert found.period == pytest.approx(period, rel=3e-3)
    assert found.epoch == pytest.approx(0.9, abs=0.03)
    assert found.duration == pytest.approx(0.14, rel=0.4)
    assert found.depth == pytest.approx(depth, rel=0.2)
    inside = np.count_nonzero(in_transit(TIME, period, 0.9, 0.14))
    assert found.snr == pytest.approx(depth / 3e-4 * inside**0.5, rel=0.2)
    assert (
        found.n_transits
        == np.unique(np.rint((TIME - 0.9) / period)[in_transit(TIME, period, 0.9, 0.14)]).size
    )


def test_noise_is_no_event():
    events = [find_transits(TIME, dips(TIME, depth=0, seed=seed))[0].is_event for seed in range(8)]
    assert not any(events)


def test_two_planets_are_found_one_after_the_other():
    flux = dips(TIME, 3.2, 1.3, 0.12, 2e-3) + dips(TIME, 5.1, 0.7, 0.15, 1.2e-3, noise=0) - 1
    first, second, *rest = find_transits(TIME, flux, most=4)
    assert first.period == pytest.approx(3.2, rel=3e-3)
    assert second.period == pytest.approx(5.1, rel=3e-3)
    assert len(rest) == 1
    assert not rest[0].is_event


def test_period_beyond_the_search_is_not_given_as_half_of_it():
    flux = dips(TIME, 16.0, 5.0, 0.2, 5e-3)
    (found,) = find_transits(TIME, flux)
    assert found.period == pytest.approx(16.0, rel=3e-3)
    assert found.epoch == pytest.approx(5.0, abs=0.05)


def test_alternate_depths_are_told_apart():
    flux = dips(TIME, 4.0, 1.0, 0.2, 6e-3) + dips(TIME, 4.0, 3.0, 0.2, 4e-3, noise=0) - 1
    (found,) = find_transits(TIME, flux, longest=3.0)
    assert found.period == pytest.approx(2.0, rel=3e-3)
    assert abs(found.depth_odd - found.depth_even) == pytest.approx(2e-3, rel=0.2)
    assert abs(found.depth_odd - found.depth_even) > 10 * found.depth_odd_err


@pytest.mark.filterwarnings("ignore")  # of transitleastsquares and what it compiles
def test_tls_finds_the_same_dips():
    pytest.importorskip("transitleastsquares")
    time = np.arange(0, 12, 0.03)
    flux = dips(time, 2.3, 0.9, 0.12, 2e-3)
    (theirs,) = find_transits(time, flux, shortest=1.5, longest=4.0, method="tls")
    (ours,) = find_transits(time, flux, shortest=1.5, longest=4.0)
    assert theirs.period == pytest.approx(ours.period, rel=2e-3)
    assert theirs.depth == pytest.approx(ours.depth, rel=0.2)
    assert theirs.epoch == pytest.approx(ours.epoch, abs=0.03)


@pytest.mark.parametrize(
    ("flux", "options", "error"),
    [
        (np.zeros(TIME.size), {}, LightCurveError),
        (dips(TIME) - 1, {}, LightCurveError),
        (dips(TIME), {"method": "guess"}, UsageError),
        (dips(TIME), {"shortest": 5.0, "longest": 2.0}, UsageError),
    ],
)
def test_search_that_cannot_be_is_refused(flux, options, error):
    with pytest.raises(error):
        find_transits(TIME, flux, **options)


def kepler(path):
    with fits.open(path) as file:
        table = file[1].data
        name = "PDCSAP_FLUX" if "PDCSAP_FLUX" in table.names else "FLUX"
        return np.asarray(table["TIME"], dtype=float), np.asarray(table[name], dtype=float)


def strongest(time, flux, **options):
    usable = np.isfinite(time) & np.isfinite(flux)
    time, flux = time[usable], flux[usable]
    flat, _ = detrend(time, flux)
    keep = clip_bright(flat)
    return find_transits(time[keep], flat[keep], **options)


@pytest.mark.real_data
@pytest.mark.parametrize(("star", "period"), [("10854555", 2.526), ("10848459", 1.736), ("10811496", 19.89)])
def test_kepler_stars_are_recovered_at_their_periods(real_data, star, period):
    time, flux = kepler(real_data / "lightcurves" / "kepler_tess_lc" / f"kplr_{star}.fits.gz")
    (found,) = strongest(time, flux)
    assert found.is_event
    assert found.period == pytest.approx(period, rel=2e-3)


@pytest.mark.real_data
def test_single_transit_is_no_event(real_data):
    # KIC 11818800: its period of 40 d is longer than the data
    time, flux = kepler(real_data / "lightcurves" / "kepler_tess_lc" / "kplr_11818800.fits.gz")
    assert not strongest(time, flux)[0].is_event


@pytest.mark.real_data
def test_k2_3_and_stars_of_the_last_quarter_are_recovered(real_data):
    folder = real_data / "lightcurves" / "kepler_tess_lc"
    k2 = np.loadtxt(folder / "k2_EPIC201367065.csv.gz", delimiter=",")
    b, c = strongest(k2[:, 0], k2[:, 1], most=2)
    assert b.period == pytest.approx(10.0545, rel=1e-3)
    assert c.period == pytest.approx(24.646, rel=1e-3)
    known = {"kplr001026032": 8.460, "kplr000757450": 8.885}
    with gzip.open(folder / "kepler_q17_sample.jsonl.gz", "rt") as file:
        for line in file:
            star = json.loads(line)
            period = known.get(star["name"][:13])
            if period is not None:
                (found,) = strongest(np.array(star["time"], float), np.array(star["flux"], float))
                assert found.period == pytest.approx(period, rel=2e-3)


@pytest.mark.real_data
def test_tess_planet_is_recovered_over_two_years_with_gaps(real_data):
    table = np.loadtxt(real_data / "lightcurves" / "kepler_tess_lc" / "tess_toi2540.csv.gz", delimiter=",")
    (found,) = strongest(table[:, 0], table[:, 1], shortest=10.0, longest=15.0)
    assert found.period == pytest.approx(12.7187, rel=2e-4)


# --- views


def test_views_have_the_lengths_and_the_scale_of_the_paper():
    views = transit_views(TIME, dips(TIME, depth=3e-3), 3.2, 1.3, 0.12)
    lengths = {"global": 201, "shifted_global": 201, "local": 81, "half_phase": 162, "odd_even": 162}
    for name, length in lengths.items():
        view = getattr(views, f"{name}_view")
        assert view.shape == (length,)
        assert view.dtype == np.float32
        assert np.isfinite(view).all()
        assert view.min() == pytest.approx(-1)
        assert 0 < views.filled[name] <= 1
    assert np.median(views.global_view) == pytest.approx(1, abs=0.1)


def test_dip_is_where_each_view_says():
    views = transit_views(TIME, dips(TIME, depth=3e-3, noise=1e-6), 3.2, 1.3, 0.12)
    low = {name: np.flatnonzero(getattr(views, f"{name}_view") < 0) for name in views.filled}
    assert low["global"].mean() == pytest.approx(100, abs=1)
    assert low["shifted_global"].mean() == pytest.approx(100 - 201 / 4, abs=1)
    assert low["local"].mean() == pytest.approx(40, abs=1)
    assert low["local"].size == pytest.approx(81 / 4, abs=3)  # one duration of four
    assert low["half_phase"].mean() == pytest.approx(81 + 40, abs=1)
    assert np.mean(low["odd_even"][low["odd_even"] < 81]) == pytest.approx(40, abs=2)


def test_view_of_half_the_period_shows_the_secondary():
    flux = dips(TIME, depth=4e-3, noise=1e-6) + dips(TIME, epoch=1.3 + 1.6, depth=2e-3, noise=0) - 1
    views = transit_views(TIME, flux, 3.2, 1.3, 0.12)
    assert views.half_phase_view[:81].min() == pytest.approx(0, abs=0.01)
    assert views.half_phase_view[81:].min() == pytest.approx(-1)


def test_shift_of_the_clock_by_periods_and_the_scale_of_the_dip_change_nothing():
    one = transit_views(TIME, dips(TIME, depth=3e-3, noise=1e-4), 3.2, 1.3, 0.12)
    other = transit_views(TIME + 6.4, 1 + 2 * (dips(TIME, depth=3e-3, noise=1e-4) - 1), 3.2, 1.3, 0.12)
    for name in one.filled:
        ours, theirs = getattr(one, f"{name}_view"), getattr(other, f"{name}_view")
        assert np.mean(np.abs(ours - theirs) < 1e-4) > 0.95


def test_missing_points_are_interpolated_and_missing_parts_refused():
    flux = dips(TIME, depth=3e-3)
    flux[::3] = np.nan
    views = transit_views(TIME, flux, 3.2, 1.3, 0.12)
    assert np.isfinite(views.local_view).all()
    near = in_transit(TIME, 3.2, 1.3, 0.6)
    with pytest.raises(LightCurveError, match="the local view has no point"):
        transit_views(TIME[~near], dips(TIME)[~near], 3.2, 1.3, 0.12)
    with pytest.raises(LightCurveError, match="the odd_even view"):
        transit_views(TIME, dips(TIME), 40.0, 1.3, 0.12)
    with pytest.raises(UsageError):
        transit_views(TIME, dips(TIME), 3.2, 1.3, 2.0)
