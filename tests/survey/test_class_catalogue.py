"""The columns of the public catalogue."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from astrid.catalogs.layout import Cell, PartitionWriter, read_layout, read_partition
from astrid.errors import DataError, UsageError
from astrid.learn.bundle import Bundle, Card, Decision, HeadCard
from astrid.lightcurves.classes import taxonomy
from astrid.survey.class_catalogue import (
    catalogue_schema,
    class_columns,
    public_catalogue,
    publish,
    suffix_of,
)
from astrid.zoo.braai import BRAAI
from astrid.zoo.scope import SCOPE, SCOPE_DNN

CODES = ("rrlyr", "rrab", "rrc")


def bundle(task: object = SCOPE, codes: tuple[str, ...] = CODES) -> Bundle:
    """A bundle that only has a card; the thresholds are 0.6, 0.7 and 0.8."""
    heads = {code: task.heads[code] for code in codes}
    cards = {
        code: HeadCard(decision=Decision(threshold=0.6 + 0.1 * k, rule="by hand"))
        for k, code in enumerate(codes)
    }
    card = Card(
        name=f"{task.name}.t1",
        task=task.model_copy(update={"heads": heads}),
        created="2026-01-01",
        heads=cards,
        limits="of toys",
    )
    return Bundle(Path("nowhere"), card, "f" * 64)


def test_every_column_says_what_it_is_and_from_which_model() -> None:
    trees, network = bundle(), bundle(SCOPE_DNN)
    schema = catalogue_schema(trees, network)
    assert (suffix_of(trees), suffix_of(network)) == ("xgb", "dnn")
    assert schema.names[:7] == [
        "id", "ra", "dec", "period", "rrlyr_xgb", "rrlyr_xgb_consistent", "rrlyr_xgb_decision",
    ]  # fmt: skip
    assert len(schema) == 4 + 2 * (3 * 3 + 1)
    assert all(field.metadata[b"description"] for field in schema)
    assert schema.field("period").metadata[b"unit"] == b"d"
    assert b"scope.t1 (ffffffffffff)" in schema.field("rrab_xgb").metadata[b"description"]
    facts = json.loads(schema.metadata[b"bundles"])
    assert facts["xgb"]["hash"] == "f" * 64
    assert facts["dnn"]["thresholds"] == pytest.approx({"rrlyr": 0.6, "rrab": 0.7, "rrc": 0.8})
    assert facts["xgb"]["limits"] == "of toys"


def test_a_class_is_decided_by_its_threshold_or_by_a_class_within_it() -> None:
    said = {"rrlyr": [0.9, 0.5, 0.65], "rrab": [0.71, 0.2, 0.9], "rrc": [0.1, 0.2, 0.1]}
    found = class_columns(bundle(), {code: np.array(values) for code, values in said.items()})
    assert found["rrab_xgb"].tolist() == pytest.approx([0.71, 0.2, 0.9])
    assert found["rrab_xgb_consistent"].tolist() == pytest.approx([0.71, 0.2, 0.775])
    assert found["rrlyr_xgb_consistent"].tolist() == pytest.approx([0.9, 0.5, 0.775])
    assert found["rrab_xgb_decision"].tolist() == [True, False, True]
    assert found["rrlyr_xgb_decision"].tolist() == [True, False, True]
    assert found["rrc_xgb_decision"].tolist() == [False, False, False]


def test_decisions_agree_with_the_tree_whatever_the_probabilities() -> None:
    codes = tuple(SCOPE.heads)
    one = bundle_of_all()
    rng = np.random.default_rng(0)
    found = class_columns(one, {code: rng.random(300) for code in codes})
    parents = taxonomy().parents(codes)
    for code in codes:
        if parents[code] is not None:
            child, parent = (found[f"{name}_xgb_decision"] for name in (code, parents[code]))
            assert not (child & ~parent).any()


def bundle_of_all() -> Bundle:
    """With thresholds that are drawn."""
    rng = np.random.default_rng(1)
    cards = {
        code: HeadCard(decision=Decision(threshold=float(rng.uniform(0.3, 0.9)), rule="drawn"))
        for code in SCOPE.heads
    }
    card = Card(name="scope.t2", task=SCOPE, created="2026-01-01", heads=cards)
    return Bundle(Path("nowhere"), card, "e" * 64)


def measured(described: str = "probability by scope.t1 (ffffffffffff)") -> pa.Table:
    """What a run over two sources leaves, one of which could not be classified."""
    table = pa.table(
        {
            "_healpix_29": [1, 2],
            "name": ["a", "b"],
            "right": [1.0, 2.0],
            "dec": [3.0, 4.0],
            "period": [0.5, None],
            **{f"scope_t1_{code}": pa.array([0.9, None], pa.float64()) for code in CODES},
            "scope_t1_applicable": ["", None],
        }
    )
    fields = [field.with_metadata({"description": described}) for field in table.schema]
    return table.cast(pa.schema(fields))


def test_a_measured_table_becomes_a_catalogue_and_unknown_stays_null() -> None:
    found = public_catalogue(measured(), bundle(), names={"id": "name", "ra": "right"})
    assert found.schema.equals(catalogue_schema(bundle()), check_metadata=True)
    assert found["rrab_xgb_decision"].to_pylist() == [True, None]
    assert found["rrab_xgb"].to_pylist() == [pytest.approx(0.9), None]
    assert found["id"].to_pylist() == ["a", "b"]


def run_of(folder: Path, table: pa.Table) -> Path:
    """A catalogue of one partition."""
    writer = PartitionWriter(folder, table.schema)
    writer.write(Cell(0, 0), table)
    facts = {"hats_col_ra": "right", "hats_col_dec": "dec", "astrid_col_id": "name", "obs_collection": "run"}
    writer.finish(facts)
    return folder


def test_a_run_becomes_a_catalogue_that_others_can_open(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", measured())
    counts = publish(run, tmp_path / "public", [bundle()])
    assert counts["rows"] == 2
    assert counts["decided"] == {"rrlyr_xgb_decision": 1, "rrab_xgb_decision": 1, "rrc_xgb_decision": 1}
    layout = read_layout(tmp_path / "public")
    again = read_partition(layout, layout.cells[0], layout.schema.names)
    assert again["id"].to_pylist() == ["a", "b"]
    assert layout.schema.field("rrab_xgb").metadata[b"description"]
    assert "f" * 64 in layout.properties["astrid_bundles"]
    hats = pytest.importorskip("hats")
    assert hats.read_hats(tmp_path / "public").schema.field("rrab_xgb") is not None


def test_columns_of_another_bundle_are_refused(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", measured("probability by scope.t1 (000000000000)"))
    with pytest.raises(DataError, match=r"scope_t1_rrlyr is not of scope\.t1"):
        publish(run, tmp_path / "public", [bundle()])
    with pytest.raises(DataError, match=r"--classify scope_dnn\.t1"):
        publish(run, tmp_path / "public", [bundle(SCOPE_DNN)])
    assert not (tmp_path / "public").exists()


def test_what_is_no_catalogue_of_classes_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one"):
        catalogue_schema()
    with pytest.raises(UsageError, match="one of each kind"):
        catalogue_schema(bundle(), bundle())
    with pytest.raises(UsageError, match="no class of the trees"):
        catalogue_schema(bundle(BRAAI, ("real",)))
    with pytest.raises(DataError, match="no column 'id'"):
        public_catalogue(pa.table({"a": [1]}), bundle())
