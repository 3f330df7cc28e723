"""Drift: no alarm where nothing has changed, and one where something has."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from astrid.alerts import centred_triplet, read_alerts
from astrid.errors import DependencyError, PacketError, StoreError
from astrid.store import Batch, open_store
from astrid.stream.drift import Drift, changes_of_scores, compare, night_drift
from astrid.stream.sample import Sample, models, probabilities, wanted

NIGHT = "2026-11-20"


def rows(n: int, rng: np.random.Generator, night: str = NIGHT, **changed: Any) -> pa.Table:
    """Candidate rows of a stream that does not change, unless columns are given."""
    score = 1 / (1 + np.exp(-rng.normal(1.5, 2.5, n)))
    columns = {
        "survey": ["ztf"] * n,
        "alert_id": [f"{night}-{k}" for k in range(n)],
        "night": [night] * n,
        "band": np.where(rng.random(n) < 0.5, "g", "r"),
        "magpsf": rng.normal(19, 1, n),
        "limiting_mag": rng.normal(20.5, 0.3, n),
        "positive": rng.random(n) < 0.7,
        "image_problem": pa.nulls(n, pa.string()),
        "ztf_rcid": rng.integers(0, 4, n),
        "ztf_drb": score,
        "braai_x1": score,
        "braai_x1_spread": np.full(n, 0.1),
        "braai_x1_decision": np.where(score >= 0.5, "real", "bogus"),
        "braai_x1_set": np.where(score >= 0.5, "real", "bogus"),
        "braai_x1_applicable": np.where(rng.random(n) < 0.02, "min is low", ""),
        "braai_x1_hash": ["abc"] * n,
        "realbogus": score,
        "realbogus_hash": ["abc"] * n,
    }
    columns |= changed
    return pa.table(columns)


def sampled(tables: Iterable[pa.Table], **settings: Any) -> Sample:
    sample = Sample(**settings)
    for table in tables:
        sample.add(table)
    return sample


def reference(rng: np.random.Generator, n: int = 400, nights: int = 6) -> Sample:
    return sampled(rows(n, rng, f"2026-11-{k + 1:02d}") for k in range(nights))


def drifted(**changed: Any) -> Drift:
    """A night of 400 alerts, some columns of which are others."""
    rng = np.random.default_rng(5)
    past = reference(rng)
    return compare(NIGHT, sampled([rows(400, rng, **changed)]), past)


def test_nights_without_a_change_raise_no_alarm():
    rng = np.random.default_rng(0)
    verdicts = [
        compare(NIGHT, sampled([rows(n, rng)]), reference(rng, n, 3)).verdict
        for n in (60, 300)
        for _ in range(30)
    ]
    assert verdicts.count("act") <= 1  # 1 in 1,000 in the long measurement of the guide
    assert verdicts.count("ok") >= 57


def test_scores_that_move_are_to_be_acted_on_with_a_sentence_that_says_where():
    rng = np.random.default_rng(1)
    found = drifted(braai_x1=rng.random(400) * 0.3)
    assert found.verdict == "act"
    (said,) = [one for one in found.reasons if one.startswith("braai_x1 has moved")]
    assert "in ztf" in said
    assert "median" in said
    assert "(limit 0." in said


def test_too_few_alerts_are_no_reason_for_anything():
    rng = np.random.default_rng(2)
    found = compare(NIGHT, sampled([rows(49, rng, braai_x1=np.zeros(49))]), reference(rng), whole=False)
    assert found.verdict == "ok"
    assert found.comparisons == ()
    assert found.reasons[0].startswith("Nothing could be compared: the night has 49 alerts")


def test_bands_that_are_small_are_looked_at_together_only():
    rng = np.random.default_rng(3)
    band = np.array(["g"] * 45 + ["r"] * 45)
    found = compare(NIGHT, sampled([rows(90, rng, band=band)]), reference(rng))
    assert {(one.band, one.chip) for one in found.comparisons} == {(None, None)}


def test_a_model_that_falls_silent_or_no_longer_applies_is_to_be_acted_on():
    silent = drifted(braai_x1=pa.nulls(400, pa.float64()))
    assert silent.verdict == "act"
    assert any("braai_x1 absent has moved" in one and "100.0%" in one for one in silent.reasons)
    beyond = drifted(braai_x1_applicable=["min is low"] * 400)
    assert beyond.verdict == "act"
    assert any("braai_x1 not applicable has moved" in one for one in beyond.reasons)


def test_what_comes_in_the_packets_alone_is_watched():
    found = drifted(magpsf=np.random.default_rng(4).normal(21, 1, 400))
    assert found.verdict == "watch"
    assert found.reasons[0].startswith("magpsf has moved in ztf")


def test_values_that_are_no_longer_sent_are_no_silent_gap():
    found = drifted(magpsf=pa.nulls(400, pa.float64()))
    assert found.verdict == "watch"
    assert any(one.startswith("magpsf absent has moved") for one in found.reasons)


def test_one_chip_is_watched_and_the_others_are_named_ok():
    rng = np.random.default_rng(6)
    past = reference(rng, 2000)
    chips = rng.integers(0, 16, 4000)
    score = 1 / (1 + np.exp(-rng.normal(1.5, 2.5, 4000)))
    score[chips == 2] *= 0.05
    # sixteen chips in the night, of which the reference has four
    found = compare(NIGHT, sampled([rows(4000, rng, ztf_rcid=chips, braai_x1=score)]), past)
    assert found.verdict == "watch"
    moved = {one.chip for one in found.comparisons if one.kind == "chip" and one.level != "ok"}
    assert moved == {"2"}
    assert any("chip 2" in one for one in found.reasons)


def test_agreement_with_the_surveys_own_score_stands_in_for_labels():
    rng = np.random.default_rng(7)
    score = 1 / (1 + np.exp(-rng.normal(1.5, 2.5, 400)))
    found = drifted(ztf_drb=rng.permutation(score))
    names = {one.quantity: one for one in found.comparisons if one.kind == "agreement"}
    assert set(names) == {"braai_x1 agrees with ztf_drb"}
    assert found.verdict == "act"
    assert found.coverage == ()
    assert found.as_dict()["coverage"] is None


@pytest.mark.parametrize(
    ("n", "held", "level"),
    [(100, 97, "ok"), (100, 94, "ok"), (1000, 950, "watch"), (100, 91, "act"), (20, 10, "ok")],
)
def test_realised_coverage_is_judged_against_the_promise(n, held, level):
    rng = np.random.default_rng(8)
    sets = ["real"] * held + ["bogus"] * (n - held)
    table = rows(n, rng, braai_x1_set=sets)
    labels = {("ztf", name): "real" for name in table["alert_id"].to_pylist()}
    sample = sampled([table], labels=labels)
    found = compare(NIGHT, sample, Sample(), promised={("braai_x1", "real"): 0.97})
    (one,) = found.coverage
    assert (one.n, one.held, one.level) == (n, held, level)
    assert found.verdict == level
    alone = compare(NIGHT, sample, Sample())
    assert alone.coverage[0].level == "ok"  # nobody has promised anything
    assert alone.coverage[0].promised is None


def test_sets_of_both_labels_hold_either():
    table = rows(60, np.random.default_rng(0), braai_x1_set=["bogus+real"] * 60)
    labels = {("ztf", name): "bogus" for name in table["alert_id"].to_pylist()}
    assert sampled([table], labels=labels).covered == {("braai_x1", "bogus", True): 60}


def test_nights_that_always_differ_excuse_what_they_differ_by():
    rng = np.random.default_rng(9)

    def night(name: str, offset: float) -> pa.Table:
        score = 1 / (1 + np.exp(-rng.normal(1.5 + offset, 2.5, 600)))
        return rows(600, rng, name, braai_x1=score)

    offsets = rng.normal(0, 1.0, 10)
    past = sampled(night(f"2026-11-{k + 1:02d}", offset) for k, offset in enumerate(offsets))
    assert compare(NIGHT, sampled([night(NIGHT, 1.2)]), past).verdict == "ok"
    steady = sampled(night(f"2026-11-{k + 1:02d}", 0) for k in range(10))
    assert compare(NIGHT, sampled([night(NIGHT, 1.2)]), steady).verdict != "ok"
    assert compare(NIGHT, sampled([night(NIGHT, -5)]), past).verdict == "act"


def test_a_night_with_far_fewer_alerts_is_watched_once_it_is_over():
    rng = np.random.default_rng(10)
    past, short = reference(rng), sampled([rows(60, rng)])
    assert any("ztf sent 60 alerts, and 400 to 400" in one for one in compare(NIGHT, short, past).reasons)
    assert compare(NIGHT, short, past, whole=False).verdict == "ok"


def test_a_change_within_the_night_is_found():
    pytest.importorskip("river")
    rng = np.random.default_rng(11)
    score = np.concatenate([rng.normal(0.7, 0.1, 1000), rng.normal(0.3, 0.1, 1000)]).clip(0, 1)
    table = rows(2000, rng, braai_x1=score)
    (row, *_) = changes_of_scores(table)["braai_x1"]
    assert 1000 <= row < 1200
    assert changes_of_scores(rows(2000, rng))["braai_x1"] == []
    found = compare(NIGHT, sampled([table]), Sample(), adwin=True)
    assert found.verdict == "watch"


def test_adwin_without_river_says_what_to_install(monkeypatch):
    for name in [one for one in sys.modules if one.partition(".")[0] == "river"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "river", None)
    with pytest.raises(DependencyError, match="pip install river"):
        changes_of_scores(rows(100, np.random.default_rng(0)))


def test_a_sample_is_bounded_fair_and_counts_everything():
    rng = np.random.default_rng(12)
    sample = Sample(most=500)
    for k in range(40):
        sample.add(rows(200, rng, magpsf=np.full(200, float(k))))
    sample.add(rows(5, rng, survey=["lsst"] * 5))
    table = sample.table
    assert len(sample) == 8005
    assert sample.counts == {(NIGHT, "ztf"): 8000, (NIGHT, "lsst"): 5}
    assert table["survey"].to_pylist().count("ztf") == 500
    assert table["survey"].to_pylist().count("lsst") == 5
    kept = np.bincount(table["magpsf"].to_numpy().astype(int)[:500], minlength=40)
    assert kept.min() > 0  # 12.5 from each of forty tables
    assert kept.max() < 32
    assert np.all(np.diff(table["magpsf"].to_numpy()[:500]) >= 0)  # still in the order in which they came


def test_columns_of_several_bundles_are_told_apart():
    names = [
        "survey", "extras", "braai_x1", "braai_x1_spread", "braai_x1_set", "braai_x1_hash", "braai_x10",
        "braai_x10_hash", "types_a_sn", "types_a_agn", "types_a_sn_spread", "types_a_decision",
        "types_a_applicable", "types_a_hash", "realbogus", "realbogus_hash",
    ]  # fmt: skip
    assert models(names) == ["braai_x1", "braai_x10", "types_a"]
    assert probabilities(names, "braai_x1") == ["braai_x1"]
    assert probabilities(names, "types_a") == ["types_a_sn", "types_a_agn"]
    assert "extras" not in wanted(names)
    assert "realbogus" not in wanted(names)


def test_a_bundle_that_is_new_has_no_past_and_raises_nothing():
    rng = np.random.default_rng(13)
    new = rows(400, rng).append_column("other_b1", pa.array(np.zeros(400)))
    new = new.append_column("other_b1_hash", pa.array(["x"] * 400))
    found = compare(NIGHT, sampled([new]), reference(rng))
    assert found.verdict == "ok"
    assert set(found.hashes) == {"braai_x1", "other_b1"}


class Bytes:
    suffix = ".avro"

    def content(self) -> bytes:
        return b"packet"


def test_a_night_of_the_store_is_compared_with_those_before(tmp_path):
    rng = np.random.default_rng(14)
    with open_store(tmp_path) as store:
        for k in range(3):
            name = f"2026-11-{k + 1:02d}"
            changed = {"braai_x1": rng.random(200) * 0.2} if k == 2 else {}
            table = rows(200, rng, name, **changed)
            for column in ("object_id", "ra", "dec", "mjd"):
                table = table.append_column(column, pa.nulls(200, pa.float64()))
            table = table.append_column("healpix", pa.nulls(200, pa.int64()))
            table = table.set_column(
                table.column_names.index("object_id"), "object_id", pa.nulls(200, pa.string())
            )
            store.write(Batch(table, [Bytes()] * 200))
        store.close_night("2026-11-01")
        seen: list[tuple[int, int]] = []
        found = night_drift(store, "2026-11-03", on_progress=lambda done, total: seen.append((done, total)))
        assert found.verdict == "act"
        assert found.nights == ("2026-11-01", "2026-11-02")
        assert (found.n, found.n_reference) == (200, 400)
        assert seen[-1] == (600, 600)
        assert night_drift(store, "2026-11-02").verdict == "ok"
        assert night_drift(store, "2026-11-01").reasons[0].startswith("Nothing could be compared")
        assert night_drift(store, "2026-11-02", since="2026-11-03").nights == ("2026-11-03",)
        with pytest.raises(StoreError, match=r"'2026-12-24' \(the last one is 2026-11-03\)"):
            night_drift(store, "2026-12-24")


@pytest.mark.real_data
def test_a_swapped_normalisation_raises_the_alarm_and_halves_of_the_same_night_do_not(real_data):
    torch = pytest.importorskip("torch")
    from astrid.learn.prediction import Predictor, averaged
    from astrid.learn.registry import find_bundle

    folder = real_data / "alerts"
    names = ("ztf_alerts_dev.tar.gz", "edge_cases.tar.gz", "fink_ztf_alerts_51.parquet",
             "fink_ztf_labelled_72.parquet")  # fmt: skip
    triplets, alerts = [], []
    seen = set()
    for alert in read_alerts([folder / name for name in names], history=False):
        try:
            triplet = centred_triplet(alert)
        except PacketError:
            continue
        if alert.alert_id not in seen:
            seen.add(alert.alert_id)
            triplets.append(triplet)
            alerts.append(alert)
    assert len(alerts) == 176
    stack = np.stack(triplets)
    bundle = find_bundle("braai.sim1")
    head = bundle.card.head("real")

    def scores(normalization: str) -> np.ndarray:
        """What the same weights say behind another normalisation."""
        network = bundle.task.with_network_options({"normalization": normalization}).build_network()
        network.load_state_dict(bundle.networks()[0].state_dict())
        network.eval()
        with torch.no_grad():
            logits = network(triplet=torch.from_numpy(stack))["real"].numpy()
        return averaged(logits[None], bundle.task.heads["real"], head.calibration)[:, 0]

    own = Predictor(bundle)({"triplet": stack}, spread=False).heads["real"].values[:, 0]
    np.testing.assert_allclose(scores("asinh_noise"), own, atol=1e-5)
    assert bundle.task.network_options["normalization"] == "asinh_noise"

    def table(score: np.ndarray, some: np.ndarray, night: str) -> pa.Table:
        mine = [alerts[k] for k in some]
        decided = np.where(score >= head.decision.threshold, "real", "bogus")
        return pa.table(
            {
                "survey": [one.survey for one in mine],
                "alert_id": [one.alert_id for one in mine],
                "night": [night] * len(mine),
                "band": [one.detection.band for one in mine],
                "magpsf": [one.detection.mag for one in mine],
                "ztf_drb": pa.array([one.extras["candidate"].get("drb") for one in mine], pa.float64()),
                "braai_sim1": score[some].astype(float),
                "braai_sim1_decision": decided[some],
                "braai_sim1_hash": [bundle.hash] * len(mine),
            }
        )

    swapped = {name: scores(name) for name in ("row_l2", "cutout_l2", "none")}
    for seed in range(5):
        halves = np.array_split(np.random.default_rng(seed).permutation(len(alerts)), 2)
        before = sampled([table(own, halves[0], "2026-11-01")])
        assert compare(NIGHT, sampled([table(own, halves[1], NIGHT)]), before).verdict != "act"
        for name, other in swapped.items():
            found = compare(NIGHT, sampled([table(other, halves[1], NIGHT)]), before)
            assert found.verdict == "act", name
            assert found.reasons[0].startswith("braai_sim1 has moved in ztf")
