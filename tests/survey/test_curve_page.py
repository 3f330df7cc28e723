"""A source's page holds what was measured, is whole by itself, and its charts show where the points are."""

from __future__ import annotations

import re
import runpy
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from astrid.errors import DataError, LightCurveError, UsageError
from astrid.lightcurves.dmdt import SCOPE
from astrid.lightcurves.lightcurve import LightCurve
from astrid.survey.curve_charts import coloured_bands, folded_chart, light_curve_chart, phase_origin
from astrid.survey.curve_examination import examine
from astrid.survey.curve_page import write_curve_page
from astrid.survey.curve_reference import AXES, Reference, reference_of, shipped_reference

sky = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("curves.py"))))
PERIOD = 0.61


def star(n=150, bands=("",), error=0.02, **facts) -> LightCurve:
    """A saw-toothed curve, faintest at MJD 55000."""
    rng = np.random.default_rng(3)
    time = np.sort(55000 + rng.uniform(0, 500, n))
    phase = ((time - 55000) / PERIOD) % 1
    band = np.array(bands)[rng.integers(0, len(bands), n)]
    colour = np.array([0.7 * bands.index(one) for one in band])
    mag = 15 + colour + np.where(phase < 0.15, 0.8 - phase / 0.15 * 0.8, (phase - 0.15) / 0.85 * 0.8)
    mag = mag + rng.normal(0, error, n)
    facts = {"name": "star <1>", "ra": 10.5, "dec": -2.25, "time_scale": "utc"} | facts
    return LightCurve(time, mag, np.full(n, error), band=band, **facts)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    bundle = sky.toy_classifier(tmp_path_factory.mktemp("bundles"), "dmdt")
    return examine(star(), models=[str(bundle.path)])


class Tags(HTMLParser):
    """Counts what opens and closes, and what is fetched from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "link", "img", "br", "input", "path", "use", "rect", "circle", "line"):
            self.open.append(tag)
        facts = dict(attrs)
        self.ids += [facts["id"]] if "id" in facts else []
        self.addresses += [facts[key] for key in ("src", "href", "xlink:href") if facts.get(key)]

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()


def test_a_page_is_whole_by_itself_and_escapes_names(found, tmp_path):
    page = tmp_path / "star.html"
    write_curve_page(found, page, command="astrid lightcurves show a<b")
    text = page.read_text("utf-8")
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert all(address.startswith(("#", "data:")) for address in tags.addresses)
    assert len(set(tags.ids)) == len(tags.ids)  # eight charts, and no two things of one name
    assert "star <1>" not in text
    assert "star &lt;1&gt;" in text
    assert "show a&lt;b" in text
    # colours are those of the page, so that light and dark are both legible
    charts = re.findall(r'<svg class="plot".*?</svg>', text, re.DOTALL)
    assert len(charts) == 7
    assert not any("#0a0b" in chart for chart in charts)
    assert not any(re.search(r"(fill|stroke): #0{6}", chart) for chart in charts)
    assert len(text) < 400_000


def test_the_numbers_of_a_page_are_those_measured(found):
    facts = found.as_dict()
    assert facts["period"] == pytest.approx(PERIOD, rel=1e-3)
    assert facts["candidates"][0]["score"] == 0
    assert facts["measured"]["median"] == {"value": found.row["median"], "unit": "mag"}
    assert set(facts["percentiles"]) <= set(AXES.values())
    assert facts["decisions"] == {"toy.dmdt": found.row["toy_dmdt_decision"]}
    tree = facts["classes"]["toy.dmdt"]
    assert sum(one["probability"] for one in tree) == pytest.approx(1, abs=1e-6)


def test_a_period_that_is_given_is_folded_with(tmp_path):
    found = examine(star(), period=0.7, grid=SCOPE)
    assert found.period == 0.7
    assert found.image.shape == (26, 26)
    write_curve_page(found, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "as given" in text
    assert "phase of 0.7 d" in text
    with pytest.raises(UsageError, match="give a positive one"):
        examine(star(), period=-1)


def test_a_source_of_few_points_has_a_page_that_says_what_could_not_be_measured(tmp_path):
    found = examine(star(4))
    assert found.period is None
    write_curve_page(found, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "Not all could be measured" in text
    assert "Folded" not in text
    nothing = star(5, quality=np.ones(5, int))
    with pytest.raises(LightCurveError, match="quality flag"):
        examine(nothing)


def test_bands_have_colours_in_the_order_of_their_wavelengths():
    curve = star(200, ("i", "u", "g", "Kepler"))
    names = [name for name, _ in coloured_bands(curve)]
    assert names == ["u", "g", "i", "Kepler"]
    assert len({colour for _, colour in coloured_bands(curve)}) == 4
    chart = folded_chart(curve, PERIOD, "a fold")
    assert all(f">{name}</text>" in chart for name in names)
    assert "less its median" in chart


def test_phase_zero_is_the_faintest():
    origin = phase_origin(star(400), PERIOD)
    offset = ((origin - 55000) / PERIOD + 0.5) % 1 - 0.5
    assert abs(offset) < 0.08


def test_a_chart_has_a_dot_for_each_point():
    chart = light_curve_chart(star(60), "a curve")
    longest = max(re.findall(r'd="(M [^"]*)"', chart), key=lambda path: path.count("M"))
    assert longest.count("M") == 60


def test_percentiles_are_those_of_numpy(tmp_path):
    rng = np.random.default_rng(5)
    values = rng.normal(size=4000)
    pq.write_table(pa.table({"skew": values, "other": values}), tmp_path / "table.parquet")
    reference = reference_of(tmp_path / "table.parquet")
    for value in (-1.3, 0.0, 0.7):
        share = 100 * float(np.mean(values < value))
        assert reference.percentiles({"skew": value})["skew"] == pytest.approx(share, abs=0.5)
    assert reference.percentiles({"skew": 99.0})["skew"] == 100
    assert reference.percentiles({"skew": None}) == {}
    pq.write_table(pa.table({"other": values}), tmp_path / "none.parquet")
    with pytest.raises(DataError, match="none of the features"):
        reference_of(tmp_path / "none.parquet")
    with pytest.raises(DataError, match="no table of features"):
        reference_of(tmp_path / "absent.parquet")


def test_a_value_that_many_have_is_in_the_middle_of_them():
    reference = Reference("stars", {"skew": (0.0,) * 26 + tuple(np.linspace(0.1, 1, 25))})
    assert reference.percentiles({"skew": 0.0})["skew"] == pytest.approx(25, abs=1)


def test_the_stars_that_come_along_are_variables():
    stars = shipped_reference()
    assert "Catalina" in stars.name
    assert set(stars.quantiles) == set(AXES)
    assert all(list(levels) == sorted(levels) for levels in stars.quantiles.values())
    assert 0.1 < stars.quantiles["period"][25] < 1


@pytest.mark.real_data
def test_real_stars_are_folded_with_the_periods_of_their_catalogue(real_data):
    folder = real_data / "lightcurves" / "crts"
    lines = (folder / "crts_train_labels.csv").read_text().splitlines()
    labels = {line.split(",")[0]: line.split(",") for line in lines}
    for name in ("1001026022755", "1001075047194"):  # an eclipsing binary, a long-period variable
        table = pq.read_table(folder / "crts_train_lc.parquet", filters=[("catalina_id", "==", int(name))])
        columns = [table[column].to_numpy() for column in ("mjd", "mag", "magerr")]
        found = examine(LightCurve(*columns, name=name, time_scale="utc"))
        assert found.period == pytest.approx(float(labels[name][5]), rel=5e-3)
        assert found.row["problem"] is None
        assert len(found.percentiles) == len(AXES)
