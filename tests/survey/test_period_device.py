"""Periodograms by torch against the compiled loops, on the processor; on a GPU where there is one."""

from __future__ import annotations

import sys
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from astrid.cli.main import app
from astrid.errors import DependencyError, LightCurveError, UsageError
from astrid.lightcurves.lightcurve import LightCurve
from astrid.lightcurves.periods import (
    FrequencyGrid,
    Periodograms,
    Points,
    binned_power,
    clean_points,
    conditional_entropy,
    find_period,
    harmonic_power,
    harmonic_power_at,
)
from astrid.survey import curve_measures, period_device
from astrid.survey.curve_measures import Measures, measure
from astrid.survey.period_device import (
    binned_powers,
    check_device,
    entropies,
    harmonic_powers,
    periodograms,
)

pytest.importorskip("numba")
pytest.importorskip("finufft")
torch = pytest.importorskip("torch")

ENTROPY = 1e-5  # nats: the loops add float32 in another order
BINNED = 1e-12  # the same whole numbers are added; only the last sums are of float64
HARMONIC = 1e-6  # the transforms of the compiled search are good to 1e-8 of the sum of the weights
DIRECT = 1e-8  # the sines of the loops are good to 1e-11, which short curves magnify
GRID = FrequencyGrid(0.01, 0.0017, 2500)  # phases are computed anew twice in it


def star(n, seed, bands=1, baseline=400.0):
    rng = np.random.default_rng(seed)
    time = np.sort(rng.uniform(0, baseline, n)) + 58000
    err = rng.uniform(0.02, 0.1, n)
    angle = 2 * np.pi * time / 0.61
    mag = 15 + np.sin(angle) + 0.4 * np.cos(2 * angle) + err * rng.normal(size=n)
    return clean_points(time, mag, err, rng.integers(0, bands, n) if bands > 1 else None)


@pytest.fixture(scope="module")
def stars():
    """Light curves of uneven lengths, two of them in several bands."""
    return [star(40, 1), star(173, 2), star(90, 3, bands=2), star(25, 4), star(120, 5, bands=3)]


def alone(time, mag):
    n = len(time)
    return Points(np.array(time), np.array(mag), np.full(n, 1 / n), np.zeros(n, dtype=np.int64), 0.0)


def test_the_entropy_of_a_batch_is_that_of_the_compiled_loops(stars):
    expected = np.stack([conditional_entropy(one, GRID) for one in stars])
    found = entropies(stars, GRID)
    assert (found.dtype, found.shape) == (np.float32, (5, GRID.size))
    np.testing.assert_allclose(found, expected, atol=ENTROPY, rtol=0)


def test_the_binned_variance_of_a_batch_is_that_of_the_compiled_loops(stars):
    expected = np.stack([binned_power(one, GRID, 13) for one in stars])
    np.testing.assert_allclose(binned_powers(stars, GRID, 13), expected, atol=BINNED, rtol=0)


@pytest.mark.parametrize("n_terms", [1, 2, 3])
def test_fourier_fits_of_a_batch_are_those_of_the_compiled_loops(stars, n_terms):
    found = harmonic_powers(stars, GRID, n_terms)
    np.testing.assert_allclose(
        found, np.stack([harmonic_power(one, GRID, n_terms) for one in stars]), atol=HARMONIC, rtol=0
    )
    np.testing.assert_allclose(
        found, np.stack([harmonic_power_at(one, GRID.frequencies, n_terms) for one in stars]),
        atol=DIRECT, rtol=0,
    )  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(10, 60), min_size=1, max_size=4),
    seed=st.integers(0, 10**6),
    bands=st.integers(1, 3),
    start=st.floats(0.0, 20.0),
    step=st.floats(1e-4, 0.5),
    size=st.integers(1, 40),
    memory=st.integers(100_000, 3_000_000),
)
def test_any_batch_grid_and_memory_agree_with_one_curve_at_a_time(
    lengths, seed, bands, start, step, size, memory
):
    curves, grid = [star(n, seed + i, bands) for i, n in enumerate(lengths)], FrequencyGrid(start, step, size)
    for many, one, tolerance in (
        (entropies, conditional_entropy, ENTROPY),
        (binned_powers, binned_power, BINNED),
    ):
        expected = np.stack([one(points, grid, 7) for points in curves])
        np.testing.assert_allclose(many(curves, grid, 7, memory=memory), expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("memory", [150_000, 1_000_000, 7_654_321])
def test_chunks_of_any_size_give_the_same(stars, memory):
    grid = FrequencyGrid(0.02, 0.003, 1300)
    assert np.array_equal(binned_powers(stars, grid, memory=memory), binned_powers(stars, grid))
    np.testing.assert_allclose(
        entropies(stars, grid, memory=memory), entropies(stars, grid), atol=1e-6, rtol=0
    )
    np.testing.assert_allclose(
        harmonic_powers(stars, grid, memory=memory), harmonic_powers(stars, grid), atol=1e-12, rtol=0
    )


@pytest.mark.parametrize("many", [entropies, binned_powers, lambda *a, **k: harmonic_powers(*a, 4, **k)])
@pytest.mark.parametrize("memory", [400_000, 4_000_000])
def test_the_arrays_of_a_chunk_stay_within_the_memory_given(stars, many, memory):
    from torch.utils._python_dispatch import TorchDispatchMode

    class Counting(TorchDispatchMode):
        """Bytes of the tensors that are alive, by their storages."""

        now, most, known = 0, 0, frozenset()

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            for one in result if isinstance(result, tuple | list) else (result,):
                if isinstance(one, torch.Tensor):
                    self.add(one.untyped_storage())
            return result

        def add(self, storage):
            if storage.data_ptr() not in self.known:
                self.known |= {storage.data_ptr()}
                self.now += storage.nbytes()
                self.most = max(self.most, self.now)
                weakref.finalize(storage, self.drop, storage.data_ptr(), storage.nbytes())

        def drop(self, pointer, size):
            self.known -= {pointer}
            self.now -= size

    with Counting() as counting:
        many(stars, FrequencyGrid(0.02, 0.003, 400), memory=memory)
    assert memory / 20 < counting.most <= memory


def test_one_point_has_no_entropy_and_no_fit():
    curves = [alone([0.0], [0.3]), star(30, 7)]
    found = entropies(curves, GRID)
    assert np.all(found[0] == 0)
    assert np.array_equal(found[0], conditional_entropy(curves[0], GRID))
    with pytest.raises(LightCurveError, match="a Fourier series of 1 terms needs"):
        harmonic_powers(curves, GRID)
    with pytest.raises(LightCurveError, match="light curve 0 of the batch is constant"):
        binned_powers(curves, GRID)


def test_a_constant_curve_is_refused_where_its_variance_divides():
    curves = [star(30, 7), alone(np.arange(9.0), np.zeros(9))]
    found = entropies(curves, GRID)[1]
    np.testing.assert_allclose(found, conditional_entropy(curves[1], GRID), atol=ENTROPY, rtol=0)
    for many in (binned_powers, harmonic_powers):
        with pytest.raises(LightCurveError, match="light curve 1 of the batch is constant"):
            many(curves, GRID)


def test_a_batch_of_none_is_empty():
    for many in (entropies, binned_powers, harmonic_powers):
        assert many([], GRID).shape == (0, GRID.size)


def test_a_search_with_these_periodograms_finds_the_same_period():
    points = star(150, 11)
    own = Periodograms(
        harmonic=lambda one, grid, n_terms: harmonic_powers([one], grid, n_terms)[0],
        entropy=lambda one, grid: entropies([one], grid)[0],
    )
    given_points = (points.time, points.mag, 1 / np.sqrt(points.weight))
    expected = find_period(*given_points, maximum=4.0, samples_per_peak=5)
    found = find_period(*given_points, maximum=4.0, samples_per_peak=5, periodograms=own)
    assert found.period == pytest.approx(expected.period, rel=1e-9)
    assert found.period == pytest.approx(0.61, rel=1e-4)


def test_a_measurement_on_a_device_takes_its_periodograms_from_there(monkeypatch):
    for module in (period_device, curve_measures):  # a processor that stands for a GPU
        monkeypatch.setattr(module, "check_device", lambda device: torch.device("cpu"))
    calls = []

    def counted(*args, **kwargs):
        calls.append(kwargs["device"])
        return harmonic_powers(*args, **kwargs)

    monkeypatch.setattr(period_device, "harmonic_powers", counted)
    points = star(120, 12)
    curve = LightCurve(points.time + points.origin, points.mag + 15, np.full(120, 0.05), "r", name="one")
    expected, _ = measure([curve], Measures(features=False, periods=True, maximum=4.0))
    assert calls == []
    found, _ = measure([curve], Measures(features=False, periods=True, maximum=4.0, device="cuda:1"))
    assert set(calls) == {"cuda:1"}
    for name in ("period", "period_base", "period_sine", "period_power"):
        assert found[name][0].as_py() == pytest.approx(expected[name][0].as_py(), rel=1e-6)


def test_the_processor_keeps_its_compiled_loops():
    assert periodograms("cpu") == Periodograms()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: check_device("gpu"), "'gpu' is no device of the period search; give cpu, cuda or cuda:N"),
        (lambda: entropies([star(9, 1)], GRID, 1), "1 phase bins and 10 magnitude bins cannot be used"),
        (lambda: binned_powers([star(9, 1)], GRID, 5000), "5000 phase bins cannot be used"),
        (lambda: binned_powers([star(9, 1)], GRID, memory=100), "100 bytes do not hold one frequency"),
        (lambda: Measures(device="cuda"), "a device is of the search for periods"),
    ],
)
def test_what_cannot_be_used_is_said(monkeypatch, call, words):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match=words):
        call()


def test_a_gpu_that_torch_does_not_see_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    file = tmp_path / "star.csv"
    file.write_text("mjd,mag,magerr\n" + "".join(f"{58000 + 0.37 * i},{15 + i % 3},0.1\n" for i in range(9)))
    for words in (
        ["lightcurves", "periods", str(file), "--device", "cuda"],
        ["survey", "lightcurves", "none", "--periods", "--out", str(tmp_path / "o"), "--device", "cuda:0"],
    ):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 2
        assert "torch sees no GPU; give cpu, or install a torch that fits the GPU" in result.stderr
        assert result.stderr.count("\n") == 1


def test_a_gpu_beyond_those_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UsageError, match="cuda:2 is asked for and torch sees 2 GPUs; give a number below 2"):
        check_device("cuda:2")


def test_without_torch_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(DependencyError, match=r"astrid\[train\]"):
        entropies([star(9, 1)], GRID)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
def test_a_gpu_gives_what_the_processor_gives(stars):
    np.testing.assert_allclose(
        entropies(stars, GRID, device="cuda"), entropies(stars, GRID), atol=ENTROPY, rtol=0
    )
    np.testing.assert_allclose(
        binned_powers(stars, GRID, device="cuda"), binned_powers(stars, GRID), atol=BINNED, rtol=0
    )
    np.testing.assert_allclose(
        harmonic_powers(stars, GRID, 2, device="cuda"), harmonic_powers(stars, GRID, 2), atol=DIRECT, rtol=0
    )
