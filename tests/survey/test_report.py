"""The report is one file that needs nothing else, and nothing in a header can break it."""

from __future__ import annotations

import base64
import io
import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from astropy.table import Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.image import imread

from astrid.pages.charts import Curve, chart
from astrid.pages.pictures import (
    PALETTE,
    asinh_grey,
    bin_extreme,
    bin_mean,
    diverging,
    encode_png,
    robust_sigma,
)
from astrid.survey.demo import recovery
from astrid.survey.provenance import Provenance
from astrid.survey.report import write_report

VOID = {"meta", "img", "link", "input", "br"}


class Page(HTMLParser):
    """Elements of a page; complains about tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def text(run):
    return (run.out / "report.html").read_text()


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


@pytest.fixture(scope="module")
def write(run, tmp_path_factory):
    """Write a report of a result that was changed, and give its page."""
    path = tmp_path_factory.mktemp("reports") / "report.html"
    provenance = Provenance("astrid images difference", {}, {"threshold": 5.0})

    def make(result, **figures) -> Page:
        flags = result.candidates["flags"]
        counts = {"n_candidates": len(flags), "n_unflagged": sum(not str(flag) for flag in flags)}
        write_report(path, result, provenance, {**run.summary.as_dict(), **counts, **figures})
        return Page(path.read_text())

    return make


def test_the_page_loads_nothing_from_elsewhere(page, text):
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            target = attributes.get(name) or ""
            assert target.startswith(("data:", "#")) or target == "", (tag, target)
    assert re.findall(r"url\((?!\"?data:|#)", text) == []
    assert "@import" not in text
    assert re.findall(r"https?://(?!www\.w3\.org)", text) == []


def test_every_picture_has_words_and_every_id_is_used_once(page):
    assert len(page.all("img")) == 6
    assert all(image.get("alt") for image in page.all("img"))
    assert all(cut.get("aria-label") for cut in page.all("span") if cut.get("class") == "cut")
    ids = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))


def test_the_page_tells_the_verdict_and_the_figures(run, page):
    words = " ".join(page.words)
    assert f"{run.summary.n_unflagged} clean candidate" in words
    assert f"{run.summary.limiting_mag_5sigma:.2f}" in words
    assert f"{run.summary.registration_rms_px:.3f}" in words
    assert run.summary.method_reason in words
    for sentence in run.summary.warnings:
        assert sentence in words


def test_every_candidate_has_a_card_a_row_and_a_circle_on_each_image(run, page):
    n = len(run.result.candidates)
    assert len([item for item in page.all("li") if item.get("class") == "card"]) == n
    assert len([row for row in page.all("tr") if "data-snr" in row]) == n
    assert len(page.all("circle")) == 4 * n
    assert {link["href"] for link in page.all("a")} == {f"#c{i}" for i in run.result.candidates["id"]}


def test_clean_candidates_come_first_then_the_most_significant(page):
    cards = [item for item in page.all("li") if item.get("class") == "card"]
    order = [(item["data-clean"] != "1", -abs(float(item["data-snr"]))) for item in cards]
    assert order == sorted(order)


def test_circles_stand_on_the_candidates(run, page):
    ny = run.result.science.shape[0]
    circles = {(float(c["cx"]), float(c["cy"])) for c in page.all("circle")}
    for one in run.result.candidates:
        assert any(
            np.hypot(cx - one["x"], cy - (ny - 1 - one["y"])) < 0.1 for cx, cy in circles
        )  # the row with y = 0 is at the bottom


def test_a_run_without_candidates_says_so(run, write):
    nothing = replace(
        run.result,
        candidates=run.result.candidates[:0],
        triplets={name: values[:0] for name, values in run.result.triplets.items()},
    )
    page = write(nothing)
    words = " ".join(page.words)
    assert "Nothing changed above 5σ" in words
    assert "No pixel reached the threshold" in words


def test_warnings_stand_before_the_images(write, run):
    page = write(run.result, warnings=["the gain was guessed", "a <b>bold</b> claim"])
    words = page.words
    assert words.index("a <b>bold</b> claim") < words.index("Images")


@given(name=st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=40))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_name_breaks_the_page(run, write, name):
    hostile = f'{name}"><script>alert(1)</script>'
    science = run.result.science.with_(name=hostile, filter=hostile)
    page = write(replace(run.result, science=science, method_reason=hostile), warnings=[hostile])
    assert len(page.all("script")) == 1


def test_many_candidates_cost_little(run, write):
    n = 3000
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(run.result.candidates), n)
    table = run.result.candidates[rows]
    table["id"] = np.arange(n)
    many = replace(
        run.result,
        candidates=table,
        triplets={name: values[rows] for name, values in run.result.triplets.items()},
    )
    start = time.process_time()
    page = write(many)
    assert time.process_time() - start < 10
    cards = [item for item in page.all("li") if item.get("class") == "card"]
    assert len(cards) == 200
    assert len([row for row in page.all("tr") if "data-snr" in row]) == n
    assert len(page.all("circle")) == 4 * 2000


def test_sprite_holds_the_cutouts_the_right_way_up(run, text):
    uri = re.search(r'\.cut i \{ background-image: url\("data:image/png;base64,([^"]+)"', text)[1]
    sprite = imread(io.BytesIO(base64.b64decode(uri)), format="png")
    n = len(run.result.candidates)
    assert sprite.shape == (63 * n, 63 * 4, 4)
    flagged = [bool(str(flag)) for flag in run.result.candidates["flags"]]
    first = min(range(n), key=lambda i: (flagged[i], -abs(run.result.candidates["snr"][i])))
    left, right, bottom, top = (int(side) for side in run.result.triplets["padded"][first])
    grey = sprite[:63, :63, 0][::-1][bottom : 63 - top, left : 63 - right]
    stamp = run.result.triplets["science"][first][bottom : 63 - top, left : 63 - right]
    middle = (stamp > np.percentile(stamp, 20)) & (stamp < np.percentile(stamp, 90))
    ranks = np.argsort(np.argsort(stamp[middle])), np.argsort(np.argsort(grey[middle], kind="stable"))
    assert np.corrcoef(*ranks)[0, 1] > 0.9


@given(
    st.integers(1, 40).flatmap(
        lambda ny: st.integers(1, 40).map(
            lambda nx: np.random.default_rng(ny * 41 + nx).integers(0, 256, (ny, nx)).astype(np.uint8)
        )
    )
)
@settings(max_examples=30, deadline=None)
def test_png_is_read_by_others_as_it_was_written(index):
    pixels = imread(io.BytesIO(encode_png(index)), format="png")
    np.testing.assert_array_equal(np.round(pixels[..., :3] * 255), PALETTE[index])
    np.testing.assert_array_equal(pixels[..., 3] == 0, index == 0)


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=50),
    st.floats(1e-3, 1e6),
)
@settings(max_examples=60, deadline=None)
def test_stretches_keep_order_and_leave_what_is_not_finite_blank(values, limit):
    array = np.sort(np.array(values, np.float32))
    finite = np.isfinite(array)
    grey = asinh_grey(array, -1.0, limit, 2.0)
    colour = diverging(array, limit)
    for index, low, high in ((grey, 1, 127), (colour, 129, 255)):
        assert (index[~finite] == 0).all()
        assert ((index[finite] >= low) & (index[finite] <= high)).all()
        assert (np.diff(index[finite].astype(int)) >= 0).all()


def test_diverging_colours_are_dark_at_zero_and_mirror_the_sign():
    plus, minus = diverging(np.array([3.0]), 10), diverging(np.array([-3.0]), 10)
    assert int(plus[0]) - 192 == 192 - int(minus[0])
    zero = diverging(np.zeros(1), 10)[0]
    assert PALETTE[zero].sum() == PALETTE[129:].sum(axis=1).min()
    assert PALETTE[plus[0], 0] > PALETTE[plus[0], 2]  # orange
    assert PALETTE[minus[0], 0] < PALETTE[minus[0], 2]  # blue


def test_binning_averages_good_pixels_and_keeps_single_peaks():
    plane = np.arange(42, dtype=np.float32).reshape(6, 7)
    good = np.ones(plane.shape, bool)
    good[0, 0] = good[2:4, 2:4] = False
    mean, blank = bin_mean(plane, good, 2)
    assert mean.shape == (3, 3)
    assert mean[0, 0] == pytest.approx((1 + 7 + 8) / 3)
    assert blank.tolist() == [[False] * 3, [False, True, False], [False] * 3]
    plane[5, 5] = -99
    peaks, blank = bin_extreme(plane, good, 2)
    assert peaks[2, 2] == -99
    assert peaks[0, 0] == 8
    assert blank[1, 1]


def test_robust_sigma_ignores_sources():
    values = np.random.default_rng(1).normal(3, 2, 100_000)
    values[:1000] = 1e6
    values[1000] = np.nan
    assert robust_sigma(values) == pytest.approx(2, rel=0.03)
    assert robust_sigma(np.array([np.nan])) == 0


def test_chart_is_well_formed_and_puts_points_where_they_belong():
    line = Curve(np.array([0.0, 10.0]), np.array([1.0, 100.0]), "a < b", "expected")
    steps = Curve(np.array([0.0, 5.0, 10.0]), np.array([1.0, 10.0]), "steps", steps=True)
    svg = chart(
        [steps, line], x_label="x & y", y_label="n", title="t", x_range=(0, 10), y_range=(1, 100), log_y=True
    )
    tree = ET.fromstring(svg)  # noqa: S314  (our own text)
    points = tree.find(".//polyline").get("points").split()
    box = tree.find(".//clipPath/rect")
    left, top, width, height = (float(box.get(name)) for name in ("x", "y", "width", "height"))
    assert [float(v) for v in points[0].split(",")] == pytest.approx([left, top + height])
    assert [float(v) for v in points[1].split(",")] == pytest.approx([left + width, top])
    assert "a < b" in "".join(tree.itertext())


def test_recovery_counts_each_change_once():
    truth = Table({"x": [10.0, 50.0, 90.0, 130.0], "y": [10.0] * 4, "snr_true": [20.0, -8.0, 6.0, 3.0],
                   "observable": [True, True, True, True]})  # fmt: skip
    candidates = Table({"x": [10.5, 50.0, 130.0, 200.0, 240.0], "y": [10.0] * 5,
                        "flags": ["", "dipole", "", "", "cosmic_ray"]})  # fmt: skip
    counts = recovery(candidates, truth, 5.0)
    assert (counts.n_injected, counts.n_expected) == (4, 3)
    assert (counts.n_clean, counts.n_flagged, counts.n_missed) == (1, 1, 1)
    assert (counts.n_fainter, counts.n_false_clean, counts.n_false_flagged) == (1, 1, 1)


def test_a_psf_that_was_assumed_is_called_so(run, write):
    psf = replace(run.result.psf_reference, n_stars=0)
    page = write(replace(run.result, psf_reference=psf, method="kernel"))
    words = " ".join(page.words)
    assert "assumed: it could not be measured" in words
    assert "a fitted kernel" in words
