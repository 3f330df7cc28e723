"""Telescopes: every pair that can be drawn can be simulated, and the ranges are kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from astrid.errors import UsageError
from astrid.survey.telescopes import Telescope, draw_exposure, telescopes


def test_there_are_ten_telescopes_of_different_sampling():
    scales = {telescope.pixel_scale for telescope in telescopes().values()}
    assert len(telescopes()) == len(scales) == 10


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(telescopes())), st.integers(0, 2**40), st.sampled_from([128, 512, 1024]))
def test_every_drawn_pair_is_valid_and_within_its_telescopes_ranges(name, seed, size):
    exposure = draw_exposure(name, seed, size=size)
    telescope, config = telescopes()[name], exposure.config
    assert config.shape == (size, size)
    assert 1 <= exposure.ccd <= telescope.ccds
    for fwhm, seeing in (
        (config.fwhm_science, telescope.seeing_science),
        (config.fwhm_reference, telescope.seeing_reference),
    ):
        assert max(1.8, seeing[0] / telescope.pixel_scale) <= fwhm
        assert fwhm <= max(1.8, seeing[1] / telescope.pixel_scale)
    assert telescope.sky[0] * (1 - 1e-9) <= config.sky_science <= telescope.sky[1] * (1 + 1e-9)
    assert config.filter in telescope.filters
    assert config.snr_range[0] == 4 < config.snr_range[1] <= 80 * (1 + 1e-9)
    assert config.mjd_reference < config.mjd_science
    assert draw_exposure(name, seed, size=size) == exposure


def test_a_ccd_keeps_its_gain_and_different_ccds_differ():
    drawn = [draw_exposure("ztf-like", seed) for seed in range(80)]
    gains: dict[int, set[float]] = {}
    for exposure in drawn:
        gains.setdefault(exposure.ccd, set()).add(exposure.config.gain)
    assert all(len(values) == 1 for values in gains.values())
    assert len(set.union(*gains.values())) == len(gains) > 8


def test_some_pairs_are_clean_and_most_are_not():
    clean = np.mean([not draw_exposure("decam-like", seed).config.has_artefacts for seed in range(300)])
    assert 0.1 < clean < 0.3


def test_an_unknown_telescope_is_refused_with_the_names_of_the_known_ones():
    with pytest.raises(UsageError, match="no telescope is called 'hubble'; choose from ztf-like"):
        draw_exposure("hubble", 1)


def test_a_range_in_the_wrong_order_is_refused():
    facts = telescopes()["ztf-like"].model_dump()
    with pytest.raises(ValidationError, match=r"sky is \(900.0, 100.0\)"):
        Telescope.model_validate(facts | {"sky": (900.0, 100.0)})
