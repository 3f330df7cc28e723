"""The network of several branches: each kind of input counts, and a graph of it is the same."""

from __future__ import annotations

import pytest
import torch

from astrid.errors import UsageError
from astrid.learn.graph import largest_difference, to_onnx
from astrid.learn.task import Binary, Input, Multiclass, Task
from astrid.learn.uncertainty import Members
from astrid.networks.branches import Branches

INPUTS = {"features": (7,), "folded": (81, 2), "dmdt": (26, 26, 1)}
OUTPUTS = {"planet": 1, "kind": 3}


def batch(n: int = 4) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {name: torch.randn(n, *shape, generator=generator) for name, shape in INPUTS.items()}


def test_every_input_changes_every_head():
    torch.manual_seed(1)
    network = Branches(INPUTS, OUTPUTS).eval()
    given = batch()
    before = network(**given)
    for name in INPUTS:
        after = network(**{**given, name: -given[name]})
        assert all((after[head] - before[head]).abs().max() > 1e-6 for head in OUTPUTS), name


def test_numbers_are_judged_by_their_spread_in_training_and_curves_are_clipped():
    torch.manual_seed(1)
    network = Branches(INPUTS, OUTPUTS)
    scale = torch.tensor([1.0, 1e3, 1e-3, 1, 1, 1, 1])
    for _ in range(200):
        many = batch(64)
        network(**{**many, "features": many["features"] * scale + 5})
    network.eval()
    given = batch()
    given["features"] = given["features"] * scale + 5
    far = {**given, "features": given["features"] + 1e3 * scale, "folded": given["folded"] * 1e4}
    farther = {**given, "features": given["features"] + 1e6 * scale, "folded": given["folded"] * 1e6}
    torch.testing.assert_close(network(**far)["kind"], network(**farther)["kind"])


def test_onnx_gives_what_torch_gives_for_any_number_of_items():
    task = Task(
        name="toy",
        inputs={name: Input(shape=shape) for name, shape in INPUTS.items()},
        heads={"planet": Binary(labels=("no", "yes")), "kind": Multiclass(labels=("a", "b", "c"))},
        network="astrid.networks.branches:Branches",
        network_options={"separable": False},
    )
    torch.manual_seed(0)
    members = Members([task.build_network().eval()], task)
    assert largest_difference(members, to_onnx(members, task), task) < 1e-5


def test_a_batch_of_one_item_can_be_learned_from():
    network = Branches(INPUTS, OUTPUTS).train()
    loss = sum(value.sum() for value in network(**batch(1)).values())
    loss.backward()
    assert torch.isfinite(loss)


def test_an_input_of_another_rank_is_refused():
    with pytest.raises(UsageError, match="the input cube has 4 axes; give numbers, curves or images"):
        Branches({"cube": (3, 3, 3, 3)}, OUTPUTS)


def test_curves_brought_to_a_few_numbers_leave_room_for_the_others():
    torch.manual_seed(0)
    options = {"numbers": [8], "curves": 4, "growth": 1, "convolutions": 1, "summary": 3, "joint": 5}
    network = Branches({"folded": (81, 2), "features": (7,)}, {"planet": 1}, **options).eval()
    given = {name: batch()[name] for name in ("folded", "features")}
    assert network.joint[1].in_features == 3 + 8
    assert sum(isinstance(one, torch.nn.Conv1d) for one in network.modules()) == 3
    assert {one.out_channels for one in network.modules() if isinstance(one, torch.nn.Conv1d)} == {4}
    assert network(**given)["planet"].shape == (4, 1)
