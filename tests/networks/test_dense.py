"""A multilayer perceptron on named inputs."""

from __future__ import annotations

import pytest
import torch

from astrid.errors import UsageError
from astrid.networks.dense import Dense

INPUTS = {"features": (5,), "dmdt": (4, 3)}


def test_inputs_are_joined_in_the_order_of_the_task_whatever_the_order_of_the_call() -> None:
    network = Dense(INPUTS, {"type": 3, "keys": 1}).eval()
    x = {"dmdt": torch.randn(2, 4, 3), "features": torch.randn(2, 5)}
    joined = torch.cat([x["features"], x["dmdt"].flatten(1)], 1)
    expected = network.heads["type_out"](network.trunk(network.standardize(joined)))
    outputs = network(**x)
    torch.testing.assert_close(outputs["type"], expected)
    assert outputs["keys"].shape == (2, 1)
    assert network.embed(**x).shape == (2, 64)


def test_scale_and_offset_of_the_numbers_do_not_matter_in_training() -> None:
    torch.manual_seed(0)
    network = Dense({"x": (3,)}, {"y": 1})
    x = torch.randn(50, 3)
    torch.testing.assert_close(network(x=x)["y"], network(x=1e3 * x + 1e4)["y"], rtol=1e-3, atol=1e-3)


def test_a_batch_of_one_item_can_be_trained_on() -> None:
    network = Dense({"x": (3,)}, {"y": 1}).train()
    assert torch.isfinite(network(x=torch.ones(1, 3))["y"]).all()


def test_no_hidden_layer_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one hidden layer"):
        Dense({"x": (3,)}, {"y": 1}, hidden=())
