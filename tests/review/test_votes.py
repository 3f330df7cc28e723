"""Several people's answers become one, or none where they are divided."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from astrid.review.votes import consensus

LABELS = ("bogus", "real")


def table(rows):
    """From (item, user, label) with unsure for None."""
    return pa.table(
        {
            "survey": pa.array(["ztf"] * len(rows), pa.string()),
            "alert_id": pa.array([str(item) for item, _, _ in rows], pa.string()),
            "user": pa.array([user for _, user, _ in rows], pa.string()),
            "answer": pa.array(["unsure" if label is None else "label" for _, _, label in rows], pa.string()),
            "label": pa.array([label for _, _, label in rows], pa.string()),
            "at": pa.array([float(k) for k in range(len(rows))], pa.float64()),
            "slot": pa.array(["random" if item == 0 else "asked" for item, _, _ in rows], pa.string()),
            "frozen": pa.array([item == 1 for item, _, _ in rows], pa.bool_()),
        }
    )


def labels(found):
    return {int(alert): LABELS[k] for (_, alert), k in zip(found.keys, found.label, strict=True)}


def test_most_votes_decide_and_divided_ones_are_left_out():
    found = consensus(
        table(
            [
                (0, "a", "real"), (0, "b", "real"), (0, "c", "bogus"),
                (1, "a", "bogus"),
                (2, "a", "real"), (2, "b", "bogus"),
                (3, "a", None), (3, "b", "real"),
                (4, "a", None), (5, "a", "galaxy"),
            ]
        ),
        LABELS,
    )  # fmt: skip
    assert labels(found) == {0: "real", 1: "bogus", 3: "real"}
    assert found.left_out == {
        "people are divided": 1, "nobody could tell": 1, "it has a label that is not of this task": 1,
    }  # fmt: skip
    assert found.method == "majority"
    assert found.at.tolist() == [2, 3, 7]
    assert found.frozen.tolist() == [False, True, False]
    assert found.random.tolist() == [True, False, False]


def test_without_answers_there_is_nothing():
    found = consensus(table([]), LABELS)
    assert (len(found), found.method, found.left_out) == (0, "one person each", {})


def test_two_careless_people_do_not_outvote_a_careful_one_who_is_known_to_be():
    rng = np.random.default_rng(3)
    truth = rng.random(400) < 0.5
    right = {"careful": 0.98, "second": 0.95, "guess": 0.5, "guess2": 0.5, "guess3": 0.5}
    rows = []
    for item, real in enumerate(truth):
        for user, chance in right.items():
            said = real if rng.random() < chance else not real
            rows.append((item, user, LABELS[int(said)]))
    found = consensus(table(rows), LABELS)
    assert found.method == "Dawid-Skene"
    said = labels(found)
    wrong = sum(said[item] != LABELS[int(truth[item])] for item in said)
    assert len(said) > 370
    assert wrong < 12  # most votes alone would be wrong about 49 of the 400
    votes = np.array([[row[2] == "real" for row in rows[5 * k : 5 * k + 5]] for k in range(400)])
    assert ((votes.sum(axis=1) > 2) != truth).sum() > 40


def test_a_single_vote_for_a_rare_class_counts_and_one_of_a_liar_does_not():
    rng = np.random.default_rng(5)
    truth = rng.random(300) < 0.05
    rows = []
    for item, real in enumerate(truth):
        rows += [(item, user, LABELS[int(real)]) for user in ("a", "b")]
        rows.append((item, "liar", LABELS[int(not real)]))
    rows += [(1000, "a", "real"), (1001, "liar", "bogus")]
    found = consensus(table(rows), LABELS)
    assert found.method == "Dawid-Skene"
    said = labels(found)
    assert said[1000] == "real"
    assert 1001 not in said
