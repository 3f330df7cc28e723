"""Claims of `learn.checkpoint`: any state comes back as it was, and nothing foreign is taken for one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from astrid.errors import TrainingError
from astrid.learn.checkpoint import load_checkpoint, save_checkpoint

PLAIN = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text()
STATES = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.integers(0, 99) | st.text(), inner) | st.tuples(inner, inner)
    ),
    max_leaves=12,
)


@settings(max_examples=25, deadline=None)
@given(state=st.dictionaries(st.text(), STATES))
def test_state_comes_back_with_its_types(tmp_path_factory, state):
    path = tmp_path_factory.mktemp("state") / "last.safetensors"
    save_checkpoint(path, state)
    assert load_checkpoint(path) == state


def test_state_of_an_optimizer_goes_on_as_if_nothing_had_happened(tmp_path):
    def step(network, optimizer):
        optimizer.zero_grad()
        network(torch.ones(2, 3)).square().sum().backward()
        optimizer.step()

    torch.manual_seed(0)
    networks = [torch.nn.Linear(3, 2) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    first, second = (torch.optim.Adam(network.parameters(), 0.1) for network in networks)
    for _ in range(3):
        step(networks[0], first)
    save_checkpoint(
        tmp_path / "state", {"network": networks[0].state_dict(), "optimizer": first.state_dict()}
    )
    state = load_checkpoint(tmp_path / "state")
    networks[1].load_state_dict(state["network"])
    second.load_state_dict(state["optimizer"])
    for network, optimizer in zip(networks, (first, second), strict=True):
        step(network, optimizer)
    assert torch.equal(networks[0].weight, networks[1].weight)


def test_tensors_that_share_memory_or_lie_channels_last_are_kept(tmp_path):
    weight = torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last)
    save_checkpoint(tmp_path / "state", {"one": weight, "same": weight, "number": torch.tensor(3)})
    state = load_checkpoint(tmp_path / "state")
    assert torch.equal(state["one"], weight)
    assert torch.equal(state["same"], weight)
    assert state["number"].shape == ()


def test_what_cannot_be_kept_is_named(tmp_path):
    with pytest.raises(TrainingError, match="a state with a function cannot be kept"):
        save_checkpoint(tmp_path / "state", {"factor": test_what_cannot_be_kept_is_named})
    assert not (tmp_path / "state").exists()


def test_damaged_foreign_or_newer_file_is_refused(tmp_path):
    path = tmp_path / "last.safetensors"
    with pytest.raises(TrainingError, match="is no state of a training"):
        load_checkpoint(path)
    path.write_bytes(b"\x80\x04 a pickle")
    with pytest.raises(TrainingError, match="is no state of a training"):
        load_checkpoint(path)
    save_file({"weight": torch.ones(2)}, path)
    with pytest.raises(TrainingError, match="is no state of a training"):
        load_checkpoint(path)
    save_file({}, path, {"format": "2", "state": "{}"})
    with pytest.raises(TrainingError, match="is of format 2; update AstrID"):
        load_checkpoint(path)
