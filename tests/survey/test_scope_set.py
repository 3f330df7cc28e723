"""The data set for SCOPE's classes, made of real light curves."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from astrid.errors import DatasetError
from astrid.learn import Dataset, DatasetWriter, Input
from astrid.lightcurves.dmdt import SCOPE as GRID
from astrid.lightcurves.dmdt import dmdt
from astrid.lightcurves.reading import read_lightcurves
from astrid.survey.class_labels import Opinion
from astrid.survey.scope_set import part_of, period_labels, scope_set


@pytest.fixture(scope="module")
def made(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dataset, Path]:
    """A data set of 200 variable stars, that of their classes, and their light curves."""
    folder = tmp_path_factory.mktemp("scope")
    with (real_data / "lightcurves/crts/crts_train_labels.csv").open() as file:
        rows = list(csv.DictReader(file))[::29]
    period = [float(row["period_d_drake2014"] or "nan") for row in rows]
    names = [row["catalina_id"] for row in rows]
    with DatasetWriter(
        folder / "variables", name="toy", inputs={"features": Input(shape=(2,))}, kind="real", group="star"
    ) as writer:
        writer.append(
            {"features": np.zeros((len(rows), 2), np.float32)},
            {
                "id": names,
                "star": names,
                "class": [row["class"] for row in rows],
                "period": [one / 2 for one in period],
                "catalogue_period": period,
            },
        )
    curves = real_data / "lightcurves/crts/crts_train_lc.parquet"
    said = [Opinion(names[0], "mp", 1.0, "ada", "2026-01-01")]
    scope_set(folder / "variables", curves, folder / "out", opinions=said)
    return folder / "variables", Dataset.open(folder / "out", verify=True), curves


@pytest.mark.real_data
def test_images_are_those_of_each_star(made: tuple[Path, Dataset, Path]) -> None:
    _, dataset, path = made
    row = 7
    name = dataset.column("id")[row]
    curve = next(one for one in read_lightcurves(path) if one.name == name)
    assert np.array_equal(dataset.arrays["dmdt"][row, ..., 0], dmdt(curve, GRID, "unit"))


@pytest.mark.real_data
def test_labels_are_those_of_the_trees_and_of_people(made: tuple[Path, Dataset, Path]) -> None:
    _, dataset, _ = made
    kinds = dataset.column("class")
    count = Counter(kinds.tolist())
    assert (dataset.column("rrab") >= 0.5).sum() == count["RRab"]
    assert (dataset.column("e") >= 0.5).sum() == count["EA"] + count["EW"] + count["beta_lyrae"]
    assert np.isnan(dataset.column("mira")[kinds == "LPV"]).all()
    assert (dataset.column("vnv") == 1).all()
    assert dataset.column("mp")[0] == 1
    assert dataset.column("labelled_by")[0] == "ada"


@pytest.mark.real_data
def test_half_periods_are_known_where_the_catalogue_has_one(made: tuple[Path, Dataset, Path]) -> None:
    _, dataset, _ = made
    known = np.isfinite(dataset.column("catalogue_period"))
    assert (dataset.column("hp")[known] == 1).all()
    assert (dataset.column("dp")[known] == 0).all()
    assert np.isnan(dataset.column("wp")[~known]).all()


@pytest.mark.real_data
def test_a_star_without_a_light_curve_is_named(made: tuple[Path, Dataset, Path], tmp_path: Path) -> None:
    other = tmp_path / "curves.csv"
    other.write_text("id,mjd,mag,magerr\n" + "".join(f"x,{k},{k % 3},0.1\n" for k in range(9)))
    with pytest.raises(DatasetError, match="no light curve of"):
        scope_set(made[0], other, tmp_path / "out")


@pytest.mark.parametrize(
    ("found", "true", "expected"),
    [
        (0.5, 0.5, {"wp": 0, "hp": 0, "dp": 0}),
        (0.5012, 0.5, {"wp": 0, "hp": 0, "dp": 0}),
        (0.25, 0.5, {"wp": 1, "hp": 1, "dp": 0}),
        (1.0, 0.5, {"wp": 1, "hp": 0, "dp": 1}),
        (0.333, 0.5, {"wp": 1, "hp": 0, "dp": 0}),
        (np.nan, 0.5, {}),
        (0.5, np.nan, {}),
    ],
)
def test_a_period_is_judged_by_a_known_one(found: float, true: float, expected: dict[str, float]) -> None:
    assert period_labels(found, true) == expected


def test_parts_have_their_shares_and_follow_from_the_name() -> None:
    parts = Counter(part_of(f"star {k}") for k in range(20000))
    assert parts["test"] / 20000 == pytest.approx(0.25, abs=0.01)
    assert parts["validation"] / 20000 == pytest.approx(0.15, abs=0.01)
    assert part_of("1001004003261") == part_of("1001004003261")
