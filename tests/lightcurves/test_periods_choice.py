"""The choice of a period: aliases, half and whole orbits, bands, and real variable stars."""

from __future__ import annotations

import numpy as np
import pytest

from astrid.errors import LightCurveError
from astrid.lightcurves import periods
from astrid.lightcurves.periods import clean_points

pytest.importorskip("numba")
pytest.importorskip("finufft")
SEED = 20202


def nights(n, baseline, seed=SEED):
    """Times as a survey has them: a few hours in each night, clear nights only."""
    rng = np.random.default_rng(seed)
    return np.sort(np.floor(rng.uniform(0, baseline, n)) * 0.99726957 + rng.uniform(-0.12, 0.12, n))


def binary(time, period, depths=(0.5, 0.45), width=0.1):
    """Two Gaussian eclipses half an orbit apart, in magnitudes."""
    phase = (time / period) % 1.0
    distance = [np.abs((phase - middle + 0.5) % 1.0 - 0.5) for middle in (0.0, 0.5)]
    return sum(
        depth * np.exp(-0.5 * (gap / (width / 2)) ** 2) for depth, gap in zip(depths, distance, strict=True)
    )


def contact(time, period):
    """A contact binary with equal minima: the cycle of the light is half the orbit."""
    return -0.2 * np.abs(np.sin(2 * np.pi * time / period)) ** 1.3


def sawtooth(time, period):
    """A pulsator: steep rise, slow decline, so its bright extreme is the narrow one."""
    angle = 2 * np.pi * time / period
    return -sum(np.sin(k * angle - 0.6 * (k - 1)) / k**1.2 for k in (1, 2, 3)) * 0.3


@pytest.mark.parametrize(
    ("shape", "period"), [(binary, 1.37), (contact, 0.31), (sawtooth, 0.5612), (sawtooth, 0.117)]
)
def test_period_is_that_of_the_star_not_half_of_it(shape, period):
    rng = np.random.default_rng(SEED)
    time = nights(320, 400.0)
    mag = 15 + shape(time, period) + rng.normal(0, 0.03, time.size)
    found = periods.find_period(time, mag, np.full(time.size, 0.03), maximum=20.0)
    assert found.period == pytest.approx(period, rel=2e-4)
    assert found.log_false_alarm < -10
    assert (found.rule != "") == (shape in (binary, contact))


def test_lomb_scargle_alone_takes_half_the_orbit():
    time = nights(320, 400.0)
    mag = contact(time, 0.31) + np.random.default_rng(SEED).normal(0, 0.03, time.size)
    grid = periods.frequency_grid(time, maximum=20.0)
    power = periods.harmonic_power(clean_points(time, mag), grid)
    assert 1 / grid.frequencies[np.argmax(power)] == pytest.approx(0.155, rel=1e-3)


def test_bands_find_together_what_none_finds_alone():
    rng = np.random.default_rng(SEED)
    time = nights(45, 200.0)
    band = np.array(["g", "r", "i"])[np.arange(45) % 3]
    level = {"g": 0.0, "r": -0.5, "i": -0.9}
    mag = (
        np.array([level[name] for name in band])
        + 0.4 * np.sin(2 * np.pi * time / 0.7231)
        + rng.normal(0, 0.1, 45)
    )
    found = periods.find_period(time, mag, band=band, maximum=5.0, resolve=False, entropy=False)
    assert found.period == pytest.approx(0.7231, rel=1e-3)
    alone = periods.find_period(time, mag, maximum=5.0, resolve=False, entropy=False)
    assert alone.power < found.power


def test_avoided_bands_hold_no_candidate():
    rng = np.random.default_rng(SEED)
    time = nights(200, 300.0)
    mag = 0.02 * time / 30 + 0.1 * np.sin(2 * np.pi * time / 0.41) + rng.normal(0, 0.05, time.size)
    found = periods.find_period(time, mag, maximum=5.0, avoid=periods.TERRESTRIAL_BANDS, resolve=False)
    assert not periods.within_bands(found.frequency, periods.TERRESTRIAL_BANDS).any()


def test_sidereal_aliases_are_those_of_the_formula_and_repair_undoes_one():
    period = 0.5612
    aliases = periods.sidereal_aliases(period)
    assert aliases[0] == pytest.approx(period)
    assert aliases[6] == pytest.approx(0.99726957 / (0.99726957 / period + 1))
    rng = np.random.default_rng(SEED)
    time = nights(300, 300.0)
    points = clean_points(time, sawtooth(time, period) + rng.normal(0, 0.03, time.size))
    for alias in aliases[[3, 6, 7]]:
        assert periods.repair_sidereal(points, float(alias), 100.0) == pytest.approx(period, rel=1e-6)


def test_published_hierarchy_refines_to_half_a_step():
    rng = np.random.default_rng(SEED)
    time = nights(200, 100.0)
    points = clean_points(time, sawtooth(time, 0.5612) + rng.normal(0, 0.03, time.size))
    grid = periods.frequency_grid(points.time, maximum=5.0)
    period, power = periods.published_hierarchy(points, grid, n_terms=3)
    assert 1 / period == pytest.approx(1 / 0.5612, abs=grid.step)
    assert power == pytest.approx(periods.harmonic_power_at(points, 1 / period, 3)[0])


def test_shape_tells_eclipses_from_pulsation():
    time = np.linspace(0, 10, 500)
    eclipse = periods.fold_shape(clean_points(time, binary(time, 2.0, (0.5, 0.5))), 1.0)
    pulse = periods.fold_shape(clean_points(time, sawtooth(time, 1.0)), 1.0)
    assert eclipse.narrow > 0.3 > 0.05 > eclipse.skewed
    assert pulse.narrow < 0 < pulse.skewed


@pytest.mark.filterwarnings("error")
def test_few_points_and_noise_are_answered_without_a_warning():
    rng = np.random.default_rng(SEED)
    time = nights(12, 60.0)
    found = periods.find_period(time, rng.normal(size=12), maximum=3.0)
    assert found.log_false_alarm > -3
    with pytest.raises(LightCurveError, match="at least 5"):
        periods.find_period(time[:4], time[:4])


@pytest.mark.real_data
def test_catalina_stars_are_recovered_where_lomb_scargle_halves_them(real_data):
    """Three stars each of four classes, in the order of the catalogue: an example, not a measure."""
    import csv

    import pyarrow.parquet as pq

    folder = real_data / "lightcurves" / "crts"
    with (folder / "crts_train_labels.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["period_d_drake2014"]]
    right, half = 0, 0
    chosen = []
    for name in ("EW", "EA", "RRab", "HADS"):
        chosen += [row for row in rows if row["class"] == name][7::30][:3]
    ids = [int(row["catalina_id"]) for row in chosen]
    table = pq.read_table(folder / "crts_train_lc.parquet", filters=[("catalina_id", "in", ids)])
    columns = {name: table[name].to_numpy() for name in ("catalina_id", "mjd", "mag", "magerr")}
    for row, star in zip(chosen, ids, strict=True):
        own = columns["catalina_id"] == star
        time, mag, err = (columns[name][own] for name in ("mjd", "mag", "magerr"))
        true = float(row["period_d_drake2014"])
        found = periods.find_period(time, mag, err, entropy=False, samples_per_peak=5, maximum=12.0)
        grid = periods.frequency_grid(time, maximum=12.0, samples_per_peak=5)
        plain = 1 / grid.frequencies[np.argmax(periods.harmonic_power(clean_points(time, mag, err), grid))]
        right += abs(found.period / true - 1) < 0.005
        half += abs(plain / true - 1) < 0.005
    assert right >= 8
    assert right > half + 3
