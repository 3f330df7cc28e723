"""Passes with frozen dropout and members of an ensemble."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from astrid.errors import UsageError
from astrid.learn.graph import Graph, to_onnx
from astrid.learn.task import Binary, Input, Task
from astrid.learn.uncertainty import Members, Passes, has_dropout
from astrid.zoo.braai import BRAAI

TASK = Task(
    name="toy",
    inputs={"a": Input(shape=(6,)), "b": Input(shape=(4,))},
    heads={"y": Binary(labels=("no", "yes"))},
    network="somebody:Net",
)


class Net(nn.Module):
    """Dropout at two places; with `joined`, a branch without dropout joins after the first."""

    def __init__(self, joined: bool = False, rate: float = 0.3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.joined = joined
        self.first, self.second, self.last = nn.Linear(6, 16), nn.Linear(20, 8), nn.Linear(8, 1)
        self.drop1, self.drop2 = nn.Dropout(rate), nn.Dropout(0.5 if rate else 0.0)

    def forward(self, a: Tensor, b: Tensor) -> dict[str, Tensor]:
        if self.joined:
            x = torch.cat([self.drop1(self.first(a).relu()), b], dim=1)
        else:
            x = self.drop1(torch.cat([self.first(a).relu(), b], dim=1))
        return {"y": self.last(self.drop2(self.second(x).relu()))}


class Twice(Net):
    def forward(self, a: Tensor, b: Tensor) -> dict[str, Tensor]:
        return super().forward(self.drop1(a), b)


def items(n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    return torch.randn(n, 6, generator=generator), torch.randn(n, 4, generator=generator)


@pytest.mark.parametrize("joined", [False, True])
def test_each_pass_is_the_network_with_one_drawn_mask(joined: bool) -> None:
    network = Net(joined).eval()
    passes = Passes(network, TASK, 5, seed=3)
    assert passes.early == joined
    (found,) = passes(*items(4))
    keep1, keep2 = passes.network.drop1.keep, passes.network.drop2.keep
    for k in range(5):
        network.drop1.forward = lambda x, k=k: x * keep1[k] / 0.7
        network.drop2.forward = lambda x, k=k: x * keep2[k] / 0.5
        torch.testing.assert_close(network(*items(4))["y"], found[k])


def test_the_spread_is_that_of_live_dropout() -> None:
    network = Net()
    a, b = (one[:1] for one in items(2))
    (frozen,) = Passes(network, TASK, 4000, seed=0)(a, b)
    network.train()
    live = network(a.expand(4000, -1), b.expand(4000, -1))["y"]
    assert frozen.std().item() == pytest.approx(live.std().item(), rel=0.05)
    assert frozen.mean().item() == pytest.approx(live.mean().item(), abs=0.05 * live.std().item())


def test_masks_follow_from_the_seed_and_are_shared_by_all_items() -> None:
    network, (a, b) = Net().eval(), items(3)
    one, same, other = (Passes(network, TASK, 8, seed)(a, b)[0] for seed in (1, 1, 2))
    torch.testing.assert_close(one, same, rtol=0, atol=0)
    assert not torch.allclose(one, other)
    torch.testing.assert_close(Passes(network, TASK, 8, 1)(a[1:2], b[1:2])[0], one[:, 1:2])


def test_the_network_itself_is_not_changed() -> None:
    network = Net().eval()
    before = network(*items(2))["y"]
    Passes(network, TASK, 4, seed=0)
    torch.testing.assert_close(network(*items(2))["y"], before, rtol=0, atol=0)
    assert isinstance(network.drop1, nn.Dropout)


def test_whole_channels_are_dropped_where_the_network_does_so() -> None:
    task = TASK.model_copy(update={"inputs": {"x": Input(shape=(3, 5, 5))}})

    class Maps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop, self.last = nn.Dropout2d(0.5), nn.Linear(75, 1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"y": self.last(self.drop(x).flatten(1))}

    assert Passes(Maps(), task, 6, seed=0).network.drop.keep.shape == (6, 1, 3, 1, 1)


def test_a_network_without_dropout_and_odd_dropouts_are_refused() -> None:
    assert has_dropout(Net())
    assert not has_dropout(Net(rate=0.0))
    with pytest.raises(UsageError, match="has no dropout; export without its passes"):
        Passes(Net(rate=0.0), TASK, 4, seed=0)
    with pytest.raises(UsageError, match=r"uses drop1 at two places; give each place its own nn\.Dropout"):
        Passes(Twice(), TASK, 4, seed=0)
    network = Net()
    network.drop2 = nn.AlphaDropout(0.5)
    with pytest.raises(UsageError, match="AlphaDropout cannot be frozen"):
        Passes(network, TASK, 4, seed=0)


def test_members_are_side_by_side() -> None:
    networks = [Net().eval(), Net().eval()]
    with torch.no_grad():
        networks[1].last.bias += 1
    (found,) = Members(networks, TASK)(*items(3))
    assert found.shape == (2, 3, 1)
    torch.testing.assert_close(found[1] - found[0], torch.ones(3, 1))


def test_the_passes_of_braai_begin_after_its_first_block_and_cost_less_for_it() -> None:
    passes = Passes(BRAAI.build_network(), BRAAI, 5, seed=0)
    assert not passes.early
    model = to_onnx(passes, BRAAI)
    assert len(model) < 1.5e6  # the masks are bytes
    x = np.random.default_rng(0).normal(100, 7, (2, 63, 63, 3)).astype(np.float32)
    one, again = (Graph(model, BRAAI).logits({"triplet": x})["real"] for _ in range(2))
    assert one.shape == (5, 2, 1)
    np.testing.assert_array_equal(one, again)
    assert (one.std(axis=0) > 0).all()
