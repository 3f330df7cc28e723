"""The benchmark of difference imaging scores rightly and says what it could not measure."""

import numpy as np
import pytest
from astropy.table import Table

from astrid.bench import difference as bench
from astrid.bench._peers import PEERS, Peer, PeerInput, detections, gaussian_match, matched_map
from astrid.bench._real_pairs import real_images, real_rows
from astrid.bench._scores import chance_detections, score


@pytest.fixture(scope="module")
def trial():
    return bench._trial(bench._sized(512), 1, lambda stage: None, keep=True)


def test_score_counts_recall_and_false_detections_of_each_sign():
    truth = Table(
        {
            "x": [10.0, 50.0, 90.0, 30.0],
            "y": [10.0, 50.0, 90.0, 30.0],
            "snr_true": [20.0, -9.0, 5.0, 30.0],
            "flux": [100.0, -50.0, 30.0, 900.0],
            "observable": [True, True, True, False],
        }
    )
    found = np.array([[11.0, 12.0, 19.0], [50.0, 53.5, -8.0], [70.0, 20.0, 6.0], [30.0, 30.0, 28.0]])
    result = score(truth, found, np.array([90.0, -40.0, 30.0, 1.0]), np.full(4, 5.0))
    assert result.n_bright == 2
    assert result.recall_bright == 0.5
    assert result.recall_all == pytest.approx(1 / 3)
    assert (result.false_positive, result.false_negative) == (1, 1)
    np.testing.assert_array_equal(result.flux, [90.0])
    np.testing.assert_array_equal(result.flux_true, [100.0])
    assert score(truth, np.zeros((0, 3))).recall_bright == 0


def test_detections_by_chance_are_as_many_as_gaussian_noise_has():
    rng = np.random.default_rng(0)
    counts = [
        len(detections(matched_map(rng.standard_normal((1040, 1040)), 4.0), threshold=4.0)) for _ in range(3)
    ]
    # two equal PSFs: the score is noise through one of them
    expected = 3 * chance_detections((1024, 1024), (4.0, 4.0), threshold=4.0)
    assert sum(counts) == pytest.approx(expected, abs=3 * np.sqrt(expected) + 0.1 * expected)


def test_gaussian_match_finds_a_bright_change_and_its_sign():
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:128, :128]
    science, reference = (rng.normal(0, 5, (128, 128)).astype(np.float32) for _ in range(2))
    science += 200 * np.exp(-((x - 40) ** 2 + (y - 60) ** 2) / (2 * 1.3**2)).astype(np.float32)
    reference += 200 * np.exp(-((x - 90) ** 2 + (y - 30) ** 2) / (2 * 1.8**2)).astype(np.float32)
    found = gaussian_match(PeerInput(science, reference, 3.06, 4.24, 1.0, 400.0, 400.0, 1.5))
    assert [(round(a), round(b), c > 0) for a, b, c in found] == [(90, 30, False), (40, 60, True)]


def test_rows_of_a_small_pair_carry_goals_and_the_theoretical_floor(trial):
    rows = {
        row.name: row for row in bench._simulated_rows("512²", [trial], cpu_goal="<= 3", memory_goal=None)
    }
    assert rows["512²: recall at true S/N > 7"].goal == ">= 0.98"
    assert rows["512²: recall at true S/N > 7"].value == trial.score.recall_bright > 0.5
    assert rows["512²: robust sigma of S_corr"].value == pytest.approx(1, abs=0.1)
    assert "noise alone" in rows["512²: unflagged false positives of both signs"].peer
    cost = rows["512²: CPU time, frames to candidates"]
    assert cost.value > 0
    assert cost.ratio > 1  # nothing is cheaper than its own transforms
    assert all(row.data == "simulated" for row in rows.values())


def test_a_peer_that_is_absent_or_fails_is_said_and_not_scored(trial):
    absent = Peer("ghost", "no_such_package_here", gaussian_match, 1)
    failing = Peer("broken", None, _broken, 1)
    for peer, words in ((absent, "not installed"), (failing, "ZeroDivisionError")):
        rows = bench._peer_rows("512²", trial, [peer], lambda stage: None)
        assert len(rows) == 4
        assert all(words in row.peer for row in rows)
        assert all(row.ok is None for row in rows)


def test_the_plain_peer_is_measured_on_the_same_pair(trial):
    rows = bench._peer_rows("512²", trial, PEERS[:1], lambda stage: None)
    recall, false, cpu, memory = rows
    assert recall.peer.startswith("Gaussian match")
    assert false.goal.startswith("<= ")
    assert all(row.ratio is not None for row in (recall, cpu, memory))


def test_without_real_images_there_is_nothing_to_mix_in(monkeypatch, tmp_path):
    monkeypatch.setenv("ASTRID_REAL_DATA", str(tmp_path))
    assert real_images() is None


@pytest.mark.real_data
def test_real_rows_are_all_there_and_marked_as_real(real_data):
    rows = real_rows(real_data / "images", lambda stage: None, only=("decam_pair",))
    assert all(row.data == "real" for row in rows)
    named = {row.name: row for row in rows}
    assert len(named) == 7
    assert named["DECam stacks: S/N of the transient"].value > 20


def _broken(pair):
    raise ZeroDivisionError("no noise at all")
