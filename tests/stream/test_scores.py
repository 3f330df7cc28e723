"""What several bundles say about alerts stands side by side, and what none can say has its reason."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from astrid.alerts import Alert, Cutout, Measurement, centred_triplet, read_alerts
from astrid.errors import UsageError
from astrid.learn import registry
from astrid.learn.bundle import Uncertainty, save_bundle
from astrid.learn.prediction import Predictor
from astrid.learn.registry import find_bundle
from astrid.stream.scores import Scorer, applicable_bundles

samples = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("samples.py"))))
PLANES, bundle = samples.PLANES, samples.bundle


def alert(number: int, image: np.ndarray | None) -> Alert:
    """With its image in all three places, shifted so that its median is kept."""
    cutout = Cutout(image, "" if image is not None else "is absent")
    return Alert(
        survey="toy", alert_id=str(number), ra=1.0, dec=2.0, detection=Measurement(mjd=60000.0),
        object_id="o", version="", time_scale="utc", history=None,
        cutouts=dict.fromkeys(PLANES, cutout), x=None, y=None,
        flipped=False, extras={},
    )  # fmt: skip


def peak(height: float, size: int = 63) -> np.ndarray:
    image = np.zeros((size, size), np.float32)
    image[size // 2, size // 2] = height
    return image


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """No bundle but those that are put here."""
    folder = tmp_path / "bundles"
    folder.mkdir()
    monkeypatch.setattr(registry, "_shipped_directory", lambda: tmp_path / "nothing")
    monkeypatch.setenv("ASTRID_BUNDLES", str(folder))
    return folder


def logistic(x):
    return 1 / (1 + np.exp(-np.asarray(x, float)))


def test_every_bundle_scores_every_alert_and_one_without_images_says_why(tmp_path):
    first = bundle(tmp_path, "braai.a", [[0], [0], [1]])
    second = bundle(tmp_path, "other.b-2", [[-1]], planes=("science",))
    heights = [2.0, -1.0, 0.5]
    alerts = [alert(k, peak(h)) for k, h in enumerate(heights)]
    alerts.insert(1, alert(9, None))
    scorer = Scorer([first, second])
    scores = scorer(alerts)
    assert list(scores.arrays) == [one.name for one in scorer.columns]
    assert [pa.types.is_float64(scores.arrays[name].type) for name in ("braai_a", "other_b_2")] == [True] * 2
    found = scores.arrays["braai_a"].to_pylist()
    assert found[1] is None
    np.testing.assert_allclose([found[k] for k in (0, 2, 3)], logistic(heights), atol=1e-6)
    other = scores.arrays["other_b_2"].to_pylist()
    np.testing.assert_allclose([other[k] for k in (0, 2, 3)], logistic(-np.array(heights)), atol=1e-6)
    assert scores.arrays["braai_a_decision"].to_pylist() == ["real", None, "bogus", "real"]
    assert scores.arrays["braai_a_hash"].to_pylist() == [first.hash, None, first.hash, first.hash]
    assert scores.unscored == ["", "the science cutout cannot be used: is absent", "", ""]
    long = {(one.row, one.bundle, one.hash, one.label): one for one in scores.records}
    assert len(long) == len(scores.records) == 8
    absent = long[1, second.name, second.hash, "real"]
    assert (absent.value, absent.unscored) == (None, scores.unscored[1])
    assert long[3, first.name, first.hash, "real"].value == found[3]


def test_a_head_of_several_classes_has_a_column_for_each(tmp_path):
    weights = [[0, 0, 0], [0, 0, 0], [1, 0, -1]]
    kinds = bundle(tmp_path, "kinds.v1", weights, head="kind", labels=("SN", "AGN", "bogus"))
    scores = Scorer([kinds])([alert(0, peak(1.0)), alert(1, peak(-3.0))])
    logits = np.array([[1, 0, -1], [-3, 0, 3]])
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for k, label in enumerate(("sn", "agn", "bogus")):
        np.testing.assert_allclose(scores.arrays[f"kinds_v1_{label}"].to_pylist(), expected[:, k], atol=1e-6)
    assert scores.arrays["kinds_v1_decision"].to_pylist() == ["SN", "bogus"]
    assert [one.label for one in scores.records] == ["SN", "SN", "AGN", "AGN", "bogus", "bogus"]


def test_bundles_of_other_sizes_see_the_same_centre(tmp_path):
    small = bundle(tmp_path, "small.a", [[0], [0], [1]], size=31)
    large = bundle(tmp_path, "large.a", [[0], [0], [1]])
    scores = Scorer([small, large])([alert(0, peak(1.5))])
    assert scores.arrays["small_a"].to_pylist() == scores.arrays["large_a"].to_pylist()


def test_all_bundles_that_are_not_retired_and_see_images_of_alerts_are_used(mine):
    sees = {"weights": [[0], [0], [1]]}
    bundle(mine, "braai.live", sees["weights"])
    bundle(mine, "braai.candidate", sees["weights"], limits="another card")
    bundle(mine, "braai.retired", sees["weights"], limits="a third")
    bundle(mine, "braai.elsewhere", sees["weights"], represent="astrid.images.cutouts:rings")
    bundle(mine, "braai.even", sees["weights"], size=32)
    bundle(mine, "curves.a", [[0], [1]], planes=("time", "flux"))
    (mine / "braai.damaged").mkdir()
    registry.set_stage("braai.live", "live")
    registry.set_stage("braai.retired", "retired")
    assert [one.name for one in applicable_bundles()] == ["braai.candidate", "braai.live"]
    scorer = Scorer()
    scores = scorer([alert(0, peak(0.7))])
    assert scores.arrays["realbogus"] == scores.arrays["braai_live"]
    assert scores.arrays["realbogus_hash"].to_pylist() == [find_bundle("braai.live").hash]
    assert len(scores.records) == 2, "the live one has two names in a row, but one score"


def test_without_a_live_bundle_there_is_no_realbogus(mine):
    bundle(mine, "braai.a", [[0], [0], [1]])
    assert not any(one.name.startswith("realbogus") for one in Scorer().columns)


def test_a_bundle_that_cannot_score_alerts_is_refused_by_name(mine):
    bundle(mine, "curves.a", [[0], [1]], planes=("time", "flux"))
    with pytest.raises(UsageError, match=r"curves\.a cannot score alerts: .*images of an alert"):
        Scorer(["curves.a"])
    with pytest.raises(UsageError, match="no bundle of braai is live"):
        Scorer(["live"])
    bundle(mine, "braai.a-b", [[0], [0], [1]])
    bundle(mine, "braai.a_b", [[0], [0], [2]])
    with pytest.raises(UsageError, match="two bundles would have a column called braai_a_b"):
        Scorer()


def test_no_bundle_and_no_alert_are_no_problem(mine, tmp_path):
    assert Scorer()([alert(0, peak(1.0))]).arrays == {}
    scores = Scorer([bundle(tmp_path, "braai.a", [[0], [0], [1]])])([])
    assert [len(one) for one in scores.arrays.values()] == [0] * 6
    assert scores.records == []


def test_spread_by_dropout_is_found_only_if_asked(tmp_path):
    made = bundle(tmp_path, "braai.a", [[0], [0], [1]])
    card = made.card.model_copy(
        update={"name": "braai.d", "files": {}, "uncertainty": Uncertainty(method="mc_dropout", passes=1)}
    )
    model = (made.path / "model.onnx").read_bytes()
    files = {"model.onnx": model, "spread.onnx": model}
    dropped = save_bundle(tmp_path / "braai.d", card, files, {"w": np.ones(1, np.float32)})
    alerts = [alert(0, peak(1.0)), alert(1, peak(-20.0))]
    assert Scorer([dropped])(alerts).arrays["braai_d_spread"].to_pylist() == [None, None]
    found = Scorer([dropped], dropout=True)(alerts).arrays["braai_d_spread"].to_pylist()
    assert found == [0.0, None], "what is surely bogus is not looked at twice"


@pytest.mark.real_data
def test_real_alerts_get_what_each_bundle_says_alone(real_data):
    files = [real_data / "alerts" / name for name in ("ztf_alerts_dev.tar.gz", "edge_cases.tar.gz")]
    alerts = list(read_alerts(files, history=False))
    scorer = Scorer()
    scores = scorer(alerts)
    good = [k for k, one in enumerate(alerts) if not one.image_problem]
    stack = np.stack([centred_triplet(alerts[k]) for k in good])
    assert [one.name for one in scorer.bundles] == ["braai.real1", "braai.sim1"]
    for one in scorer.bundles:
        values = scores.arrays[one.name.replace(".", "_")].to_pylist()
        expected = Predictor(one).probabilities({"triplet": stack})["real"][:, 0]
        np.testing.assert_allclose([values[k] for k in good], expected, atol=1e-6)
        assert sum(value is None for value in values) == len(alerts) - len(good) == 3


def test_pixels_that_are_not_finite_are_a_reason(tmp_path):
    scorer = Scorer([bundle(tmp_path, "braai.a", [[0], [0], [1]])])
    broken = alert(0, np.full((63, 63), np.nan, np.float32))
    fine = replace(alert(1, peak(1.0)))
    scores = scorer([broken, fine])
    assert scores.arrays["braai_a"].null_count == 1
    assert "no pixel with a value" in scores.unscored[0]
