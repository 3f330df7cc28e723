"""The benchmark of the service asks what it says, and counts what fails."""

from __future__ import annotations

import numpy as np
import pytest

from astrid.bench._serve_load import Call, crowd, load, npz, started, tensors
from astrid.store import open_store


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "store"
    open_store(folder).close()
    with started(folder) as found:
        yield found


def test_every_answer_is_timed_and_refusals_are_counted(server):
    stack = np.zeros((2, 63, 63, 3), np.float32)
    json, raw = {"Content-Type": "application/json"}, {"Content-Type": "application/octet-stream"}
    good = [
        Call("npz", "POST", "/api/v1/classify/triplets", npz(stack), raw, 2),
        Call("tensors", "POST", "/v2/models/live/infer", tensors(stack), json, 2),
    ]
    found = load(server, good, 2, 1.0)
    assert found.failed == 0
    assert len(found.latencies) > 2
    assert found.cpu > 0
    assert 0 < found.percentile(50) <= found.percentile(99)
    assert found.rate == pytest.approx(len(found.latencies) / found.seconds)
    bad = load(server, [Call("none", "GET", "/api/v1/models/none")], 1, 0.3)
    assert bad.failed == len(bad.latencies) > 0
    assert server.memory() > 50


def test_slow_and_broken_clients_do_not_stop_a_good_one(server):
    with crowd(server, 60) as connected:
        found = load(server, [Call("models", "GET", "/api/v1/models")], 1, 1.0)
        assert connected() == 60
    assert found.failed == 0
    assert len(found.latencies) > 5
