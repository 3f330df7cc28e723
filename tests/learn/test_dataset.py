"""Data sets: what was written is what is read, damage is noticed, and labels mean what they say."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from astrid.errors import DatasetError
from astrid.learn.dataset import Dataset, DatasetWriter, class_counts
from astrid.learn.task import Binary, HeatMap, Input, Multiclass, Multilabel, Regression, Task

INPUT = {"x": Input(shape=(3,), channels=("a", "b", "c"))}


def write(path, x=None, inputs=INPUT, batches=2, **columns):
    n = len(next(iter(columns.values())))
    x = np.arange(n * 3, dtype=np.float32).reshape(n, 3) if x is None else x
    with DatasetWriter(path, name="toy", inputs=inputs, kind="simulated") as writer:
        for part in np.array_split(np.arange(n), batches):
            rows = {name: [values[i] for i in part] for name, values in columns.items()}
            writer.append({"x": x[part]}, rows)
    return path


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    arrays.arrays(
        np.float32,
        arrays.array_shapes(min_dims=2, max_dims=4, max_side=5),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    ),
    st.integers(1, 3),
)
def test_arrays_come_back_as_they_were(tmp_path, values, batches):
    inputs = {"x": Input(shape=values.shape[1:])}
    path = write(tmp_path / "set", values, inputs, batches, group=["g"] * len(values))
    found = Dataset.open(path, verify=True)
    np.testing.assert_array_equal(found.arrays["x"], values)
    assert len(found) == len(values)


def test_the_arrays_stay_on_the_disk(tmp_path):
    found = Dataset.open(write(tmp_path / "set", group=["a", "b"]))
    assert isinstance(found.arrays["x"], np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        found.arrays["x"][0] = 1


def test_labels_of_every_kind_of_head(tmp_path):
    path = write(
        tmp_path / "set",
        group=["a", "a", "b"],
        real=["real", None, "bogus"],
        chance=[0.25, 1.0, None],
        kind=["sn", "agn", None],
        tags=[["ghost", "spike"], [], None],
        z=[0.1, None, 0.3],
    )
    found = Dataset.open(path)
    np.testing.assert_array_equal(found.labels("real", Binary(labels=("bogus", "real"))), [1, np.nan, 0])
    np.testing.assert_array_equal(found.labels("chance", Binary(labels=("no", "yes"))), [0.25, 1, np.nan])
    np.testing.assert_array_equal(found.labels("kind", Multiclass(labels=("agn", "sn"))), [1, 0, -1])
    tags = found.labels("tags", Multilabel(labels=("ghost", "spike")))
    np.testing.assert_array_equal(tags, [[1, 1], [0, 0], [np.nan, np.nan]])
    np.testing.assert_allclose(found.labels("z", Regression(names=("z",)))[:, 0], [0.1, np.nan, 0.3])
    assert class_counts(
        found.labels("real", Binary(labels=("bogus", "real"))), Binary(labels=("a", "b"))
    ).tolist() == [1, 1]
    with pytest.raises(DatasetError, match="row 0 has the label 'sn'"):
        found.labels("kind", Multiclass(labels=("agn", "tde")))
    with pytest.raises(DatasetError, match="no array 'map'"):
        found.labels("map", HeatMap(shape=(2, 2), truth="map"))


@pytest.mark.parametrize(
    ("batch", "sentence"),
    [
        (({"x": np.zeros((2, 4))}, {"group": ["a", "b"]}), r"shape \(2, 4\), expected \(2, 3\)"),
        (({"x": np.zeros((1, 3))}, {"group": ["a", "b"]}), "one item of shape"),
        (({"x": np.full((2, 3), np.nan)}, {"group": ["a", "b"]}), "row 0 is not finite"),
        (({}, {"group": ["a", "b"]}), "no array 'x'"),
        (({"x": np.zeros((2, 3))}, {"real": ["a", "b"]}), "no column 'group'"),
    ],
)
def test_a_batch_that_does_not_fit_leaves_nothing_behind(tmp_path, batch, sentence):
    with (
        pytest.raises(DatasetError, match=sentence),
        DatasetWriter(tmp_path / "set", name="toy", inputs=INPUT, kind="simulated") as writer,
    ):
        writer.append(*batch)
    assert list(tmp_path.iterdir()) == []


def test_a_data_set_without_items_is_refused(tmp_path):
    with (
        pytest.raises(DatasetError, match="no item was written"),
        DatasetWriter(tmp_path / "set", name="toy", inputs=INPUT, kind="simulated"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_damage_is_named(tmp_path):
    path = write(tmp_path / "set", group=["a", "b"])
    with pytest.raises(DatasetError, match="is no data set"):
        Dataset.open(tmp_path)
    content = (path / "x.npy").read_bytes()
    (path / "x.npy").write_bytes(content[:-4] + b"\0\0\0\x40")
    assert len(Dataset.open(path)) == 2
    with pytest.raises(DatasetError, match=r"x\.npy: its content is not"):
        Dataset.open(path, verify=True)
    (path / "x.npy").write_bytes(content[:-4])
    with pytest.raises(DatasetError, match=r"x\.npy: cannot be read"):
        Dataset.open(path)
    info = json.loads((path / "dataset.json").read_text())
    (path / "dataset.json").write_text(json.dumps(info | {"format": 99}))
    with pytest.raises(DatasetError, match="is of format 99"):
        Dataset.open(path)
    (path / "dataset.json").write_text("{")
    with pytest.raises(DatasetError, match=r"dataset\.json: cannot be read"):
        Dataset.open(path)


@pytest.mark.parametrize(
    ("inputs", "real", "sentence"),
    [
        ({"x": Input(shape=(4,))}, ["real", "bogus"], "items of shape"),
        ({"y": Input(shape=(3,))}, ["real", "bogus"], "no input 'y'"),
        ({"x": Input(shape=(3,), channels=("b", "a", "c"))}, ["real", "bogus"], "write them in that order"),
        (INPUT, ["real", "real"], "no row of real is 'bogus'"),
        (INPUT, [None, None], "no row has a label"),
    ],
)
def test_what_a_task_cannot_learn_from_is_said(tmp_path, inputs, real, sentence):
    found = Dataset.open(write(tmp_path / "set", group=["a", "b"], real=np.array(real, object)))
    task = Task(
        name="toy", inputs=inputs, heads={"real": Binary(labels=("bogus", "real"))}, network="nowhere:Net"
    )
    with pytest.raises(DatasetError, match=sentence):
        found.check(task)
