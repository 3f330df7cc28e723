"""Searching light curves for transits: what is found, judged, said and drawn."""

from __future__ import annotations

import json

import numpy as np
import pytest

from astrid.errors import LightCurveError, UsageError
from astrid.learn.prediction import Predictor
from astrid.learn.registry import live
from astrid.lightcurves.lightcurve import LightCurve
from astrid.lightcurves.reading import read_lightcurve
from astrid.lightcurves.transits import in_transit
from astrid.survey.transit_files import transit_sheets
from astrid.survey.transit_search import search_transits
from astrid.survey.transit_sheet import transit_sheet
from astrid.survey.transit_star import MEDIAN_STAR, Star

pytest.importorskip("numba")
SUN = Star(tmag=10, teff=5772, radius=1, mass=1)
TIME = np.arange(0, 27, 0.0203747)


@pytest.fixture(scope="module")
def judge() -> Predictor:
    bundle = live("tess_transits")
    assert bundle is not None
    return Predictor(bundle)


def curve(depth=2e-3, odd=1.0, secondary=0.0, noise=3e-4, period=3.2, epoch=58000.9, **facts):
    """A star whose brightness waves, with dips of 0.13 d; every second one is `odd` times as deep."""
    time = 58000 + TIME
    rng = np.random.default_rng(4)
    flux = 1 + noise * rng.normal(size=time.size)
    cycle = np.rint((time - epoch) / period)
    deep = np.where(cycle % 2 == 1, odd, 1.0) * depth
    flux -= np.where(in_transit(time, period, epoch, 0.13), deep, 0)
    flux[in_transit(time, period, epoch + period / 2, 0.13)] -= secondary
    flux *= 1000 * (1 + 3e-3 * np.sin(2 * np.pi * TIME / 9))
    return LightCurve(time, flux, unit="flux", name="a star", **facts)


def test_an_injected_planet_is_found_and_judged_within_what_the_model_has_seen(judge):
    found = search_transits(curve(), star=SUN, predictor=judge)
    (one,) = found.candidates
    assert one.found.is_event
    assert one.dip.period == pytest.approx(3.2, rel=1e-3)
    assert one.dip.epoch == pytest.approx(58000.9, abs=0.02)
    assert one.dip.depth == pytest.approx(2e-3, rel=0.25)
    assert one.score.planet > 0.5
    assert one.score.decision == "planet"
    assert 0 < one.score.spread < 0.3
    assert one.score.applicable == ""
    assert one.signs == ()
    assert found.notes == ()


def test_medians_stand_in_for_what_is_not_known_of_the_star_and_the_verdict_says_so(judge):
    found = search_transits(curve(), star=Star(radius=0.8, mass=0.8), predictor=judge)
    said = "not known of the star, medians of the training set in their place: tmag 9.74, teff 6058"
    assert said in found.notes
    assert said in found.candidates[0].score.applicable
    assert found.as_dict()["star_filled"] == {"tmag": 9.74, "teff": 6058.0}
    given = found.candidates[0].inputs["star"]
    assert given[:2] == pytest.approx([MEDIAN_STAR["tmag"], MEDIAN_STAR["teff"]])
    assert given[2] == pytest.approx(4.438 + np.log10(0.8 / 0.64), abs=1e-3)


def test_signs_of_two_stars_are_told_whatever_the_model_says():
    (plain,) = search_transits(curve(depth=8e-3)).candidates
    (odd,) = search_transits(curve(depth=8e-3, odd=0.7)).candidates
    (two,) = search_transits(curve(depth=8e-3, secondary=2e-3)).candidates
    (large,) = search_transits(curve(depth=0.08), star=SUN).candidates
    assert plain.signs == ()
    assert "odd and even dips differ" in odd.signs[0]
    assert "half a period later" in two.signs[0]
    assert two.secondary[0] == pytest.approx(2e-3, rel=0.2)
    assert "Earth radii" in large.signs[0]
    assert plain.score is None
    assert plain.unscored == "no model was asked"


def test_a_second_planet_is_found_behind_the_first():
    both = curve(depth=3e-3).value * curve(depth=2e-3, period=5.1, epoch=58002.3, noise=0).value
    two = LightCurve(58000 + TIME, both, unit="flux", name="two")
    found = search_transits(two, star=SUN, most=3)
    periods = [one.dip.period for one in found.candidates if one.found.is_event]
    assert sorted(periods) == pytest.approx([3.2, 5.1], rel=2e-3)
    assert not found.candidates[-1].found.is_event


def test_what_is_not_used_of_a_light_curve_is_said():
    quality = np.zeros(TIME.size, int)
    quality[:40] = 4
    found = search_transits(curve(quality=quality), star=SUN)
    assert found.notes == ("40 of 1326 points have a quality flag and are left out",)
    assert len(found.time) == 1286


@pytest.mark.parametrize(
    ("numbers", "message"),
    [({"radius": 0}, "radius is 0"), ({"teff": 57000000}, "teff"), ({"mass": -1}, "mass")],
)
def test_a_star_that_cannot_be_is_refused(numbers, message):
    with pytest.raises(UsageError, match=message):
        Star(**numbers)


def test_differences_and_models_of_something_else_are_refused():
    with pytest.raises(LightCurveError, match="differences"):
        search_transits(LightCurve(TIME, np.sin(TIME * 9) - 0.2, unit="flux"))
    with pytest.raises(UsageError, match="judges no transits"):
        search_transits(curve(), predictor=Predictor(live("braai")))


def test_files_leave_sheets_and_results_and_a_bad_one_is_named(tmp_path, judge):
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    star = curve()
    rows = [f"{a:.6f},{b:.4f}" for a, b in zip(star.time, star.value, strict=True)]
    good.write_text("\n".join(["mjd,flux", *rows]))
    bad.write_text("mjd,flux\n1,\n")
    out = tmp_path / "out"
    results = transit_sheets([good, bad], out, star=SUN, predictor=judge)
    assert [one["name"] for one in results] == ["good.csv", "bad.csv"]
    assert "error" in results[1]
    kept = json.loads((out / "good.json").read_text())
    assert kept == results[0]
    assert kept["candidates"][0]["score"]["planet"] == pytest.approx(
        results[0]["candidates"][0]["score"]["planet"]
    )
    assert (out / "good.1.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(one.name for one in out.iterdir()) == ["good.1.png", "good.json"]


def test_a_sheet_can_be_drawn_of_few_dips_in_parts_far_apart():
    time = np.concatenate([58000 + TIME, 58400 + TIME])
    flux = 1 + 1e-4 * np.random.default_rng(0).normal(size=time.size)
    flux[in_transit(time, 20.0, 58011.0, 0.2)] -= 2e-3
    found = search_transits(LightCurve(time, flux, unit="flux"), shortest=15, longest=25)
    transit_sheet(found).canvas.draw()
    with pytest.raises(UsageError, match="no candidate 3"):
        transit_sheet(found, 3)


KNOWN = (
    ("kplr_10854555.fits.gz", {}, 2.526),
    ("kplr_10848459.fits.gz", {}, 1.736),
    ("kplr_10811496.fits.gz", {}, 19.89),
    ("k2_EPIC201367065.csv.gz", {"columns": {"time": "1", "flux": "2"}, "time_format": "bkjd"}, 10.052),
)


@pytest.mark.real_data
@pytest.mark.parametrize(("file", "reading", "period"), KNOWN)
def test_real_stars_have_their_periods_and_a_score(real_data, judge, file, reading, period):
    found = search_transits(
        read_lightcurve(real_data / "lightcurves" / "kepler_tess_lc" / file, **reading), predictor=judge
    )
    (one,) = found.candidates
    assert one.found.is_event
    assert one.dip.period == pytest.approx(period, rel=2e-3)
    assert one.score.decision == "planet"  # the eclipsing stars too: nothing is known of their star


@pytest.mark.real_data
def test_a_planet_with_three_transits_in_two_years_is_found(real_data, judge):
    path = real_data / "lightcurves" / "kepler_tess_lc" / "tess_toi2540.csv.gz"
    columns = {"time": "1", "flux": "2", "error": "3"}
    known = Star(tmag=11.0, teff=4800, radius=0.6, mass=0.64)
    found = search_transits(
        read_lightcurve(path, columns=columns, time_format="bjd"), star=known, predictor=judge,
        shortest=8, longest=16,
    )  # fmt: skip
    (one,) = found.candidates
    assert one.dip.period == pytest.approx(12.7188, rel=1e-4)
    assert one.dip.n_transits == 3
    assert one.score.planet > 0.7
