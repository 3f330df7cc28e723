"""Claims of `learn.losses`: torch's own losses, closed forms, and what is not labelled does not count."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from astrid.errors import UsageError
from astrid.learn.losses import Objective, class_balanced_weights, cost_weights, head_loss
from astrid.learn.settings import Loss
from astrid.learn.task import Binary, Cost, HeatMap, Multiclass, Multilabel, Regression

YES_NO = Binary(labels=("no", "yes"))
ABC = Multiclass(labels=("a", "b", "c"))
TAGS = Multilabel(labels=("a", "b", "c"))
PAIR = Regression(names=("u", "v"))


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def logits(rng) -> torch.Tensor:
    return 3 * torch.randn(40, 1, generator=rng)


@pytest.fixture
def labels(rng) -> torch.Tensor:
    return torch.randint(2, (40,), generator=rng).float()


@pytest.fixture
def choices(rng) -> tuple[torch.Tensor, torch.Tensor]:
    return 2 * torch.randn(40, 3, generator=rng), torch.randint(3, (40,), generator=rng)


def of(head, name="auto", *, counts=None, weights=None, **facts):
    return head_loss(head, Loss(name=name, **facts), counts=counts, weights=weights)


def test_binary_loss_is_torchs_for_hard_and_soft_labels(logits, labels, rng):
    for truth in (labels, torch.rand(40, generator=rng)):
        expected = functional.binary_cross_entropy_with_logits(logits[:, 0], truth)
        torch.testing.assert_close(of(YES_NO, "bce")(logits, truth), expected)


def test_cross_entropy_is_torchs_with_and_without_smoothing(choices):
    outputs, codes = choices
    torch.testing.assert_close(of(ABC)(outputs, codes), functional.cross_entropy(outputs, codes))
    expected = functional.cross_entropy(outputs, codes, label_smoothing=0.2)
    torch.testing.assert_close(of(ABC, label_smoothing=0.2)(outputs, codes), expected)


def test_binary_smoothing_is_that_of_two_classes(logits, labels):
    two = torch.cat([torch.zeros_like(logits), logits], dim=1)
    expected = functional.cross_entropy(two, labels.long(), label_smoothing=0.1)
    torch.testing.assert_close(of(YES_NO, label_smoothing=0.1)(logits, labels), expected)


def test_focal_without_focusing_is_cross_entropy(logits, labels, choices):
    torch.testing.assert_close(
        of(YES_NO, "focal", gamma=0)(logits, labels), of(YES_NO, "bce")(logits, labels)
    )
    torch.testing.assert_close(of(ABC, "focal", gamma=0)(*choices), of(ABC, "cross_entropy")(*choices))


def test_focal_is_the_closed_form_of_the_paper(logits, labels, choices):
    p = torch.sigmoid(logits[:, 0].double())
    right = torch.where(labels > 0.5, p, 1 - p)
    expected = (-((1 - right) ** 2) * right.log()).mean().float()
    torch.testing.assert_close(of(YES_NO, "focal", gamma=2)(logits, labels), expected)
    outputs, codes = choices
    right = torch.softmax(outputs.double(), 1)[torch.arange(40), codes]
    expected = (-((1 - right) ** 1.5) * right.log()).mean().float()
    torch.testing.assert_close(of(ABC, "focal", gamma=1.5)(outputs, codes), expected)


def test_binary_focal_is_that_of_two_classes(logits, labels):
    two = torch.cat([torch.zeros_like(logits), logits], dim=1)
    pair = of(Multiclass(labels=("no", "yes")), "focal", gamma=2)(two, labels.long())
    torch.testing.assert_close(of(YES_NO, "focal", gamma=2)(logits, labels), pair)


def test_class_balanced_weights_go_from_equal_to_one_over_the_number():
    counts = np.array([900, 90, 9])
    np.testing.assert_allclose(class_balanced_weights(counts, 0.0), 1.0)
    inverse = 1 / counts
    np.testing.assert_allclose(class_balanced_weights(counts, 1 - 1e-9), inverse / inverse.mean(), rtol=1e-5)
    # section 5 of Cui et al.: the effective number of n items
    effective = [sum(0.99**k for k in range(n)) for n in counts]
    ratio = class_balanced_weights(counts, 0.99)
    np.testing.assert_allclose(ratio[0] / ratio[2], effective[2] / effective[0])


def test_class_balanced_focal_weighs_each_class(logits, labels):
    counts = np.array([1000, 10])
    loss = of(YES_NO, "class_balanced_focal", counts=counts, beta=0.99, gamma=2)(logits, labels)
    weights = class_balanced_weights(counts, 0.99)
    parts = [of(YES_NO, "focal", gamma=2)(logits[labels == k], labels[labels == k]) for k in (0, 1)]
    expected = sum(weights[k] * parts[k] * (labels == k).float().mean() for k in (0, 1))
    torch.testing.assert_close(loss, expected)


def test_class_weights_are_torchs_up_to_their_sum(choices):
    outputs, codes = choices
    weights = np.array([0.5, 1.0, 3.0])
    each = functional.cross_entropy(
        outputs, codes, weight=torch.tensor(weights, dtype=torch.float32), reduction="sum"
    )
    torch.testing.assert_close(of(ABC, weights=weights)(outputs, codes), each / 40)
    sure = functional.binary_cross_entropy_with_logits(
        outputs[:, 0], (codes > 0).float(), pos_weight=torch.tensor(4.0)
    )
    found = of(YES_NO, weights=np.array([1.0, 4.0]))(outputs[:, :1], (codes > 0).float())
    torch.testing.assert_close(found, sure)


def test_costs_set_what_a_confident_error_costs():
    head = Binary(labels=("no", "yes"), cost=Cost(miss=20, false_alarm=1))
    np.testing.assert_allclose(cost_weights(head), [2 / 21, 40 / 21])
    loss = of(head, "cost_weighted")
    missed = loss(torch.tensor([[-3.0]]), torch.tensor([1.0]))
    alarm = loss(torch.tensor([[3.0]]), torch.tensor([0.0]))
    assert float(missed / alarm) == pytest.approx(20)
    three = Multiclass(labels=("a", "b", "c"), costs={"a": Cost(miss=7, false_alarm=2)})
    # missing a costs 7 and one false alarm of b or c; missing b costs 1 and half a false alarm of a
    np.testing.assert_allclose(cost_weights(three) * np.mean([8, 2.5, 2.5]), [8, 2.5, 2.5])


def test_costs_of_tags_weigh_each_tag_by_itself():
    head = Multilabel(labels=("a", "b"), costs={"b": Cost(miss=3, false_alarm=1)})
    loss = of(head, "cost_weighted")
    zero, one = torch.zeros(1, 2), torch.tensor([[0.0, 1.0]])
    assert float(loss(zero, one)) == pytest.approx(np.log(2) * (1 + 1.5) / 2)
    assert float(loss(zero, zero)) == pytest.approx(np.log(2) * (1 + 0.5) / 2)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mae", functional.l1_loss),
        ("l1", functional.l1_loss),
        ("mse", functional.mse_loss),
        ("huber", lambda a, b: functional.huber_loss(a, b, delta=0.7)),
        ("auto", lambda a, b: functional.huber_loss(a, b, delta=0.7)),
        ("mbe", lambda a, b: functional.l1_loss(a, b) + 2 * (a - b).mean(0).abs().mean()),
    ],
)
def test_losses_of_numbers_are_torchs(rng, name, expected):
    found, truth = torch.randn(2, 30, 2, generator=rng)
    loss = of(PAIR, name, delta=0.7, bias_weight=2.0)
    torch.testing.assert_close(loss(found, truth), expected(found, truth))


def test_l1_of_maps_is_taken_at_every_scale(rng):
    found, truth = torch.rand(2, 5, 8, 8, generator=rng)
    halved = [one.reshape(5, 4, 2, 4, 2).mean((2, 4)) for one in (found, truth)]
    quartered = [one.reshape(5, 2, 4, 2, 4).mean((2, 4)) for one in (found, truth)]
    pairs = [(found, truth), halved, quartered]
    expected = torch.stack([(a - b).abs().mean() for a, b in pairs]).mean()
    loss = of(HeatMap(shape=(8, 8), truth="map", scales=3))
    torch.testing.assert_close(loss(found, truth), expected)


@pytest.mark.parametrize(
    ("head", "name", "empty"),
    [
        (YES_NO, "bce", torch.nan),
        (YES_NO, "focal", torch.nan),
        (TAGS, "bce", torch.nan),
        (ABC, "cross_entropy", -1),
        (ABC, "focal", -1),
        (PAIR, "mbe", torch.nan),
    ],
)
def test_unlabelled_items_change_neither_loss_nor_gradient(rng, head, name, empty):
    size = head.size
    outputs = torch.randn(20, size, generator=rng, requires_grad=True)
    shape = (20,) if head.kind in ("binary", "multiclass") else (20, size)
    truth = torch.randint(2, shape, generator=rng)
    truth = truth if head.kind == "multiclass" else truth.float()
    truth[10:] = empty
    loss = of(head, name)
    half, whole = loss(outputs[:10], truth[:10]), loss(outputs, truth)
    torch.testing.assert_close(whole, half)
    whole.backward()
    assert torch.isfinite(outputs.grad).all()
    assert (outputs.grad[10:] == 0).all()
    assert (outputs.grad[:10] != 0).any()


def test_batch_without_any_label_has_loss_0_and_gradient_0():
    outputs = torch.ones(4, 1, requires_grad=True)
    loss = of(YES_NO)(outputs, torch.full((4,), torch.nan))
    loss.backward()
    assert loss.detach() == 0
    assert (outputs.grad == 0).all()


def test_heads_add_up_with_their_weights(logits, labels, choices):
    heads = {"real": YES_NO, "type": Multiclass(labels=("a", "b", "c"), weight=0.25)}
    total, parts = Objective(heads, Loss())(
        {"real": logits, "type": choices[0]}, {"real": labels, "type": choices[1]}
    )
    torch.testing.assert_close(total, parts["real"] + 0.25 * parts["type"])
    torch.testing.assert_close(parts["type"], functional.cross_entropy(*choices))


def test_loss_is_computed_in_single_precision_whatever_the_network_gives(logits, labels):
    total, _ = Objective({"real": YES_NO}, Loss())({"real": logits.bfloat16()}, {"real": labels})
    assert total.dtype == torch.float32


def test_loss_for_one_kind_of_head_leaves_the_others_their_own(choices, rng):
    found, truth = torch.randn(2, 40, 2, generator=rng)
    objective = Objective({"type": ABC, "where": PAIR}, Loss(name="focal"))
    _, parts = objective({"type": choices[0], "where": found}, {"type": choices[1], "where": truth})
    torch.testing.assert_close(parts["where"], functional.huber_loss(found, truth))
    torch.testing.assert_close(parts["type"], of(ABC, "focal")(*choices))


def test_loss_that_suits_no_head_is_refused():
    with pytest.raises(UsageError, match="the loss mse suits no head of kind binary; choose bce, focal"):
        Objective({"real": YES_NO}, Loss(name="mse"))
