"""The Open Inference Protocol: its paths, its tensors, and what is none of them."""

from __future__ import annotations

import numpy as np
import pytest

from astrid.learn.prediction import Predictor
from astrid.learn.registry import find_bundle

MODEL = "/v2/models/braai.sim1"


def question(stack: np.ndarray, **more) -> dict:
    tensor = {
        "name": "triplet",
        "shape": list(stack.shape),
        "datatype": "FP32",
        "data": stack.ravel().tolist(),
    }
    return {"inputs": [tensor], **more}


@pytest.fixture(scope="module")
def stack() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, 63, 63, 3)).astype(np.float32)


def test_the_mandatory_paths_are_there(client):
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2").json()["name"] == "astrid"
    facts = client.get(MODEL).json()
    assert facts["inputs"] == [{"name": "triplet", "datatype": "FP32", "shape": [-1, 63, 63, 3]}]
    version = facts["versions"][0]
    for path in (MODEL, f"{MODEL}/versions/{version}"):
        assert client.get(path).json() == facts
        assert client.get(f"{path}/ready").json() == {"name": "braai.sim1", "ready": True}
    assert client.get(f"{MODEL}/versions/1").status_code == 404
    assert client.get("/v2/models/none").status_code == 404


def test_an_answer_is_that_of_the_predictor_with_flat_and_nested_data(client, stack):
    wanted = Predictor(find_bundle("braai.sim1"))({"triplet": stack}, spread=False).heads["real"]
    flat = client.post(f"{MODEL}/infer", json=question(stack, id="x")).json()
    nested = question(stack)
    nested["inputs"][0]["data"] = stack.tolist()
    version = find_bundle("braai.sim1").hash[:12]
    other = client.post(f"{MODEL}/versions/{version}/infer", json=nested).json()
    assert flat["id"] == "x"
    assert flat["outputs"] == other["outputs"]
    outputs = {one["name"]: one for one in flat["outputs"]}
    assert outputs["real"]["data"] == pytest.approx(wanted.values[:, 0].tolist(), abs=1e-6)
    assert outputs["real_decision"]["data"] == wanted.decision.tolist()
    told = client.get(MODEL).json()["outputs"]
    assert [(one["name"], one["datatype"], one["shape"][1:]) for one in told] == [
        (one["name"], one["datatype"], one["shape"][1:]) for one in flat["outputs"]
    ]


def test_only_the_outputs_that_are_wanted_are_given(client, stack):
    body = client.post(f"{MODEL}/infer", json=question(stack, outputs=[{"name": "real"}])).json()
    assert [one["name"] for one in body["outputs"]] == ["real"]


@pytest.mark.parametrize("name", ["dmdt.crts1", "crts_trees.crts1", "tess_transits.real1", "braai.real1"])
def test_every_model_can_be_asked_by_tensors(client, name):
    facts = client.get(f"/v2/models/{name}").json()
    inputs = [
        {**one, "shape": [2, *one["shape"][1:]], "data": np.zeros((2, *one["shape"][1:])).tolist()}
        for one in facts["inputs"]
    ]
    body = client.post(f"/v2/models/{name}/infer", json={"inputs": inputs}).json()
    assert {one["name"] for one in body["outputs"]} <= {one["name"] for one in facts["outputs"]}
    assert all(len(one["data"]) == np.prod(one["shape"]) for one in body["outputs"])


def changed(**facts) -> dict:
    tensor = {"name": "triplet", "shape": [1, 63, 63, 3], "datatype": "FP32", "data": [0.0] * 63 * 63 * 3}
    return {"inputs": [{**tensor, **facts}]}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422), ([], 422), ("text", 422), ({"inputs": []}, 422), ({"inputs": [1]}, 422),
        (changed(name="x"), 422),
        (changed(shape=[1]), 422), (changed(shape=[-1, 63, 63, 3]), 422), (changed(shape=[1e3]), 422),
        (changed(shape=[2**62, 2**62, 2]), 422), (changed(shape=[0, 63, 63, 3], data=[]), 422),
        (changed(data=[["x"]]), 422), (changed(data=[[1], [2, 3]]), 422), (changed(data="text"), 422),
        (changed(data=[None] * 63 * 63 * 3), 422), (changed(data=[1e300] * 63 * 63 * 3), 422),
        (changed(data=[{}] * 63 * 63 * 3), 422), (changed(datatype="BYTES"), 422), (changed(datatype=7), 422),
        (changed(shape=[1, 63, 63, 3, 1, 1, 1, 1, 1, 1]), 422), ({**changed(),
        "outputs": [{"name": "x"}]}, 422),
        ({**changed(), "outputs": 3}, 422), ({**changed(), "id": 3}, 422),
    ],
)  # fmt: skip
def test_what_is_no_question_is_refused_in_a_sentence(client, body, status):
    answer = client.post(f"{MODEL}/infer", json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]


def test_models_are_listed_with_what_is_known_of_them(client):
    listed = {one["name"]: one for one in client.get("/api/v1/models").json()["models"]}
    assert listed["braai.sim1"]["stage"] == "live"
    assert listed["braai.sim1"]["kind"] == "triplets"
    assert {one["kind"] for one in listed.values()} >= {"triplets", "light curves", "transits"}
    card = client.get("/api/v1/models/braai.sim1").json()["card"]
    assert card["task"]["name"] == "braai"
    assert client.get("/api/v1/models/live").json()["name"] == "braai.sim1"
    assert client.get("/api/v1/models/none").status_code == 404
