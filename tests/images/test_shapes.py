"""Shapes tell what a change is: a point source, a hit pixel, a track, or a star out of place."""

from __future__ import annotations

import numpy as np
import pytest

from astrid.images.frame import Frame
from astrid.images.proper import MatchedPSFs, subtract
from astrid.images.psf import PSF, moffat_psf
from astrid.images.shapes import Shapes, shapes
from astrid.images.significance import corrected_significance

SHAPE = (300, 320)
FWHM, SIGMA = 3.0, 5.0
SCIENCE, REFERENCE = moffat_psf(FWHM, SHAPE), moffat_psf(3.8, SHAPE)
PLACES = [(60, 60), (160, 60), (260, 60), (60, 150), (160, 150), (260, 150), (60, 240), (160, 240)]


def add(image: np.ndarray, psf: PSF, x: float, y: float, flux: float) -> None:
    stamp, (row, column) = psf.draw(x, y)
    image[row : row + stamp.shape[0], column : column + stamp.shape[1]] += flux * stamp


def measured(
    science: np.ndarray, reference: np.ndarray, places=PLACES, *, noise: float = 1.0, sub=None
) -> Shapes:
    """Shapes at the places of changes drawn without noise, on frames whose noise is known."""
    rng = np.random.default_rng(3)
    frames = [
        Frame(image + noise * rng.normal(0, SIGMA, SHAPE), variance=np.full(SHAPE, SIGMA**2))
        for image in (science, reference)
    ]
    found = subtract(*frames, MatchedPSFs(SCIENCE, REFERENCE, 1.0))
    nowhere = np.array([])
    image = corrected_significance(found, nowhere, nowhere, fwhm=FWHM).image
    column, row = np.array(places).T
    dx, dy = np.zeros((2, len(row))) if sub is None else np.array(sub, float).T
    flux = (found.score / found.gain)[row, column].astype(float)
    return shapes(found, image, row, column, dx, dy, flux, FWHM)


def blank() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(SHAPE), np.zeros(SHAPE)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_point_source_of_either_sign_is_a_point_source(sign):
    science, reference = blank()
    for x, y in PLACES:
        add(*((science, SCIENCE) if sign > 0 else (reference, REFERENCE)), x, y, 3000)
    found = measured(science, reference)
    np.testing.assert_allclose(found.sharpness, 1, atol=np.max(4 * found.sharpness_err))
    np.testing.assert_allclose(found.fwhm, FWHM, rtol=0.08)
    np.testing.assert_allclose(found.elongation, 1, atol=0.15)
    assert (np.abs(found.roundness) < 0.1).all()
    assert (found.depth < 4).all()
    assert (np.abs(found.misfit) < 4 * found.misfit_err).all()


def test_without_noise_the_numbers_of_a_point_source_are_exact():
    science, reference = blank()
    sub = [(0, 0), (0.3, 0.1), (-0.4, 0.4), (0.2, -0.45), (0.49, 0), (0, -0.3), (0.1, 0.1), (-0.25, 0.35)]
    for (x, y), (dx, dy) in zip(PLACES, sub, strict=True):
        add(science, SCIENCE, x + dx, y + dy, 20_000)
    found = measured(science, reference, sub=sub, noise=1e-3)
    np.testing.assert_allclose(found.fwhm, FWHM, rtol=0.02)
    np.testing.assert_allclose(found.elongation, 1, atol=0.03)
    # The noise of D is that of the map, which here is almost nothing: only the scale-free part is tested.
    model = np.asarray(found.misfit)
    assert (np.abs(model) < 0.01).all()


def test_a_hit_pixel_in_either_frame_is_sharper_than_a_point_source_can_be():
    science, reference = blank()
    for x, y in PLACES[:4]:
        science[y, x] += 500
    for x, y in PLACES[4:]:
        reference[y, x] += 500
    found = measured(science, reference)
    assert (found.sharpness - 1 > 3.5 * found.sharpness_err).all()
    assert (found.sharpness > 1.3).all()
    assert (found.misfit > 0.1 + 4 * found.misfit_err).all()


def test_a_track_is_elongated_along_its_direction():
    science, reference = blank()
    directions = np.radians([0, 30, 45, 90, 120, 150, 170, 60])
    for (x, y), angle in zip(PLACES, directions, strict=True):
        for step in np.linspace(-5, 5, 21):
            add(science, SCIENCE, x + step * np.cos(angle), y + step * np.sin(angle), 800)
    found = measured(science, reference)
    assert (found.elongation > 1.25).all()
    assert (found.fwhm > 1.15 * FWHM).all()
    # an axis has no sense of direction: compare twice the angle
    assert (np.cos(2 * (found.angle - directions)) > 0.98).all()
    assert found.roundness[0] > 0.2
    assert found.roundness[3] < -0.2


def test_a_star_out_of_place_leaves_a_lobe_of_the_other_sign():
    science, reference = blank()
    for x, y in PLACES:
        add(science, SCIENCE, x, y, 20_000)
        add(reference, REFERENCE, x - 0.6, y, 20_000)
    found = measured(science, reference, [(x + 1, y) for x, y in PLACES])
    assert (found.dipole > 0.5).all()
    assert (found.depth > 3.5).all()


def test_two_blended_sources_are_no_point_source():
    science, reference = blank()
    for x, y in PLACES:
        add(science, SCIENCE, x, y, 5000)
        add(science, SCIENCE, x + 2.5, y + 1, 4000)
    found = measured(science, reference)
    assert (found.misfit > 0.1 + 4 * found.misfit_err).all()


def test_nothing_to_measure_gives_empty_columns():
    found = measured(*blank(), places=np.zeros((0, 2), int))
    assert found.fwhm.shape == (0,)
    assert found.angle.shape == (0,)
