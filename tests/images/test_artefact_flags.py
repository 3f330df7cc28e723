"""Each flag is raised by what it is named after, and a clean change carries none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid.images.artefact_flags import FLAGS, edge_distance, flags_of, masked_fraction
from astrid.images.differencing import difference
from astrid.images.frame import Flag
from astrid.images.scene import Light
from astrid.images.shapes import Shapes
from astrid.images.simulation import simulate_pair
from astrid.images.simulation_config import SimulationConfig
from astrid.images.sources import Sources

FWHM = 3.0
SIDE = 400
POINT = {
    "fwhm": FWHM, "elongation": 1.05, "roundness": 0.0, "sharpness": 1.0, "sharpness_err": 0.05,
    "dipole": 0.0, "depth": 0.0, "misfit": 0.0, "misfit_err": 0.02, "angle": 0.0,
}  # fmt: skip


def flagged(
    *,
    n=1,
    snr=20.0,
    masked=0.0,
    edge=100.0,
    flux=1000.0,
    star=None,
    mask=None,
    known=True,
    spacing=4.0,
    **shape,
) -> list[str]:
    """Flags of n changes in a row, shaped as said and otherwise beyond doubt; `star` is (dx, flux)."""
    columns = [np.full(n, float(value)) for value in (POINT | shape).values()]
    x, y = 100.0 + spacing * np.arange(n), np.full(n, 100.0)
    # Ten stars far away make the locus by which a star is known.
    dx, star_flux = star or (1e6, 1e5)
    star_x = np.append(np.linspace(300, 390, 10), 100 + dx)
    ones = np.ones(11)
    fluxes = np.append(np.full(10, 1e5), star_flux)
    sources = Sources(
        star_x, 100 * ones, fluxes, 100 * ones, FWHM * ones, ones, 1.2 * ones, ones, np.zeros(11, np.uint16)
    )
    given_ = (np.full(n, float(value)) for value in (snr, masked, edge))
    names = flags_of(
        Shapes(*columns), *given_, x, y, np.full(n, float(flux)), sources, 1.0,
        np.zeros((SIDE, SIDE), np.uint16) if mask is None else mask, FWHM, residuals_known=known,
    )  # fmt: skip
    return sorted(set(",".join(names).split(",")) - {""})


def saturated(size: int, dx: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.uint16)
    half = size // 2
    mask[100 - half : 101 + half, 100 + dx - half : 101 + dx + half] = Flag.SATURATED
    return mask


CAUSES = {
    "edge": {"edge": 5.0},
    "masked": {"masked": 0.2},
    "saturated": {"mask": saturated(1, 5)},
    "bright_star": {"star": (9.0, 2e5)},
    "spike": {"mask": saturated(9, 50), "elongation": 2.0},
    "cosmic_ray": {"sharpness": 1.5},
    "star_residual": {"star": (0.5, 50_000.0)},
    "dipole": {"dipole": 0.8, "depth": 10.0},
    "shape": {"misfit": 0.5},
    "cluster": {"n": 5, "spacing": 15.0},
    "elongated": {"elongation": 2.0},
}


def test_every_flag_has_a_cause_here_and_a_sentence():
    assert CAUSES.keys() == FLAGS.keys()
    assert all(len(sentence) > 10 for sentence in FLAGS.values())


@pytest.mark.parametrize("name", FLAGS)
def test_each_cause_raises_its_flag(name):
    assert name in flagged(**CAUSES[name])


def test_a_point_source_on_empty_sky_is_clean():
    assert flagged() == []


@pytest.mark.parametrize(
    "harmless",
    [
        {"snr": 5.0, "elongation": 2.0},  # noise alone stretches a faint source
        {"sharpness": 1.5, "sharpness_err": 0.2},
        {"dipole": 0.8, "depth": 2.0},
        {"misfit": 0.5, "misfit_err": 0.2},
        {"n": 4, "spacing": 15.0},
        {"n": 5, "spacing": 25.0},
        {"mask": saturated(9, 50)},
        {"star": (0.5, 5000.0)},  # a fifth of the star: a variable
        {"star": (6.0, 50_000.0)},
    ],
)
def test_what_noise_or_nature_can_do_is_not_flagged(harmless):
    assert flagged(**harmless) == []


def test_with_too_few_stars_a_change_on_a_star_needs_half_of_its_flux():
    assert flagged(star=(0.5, 5000.0), known=False) == ["star_residual"]
    assert flagged(star=(0.5, 1500.0), known=False) == []


@settings(deadline=None)
@given(seed=st.integers(0, 1000), x=st.floats(0, 29), y=st.floats(0, 24))
def test_the_distance_to_an_edge_is_that_of_a_search_over_all_pixels(seed, x, y):
    mask = np.where(
        np.random.default_rng(seed).random((25, 30)) < 0.01, np.uint16(Flag.NO_DATA), np.uint16(0)
    )
    rows, columns = np.nonzero(mask)
    to_pixels = max(np.hypot(rows - y, columns - x).min(initial=np.inf) - 0.5, 0)
    expected = min(to_pixels, x + 0.5, y + 0.5, 29.5 - x, 24.5 - y)
    if mask[round(y), round(x)]:
        expected = 0
    assert edge_distance(mask, np.array([x]), np.array([y]))[0] == pytest.approx(expected)


def test_the_masked_fraction_counts_flagged_pixels_and_those_beyond_the_image():
    mask = np.zeros((50, 50), np.uint16)
    mask[:, 25:] = Flag.BAD
    fraction = masked_fraction(mask, np.array([20, 20, 20, 20]), np.array([10, 40, 25, 0]), 3.0)
    # of the 29 pixels of the disc, 18 lie at or right of the middle column and 11 left of it
    np.testing.assert_allclose(fraction, [0, 1, 18 / 29, 11 / 29])


NEW, HIT, OLD_HIT, COLUMN, LINE = (90, 300), (150, 210), (215, 205), 330, (60, 60)
AT_EDGE, BY_HOLE, BY_SATURATED, MOVED = (394, 120), (250, 60), (60, 230), (250, 320)


def add(image: np.ndarray, psf: Light, place: tuple[int, int], flux: float) -> None:
    half = min(15, image.shape[1] - 1 - place[0])
    stamp = psf.at(*place, 2 * half + 1)
    image[place[1] - half : place[1] + half + 1, place[0] - half : place[0] + half + 1] += flux * stamp


@pytest.fixture(scope="module")
def candidates():
    """A simulated pair with one artefact of each kind put in by hand."""
    field = SimulationConfig(shape=(SIDE, SIDE), n_stars=110, n_galaxies=0, n_transients=0)
    pair = simulate_pair(replace(field, faintest_flux=1500.0), 21)
    science, reference = pair.science.data.copy(), pair.reference.data.copy()
    for place in (NEW, AT_EDGE, BY_HOLE, BY_SATURATED):
        add(science, pair.science_psf, place, 4000)
    science[HIT[1], HIT[0]] += 1500
    reference[OLD_HIT[1], OLD_HIT[0]] += 1500
    add(science, pair.science_psf, MOVED, 30_000)
    add(reference, pair.reference_psf, (MOVED[0] + 1, MOVED[1]), 30_000 * field.flux_ratio)
    science[200:380, COLUMN] += 250
    for step in range(110):
        science[LINE[1] + step, LINE[0] + step : LINE[0] + step + 3] += 250
    mask = pair.science.mask.copy()
    mask[BY_HOLE[1] - 3 : BY_HOLE[1] + 4, BY_HOLE[0] + 2 : BY_HOLE[0] + 6] = Flag.BAD
    mask[BY_SATURATED[1], BY_SATURATED[0] + 4] = Flag.SATURATED
    return difference(
        pair.science.with_(data=science, mask=mask), pair.reference.with_(data=reference)
    ).candidates


def flags_near(candidates, x: float, y: float, reach: float = 2.0) -> list[set[str]]:
    near = np.hypot(np.asarray(candidates["x"]) - x, np.asarray(candidates["y"]) - y) <= reach
    return [set(str(flags).split(",")) - {""} for flags in candidates["flags"][near]]


def test_in_a_field_a_new_source_is_clean(candidates):
    assert flags_near(candidates, *NEW) == [set()]


@pytest.mark.parametrize("place", [HIT, OLD_HIT])
def test_in_a_field_a_hit_pixel_of_either_frame_is_a_cosmic_ray(candidates, place):
    found = flags_near(candidates, *place)
    assert found
    assert all("cosmic_ray" in flags for flags in found)


def test_in_a_field_a_column_and_a_line_are_clusters_or_lines(candidates):
    on_column = [flags for y in range(215, 370, 5) for flags in flags_near(candidates, COLUMN, y, 3)]
    on_line = [
        flags
        for step in range(10, 100, 5)
        for flags in flags_near(candidates, *(LINE[0] + step, LINE[1] + step), 4)
    ]
    for found in (on_column, on_line):
        assert len(found) >= 3
        assert all(flags & {"cluster", "elongated", "shape"} for flags in found)


@pytest.mark.parametrize(
    ("place", "name"),
    [(AT_EDGE, "edge"), (BY_HOLE, "masked"), (BY_SATURATED, "saturated"), (MOVED, "dipole")],
)
def test_in_a_field_each_trouble_is_called_by_its_name(candidates, place, name):
    found = flags_near(candidates, *place, 4)
    assert found
    assert all(name in flags for flags in found)
