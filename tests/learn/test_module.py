"""Claims of `learn.module`: schedules of the papers, the average of the weights, every kind of head."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

from astrid.learn.dataset import Dataset, DatasetWriter
from astrid.learn.losses import Objective
from astrid.learn.module import Learner, rate_factor
from astrid.learn.settings import Loss, Optimizer, Schedule, Split, Training
from astrid.learn.task import Binary, HeatMap, Input, Multiclass, Multilabel, Regression, Task
from astrid.learn.tracking import read_metrics
from astrid.learn.training import train

QUICK = Training(
    epochs=3, batch_size=64, optimizer=Optimizer(lr=0.01), trackers=(), accelerator="cpu", threads=1,
    split=Split(validation=0.2, test=0.2),
)  # fmt: skip


def torchs(scheduler, **options) -> np.ndarray:
    """Learning rates of 100 steps of one of torch's schedules, from a rate of 1."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = scheduler(optimizer, **options)
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return np.array(rates)


def ours(**facts) -> np.ndarray:
    return np.array([rate_factor(Schedule(**facts), step, 100) for step in range(100)])


def test_cosine_is_torchs():
    np.testing.assert_allclose(ours(name="cosine"), torchs(CosineAnnealingLR, T_max=100, eta_min=1e-3))


def test_one_cycle_rises_and_falls_as_torchs():
    expected = torchs(
        OneCycleLR, max_lr=1.0, total_steps=100, pct_start=0.3, div_factor=25, cycle_momentum=False,
        final_div_factor=1000 / 25,
    )  # fmt: skip
    # torch reaches both ends one step earlier
    np.testing.assert_allclose(ours(name="one_cycle"), expected, atol=0.06)
    found = ours(name="one_cycle")
    assert found[0] == pytest.approx(1 / 25)
    assert int(found.argmax()) == 30
    assert found[-1] < 0.005


def test_warm_up_is_a_line_to_the_full_rate():
    found = ours(name="constant", warmup=0.2)
    np.testing.assert_allclose(np.diff(found[:21]), (1 - 1e-3) / 20)
    assert (found[20:] == 1).all()
    cosine = ours(name="cosine", warmup=0.2)
    assert cosine[20] == 1
    assert (np.diff(cosine[20:]) < 0).all()


def learner(task, **settings) -> Learner:
    network = task.build_network()
    return Learner(task, Training(**settings), network, Objective(task.heads, Loss()))


def test_average_is_the_exponential_one(toy_task):
    torch.manual_seed(0)
    module = learner(toy_task, ema=0.75)
    seen = []
    for _ in range(5):
        with torch.no_grad():
            for parameter in module.network.parameters():
                parameter.add_(torch.randn_like(parameter))
        seen.append(module.network.head.weight.detach().clone())
        module.on_train_batch_end(None, None, 0)
    expected = seen[0]
    for weight in seen[1:]:
        expected = 0.75 * expected + 0.25 * weight
    torch.testing.assert_close(module.exported.head.weight, expected)
    assert not any(one.requires_grad for one in module.average.parameters())


def test_without_an_average_the_network_itself_is_kept(toy_task):
    module = learner(toy_task)
    assert module.exported is module.network


def test_weights_lie_channels_last_if_asked(toy_task):
    for wanted in (True, False):
        weight = learner(toy_task, channels_last=wanted).network.convolution.weight
        assert weight.is_contiguous(memory_format=torch.channels_last) == wanted


def test_task_with_heads_of_every_kind_is_learned_and_judged(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "every_head.py").write_text(_EVERY_HEAD, "utf-8")
    rng = np.random.default_rng(0)
    n = 240
    inputs = {"image": Input(shape=(6, 6, 1)), "map": Input(shape=(6, 6))}
    image = rng.normal(size=(n, 6, 6, 1)).astype(np.float32)
    high = image.max(axis=(1, 2, 3))
    with DatasetWriter(tmp_path / "data", name="every", inputs=inputs, kind="simulated") as writer:
        writer.append(
            {"image": image, "map": 2 * image[..., 0]},
            {
                "group": [f"g{k % 30}" for k in range(n)],
                "bright": [None if k % 9 == 0 else "yes" if high[k] > 2 else "no" for k in range(n)],
                "third": ["abc"[k % 3] if k % 7 else None for k in range(n)],
                "tags": [["big"] * int(high[k] > 2) + ["odd"] * (k % 2) for k in range(n)],
                "top": [None if k % 5 == 0 else float(high[k]) for k in range(n)],
            },
        )
    task = Task(
        name="every",
        inputs={"image": inputs["image"]},
        heads={
            "bright": Binary(labels=("no", "yes")),
            "third": Multiclass(labels=("a", "b", "c"), weight=0.1),
            "tags": Multilabel(labels=("big", "odd")),
            "height": Regression(names=("top",)),
            "where": HeatMap(shape=(6, 6), truth="map", scales=2),
        },
        network="every_head:EveryHead",
    )
    changes = {"epochs": 12, "augment": "dihedral", "batch_size": 16, "optimizer": Optimizer(lr=0.02)}
    settings = QUICK.model_copy(update=changes)
    found = train(task, Dataset.open(tmp_path / "data"), tmp_path / "run", settings)
    first, *_, last = read_metrics(found.path / "metrics.jsonl")
    kinds = {"bright": ("aucpr", "fnr", "fpr"), "third": ("aucpr", "balanced_accuracy"), "tags": ("aucpr",)}
    kinds |= {"height": ("mae", "bias"), "where": ("mae",)}
    for head, names in kinds.items():
        assert {f"validation/{head}/{name}" for name in ("loss", *names)} <= set(last)
    assert last["validation/bright/aucpr"] > 0.9
    assert last["validation/height/mae"] < 0.5 * first["validation/height/mae"]
    assert last["validation/where/mae"] < 0.5 * first["validation/where/mae"]


_EVERY_HEAD = """
import torch
from torch import nn


class EveryHead(nn.Module):
    head_names = ("heads", "map")
    gradcam_layer = None

    def __init__(self, inputs, outputs):
        super().__init__()
        self.heads = nn.ModuleDict({f"{k}_out": nn.Linear(3, n) for k, n in outputs.items() if k != "where"})
        self.map = nn.Conv2d(1, 1, 1)

    def embed(self, image):
        flat = image.flatten(1)
        return torch.stack([flat.amax(1), flat.mean(1), flat.std(1)], dim=1)

    def forward(self, image):
        features = self.embed(image)
        found = {k.removesuffix("_out"): head(features) for k, head in self.heads.items()}
        return found | {"where": self.map(image.permute(0, 3, 1, 2))[:, 0]}
"""


@pytest.mark.parametrize(
    "changes",
    [
        {
            "optimizer": Optimizer(name="adamw", lr=0.01, weight_decay=0.1),
            "schedule": Schedule(name="cosine"),
        },
        {"optimizer": Optimizer(name="sgd", lr=0.05), "schedule": Schedule(name="constant", warmup=0.5)},
        {"precision": "bf16", "schedule": Schedule(name="plateau", warmup=0.1), "workers": 1},
        {"precision": "auto", "sampling": "balanced", "channels_last": False},
    ],
)
def test_every_way_of_training_lowers_the_loss(toy_task, toy_dataset, tmp_path, changes):
    options = {"network": "astrid.networks.dense:Dense", "network_options": {"hidden": [16], "dropout": 0.3}}
    found = train(
        toy_task.model_copy(update=options), toy_dataset, tmp_path / "run", QUICK.model_copy(update=changes)
    )
    losses = [one["training/loss"] for one in read_metrics(found.path / "metrics.jsonl")]
    assert losses[-1] < losses[0]
