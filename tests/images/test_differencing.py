"""From raw pixels to candidates: what was put into a simulated pair comes out, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from astrid.errors import AlignmentError, AstridError, FrameError, UsageError
from astrid.images.differencing import DifferenceConfig, difference
from astrid.images.frame import Frame
from astrid.images.measurement import COLUMNS
from astrid.images.simulation import simulate_pair
from astrid.images.simulation_config import SimulationConfig

FIELD = SimulationConfig(
    shape=(512, 512), n_stars=220, n_galaxies=25, n_transients=25, snr_range=(7, 40),
    fraction_vanished=0.3, misregistration=0.4, misrotation=0.003,
)  # fmt: skip


@pytest.fixture(scope="module")
def pair():
    return simulate_pair(FIELD, 3)


@pytest.fixture(scope="module")
def result(pair):
    return difference(pair.science, pair.reference)


@pytest.fixture(scope="module")
def corner(pair):
    """The first quarter of both frames."""
    return [cropped(frame, 272) for frame in (pair.science, pair.reference)]


def cropped(frame: Frame, side: int) -> Frame:
    return frame.with_(data=frame.data[:side, :side], mask=frame.mask[:side, :side])


def match(result, truth):
    """Rows of the candidates and of the truth that are less than two pixels apart."""
    x, y = (np.asarray(result.candidates[name], float) for name in "xy")
    distance = np.hypot(x - np.asarray(truth["x"])[:, None], y - np.asarray(truth["y"])[:, None])
    nearest = distance.argmin(axis=1)
    close = distance.min(axis=1) < 2
    return nearest[close], np.flatnonzero(close)


def test_injected_changes_of_both_signs_are_recovered_at_their_true_snr(pair, result):
    found, true = match(result, pair.truth)
    assert len(true) == len(pair.truth)
    excess = np.asarray(result.candidates["snr"][found]) - np.asarray(pair.truth["snr_true"][true])
    # each measured S/N scatters by one about the true one
    assert abs(excess.mean()) < 3 / np.sqrt(len(excess))
    assert excess.std() == pytest.approx(1, abs=0.4)


def test_flux_is_unbiased_and_its_errors_are_true(pair, result):
    found, true = match(result, pair.truth)
    flux, error = (np.asarray(result.candidates[name], float)[found] for name in ("flux", "flux_err"))
    pull = (flux - np.asarray(pair.truth["flux"])[true]) / error
    assert abs(pull.mean()) < 3 / np.sqrt(len(pull))
    assert pull.std() == pytest.approx(1, abs=0.4)


def test_positions_are_good_to_a_fraction_of_the_psf_over_the_snr(pair, result):
    found, true = match(result, pair.truth)
    for axis in "xy":
        error = np.asarray(result.candidates[axis])[found] - np.asarray(pair.truth[axis])[true]
        scaled = error * np.abs(np.asarray(pair.truth["snr_true"])[true])
        # a matched filter knows a place to about FWHM / 1.67 / (S/N)
        assert np.median(np.abs(scaled)) < 3.0
        assert abs(error.mean()) < 0.05


def test_the_significance_map_has_unit_width(result):
    assert result.significance_sigma == pytest.approx(1, abs=0.03)
    assert not result.warnings


def test_nothing_else_is_called_clean(pair, result):
    found, _ = match(result, pair.truth)
    others = np.setdiff1d(np.arange(len(result.candidates)), found)
    assert all(result.candidates["flags"][others])


def test_the_facts_of_the_pair_are_recovered(pair, result):
    assert result.flux_ratio == pytest.approx(FIELD.flux_ratio, abs=max(3 * result.flux_ratio_err, 0.005))
    assert result.fwhm_science == pytest.approx(FIELD.fwhm_science, rel=0.04)
    assert result.fwhm_reference == pytest.approx(FIELD.fwhm_reference, rel=0.04)
    assert result.registration_rms_px < 0.05
    limit = FIELD.zero_point - 2.5 * np.log10(result.limiting_flux_5sigma)
    assert result.limiting_mag_5sigma == pytest.approx(limit)
    sky = pair.science.wcs.all_pix2world(result.candidates["x"], result.candidates["y"], 0)
    np.testing.assert_allclose(sky[0], result.candidates["ra"])


def test_every_column_is_there_with_its_unit_and_the_triplets_belong_to_the_rows(result):
    assert result.candidates.colnames == list(COLUMNS)
    for name, (unit, _) in COLUMNS.items():
        assert str(result.candidates[name].unit or "") == unit
    assert (np.diff(np.abs(np.asarray(result.candidates["snr"]))) < 1).all()
    np.testing.assert_array_equal(result.triplets["id"], result.candidates["id"])
    middle = result.triplets["difference"][:, 31, 31]
    row, column = (np.rint(np.asarray(result.candidates[name])).astype(int) for name in "yx")
    np.testing.assert_array_equal(middle, result.difference[row, column])


def test_the_reference_may_be_swapped_for_the_science_frame(pair, result):
    swapped = difference(pair.reference, pair.science)
    ours, theirs = (np.sort(np.asarray(r.candidates["snr"])) for r in (result, swapped))
    assert swapped.flux_ratio == pytest.approx(1 / result.flux_ratio, rel=0.01)
    assert theirs[0] == pytest.approx(-ours[-1], rel=0.1)


@pytest.mark.parametrize(
    ("name", "turn"),
    [
        ("as it is", lambda plane: plane),
        ("turned by 180 degrees", lambda plane: plane[::-1, ::-1]),
        ("turned by 90 degrees", lambda plane: plane.T[::-1]),
        ("mirrored", lambda plane: plane[:, ::-1]),
    ],
)
def test_without_wcs_star_patterns_register_a_reference_in_any_orientation(pair, name, turn):
    science = pair.science.with_(wcs=None)
    reference = pair.reference.with_(wcs=None, data=turn(pair.reference.data), mask=turn(pair.reference.mask))
    turned = difference(science, reference)
    assert turned.registration_method == "stars", name
    _, true = match(turned, pair.truth)
    assert len(true) >= len(pair.truth) - 1
    assert turned.candidates["ra"].mask.all()


def test_a_fitted_kernel_finds_the_same_changes(pair, corner):
    fitted = difference(*corner, DifferenceConfig(method="kernel"))
    assert (fitted.method, fitted.method_reason) == ("kernel", "asked for")
    assert fitted.significance_sigma == pytest.approx(1, abs=0.05)
    well_inside = (np.asarray(pair.truth["x"]) < 250) & (np.asarray(pair.truth["y"]) < 250)
    expected = pair.truth[well_inside & (np.abs(np.asarray(pair.truth["snr_true"])) > 9)]
    found, true = match(fitted, expected)
    assert len(true) == len(expected)
    ratio = np.asarray(fitted.candidates["flux"])[found] / np.asarray(expected["flux"])[true]
    assert np.median(ratio) == pytest.approx(1, abs=0.08)


def test_the_method_is_chosen_by_how_well_the_psfs_are_known(result):
    assert result.method == "zogy"
    assert result.method_reason.startswith("both PSFs were measured, on ")
    sparse = replace(FIELD, shape=(256, 256), n_stars=9, n_galaxies=0, n_transients=0, faintest_flux=20_000)
    few = simulate_pair(sparse, 1)
    other = difference(few.science, few.reference)
    assert other.method == "kernel"
    assert "stars only" in other.method_reason or "cannot be measured" in other.method_reason


def test_the_stages_are_announced_in_order(corner):
    heard: list[str] = []
    result = difference(*corner, on_stage=heard.append)
    assert heard == list(result.stage_seconds)
    assert heard[0] == "sky and noise"
    assert heard[-1] == "detect and measure"


def one_sentence(error: AstridError) -> str:
    text = str(error)
    assert "\n" not in text
    assert 20 < len(text) < 400
    return text


def test_a_missing_gain_is_named_with_the_way_to_give_it(corner):
    with pytest.raises(FrameError) as caught:
        difference(corner[0].with_(gain=None), corner[1])
    assert "--gain" in one_sentence(caught.value)


def elsewhere(frame: Frame) -> Frame:
    """The same pixels under a WCS that puts them three degrees away."""
    wcs = frame.wcs.deepcopy()
    wcs.wcs.crval = wcs.wcs.crval + 3.0
    wcs.wcs.set()
    return frame.with_(wcs=wcs)


@pytest.mark.parametrize("place", [elsewhere, lambda frame: frame.with_(wcs=None)])
def test_frames_of_different_fields_are_refused(corner, place):
    other = cropped(simulate_pair(FIELD, 8).reference, 272)
    with pytest.raises(AlignmentError) as caught:
        difference(corner[0], place(other))
    one_sentence(caught.value)


def test_a_wcs_that_is_three_degrees_off_is_overruled_by_the_stars_and_said_so(corner):
    result = difference(corner[0], elsewhere(corner[1]))
    assert result.registration_method == "stars"
    assert any("WCS" in sentence for sentence in result.warnings)


def test_empty_frames_are_refused(corner):
    empty = replace(FIELD, shape=(256, 256), n_stars=0, n_galaxies=0, n_transients=0)
    frames = simulate_pair(empty, 1)
    with pytest.raises(AstridError) as caught:
        difference(frames.science, frames.reference)
    one_sentence(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("method", "hotpants"), ("threshold", 0.5), ("threshold", float("nan")), ("threshold", -5.0),
        ("cutout_size", 62), ("cutout_size", 1), ("background_mesh", 8),
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_work_is_refused(field, value):
    with pytest.raises(UsageError) as caught:
        DifferenceConfig(**{field: value})
    assert str(value) in one_sentence(caught.value)
