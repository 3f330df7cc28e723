"""dm-dt images count every pair in the right cell, with or without compiled loops."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from astrid.errors import LightCurveError, UsageError
from astrid.lightcurves import dmdt as module
from astrid.lightcurves.dmdt import (
    CCSNSCORE,
    GRIDS,
    KOWALSKI,
    MAHABAL_2017,
    MAHABAL_2017_OVERFLOW,
    SCOPE,
    Grid,
    dmdt,
    dmdt_images,
    dmdt_of,
)
from astrid.lightcurves.lightcurve import LightCurve

pytest.importorskip("numba")


def _curve(n: int = 120, seed: int = 1, spread: float = 1.0) -> LightCurve:
    random = np.random.default_rng(seed)
    time = np.sort(random.uniform(0, 2500, n)).round(2)
    return LightCurve(time, random.normal(15, spread, n).round(2), random.uniform(0.01, 0.3, n))


def _by_hand(curve: LightCurve, grid: Grid) -> np.ndarray:
    """One pair at a time; the sides of a cell looked at one by one."""
    image = np.zeros(grid.shape)
    for i in range(len(curve)):
        for j in range(i + 1, len(curve)):
            places = []
            for value, edges in (
                (curve.value[j] - curve.value[i], grid.dm),
                (curve.time[j] - curve.time[i], grid.dt),
            ):
                place = sum(value >= edge for edge in edges) - 1
                if grid.overflow:
                    place = min(place + 1, len(edges) - 1)
                places.append(place if place < len(edges) - (not grid.overflow) else -1)
            if min(places) >= 0:
                image[tuple(places)] += 1
    return image


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_every_pair_is_counted_once_in_its_cell(grid):
    for spread in (0.3, 6.0):
        curve = _curve(60, spread=spread)
        assert_array_equal(dmdt(curve, grid, "counts"), _by_hand(curve, grid))


def test_the_grids_have_the_sizes_that_their_users_speak_of():
    shapes = {grid.name: grid.shape for grid in GRIDS.values()}
    assert shapes == {
        "mahabal2017": (22, 23),
        "mahabal2017-overflow": (23, 24),
        "mahabal2017-fine": (28, 23),
        "scope": (26, 26),
        "kowalski": (26, 26),
        "ccsnscore": (24, 24),
    }
    assert SCOPE.dm == KOWALSKI.dm
    assert max(SCOPE.dt) == 2000
    assert max(CCSNSCORE.dt) == 300


@pytest.mark.parametrize("grid", [MAHABAL_2017, SCOPE, CCSNSCORE], ids=lambda grid: grid.name)
def test_counts_are_those_of_light_curve(grid):
    light_curve = pytest.importorskip("light_curve")
    other = light_curve.DmDt(
        dt=np.array(grid.dt), dm=np.array(grid.dm), dt_type="asis", dm_type="asis", n_jobs=1
    )
    curves = [_curve(200, seed) for seed in range(5)]
    theirs = other.points_many([(curve.time.copy(), curve.value.copy()) for curve in curves], sorted=True)
    assert_array_equal(dmdt_of(curves, grid, "counts"), np.swapaxes(theirs, 1, 2))


def test_smoothed_images_are_those_of_light_curve():
    light_curve = pytest.importorskip("light_curve")
    grid = MAHABAL_2017
    other = light_curve.DmDt(
        dt=np.array(grid.dt), dm=np.array(grid.dm), dt_type="asis", dm_type="asis", n_jobs=1
    )
    curve = _curve(150)
    theirs = other.gausses(curve.time.copy(), curve.value.copy(), curve.error.copy(), sorted=True)
    assert_allclose(dmdt(curve, grid, "counts", smooth=True), theirs.T, atol=2e-4)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(-30, 30)), min_size=2, max_size=25),
    st.lists(st.integers(-30, 30), min_size=2, max_size=6, unique=True),
    st.lists(st.integers(0, 40), min_size=2, max_size=6, unique=True),
    st.booleans(),
    st.booleans(),
)
def test_compiled_and_plain_loops_agree_on_points_that_stand_on_edges(points, dm, dt, overflow, smooth):
    grid = Grid(
        "any", tuple(sorted(edge / 4 for edge in dm)), tuple(sorted(edge / 4 for edge in dt)), overflow
    )
    points = sorted(points)
    time = np.array([point[0] for point in points]) / 4
    mag = np.array([point[1] for point in points]) / 4
    error = np.full(len(points), 0.2) if smooth else None
    compiled = dmdt_images(time, mag, [0, len(points)], error, grid=grid, scaling="counts")
    plain = module._reference(time, mag, error, np.array(grid.dm), np.array(grid.dt))
    assert_allclose(compiled[0], module._folded(plain[None], grid)[0], atol=1e-4 if smooth else 0)


def test_without_numba_numpy_gives_the_same(monkeypatch):
    curves = [_curve(40, seed, 4.0) for seed in range(3)]
    asked = [(grid, smooth) for grid in GRIDS.values() for smooth in (False, True)]
    compiled = [dmdt_of(curves, grid, "counts", smooth=smooth) for grid, smooth in asked]
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "astrid.lightcurves.dmdt_kernels", raising=False)
    module._compiled.cache_clear()
    assert module._compiled(MAHABAL_2017.dm, False) == (None, None)
    try:
        for (grid, smooth), images in zip(asked, compiled, strict=True):
            plain = dmdt_of(curves, grid, "counts", smooth=smooth)
            assert_allclose(images, plain, atol=1e-4 if smooth else 0)
    finally:
        module._compiled.cache_clear()


def test_a_cell_holds_its_lower_edge_and_not_its_upper_one():
    grid = Grid("two by two", (-1, 0, 1), (0, 2, 4))
    for dt, dm, cell in [(0, 0, (1, 0)), (2, 0, (1, 1)), (1.99, -1, (0, 0)), (4, 0, None), (1, 1, None)]:
        image = dmdt_images([10.0, 10.0 + dt], [0.0, dm], [0, 2], grid=grid, scaling="counts")[0]
        assert image.sum() == (cell is not None)
        if cell is not None:
            assert image[cell] == 1


def test_overflow_cells_take_what_is_outside_and_nothing_is_lost():
    curve = _curve(80, spread=8.0)
    image = dmdt(curve, MAHABAL_2017_OVERFLOW, "counts")
    assert image.sum() == 80 * 79 / 2
    inner = dmdt(curve, MAHABAL_2017, "counts")
    assert_array_equal(image[1:-1, 1:-1], inner[:-1, :-1])
    assert image[0].sum() > 0
    assert image[-1].sum() > inner[-1].sum()


def test_a_smoothed_pair_is_a_gaussian():
    from scipy.stats import norm

    grid = Grid("fine", tuple(np.linspace(-2, 2, 81)), (0, 10))
    curve = LightCurve([0, 5], [15.0, 15.3], [0.3, 0.4])
    expected = np.diff(norm(0.3, 0.5).cdf(np.linspace(-2, 2, 81)))
    assert_allclose(dmdt(curve, grid, "counts", smooth=True)[:, 0], expected, atol=3e-7)


def test_scalings_are_what_they_are_called():
    curve = _curve(50)
    counts = dmdt(curve, scaling="counts")
    pairs = 50 * 49 / 2
    assert_allclose(dmdt(curve), counts / pairs, rtol=1e-6)
    assert_array_equal(
        dmdt(curve, scaling="intensity"), [[int(255 * c / pairs + 0.99999) for c in row] for row in counts]
    )
    assert_array_equal(
        dmdt(curve, scaling="intensity225"), [[int(225 * c / pairs + 0.99999) for c in row] for row in counts]
    )
    assert_allclose((dmdt(curve, SCOPE, "unit") ** 2).sum(), 1, rtol=1e-6)
    assert_allclose(dmdt(curve, CCSNSCORE, "sum625").sum(), 625, rtol=1e-6)
    counts, root = dmdt(curve, CCSNSCORE, "counts"), dmdt(curve, CCSNSCORE, "root")
    assert_allclose(root**2, counts / counts.sum(), rtol=1e-5)
    single = LightCurve([0, 1], [15, 30])
    assert dmdt(single, scaling="unit").max() == 0, "no pair within the grid, and no division by it"


def test_threads_change_nothing():
    curves = [_curve(int(n), int(n)) for n in np.random.default_rng(0).integers(2, 90, 40)]
    assert_array_equal(dmdt_of(curves, threads=3), dmdt_of(curves))
    assert dmdt_of([]).shape == (0, 22, 23)


def test_points_of_one_curve_never_meet_those_of_the_next():
    first, second = _curve(30, 1), _curve(40, 2)
    assert_array_equal(dmdt_of([first, second]), [dmdt(first), dmdt(second)])


def test_points_without_an_error_are_left_out_of_smoothing_only():
    curve = LightCurve([0, 1, 2], [15, 16, 17], [0.1, np.nan, 0.1])
    assert dmdt(curve, SCOPE, "counts").sum() == 3
    assert_allclose(dmdt(curve, SCOPE, "counts", smooth=True).sum(), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("curve", "options", "message"),
    [
        (LightCurve([1], [15]), {}, "1 points can be used; a dm-dt image needs two"),
        (LightCurve([1, 2], [15, 16], unit="nJy"), {}, "needs magnitudes, not nJy"),
        (LightCurve([1, 2], [15, 16], band=["g", "r"]), {}, "of one band, not of g, r"),
        (LightCurve([1, 2], [15, 16]), {"smooth": True}, "no errors to smooth with"),
        (LightCurve(np.arange(70000.0), np.full(70000, 15.0)), {}, "average them to at most 65535"),
    ],
)
def test_a_curve_that_has_no_image_is_refused_by_name(curve, options, message):
    with pytest.raises(LightCurveError, match=f"^light curve: .*{message}"):
        dmdt(curve, **options)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([0, 1, 2], [0, 0, 0], [0, 2]), "do not fit the offsets"),
        (([0, 1, 2], [0, 0, 0], [0, 1, 3]), "curve 0: 1 points"),
        (([0, 2, 0, 1, 0.5], [0] * 5, [0, 2, 5]), "curve 1: its times decrease"),
        (([0, np.nan], [0, 0], [0, 2]), "not finite"),
        (([0, 1], [0, 0], [0, 2], [0.1, 0]), "an error is not positive"),
    ],
)
def test_columns_that_are_no_curves_are_refused(columns, message):
    with pytest.raises(LightCurveError, match=message):
        dmdt_images(*columns)


def test_a_grid_that_is_none_is_refused():
    for dm, dt in [
        ((0,), (0, 1)),
        ((0, 0), (0, 1)),
        ((0, 1), (-1, 1)),
        ((0, np.inf), (0, 1)),
        (range(1002), (0, 1)),
    ]:
        with pytest.raises(UsageError, match="grid 'odd'"):
            Grid("odd", tuple(dm), dt)
    with pytest.raises(UsageError, match="scaling 'log' is none"):
        dmdt(_curve(5), scaling="log")


def test_edges_that_are_too_close_for_a_table_are_counted_all_the_same():
    grid = Grid("close", (-8, 0, 1e-7, 8), (0, 5000))
    curve = _curve(40)
    assert_array_equal(dmdt(curve, grid, "counts"), _by_hand(curve, grid))


@pytest.mark.real_data
def test_real_classes_of_crts_look_different(real_data):
    from astrid.lightcurves.reading import read_lightcurves

    lines = (real_data / "lightcurves/crts/crts_train_labels.csv").read_text().splitlines()[1:]
    kinds = dict(line.split(",")[:2] for line in lines)
    curves = [c for c in read_lightcurves(real_data / "lightcurves/crts/crts_train_lc.parquet") if len(c) > 1]
    images = dmdt_of(curves)
    kind = np.array([kinds[curve.name] for curve in curves])
    large = np.abs(np.array(MAHABAL_2017.dm[:-1]) + 1e-9) >= 0.5
    share = {name: float(images[kind == name][:, large].sum((1, 2)).mean()) for name in ("EW", "RRab", "LPV")}
    assert share["EW"] < share["RRab"] < 0.6
    assert share["EW"] < share["LPV"]
