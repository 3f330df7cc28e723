"""Real images as data: known places get their labels, and no star is in two groups."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from astrid.errors import FrameError
from astrid.learn.dataset import Dataset
from astrid.survey.real_sets import SETS
from astrid.survey.real_triplets import real_triplets


@pytest.fixture(scope="module")
def made(real_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("images") / "set"
    summary = real_triplets(real_data / "images", out, sets=("eso085", "decam"))
    return summary, Dataset.open(out, verify=True)


def test_the_published_transient_is_real_in_every_pair_with_its_sign(made):
    _, data = made
    chosen = data.column("label_source") == "published transient"
    assert chosen.sum() == 10  # five pairs, both directions
    assert (np.hypot(data.column("x")[chosen] - 129, data.column("y")[chosen] - 127.5) < 3).all()
    forward = np.array([pair.index("OBS04") < pair.index("OBS18") for pair in data.column("pair")[chosen]])
    assert (np.sign(data.column("snr")[chosen]) == np.where(forward, 1, -1)).all()


def test_between_consecutive_exposures_everything_detected_is_bogus(made):
    _, data = made
    empty = data.column("label_source") == "nothing changed between the exposures"
    assert (data.column("real")[empty] == "bogus").all()
    assert empty.sum() > 40


def test_injected_sources_are_real_of_both_signs_and_about_their_strength(made):
    _, data = made
    injected = data.column("label_source") == "injected"
    true, snr = data.column("true_snr")[injected], data.column("snr")[injected]
    assert (true * snr > 0).all()
    assert (true > 0).any()
    assert (true < 0).any()
    assert np.median(snr / true) == pytest.approx(1, abs=0.25)
    assert np.isnan(data.column("true_snr")[~injected]).all()


def test_cutouts_of_different_groups_share_no_pixel(made):
    _, data = made
    eso = data.column("telescope") == "Bosque Alegre 1.54 m"
    x, y, group = (data.column(name)[eso] for name in ("x", "y", "field"))
    assert len(set(group)) == 6
    apart = np.maximum(np.abs(x[:, None] - x), np.abs(y[:, None] - y))
    assert apart[group[:, None] != group].min() >= 63


def test_every_known_change_lies_well_inside_a_block(real_data):
    for one in SETS:
        frame = real_data / "images" / one.folder / one.pattern.format(one.pairs[0][0])
        shape = fits.getdata(frame).shape
        for place in one.real:
            for position, size, blocks in zip(place, shape[::-1], one.blocks, strict=True):
                borders = np.arange(1, blocks) * size / blocks
                assert np.abs(position - borders).min(initial=np.inf) >= 32


def test_a_folder_without_the_images_is_refused(tmp_path):
    with pytest.raises(FrameError, match="there is none of the folders eso085_pair"):
        real_triplets(tmp_path, tmp_path / "out")
