"""S_corr has unit width, and what static stars leave behind is measured and paid for."""

from __future__ import annotations

import numpy as np
import pytest

from astrid.images.frame import Flag, Frame
from astrid.images.proper import MatchedPSFs, Subtraction, subtract
from astrid.images.psf import moffat_psf
from astrid.images.significance import corrected_significance, significance_sigma

SHAPE = (700, 720)
FWHM = 3.0
SCIENCE, REFERENCE = moffat_psf(FWHM, SHAPE), moffat_psf(3.8, SHAPE)
N_STARS = 250


def add(image: np.ndarray, psf, x: float, y: float, flux: float) -> None:
    stamp, (row, column) = psf.draw(x, y)
    image[row : row + stamp.shape[0], column : column + stamp.shape[1]] += flux * stamp


def field(n: int = N_STARS, seed: int = 4):
    """Places on a loose grid, so that no star stands on another."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[40:660:38, 40:680:38]
    chosen = rng.permutation(rows.size)[:n]
    y, x = (plane.ravel()[chosen] + rng.uniform(-3, 3, n) for plane in (rows, columns))
    return x, y


def difference_of(
    x, y, *, flux=60_000.0, flux_error=0.0, shift=0.0, change: tuple[float, float, float] | None = None
) -> Subtraction:
    """Stars in two frames; in the reference each is off by random errors of these sizes."""
    rng = np.random.default_rng(9)
    frames = []
    for psf, sigma in ((SCIENCE, 5.0), (REFERENCE, 4.0)):
        image = np.zeros(SHAPE)
        wrong = psf is REFERENCE
        moved = (
            x + wrong * shift * rng.standard_normal(len(x)),
            y + wrong * shift * rng.standard_normal(len(y)),
        )
        scale = 1 + wrong * flux_error * rng.standard_normal(len(x))
        for place_x, place_y, factor in zip(*moved, scale, strict=True):
            add(image, psf, place_x, place_y, flux * factor)
        if change is not None and not wrong:
            add(image, psf, *change)
        variance = sigma**2 + image
        frames.append(Frame(rng.normal(image, np.sqrt(variance)), variance=variance))
    return subtract(*frames, MatchedPSFs(SCIENCE, REFERENCE, 1.0))


def test_a_static_sky_has_unit_width_and_its_stars_leave_nothing():
    x, y = field()
    static = difference_of(x, y)
    found = corrected_significance(static, x, y, fwhm=FWHM)
    assert found.measured
    assert significance_sigma(found.image, static, np.zeros(SHAPE, np.uint16)) == pytest.approx(1, abs=0.02)
    # what the prior alone would say: three tenths of a per cent and a hundredth of a pixel
    assert found.flux_error < 0.003
    assert found.shift_error < 0.01
    at_stars = found.image[np.rint(y).astype(int), np.rint(x).astype(int)]
    assert np.std(at_stars) == pytest.approx(1, abs=0.15)


def test_a_flux_error_of_two_per_cent_is_recovered_and_paid_for():
    x, y = field()
    found = corrected_significance(difference_of(x, y, flux_error=0.02), x, y, fwhm=FWHM)
    assert found.flux_error == pytest.approx(0.02, rel=0.12)
    at_stars = found.image[np.rint(y).astype(int), np.rint(x).astype(int)]
    assert np.std(at_stars) == pytest.approx(1, abs=0.15)


def test_a_shift_of_a_tenth_of_a_pixel_is_recovered_and_paid_for():
    x, y = field()
    shifted = difference_of(x, y, shift=0.1)
    found = corrected_significance(shifted, x, y, fwhm=FWHM)
    assert found.shift_error == pytest.approx(0.1, rel=0.2)
    row, column = np.rint(y).astype(int), np.rint(x).astype(int)
    bare = np.abs(shifted.score / np.sqrt(shifted.variance))
    beside = [(row, column + 2), (row, column - 2), (row + 2, column), (row - 2, column)]
    assert np.mean([np.mean(bare[place] > 5) for place in beside]) > 0.2
    assert np.mean([np.mean(np.abs(found.image[place]) > 5) for place in beside]) < 0.01


def test_a_fitted_kernel_adds_no_astrometric_term():
    x, y = field()
    found = corrected_significance(difference_of(x, y, shift=0.1), x, y, fwhm=FWHM, registered_by_kernel=True)
    assert found.shift_error == 0


def test_a_bright_change_does_not_lower_its_own_significance():
    x, y = field()
    empty = (40.0 + 19, 40.0 + 19)
    changed = difference_of(x, y, flux_error=0.02, change=(*empty, 50_000.0))
    found = corrected_significance(changed, x, y, fwhm=FWHM)
    place = (59, 59)
    pixels_only = changed.score[place] / np.sqrt(changed.variance[place])
    assert pixels_only > 150
    assert found.image[place] == pytest.approx(pixels_only, rel=0.01)


@pytest.mark.parametrize("n", [0, 1, 19])
def test_with_fewer_than_twenty_stars_the_errors_are_assumed(n):
    x, y = field(30)
    subtraction = difference_of(x, y, flux_error=0.05)
    found = corrected_significance(subtraction, x[:n], y[:n], fwhm=FWHM)
    assert not found.measured
    assert found.n_stars == n
    assert found.flux_error == pytest.approx(0.003)
    assert np.isfinite(found.image).all()


def test_a_mask_that_hides_all_leaves_no_width_to_know():
    x, y = field(30)
    subtraction = difference_of(x, y)
    image = corrected_significance(subtraction, x, y, fwhm=FWHM).image
    hidden = np.full(SHAPE, np.uint16(Flag.NO_DATA))
    assert np.isnan(significance_sigma(image, subtraction, hidden))
