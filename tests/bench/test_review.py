"""The benchmark of labels: what is read off its curves, and that a strategy sees no label before it asks."""

from __future__ import annotations

import numpy as np
import pytest

from astrid.bench._review_curves import STRATEGIES, Curve, budgets, curves
from astrid.bench._review_data import LabelledSet, snad_tags, votes
from astrid.bench._review_rows import curve_rows, labels_needed


@pytest.fixture(scope="module")
def small():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    y = (x[:, 0] + 0.3 * rng.normal(size=400) > 0.8).astype(int)
    return LabelledSet("small", x, y, ("no", "yes"), np.repeat(np.arange(100), 4), budget=40)


def test_labels_needed_are_read_between_the_points():
    labels = np.array([20, 40, 80])
    assert labels_needed(labels, np.array([0.5, 0.9, 1.0]), 0.95) == pytest.approx(60)
    assert labels_needed(labels, np.array([0.96, 0.9, 1.0]), 0.95) == 20
    assert labels_needed(labels, np.array([0.5, 0.6, 0.7]), 0.95) is None


def test_budgets_begin_alike_and_end_where_they_are_told():
    assert budgets(100) == [20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert budgets(35) == [20, 30]
    assert budgets(150)[-1] == 150


def test_all_strategies_begin_with_the_same_labels_and_end_in_the_same_final_model(small):
    pytest.importorskip("modAL")
    found = curves(small, tuple(STRATEGIES), seed=3)
    assert len({one.aucpr[0] for one in found.values()}) == 1
    assert len({one.final for one in found.values()}) == 1
    for one in found.values():
        assert one.labels.tolist() == [20, 30, 40]
    # of two classes these three are the same order
    np.testing.assert_array_equal(found["entropy"].aucpr, found["margin"].aucpr)


def test_rows_compare_with_random_order():
    labels = np.array([20, 50, 100, 200])

    def reached(*values):
        return [Curve(labels, np.array(values) * 0.8, 0.8)] * 3

    found = {
        "random": reached(0.5, 0.6, 0.9, 1.0), "entropy": reached(0.5, 0.55, 0.95, 1.0),
        "mixed": reached(0.5, 0.95, 0.99, 1.0), "modAL": reached(0.5, 0.55, 0.95, 1.0),
    }  # fmt: skip
    rows = {row.name: row for row in curve_rows("x", found, "1.0")}
    assert rows["x: AUCPR with all labels"].value == pytest.approx(0.8)
    assert rows["x: labels to 95% of it, random"].value == pytest.approx(150)
    mixed = rows["x: labels to 95% of it, mixed"]
    assert (mixed.value, mixed.ratio) == (pytest.approx(50), pytest.approx(0.5))
    ratio = rows["x: labels to 95% of it, mixed over random"]
    assert ratio.value == pytest.approx(1 / 3)
    assert ratio.ok
    assert rows["x: mixed less random in the first 100 labels, mean"].value == pytest.approx(
        (0.35 + 0.09) / 2
    )
    assert rows["x: entropy less random in the first 100 labels, worst"].value == pytest.approx(-0.05)


@pytest.mark.real_data
def test_the_real_labels_are_those_of_their_readme(real_data):
    tags = snad_tags(real_data / "review" / "snad_ztf_tags.json.gz")
    assert sum("artefact" in one for one in tags.values()) == 1540
    given = votes(real_data / "review" / "meerlicht_votes.csv.gz")
    assert len(given.label) == 5000
    assert len(given.answers) == 50_000
    assert set(np.unique(given.answers).tolist()) == {0, 1}
