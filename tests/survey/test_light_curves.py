"""The light curve as a figure and as plain values."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from matplotlib.image import imread

from astrid.errors import UsageError
from astrid.survey import FrameFile, light_curve_rows, photometry_files, plot_light_curve
from astrid.survey.products import write_figure


@pytest.fixture
def curve() -> Table:
    flux = np.array([1000.0, 500.0, 20.0, -5.0])
    table = Table({"mjd": [3.0, 1.0, 2.0, 4.0], "flux": flux, "flux_err": [10.0, 10.0, 10.0, 10.0]})
    table["mag"] = MaskedColumn([17.0, 18.0, 0.0, 0.0], mask=[False, False, True, True])
    table["flags"] = ["", "", "", "edge"]
    return table


def drawn(figure):
    """x and y of the points, by the name in the legend."""
    axes = figure.axes[0]
    return {box.get_label(): box.lines[0].get_xydata() for box in axes.containers}


def test_detections_and_limits_are_drawn_apart_at_their_time(curve):
    points = drawn(plot_light_curve(curve))
    assert points["detected"].tolist() == [[3, 1000], [1, 500]]
    assert points["below 3σ"].tolist() == [[2, 20], [4, -5]]


def test_frames_without_a_time_are_drawn_in_their_order(curve):
    curve["mjd"] = MaskedColumn(curve["mjd"], mask=[True, False, False, False])
    figure = plot_light_curve(curve)
    assert figure.axes[0].get_xlabel() == "frame"
    assert drawn(figure)["detected"][:, 0].tolist() == [0, 1]


def test_frames_that_could_not_be_measured_are_left_out(curve):
    curve["flux"][0] = np.nan
    assert drawn(plot_light_curve(curve))["detected"].tolist() == [[1, 500]]


def test_rows_are_plain_and_what_is_unknown_is_none(curve):
    rows = light_curve_rows(curve)
    assert rows[2] == {"mjd": 2.0, "flux": 20.0, "flux_err": 10.0, "mag": None, "flags": ""}
    json.dumps(rows, allow_nan=False)


def test_a_figure_says_what_made_it(curve, tmp_path):
    from PIL import Image

    write_figure(tmp_path / "curve.png", plot_light_curve(curve), {"command": "astrid images photometry"})
    assert imread(tmp_path / "curve.png").shape[2] == 4
    with Image.open(tmp_path / "curve.png") as image:
        assert json.loads(image.text["Description"])["command"] == "astrid images photometry"


def test_a_position_given_twice_or_not_at_all_is_refused(tmp_path):
    file = FrameFile(tmp_path / "a.fits")
    for position in ({}, {"at": (1, 2), "radec": (3, 4)}):
        with pytest.raises(UsageError, match="either as --at"):
            photometry_files([file], file, tmp_path / "c.ecsv", **position)
    assert list(tmp_path.iterdir()) == []
