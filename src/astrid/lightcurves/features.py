"""Features of light curves: numbers that tell how a source varies, each with its unit, meaning and source.

Fourier terms need a period, which `periods` finds; images of the points are in `dmdt`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrid.errors import DependencyError, LightCurveError
from astrid.lightcurves.fourier import FOURIER_NAMES, fourier_series
from astrid.lightcurves.lightcurve import LightCurve
from astrid.lightcurves.points import compiled, flat_columns, plain_columns

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FEATURES", "STATISTICS", "VERSION", "Feature", "features", "features_of", "statistics"]

VERSION = 1
"""Of the definitions: another number is another version."""

_ZTF, _FOURIER, _LIBRARY = "ztfperiodic", "ztfperiodic, Fourier", "light-curve"
_LEAST = 4


class Feature(NamedTuple):
    """One feature.

    Parameters
    ----------
    name, unit, meaning, source : str
        Without a unit it is a pure number.
    """

    name: str
    unit: str
    meaning: str
    source: str


def _listed(source: str, *rows: tuple[str, str, str]) -> dict[str, Feature]:
    return {name: Feature(name, unit, meaning, source) for name, unit, meaning in rows}


FEATURES: dict[str, Feature] = {
    **_listed(
        _ZTF,
        ("n", "", "number of points with an error"),
        ("median", "mag", "median"),
        ("wmean", "mag", "mean, weighted by 1/error²"),
        ("chi2red", "", "χ² about the weighted mean, divided by n - 1"),
        ("roms", "", "sum of |mag - median| / error, divided by n - 1"),
        ("wstd", "mag", "root of the weighted mean of (mag - wmean)²"),
        ("norm_peak_to_peak_amp", "", "(f - b) / (f + b) with f = max(mag - error), b = min(mag + error)"),
        ("norm_excess_var", "", "mean of (mag - wmean)² - error², divided by wmean²"),
        ("median_abs_dev", "mag", "median of |mag - median|"),
        ("iqr", "mag", "75 % quantile minus 25 % quantile"),
        ("i60r", "mag", "80 % quantile minus 20 % quantile"),
        ("i70r", "mag", "85 % quantile minus 15 % quantile"),
        ("i80r", "mag", "90 % quantile minus 10 % quantile"),
        ("i90r", "mag", "95 % quantile minus 5 % quantile"),
        ("skew", "", "n / ((n-1)(n-2)) times the sum of ((mag - wmean) / error)³"),
        ("smallkurt", "", "as skew, with fourth powers, corrected for small samples"),
        (
            "inv_vonneumannratio",
            "",
            "wstd² over the mean of (Δmag)², weighted by 1/Δt², of neighbours in time",
        ),
        ("welch_i", "", "sum of products of neighbouring normalised residuals"),
        ("stetson_j", "", "sum of the signed roots of these products"),
        ("stetson_k", "", "mean of |normalised residual| over their root mean square"),
        ("ad", "", "Anderson-Darling statistic of mag / error against a Gaussian"),
        ("sw", "", "Shapiro-Wilk W of mag / error"),
    ),
    **_listed(
        _FOURIER,
        ("f1_power", "", "fraction of χ² of a straight line that the harmonics remove"),
        ("f1_bic", "", "χ² + ln(n) times the number of parameters, of the best number of harmonics"),
        ("f1_a", "mag", "offset, at the first point"),
        ("f1_b", "mag/d", "slope"),
        ("f1_amp", "mag", "semi-amplitude of the first harmonic"),
        ("f1_phi0", "rad", "its phase at MJD 0, of a sine"),
        ("f1_relamp1", "", "amplitude of harmonic 2 over the first"),
        ("f1_relphi1", "", "phase of harmonic 2 relative to the first, in its cycles"),
        ("f1_relamp2", "", "amplitude of harmonic 3 over the first"),
        ("f1_relphi2", "", "phase of harmonic 3 relative to the first, in its cycles"),
        ("f1_relamp3", "", "amplitude of harmonic 4 over the first"),
        ("f1_relphi3", "", "phase of harmonic 4 relative to the first, in its cycles"),
        ("f1_relamp4", "", "amplitude of harmonic 5 over the first"),
        ("f1_relphi4", "", "phase of harmonic 5 relative to the first, in its cycles"),
        ("period", "d", "the period that was given"),
    ),
    **_listed(
        _LIBRARY,
        ("lc_amplitude", "mag", "half of the range"),
        ("lc_anderson_darling_normal", "", "Anderson-Darling statistic of the magnitudes, corrected for n"),
        ("lc_beyond_1_std", "", "fraction of points beyond 1 standard deviation of the mean"),
        ("lc_cusum", "", "range of the cumulative sums of normalised residuals"),
        ("lc_duration", "d", "from the first point to the last"),
        ("lc_eta", "", "von Neumann's ratio of neighbours"),
        ("lc_excess_variance", "", "variance beyond the errors, over the mean squared"),
        ("lc_inter_percentile_range_25", "mag", "75 % quantile minus 25 % quantile"),
        ("lc_kurtosis", "", "unbiased excess kurtosis"),
        ("lc_linear_fit_slope", "mag/d", "slope of a weighted straight line"),
        ("lc_linear_fit_slope_sigma", "mag/d", "its error"),
        ("lc_linear_fit_reduced_chi2", "", "reduced χ² of that line"),
        ("lc_linear_trend", "mag/d", "slope of an unweighted straight line"),
        ("lc_linear_trend_sigma", "mag/d", "its error"),
        ("lc_linear_trend_noise", "mag", "scatter about that line"),
        ("lc_magnitude_percentage_ratio_40_5", "", "40-60 % range over the 5-95 % range"),
        ("lc_maximum_time_interval", "d", "longest lapse between neighbours"),
        ("lc_mean", "mag", "mean"),
        ("lc_mean_variance", "", "standard deviation over the mean"),
        ("lc_median", "mag", "median"),
        ("lc_median_absolute_deviation", "mag", "median of |mag - median|"),
        ("lc_median_buffer_range_percentage_10", "", "fraction within 10 % of the amplitude of the median"),
        ("lc_otsu_mean_diff", "mag", "difference of the means of Otsu's two parts"),
        ("lc_otsu_std_lower", "mag", "standard deviation of the brighter part"),
        ("lc_otsu_std_upper", "mag", "standard deviation of the fainter part"),
        ("lc_otsu_lower_to_all_ratio", "", "fraction of points in the brighter part"),
        ("lc_percent_amplitude", "mag", "largest |mag - median|"),
        ("lc_chi2", "", "reduced χ² about the weighted mean"),
        ("lc_skew", "", "unbiased skew"),
        ("lc_standard_deviation", "mag", "standard deviation"),
        ("lc_stetson_K", "", "Stetson's K about the weighted mean"),
        ("lc_weighted_mean", "mag", "mean, weighted by 1/error²"),
    ),
}
"""All features by name. `light-curve`'s set leaves out what points of one moment make infinite."""

STATISTICS = tuple(name for name, feature in FEATURES.items() if feature.source == _ZTF)
"""The 22 statistics of ztfperiodic, in its order."""

_EXTRACTORS = (
    *("Amplitude", "AndersonDarlingNormal", "BeyondNStd", "Cusum", "Duration", "Eta", "ExcessVariance"),
    *("InterPercentileRange", "Kurtosis", "LinearFit", "LinearTrend", "MagnitudePercentageRatio"),
    *("MaximumTimeInterval", "Mean", "MeanVariance", "Median", "MedianAbsoluteDeviation"),
    *("MedianBufferRangePercentage", "OtsuSplit", "PercentAmplitude", "ReducedChi2", "Skew"),
    *("StandardDeviation", "StetsonK", "WeightedMean"),
)
_LIBRARY_NAMES = tuple(name for name, feature in FEATURES.items() if feature.source == _LIBRARY)


def features(curve: LightCurve, period: float | None = None, *, library: bool = False) -> dict[str, float]:
    """The features of one light curve.

    Parameters
    ----------
    curve : LightCurve
        Magnitudes in one band; points without an error are left out.
    period : float, optional, days
        Adds the Fourier terms and itself.
    library : bool
        Add those of the library light-curve.

    Returns
    -------
    features : dict of str to float
        In the order and with the units of `FEATURES`.

    Raises
    ------
    DependencyError
        numba, or light-curve where it is asked for, is not installed.
    LightCurveError
        Fewer than four points with errors, several bands, a constant, or a feature that is not defined
        for these points.

    References
    ----------
    Coughlin et al. 2021, arXiv:2009.14071, table 1; Malanchev et al. 2021, MNRAS 502, 5147.
    """
    columns = plain_columns(curve, _LEAST)
    offsets = [0, len(columns[0])]
    row = dict(zip(STATISTICS, statistics(*columns, offsets)[0].tolist(), strict=True))
    if period is not None:
        series = fourier_series(*columns, offsets, [period])[0]
        row |= dict(zip(FOURIER_NAMES, series.tolist(), strict=True)) | {"period": float(period)}
    if library:
        row |= dict(zip(_LIBRARY_NAMES, _of_library([columns])[0].tolist(), strict=True))
    undefined = [name for name, value in row.items() if not np.isfinite(value)]
    if undefined:
        raise LightCurveError(
            f"{curve.name}: {', '.join(undefined)} not defined for its points; it needs more scatter"
        )
    return row


def features_of(
    curves: Iterable[LightCurve],
    periods: Sequence[float | None] | None = None,
    *,
    library: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> pa.Table:
    """The features of many light curves, a row for each.

    Parameters
    ----------
    curves : iterable of LightCurve
    periods : sequence of float or None, optional, days
        One for each; Fourier terms are null where it is None.
    library : bool
        Add those of the library light-curve.
    on_progress : callable, optional
        Called with the number of light curves done and of all.

    Returns
    -------
    table : pyarrow.Table
        ``name``, the features as float64, and ``problem``: why a row, or some of its features, are null;
        null where all is well.

    Raises
    ------
    DependencyError
        As `features`.
    """
    import pyarrow as pa

    listed = list(curves)
    if periods is not None and len(periods) != len(listed):
        raise LightCurveError(f"{len(periods)} periods for {len(listed)} light curves; give one for each")
    names = [*STATISTICS, *((*FOURIER_NAMES, "period") if periods is not None else ())]
    names += _LIBRARY_NAMES if library else ()
    values = np.full((len(listed), len(names)), np.nan)
    problems: list[str | None] = [None] * len(listed)
    for start in range(0, len(listed), _BATCH):
        part = range(start, min(start + _BATCH, len(listed)))
        _fill(listed, part, periods, library, values, problems)
        if on_progress is not None:
            on_progress(part.stop, len(listed))
    for i in np.flatnonzero(~np.isfinite(values).all(axis=1)).tolist():
        without_period = periods is not None and periods[i] is None
        rest = [name for name, value in zip(names, values[i], strict=True) if not np.isfinite(value)]
        if without_period:
            rest = [name for name in rest if FEATURES[name].source != _FOURIER]
        if rest and problems[i] is None:
            problems[i] = f"{listed[i].name}: {', '.join(rest)} not defined for its points"
    columns = {"name": pa.array([curve.name for curve in listed], pa.string())}
    for k, name in enumerate(names):
        columns[name] = pa.array(values[:, k], pa.float64(), mask=~np.isfinite(values[:, k]))
    columns["problem"] = pa.array(problems, pa.string())
    return pa.table(columns)


_BATCH = 1000


def _fill(
    curves: Sequence[LightCurve],
    part: range,
    periods: Sequence[float | None] | None,
    library: bool,
    values: NDArray[np.float64],
    problems: list[str | None],
) -> None:
    """Put the features of some of the light curves into their rows."""
    good: list[int] = []
    columns: list[tuple[Any, Any, Any]] = []
    for i in part:
        try:
            columns.append(plain_columns(curves[i], _LEAST))
        except LightCurveError as refusal:
            problems[i] = str(refusal)
        else:
            good.append(i)
    if not good:
        return
    time, mag, error = (np.concatenate(column) for column in zip(*columns, strict=True))
    lengths = np.array([len(column[0]) for column in columns])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    k = len(STATISTICS)
    values[good, :k] = statistics(time, mag, error, offsets)
    if periods is not None:
        with_period = np.array([periods[i] is not None for i in good])
        chosen = np.repeat(with_period, lengths)
        trial = np.array([periods[i] for i in good if periods[i] is not None], np.float64)
        if len(trial):
            bounds = np.concatenate([[0], np.cumsum(lengths[with_period])])
            rows = np.array(good)[with_period]
            values[rows, k : k + 14] = fourier_series(time[chosen], mag[chosen], error[chosen], bounds, trial)
            values[rows, k + 14] = trial
        k += 15
    if library:
        values[good, k:] = _of_library(columns)


def statistics(time: ArrayLike, mag: ArrayLike, error: ArrayLike, offsets: ArrayLike) -> NDArray[np.float64]:
    """The 22 statistics of light curves that stand one after the other, as nested columns do.

    Parameters
    ----------
    time, mag, error : (n,) array_like, days, mag, mag
    offsets : (m + 1,) array_like of int
        Curve i has the points from ``offsets[i]`` to below ``offsets[i + 1]``, four or more.

    Returns
    -------
    statistics : (m, 22) float64 ndarray
        As `STATISTICS`; NaN where one is not defined.

    Raises
    ------
    DependencyError
        numba is not installed.
    LightCurveError
        Too few points; times that decrease or do not differ; magnitudes that do not; values that are not
        finite; errors that are not positive.
    """
    columns, bounds = flat_columns(time, mag, error, offsets, _LEAST)
    lengths = np.diff(bounds)
    kinds, where = np.unique(lengths, return_inverse=True)
    weights = [shapiro_weights(int(n)) for n in kinds]
    starts = np.concatenate([[0], np.cumsum([len(part) for part in weights])]).astype(np.int64)
    out = np.empty((len(lengths), len(STATISTICS)))
    compiled().measure(*columns, bounds, np.concatenate([*weights, np.empty(0)]), starts[where], out)
    return out


@cache
def shapiro_weights(n: int) -> NDArray[np.float64]:
    """Weights of the Shapiro-Wilk test for n points: of the highest and lowest, the next, ….

    References
    ----------
    Royston 1995, Applied Statistics 44, 547 (AS R94).
    """
    from scipy.special import ndtri

    if n == 3:
        return np.array([np.sqrt(0.5)])
    scores = -ndtri((np.arange(1, n // 2 + 1) - 0.375) / (n + 0.25))
    norm = 2 * float((scores**2).sum())
    root = n**-0.5
    weights = scores / np.sqrt(norm)
    outer = [np.polyval([-2.706056, 4.434685, -2.07119, -0.147981, 0.221157, weights[0]], root)]
    if n > 5:
        outer.append(np.polyval([-3.582633, 5.682633, -1.752461, -0.293762, 0.042981, weights[1]], root))
    k = len(outer)
    left = norm - 2 * float((scores[:k] ** 2).sum())
    weights = scores * np.sqrt((1 - 2 * float(np.square(outer).sum())) / left) if left > 0 else scores
    weights[:k] = outer
    return np.asarray(weights, np.float64)


@cache
def _extractor() -> Any:
    try:
        import light_curve
    except ImportError as error:
        raise DependencyError('these features need light-curve; pip install "astrid[lightcurves]"') from error
    extractor = light_curve.Extractor(*(getattr(light_curve, part)() for part in _EXTRACTORS))
    assert tuple(f"lc_{name}" for name in extractor.names) == _LIBRARY_NAMES
    return extractor


def _of_library(columns: Sequence[tuple[Any, Any, Any]]) -> NDArray[np.float64]:
    """The library's features of each curve; NaN where it has none."""
    curves = [tuple(np.require(column, np.float64, ["C", "W"]) for column in curve) for curve in columns]
    return np.asarray(_extractor().many(curves, sorted=True, check=False, fill_value=np.nan, n_jobs=1))
