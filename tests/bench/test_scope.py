"""The figures about SCOPE's classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_score, recall_score

from astrid.bench._class_rounds import asked_round, simulated_rounds
from astrid.bench._scope import _capped, class_figures, mean_cost
from astrid.learn import Dataset, DatasetWriter, Input
from astrid.lightcurves.classes import taxonomy
from astrid.survey.class_consistency import violations
from astrid.survey.scope_set import part_of

RARE = ("eb", "hp", "rrd", "rrblz", "dscu", "ceph2")


def test_figures_of_a_class_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice([0.0, 0.25, 0.75, 1.0], 500)
    p = np.clip(0.6 * truth + 0.5 * rng.random(500), 0, 1)
    found = class_figures(truth, p, 0.55)
    yes = truth >= 0.5
    assert found["AUCPR"] == pytest.approx(average_precision_score(yes, p))
    for name, cut in (("0.7", 0.7), ("its threshold", 0.55)):
        assert found[f"recall at {name}"] == pytest.approx(recall_score(yes, p >= cut))
        assert found[f"purity at {name}"] == pytest.approx(precision_score(yes, p >= cut))


def test_a_false_alarm_costs_more_than_a_miss() -> None:
    truth, p = np.array([1.0, 0.75, 0.25, 0.0]), np.array([0.9, 0.2, 0.8, 0.1])
    assert mean_cost(truth, p, 0.5) == (3 + 7) / 4
    assert mean_cost(truth, p, np.inf) == 2 * 3 / 4


def test_capped_probabilities_agree_with_the_tree() -> None:
    codes = ("pnp", "e", "ea", "puls", "rrlyr", "rrab")
    parents = taxonomy().parents(codes)
    given = np.random.default_rng(0).random((50, 6))
    found = _capped(given, codes, parents)
    assert violations(found, codes, parents).largest == 0
    assert (found <= given).all()


def test_simulated_rounds_ask_for_so_many_labels_and_never_for_the_test_part(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 900
    kind = rng.integers(0, 12, n)
    x = rng.normal(0, 1, (n, 3)).astype(np.float32)
    x[:, 0] += kind
    names = [f"s{k}" for k in range(n)]
    with DatasetWriter(
        tmp_path / "d", name="toy", inputs={"features": Input(shape=(3,))}, kind="simulated", group="star"
    ) as writer:
        labels = {code: (kind == k).astype(float).tolist() for k, code in enumerate(RARE)}
        rows = {"star": names, "part": [part_of(name) for name in names], **labels}
        writer.append({"features": x}, rows)
    dataset = Dataset.open(tmp_path / "d")
    found = simulated_rounds(dataset, 0.15, 0.15, first=60, each=60, rounds=2)
    assert [labels for labels, _ in found] == [60, 120, 180]
    assert found[-1][1] > found[0][1]
    assert found == simulated_rounds(dataset, 0.15, 0.15, first=60, each=60, rounds=2)


def test_a_round_by_files_asks_for_what_is_hidden_and_learns_from_the_answers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 700
    kind = rng.integers(0, 4, n)
    x = rng.normal(0, 1, (n, 3)).astype(np.float32)
    x[:, 0] += 2 * kind
    names = [f"s{k}" for k in range(n)]
    parts = [part_of(name) for name in names]
    with DatasetWriter(
        tmp_path / "d", name="toy", inputs={"features": Input(shape=(3,))}, kind="real", group="star"
    ) as writer:
        labels = {code: [np.nan] * n for code in taxonomy().classes}
        labels |= {code: (kind == k).astype(float).tolist() for k, code in enumerate(("dscu", "lpv"))}
        writer.append(
            {"features": x},
            {"id": names, "star": names, "part": parts, "labelled_by": [""] * n, **labels},
        )
    stars, answers, gain = asked_round(
        Dataset.open(tmp_path / "d"), tmp_path / "round", 0.15, 0.15, codes=("dscu", "lpv"), first=20, n=80
    )
    assert stars == 80
    assert 80 <= answers <= 160
    assert gain > 0
    hidden = Dataset.open(tmp_path / "round" / "hidden")
    asked = (tmp_path / "round" / "answers.csv").read_text().splitlines()[1:]
    part = dict(zip(names, parts, strict=True))
    assert {part[line.split(",")[0]] for line in asked} == {"train"}
    known = np.isfinite(hidden.column("dscu")) & (np.array(parts) == "train")
    assert known.sum() == 20
