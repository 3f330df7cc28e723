"""What light curves cost: period searches, dm-dt images and features beside their peers, and the whole chain.

Processor time of one thread, the best of some turns, in a process of its own; on real curves of the Catalina
survey, or on simulated ones where those are absent.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.bench.frame import ONE_THREAD, Row, measure_process
from astrid.lightcurves.lightcurve import LightCurve

__all__ = ["speed_rows"]

_SOURCES = 1.3e9  # those of the ZTF archive that have enough points
_POINTS = 300
_MAXIMUM = 26.0  # cycles a day, of the whole chain


def speed_rows(curves: Path | None, quick: bool, say: Callable[[str], None]) -> list[Row]:
    """All rows about speed.

    Parameters
    ----------
    curves : Path, optional
        A table of real light curves; simulated ones are made without.
    quick : bool
        Fewer frequencies and curves, which are scaled.
    say : callable
        Called with the name of each stage.
    """
    size = 50_000 if quick else 500_000
    say(f"period searches, {_POINTS} points and {size:,} frequencies, beside their peers")
    path = None if curves is None else str(curves)
    seconds = measure_process(_searches, path, size, 1 if quick else 3, environment=ONE_THREAD).result
    kind: Any = "simulated" if curves is None else "real"
    rows = _search_rows(seconds, size, kind)
    say("dm-dt images and features beside light-curve")
    many = 200 if quick else 1000
    seconds = measure_process(_images, path, many, 2 if quick else 5, environment=ONE_THREAD).result
    rows += _image_rows(seconds, many, kind)
    say("the whole chain")
    n = 6 if quick else 40
    seconds = measure_process(_chain, path, n, environment=ONE_THREAD).result
    return rows + _chain_rows(seconds, n, kind)


def _search_rows(seconds: dict[str, float], size: int, kind: Any) -> list[Row]:
    what = f"{_POINTS} points x {size:,} frequencies"
    peers = {
        "Lomb-Scargle": ("nifty-ls", "astropy fast", "light-curve, without errors"),
        "4 harmonics": ("nifty-ls chi2", "astropy fastchi2, scaled from a tenth"),
        "conditional entropy": ("straightforward numba",),
        "analysis of variance, 20 bins": ("straightforward numba",),
        "boxes": ("astropy BLS, 6 durations, scaled from a tenth", "TLS, scaled from 1,000 periods"),
    }
    rows = []
    for name, others in peers.items():
        own = seconds[name]
        rows += [
            Row(f"{name}, {what}", own, "s", kind, 1).beside(other, seconds.get(f"{name}: {other}"))
            for other in others
        ]
        rows.append(
            Row(f"{name}, 1,000 curves of {what}, extrapolated from 1", 1000 * own, "s", kind, 1).beside(
                others[0], 1000 * seconds[f"{name}: {others[0]}"]
            )
        )
        point = own / (_POINTS * size) * 1e9
        rows.append(Row(f"{name}, a point and frequency", point, "ns", kind, 1))
    return rows


def _image_rows(seconds: dict[str, float], many: int, kind: Any) -> list[Row]:
    return [
        Row("dm-dt image 22 x 23, one curve of 300 points", 1e3 * seconds["dmdt one"], "ms", kind, 1).beside(
            "light-curve", 1e3 * seconds["dmdt one: light-curve"]
        ),
        Row(f"dm-dt images 22 x 23 of {many} curves, each", 1e3 * seconds["dmdt"], "ms", kind, many).beside(
            "light-curve points_many", 1e3 * seconds["dmdt: light-curve"]
        ),
        Row(f"22 statistics of {many} curves, each", 1e3 * seconds["statistics"], "ms", kind, many).beside(
            "light-curve, 25 other extractors", 1e3 * seconds["features: light-curve"]
        ),
        Row(f"14 Fourier terms of {many} curves, each", 1e3 * seconds["fourier"], "ms", kind, many),
    ]


def _chain_rows(seconds: dict[str, float], n: int, kind: Any) -> list[Row]:
    rows = []
    for name, each in seconds.items():
        rows.append(Row(f"{name}: processor time a source", each, "s", kind, n))
    for name, what in (
        ("period, 91 numbers, dm-dt image, class", f"to {_MAXIMUM:g} cycles a day"),
        ("as SCOPE: CE, LS and AOV of the published hierarchy, features, dm-dt 26 x 26, class", "to 48"),
    ):
        hours = seconds[name] * _SOURCES / 3600
        rows.append(Row(f"{name}, {what}: 1.3 billion sources, extrapolated", hours, "core hours", kind, n))
    return rows


def _best(function: Callable[[], Any], turns: int) -> float:
    function()  # imports, compilation, plans
    times = []
    for _ in range(turns):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def _curves(path: str | None, n: int) -> list[LightCurve]:
    """Real curves of about the usual length, or simulated ones."""
    if path is not None:
        from astrid.lightcurves.reading import read_lightcurves

        return list(islice((one for one in read_lightcurves(path) if len(one) >= _POINTS), n))
    rng = np.random.default_rng(0)
    found = []
    for number in range(n):
        days = 53600 + np.sort(rng.uniform(0, 2900, _POINTS))
        mag = 15 + 0.3 * np.sin(2 * np.pi * days / rng.uniform(0.3, 5)) + rng.normal(0, 0.05, _POINTS)
        found.append(LightCurve(days, mag, np.full(_POINTS, 0.05), name=str(number)))
    return found


def _searches(path: str | None, size: int, turns: int) -> dict[str, float]:
    """Seconds of each search of the first curve's first points, by its name and its peer's."""
    from astrid.lightcurves.periods import (
        FrequencyGrid,
        binned_power,
        box_power,
        clean_points,
        conditional_entropy,
        harmonic_power,
    )

    curve = _curves(path, 1)[0]
    assert curve.error is not None
    first = slice(0, _POINTS)
    points = clean_points(curve.time[first], curve.value[first], curve.error[first])
    t, y, e = points.time, points.mag, points.weight**-0.5
    grid = FrequencyGrid(0.01, 1 / (10 * points.baseline), size)
    tenth = FrequencyGrid(grid.start, grid.step, size // 10)
    frequencies = grid.frequencies
    seconds = {
        "Lomb-Scargle": _best(lambda: harmonic_power(points, grid, 1), turns),
        "4 harmonics": _best(lambda: harmonic_power(points, grid, 4), turns),
        "conditional entropy": _best(lambda: conditional_entropy(points, grid), turns),
        "analysis of variance, 20 bins": _best(lambda: binned_power(points, grid), turns),
        "boxes": _best(lambda: box_power(points, 1 / frequencies), turns),
    }
    import light_curve
    import nifty_ls
    from astropy.timeseries import BoxLeastSquares, LombScargle

    ends = {"fmin": grid.start, "fmax": grid.stop, "Nf": size}
    power = 2 ** round(np.log2(size))  # its frequencies begin at 0 and are a power of two and one
    fast = light_curve.Periodogram(peaks=1, freqs=np.linspace(0, grid.stop, power + 1), fast=True)
    m, unit = np.ascontiguousarray(y), np.ones_like(y)
    level = (20 * (y - y.min()) / np.ptp(y) / 2).clip(0, 9).astype(np.int64)
    entropy, variance = _naive()
    duration = np.geomspace(0.02, 0.12, 6)
    some = 1 / frequencies[frequencies < 2][: size // 10]
    peers: dict[str, tuple[Callable[[], Any], float]] = {
        "Lomb-Scargle: nifty-ls": (lambda: nifty_ls.lombscargle(t, y, e, nthreads=1, **ends), 1),
        "Lomb-Scargle: astropy fast": (
            lambda: LombScargle(t, y, e).power(frequencies, method="fast", assume_regular_frequency=True), 1
        ),
        "Lomb-Scargle: light-curve, without errors": (lambda: fast(t, m, unit, sorted=True), size / power),
        "4 harmonics: nifty-ls chi2": (
            lambda: nifty_ls.lombscargle(t, y, e, nterms=4, backend="finufft_chi2", nthreads=1, **ends), 1
        ),
        "4 harmonics: astropy fastchi2, scaled from a tenth": (
            lambda: LombScargle(t, y, e, nterms=4).power(
                tenth.frequencies, method="fastchi2", assume_regular_frequency=True
            ), 10,
        ),
        "conditional entropy: straightforward numba": (lambda: entropy(t, level, frequencies), 1),
        "analysis of variance, 20 bins: straightforward numba": (lambda: variance(t, y, frequencies), 1),
        "boxes: astropy BLS, 6 durations, scaled from a tenth": (
            lambda: BoxLeastSquares(t, -y, e).power(some, duration), size / len(some)
        ),
    }  # fmt: skip
    with warnings.catch_warnings(action="ignore"):
        for name, (function, scale) in peers.items():
            seconds[name] = scale * _best(function, 1 if scale > 1 else turns)
    seconds["boxes: TLS, scaled from 1,000 periods"] = _tls(t, y, e) * size / 1000
    return seconds


def _tls(t: NDArray[np.float64], y: NDArray[np.float64], e: NDArray[np.float64]) -> float:
    """Seconds of TLS for 1,000 periods, scaled from what its own grid has between 5 and 20 days."""
    from transitleastsquares import transitleastsquares

    model = transitleastsquares(t, 1 - y / 10, e / 10, verbose=False)
    options = {"period_min": 10.0, "period_max": 12.0, "use_threads": 1, "show_progress_bar": False}
    with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
        n = len(model.power(**options).periods)
        return _best(lambda: model.power(**options), 1) * 1000 / n


def _naive() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Conditional entropy and analysis of variance as a first script would have them, compiled."""
    from numba import njit

    def entropy(t: Any, level: Any, frequencies: Any) -> Any:
        out = np.empty(len(frequencies))
        for k in range(len(frequencies)):
            counts = np.zeros((20, 10))
            for i in range(len(t)):
                phase = t[i] * frequencies[k] % 1.0
                counts[int(phase * 20) % 20, level[i]] += 1
            total = 0.0
            for a in range(20):
                column = counts[a].sum()
                for b in range(10):
                    if counts[a, b] > 0:
                        total += counts[a, b] * np.log(column / counts[a, b])
            out[k] = total / len(t)
        return out

    def variance(t: Any, y: Any, frequencies: Any) -> Any:
        out = np.empty(len(frequencies))
        mean = y.mean()
        for k in range(len(frequencies)):
            sums, counts = np.zeros(20), np.zeros(20)
            for i in range(len(t)):
                phase = t[i] * frequencies[k] % 1.0
                a = int(phase * 20) % 20
                sums[a] += y[i]
                counts[a] += 1
            between = 0.0
            for a in range(20):
                if counts[a] > 0:
                    between += counts[a] * (sums[a] / counts[a] - mean) ** 2
            out[k] = between
        return out

    return njit(entropy), njit(variance)


def _images(path: str | None, n: int, turns: int) -> dict[str, float]:
    """Seconds a curve, for images and features."""
    import light_curve

    from astrid.lightcurves.dmdt import MAHABAL_2017, dmdt, dmdt_images
    from astrid.lightcurves.features import features_of, statistics
    from astrid.lightcurves.fourier import fourier_series
    from astrid.lightcurves.points import plain_columns

    curves = [one.at(np.arange(_POINTS)) for one in _curves(path, n)]
    n = len(curves)
    parts = [plain_columns(one, 4) for one in curves]
    days, mag, error = (np.concatenate(column) for column in zip(*parts, strict=True))
    offsets = np.cumsum([0, *(len(part[0]) for part in parts)])
    periods = np.linspace(0.3, 3.0, n)
    other = light_curve.DmDt(
        dt=np.array(MAHABAL_2017.dt), dm=np.array(MAHABAL_2017.dm), dt_type="asis", dm_type="asis", n_jobs=1
    )
    pairs = [(part[0].copy(), part[1].copy()) for part in parts]
    library = _best(lambda: features_of(curves, library=True), turns) - _best(
        lambda: features_of(curves), turns
    )
    return {
        "dmdt one": _best(lambda: [dmdt(curves[0], scaling="counts") for _ in range(100)], turns) / 100,
        "dmdt one: light-curve": _best(
            lambda: [other.points(*pairs[0], sorted=True) for _ in range(100)], turns
        ) / 100,
        "dmdt": _best(lambda: dmdt_images(days, mag, offsets, scaling="counts"), turns) / n,
        "dmdt: light-curve": _best(lambda: other.points_many(pairs, sorted=True), turns) / n,
        "statistics": _best(lambda: statistics(days, mag, error, offsets), turns) / n,
        "features: light-curve": library / n,
        "fourier": _best(lambda: fourier_series(days, mag, error, offsets, periods), turns) / n,
    }  # fmt: skip


def _chain(path: str | None, n: int) -> dict[str, float]:
    """Seconds a source, of each step and of the whole."""
    from astrid.learn.prediction import Predictor
    from astrid.learn.registry import find_bundle, list_bundles
    from astrid.lightcurves.dmdt import SCOPE, dmdt
    from astrid.lightcurves.periodicity import points_of, search
    from astrid.lightcurves.periods import frequency_grid, published_hierarchy
    from astrid.lightcurves.variability import numbers_of, variability

    curves = _curves(path, n)
    shipped = [one for one in list_bundles() if one.shipped and one.system == "crts_trees"]
    found = [search(one, maximum=_MAXIMUM) for one in curves[:1]]
    begun = time.process_time()
    found = [search(one, maximum=_MAXIMUM) for one in curves]
    steps = [time.process_time()]
    names = tuple(numbers_of())
    rows = []
    for one, result in zip(curves, found, strict=True):
        numbers = variability(one, points_of(one), result)
        rows.append([numbers[name] for name in names])
    steps.append(time.process_time())
    for one in curves:
        dmdt(one, scaling="unit")
    steps.append(time.process_time())
    classes = 0.0
    if shipped:
        predictor = Predictor(find_bundle(shipped[0].name))
        batch = {"features": np.repeat(np.asarray(rows, np.float32), 20, axis=0)}
        whole = _best(lambda: predictor.concluded(batch, predictor.logits(batch)), 2)
        classes = whole / len(batch["features"])
    each = np.diff([begun, *steps]) / len(curves)
    few = curves[: max(2, len(curves) // 8)]
    begun = time.process_time()
    for one in few:
        points = points_of(one)
        published_hierarchy(points, frequency_grid(points.time, maximum=48.0))
        dmdt(one, SCOPE, "unit")
    published = (time.process_time() - begun) / len(few)
    return {
        "period search of our own": float(each[0]),
        "91 numbers of its result": float(each[1]),
        "dm-dt image": float(each[2]),
        "class by the trees": classes,
        "period, 91 numbers, dm-dt image, class": float(each.sum()) + classes,
        "as SCOPE: CE, LS and AOV of the published hierarchy, features, dm-dt 26 x 26, class": published
        + float(each[1])
        + classes,
    }
