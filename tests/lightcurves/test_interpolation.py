"""Interpolated light curves follow the points, know how well, and stop where the points stop."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from astrid.errors import LightCurveError, UsageError
from astrid.lightcurves.interpolation import even_curve, per_wavelength
from astrid.lightcurves.lightcurve import AB_ZERO_POINT, LightCurve


def _hill(time: np.ndarray) -> np.ndarray:
    return 1000 * np.exp(-0.5 * ((time - 40) / 25) ** 2)


def _transient(seed: int = 0, n: int = 40, until: float = 90.0) -> LightCurve:
    random = np.random.default_rng(seed)
    time = np.sort(random.uniform(0, until, n))
    band = np.where(np.arange(n) % 2, "r", "g")
    flux = _hill(time) * np.where(band == "r", 1.5, 1.0)
    error = np.full(n, 15.0)
    return LightCurve(time + 59000, flux + random.normal(0, error), error, band=band, unit="nJy")


def test_the_curve_that_was_put_in_comes_back_within_its_errors():
    curve = _transient()
    even = even_curve(curve)
    assert even.flux.shape == even.error.shape == even.mask.shape == (2, 400)
    assert even.start == curve.time[0]
    time = even.time + even.start - 59000
    for k, factor in enumerate((1.0, 1.5)):
        inside = even.mask[k]
        off = (even.flux[k] - factor * _hill(time))[inside]
        assert np.abs(off).max() < 60
        assert 0.2 < np.sqrt(np.mean((off / even.error[k][inside]) ** 2)) < 2.5
        assert (even.error[k][inside] > 0).all()


def test_there_is_nothing_before_the_first_and_after_the_last_point():
    curve = _transient()
    even = even_curve(curve)
    for k, band in enumerate("gr"):
        when = curve.in_band(band).time - even.start
        assert_array_equal(even.mask[k], (even.time >= when[0]) & (even.time <= when[-1]))
    assert (even.flux[~even.mask] == 0).all()
    assert (even.error[~even.mask] == 0).all()


def test_a_fixed_length_gives_the_textbook_s_mean_and_deviation():
    curve = _transient(n=16).in_band("g")
    even = even_curve(curve, ("g",), length=30.0, step=5.0, span=100.0, snr=0.0)
    used = curve.at(curve.value >= 0)
    when, scale = used.time - used.time[0], used.value.max()

    def covariance(a, b):
        return np.exp(-0.5 * ((a[:, None] - b) / 30.0) ** 2)

    inner = covariance(when, when) + np.diag((used.error / scale) ** 2)
    wanted = even.time[even.mask[0]]
    cross = covariance(wanted, when)
    # Rasmussen & Williams 2006, eqs. 2.25 and 2.26
    assert_allclose(even.flux[0, even.mask[0]], cross @ np.linalg.solve(inner, used.value), rtol=1e-3)
    variance = 1 - np.einsum("ij,ji->i", cross, np.linalg.solve(inner, cross.T))
    assert_allclose(even.error[0, even.mask[0]], scale * np.sqrt(variance), rtol=1e-3)


def test_the_time_scale_is_found_between_its_bounds():
    even = even_curve(_transient())
    assert all(20 <= length <= 150 for length in even.lengths)


def test_magnitudes_are_interpolated_as_fluxes():
    flux = _transient()
    flux = flux.at(flux.value > 10 * flux.error)
    again = even_curve(flux.as_mag())
    assert_allclose(again.flux, even_curve(flux).flux, rtol=1e-3, atol=0.5)


def test_a_band_with_few_points_stays_empty():
    curve = _transient()
    few = curve.at(np.concatenate([np.flatnonzero(curve.band == 0), np.flatnonzero(curve.band == 1)[8:11]]))
    even = even_curve(few)
    assert even.lengths[1] is None
    assert not even.mask[1].any()
    assert even.mask[0].any()
    assert even_curve(few, ("z", "g")).lengths[0] is None


def test_what_cannot_be_interpolated_is_refused_by_name():
    with pytest.raises(LightCurveError, match="no point has an error"):
        even_curve(LightCurve([1, 2, 3, 4], [15, 16, 17, 18], band="g"))
    with pytest.raises(LightCurveError, match="no point in g, r has S/N 5"):
        even_curve(LightCurve([1, 2], [15, 16], [0.1, 0.1], band="z"))
    with pytest.raises(LightCurveError, match="no band of g, r has 4 points"):
        even_curve(LightCurve([1, 2], [15, 16], [0.1, 0.1], band="g"))
    for options in ({"step": 0.0}, {"span": -1.0}, {"length": 0.0}, {"bands": ()}, {"bands": ("g", "g")}):
        with pytest.raises(UsageError):
            even_curve(_transient(), **options)


def test_flux_per_wavelength_is_that_of_an_ab_magnitude():
    # AB 0 at 5556 Å: 3.52e-9 erg/s/cm²/Å
    njy = np.array([10 ** (0.4 * AB_ZERO_POINT)])
    assert_allclose(per_wavelength(njy, 5556.0), 3.52e-9, rtol=2e-3)


@pytest.mark.real_data
def test_real_supernovae_of_type_ia_peak_once(real_data, tmp_path):
    import tarfile

    from astrid.lightcurves.reading import read_lightcurve

    with tarfile.open(real_data / "lightcurves/ztf_snia_bts/light-curves_dev.tar.gz") as archive:
        archive.extractall(tmp_path, members=archive.getmembers()[:12], filter="data")
    peaks = []
    for path in sorted(tmp_path.rglob("*.csv")):
        curve = read_lightcurve(path)
        if "R" in curve.bands:
            curve = LightCurve(
                curve.time, curve.value, curve.error, band=[curve.bands[code].lower() for code in curve.band]
            )
        try:
            even = even_curve(curve)
        except LightCurveError:
            continue
        inside = even.mask[1]
        if inside.sum() > 60:
            flux = even.flux[1, inside]
            assert np.isfinite(flux).all()
            peaks.append(even.time[inside][np.argmax(flux)])
    assert len(peaks) >= 4
    assert np.median(peaks) < 40, "the peak is soon after the first detection"
