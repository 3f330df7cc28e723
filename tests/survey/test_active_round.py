"""A round of asking people: sources, questions, answers, another training, and what it changed."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from astrid.errors import DatasetError, UsageError
from astrid.learn import Bundle, Dataset, DatasetWriter, Input, Parts, export_run, train
from astrid.lightcurves.classes import taxonomy
from astrid.survey.active_round import changes, choose, probabilities_of, questions, thresholds_of
from astrid.survey.class_labels import Opinion, read_labels
from astrid.survey.scope_set import part_of, relabelled
from astrid.zoo.scope import SCOPE

N = 600
LABELS = ("RRab", "RRc", "EA")
CODES = ("rrlyr", "rrab", "rrc", "ea")
TASK = SCOPE.model_copy(
    update={
        "inputs": {"features": Input(shape=(3,))},
        "heads": {code: SCOPE.heads[code] for code in CODES},
        "training": SCOPE.training.model_copy(update={"epochs": 20}),
    }
)


@pytest.fixture(scope="module")
def stars(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Three kinds of stars at three places that overlap."""
    path = tmp_path_factory.mktemp("stars") / "data"
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, N)
    features = rng.normal(0, 0.6, (N, 3)).astype(np.float32)
    features[np.arange(N), kind] += 1.5
    meanings = [taxonomy().meaning_of("crts", LABELS[k]) for k in kind]
    names = [f"star{k}" for k in range(N)]
    columns = {code: [one.get(code, np.nan) for one in meanings] for code in taxonomy().classes}
    with DatasetWriter(
        path, name="toy", inputs={"features": Input(shape=(3,))}, kind="simulated", group="star"
    ) as writer:
        writer.append(
            {"features": features},
            {
                "id": names,
                "star": names,
                "class": [LABELS[k] for k in kind],
                "part": [part_of(name) for name in names],
                "labelled_by": [""] * N,
                **columns,
            },
        )
    return Dataset.open(path)


def trained(dataset: Dataset, folder: Path, name: str, most: int | None = None) -> Bundle:
    """A bundle of trees; with `most`, of so few stars."""
    part = dataset.column("part")
    rows = {one: np.flatnonzero(part == one) for one in ("train", "validation", "test")}
    rows["train"] = rows["train"][:most]
    run = train(TASK, dataset, folder / f"{name}.run", parts=Parts(**rows))
    return export_run([run], dataset, folder / name, f"scope.{name}", calibration="temperature")


@pytest.fixture(scope="module")
def bundle(stars: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Trained on 60 stars."""
    return trained(stars, tmp_path_factory.mktemp("first"), "first", 60)


def test_each_class_is_asked_about_where_it_is_least_certain() -> None:
    p = np.array([[0.01, 0.5], [0.45, 0.99], [0.9, 0.01], [0.99, 0.6], [0.001, 0.999]])
    chosen = choose(p, np.array([0.5, 0.5]), np.eye(5), 3, random=0.0, diverse=0.0)
    assert chosen.rows.tolist() == [1, 0, 2]
    assert chosen.column.tolist() == [0, 1, 0]
    assert set(chosen.reason) == {"uncertain"}


def test_uncertain_means_near_the_threshold_of_the_card() -> None:
    p = np.array([[0.5], [0.71], [0.9]])
    assert choose(p, np.array([0.7]), np.eye(3), 1, random=0, diverse=0).rows.tolist() == [1]


def test_the_shares_are_kept_and_no_source_is_asked_about_twice() -> None:
    rng = np.random.default_rng(0)
    chosen = choose(rng.random((500, 4)), np.full(4, 0.5), rng.random((500, 3)), 100)
    assert [chosen.reason.count(one) for one in ("uncertain", "diverse", "random")] == [70, 15, 15]
    assert len(set(chosen.rows.tolist())) == 100
    assert (chosen.column[-15:] == -1).all()


def test_all_sources_can_be_asked_about() -> None:
    rng = np.random.default_rng(0)
    chosen = choose(rng.random((7, 2)), np.full(2, 0.5), rng.random((7, 2)), 7)
    assert sorted(chosen.rows.tolist()) == list(range(7))


def test_diverse_sources_lie_farther_apart_than_uncertain_ones() -> None:
    rng = np.random.default_rng(1)
    places = rng.normal(size=(1000, 2))
    p = np.full((1000, 1), 0.5) + rng.normal(0, 0.01, (1000, 1))
    far = choose(p, np.array([0.5]), places, 40, random=0, diverse=1.0).rows
    near = choose(p, np.array([0.5]), places, 40, random=0, diverse=0.0).rows

    def closest(rows: np.ndarray) -> float:
        distance = np.linalg.norm(places[rows][:, None] - places[rows], axis=2)
        return float((distance + 99 * np.eye(len(rows))).min())

    assert closest(far) > 3 * closest(near)


@pytest.mark.parametrize(
    ("n", "shares", "says"),
    [(0, {}, "ask for fewer"), (9, {}, "ask for fewer"), (2, {"random": 1.1}, "shares")],
)
def test_what_cannot_be_chosen_is_refused(n: int, shares: dict[str, float], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        choose(np.full((8, 1), 0.5), np.array([0.5]), np.eye(8), n, **shares)


def test_a_round_asks_about_stars_that_are_not_of_the_test_part(
    stars: Dataset, bundle: Bundle, tmp_path: Path
) -> None:
    counts = questions(bundle, stars, tmp_path / "q.csv", 40, page="pages/{id}.html")
    with (tmp_path / "q.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert counts["questions"] == len(rows) == sum(counts["classes"].values())
    assert len({row["id"] for row in rows}) == 40
    assert all(part_of(row["id"]) != "test" for row in rows)
    assert all(row["page"] == f"pages/{row['id']}.html" and row["hash"] == bundle.hash for row in rows)
    assert all(row["value"] == row["who"] == row["when"] == "" for row in rows)
    assert read_labels([tmp_path / "q.csv"]) == []
    limits = thresholds_of(bundle)
    assert all(float(row["threshold"]) == pytest.approx(limits[row["class"]]) for row in rows)


def test_a_page_without_a_place_for_the_name_is_refused(
    stars: Dataset, bundle: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"has no \{id\}"):
        questions(bundle, stars, tmp_path / "q.csv", 4, page="pages")


def test_answers_change_labels_and_what_follows_and_nothing_else(stars: Dataset, tmp_path: Path) -> None:
    kinds = stars.column("class")
    row = int(np.argmax(kinds == "RRab"))
    name = f"star{row}"
    said = [
        Opinion(name, "rrab", 0.0, "ada", "2026-01-01"),
        Opinion(name, "rrc", 0.75, "ada", "2026-01-01"),
    ]
    summary = relabelled(stars, said, tmp_path / "again")
    new = Dataset.open(tmp_path / "again", verify=True)
    assert summary.n_labelled == 1
    assert new.column("labelled_by")[row] == "ada"
    assert (new.column("rrab")[row], new.column("rrc")[row], new.column("rrlyr")[row]) == (0, 0.75, 1)
    rest = np.arange(N) != row
    for code in taxonomy().classes:
        assert np.array_equal(new.column(code)[rest], stars.column(code)[rest], equal_nan=True)
    assert np.array_equal(new.arrays["features"], stars.arrays["features"])
    assert new.column("part").tolist() == stars.column("part").tolist()
    assert new.info.recipe["opinions"][0]["who"] == "ada"
    assert new.info.hash != stars.info.hash


def test_a_person_s_stars_are_not_asked_about_again(stars: Dataset, bundle: Bundle, tmp_path: Path) -> None:
    said = [Opinion(f"star{k}", "ea", 0.5, "ada", "2026-01-01") for k in range(0, N, 2)]
    relabelled(stars, said, tmp_path / "again")
    questions(bundle, Dataset.open(tmp_path / "again"), tmp_path / "q.csv", 30)
    with (tmp_path / "q.csv").open() as file:
        assert all(int(row["id"].removeprefix("star")) % 2 for row in csv.DictReader(file))


def test_answers_about_strangers_and_a_set_onto_itself_are_refused(stars: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="stranger"):
        relabelled(stars, [Opinion("stranger", "ea", 1.0, "ada", "2026-01-01")], tmp_path / "again")
    with pytest.raises(UsageError, match="data set itself"):
        relabelled(stars, [], stars.path)


def test_more_answers_improve_the_model_on_the_same_test_part(
    stars: Dataset, bundle: Bundle, tmp_path: Path
) -> None:
    better = trained(stars, tmp_path, "all")
    found = {one.code: one for one in changes(bundle, better, stars, resamples=50)}
    assert set(found) == set(CODES)
    assert np.mean([one.gain for one in found.values()]) > 0
    assert all(one.low <= one.gain <= one.high for one in found.values())
    same = changes(bundle, bundle, stars, resamples=20)
    assert all(one.gain == one.low == one.high == one.turned == 0 for one in same)


def test_probabilities_are_those_of_the_predictor(stars: Dataset, bundle: Bundle) -> None:
    from astrid.learn import Predictor

    rows = np.array([3, 1, 500])
    found = probabilities_of(Predictor(bundle), stars, rows)
    direct = Predictor(bundle)({"features": stars.take("features", rows)})
    for code in CODES:
        assert found[code] == pytest.approx(direct.heads[code].values[:, 0])
