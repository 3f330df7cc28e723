"""What a network is to make small: one loss for each head, masked where there is no label.

All of them are means over the labelled items of a batch, in single precision whatever the
network computes in. Which figures are reported is the business of `module`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from astrid.errors import UsageError
from astrid.learn.settings import Loss
from astrid.learn.task import Binary, Head, HeatMap, Multiclass, Multilabel

__all__ = ["Objective", "class_balanced_weights", "cost_weights", "head_loss"]

_CLASSIFYING = ("bce", "cross_entropy", "focal", "class_balanced_focal", "cost_weighted")
_REGRESSING = ("l1", "mae", "mse", "huber", "mbe")
_ALLOWED = {
    "binary": tuple(name for name in _CLASSIFYING if name != "cross_entropy"),
    "multilabel": tuple(name for name in _CLASSIFYING if name != "cross_entropy"),
    "multiclass": tuple(name for name in _CLASSIFYING if name != "bce"),
    "regression": _REGRESSING,
    "heatmap": ("l1", "mae", "mse", "huber"),
}
_DEFAULT = {
    "binary": "bce", "multilabel": "bce", "multiclass": "cross_entropy",
    "regression": "huber", "heatmap": "l1",
}  # fmt: skip


class Objective(nn.Module):
    """The weighted sum of the losses of a task's heads.

    Where heads of several kinds are trained together, a loss that does not suit the kind of a head
    gives way to the usual one of that kind; a loss that suits no head is refused.

    Parameters
    ----------
    heads : mapping of str to Head
    loss : Loss
    counts : mapping of str to (k,) int ndarray
        Items of each class of a classifying head in the training part.
    weights : mapping of str to (k,) ndarray
        Weight of each class of binary and multiclass heads; 1 where not given.

    Raises
    ------
    UsageError
        A loss that none of the heads can have.
    """

    def __init__(
        self,
        heads: Mapping[str, Head],
        loss: Loss,
        *,
        counts: Mapping[str, NDArray[np.int64]] | None = None,
        weights: Mapping[str, NDArray[np.float64]] | None = None,
    ) -> None:
        super().__init__()
        kinds = sorted({head.kind for head in heads.values()})
        if loss.name != "auto" and not any(loss.name in _ALLOWED[kind] for kind in kinds):
            known = ", ".join(dict.fromkeys(name for kind in kinds for name in _ALLOWED[kind]))
            raise UsageError(f"the loss {loss.name} suits no head of kind {', '.join(kinds)}; choose {known}")
        self.names = tuple(heads)
        self.weights = tuple(head.weight for head in heads.values())
        # a list: a head's name may be one that a ModuleDict cannot have
        self.losses = nn.ModuleList(
            head_loss(head, loss, counts=(counts or {}).get(name), weights=(weights or {}).get(name))
            for name, head in heads.items()
        )

    def forward(
        self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch.

        Parameters
        ----------
        outputs : mapping of str to Tensor
            What the network gives: logits or values.
        targets : mapping of str to Tensor
            As `Dataset.labels` gives them.

        Returns
        -------
        total : scalar Tensor
        of_heads : dict of str to scalar Tensor
        """
        parts = {
            name: one(outputs[name].float(), targets[name])
            for name, one in zip(self.names, self.losses, strict=True)
        }
        weighted = [weight * part for weight, part in zip(self.weights, parts.values(), strict=True)]
        return torch.stack(weighted).sum(), parts


def head_loss(
    head: Head,
    loss: Loss,
    *,
    counts: NDArray[np.int64] | None = None,
    weights: NDArray[np.float64] | None = None,
) -> nn.Module:
    """The loss of one head.

    Parameters
    ----------
    head : Head
    loss : Loss
        A name that does not suit the head counts as ``auto``.
    counts : (k,) int ndarray, optional
        Items of each class; needed for ``class_balanced_focal``.
    weights : (k,) ndarray, optional
        Of the classes of a binary or multiclass head.

    Returns
    -------
    loss : `torch.nn.Module`
        Called with outputs and targets, gives a scalar.
    """
    name = loss.name if loss.name in _ALLOWED[head.kind] else _DEFAULT[head.kind]
    if isinstance(head, HeatMap):
        return _Maps(_elementwise(name, loss), head.scales)
    if isinstance(head, Binary | Multiclass | Multilabel):
        total = _class_weights(name, head, loss, counts, weights)
        gamma = loss.gamma if name in ("focal", "class_balanced_focal") else 0.0
        if isinstance(head, Multiclass):
            return _Choice(gamma, loss.label_smoothing, total)
        return _YesNo(gamma, loss.label_smoothing, total)
    return _Numbers(_elementwise(name, loss), loss.bias_weight if name == "mbe" else 0.0)


def class_balanced_weights(counts: NDArray[np.int64], beta: float) -> NDArray[np.float64]:
    """Weights of classes by their effective number of items; their mean is 1.

    Parameters
    ----------
    counts : (k,) int ndarray
    beta : float
        0 gives all classes the same weight; towards 1 it becomes one over the number.

    References
    ----------
    Cui et al. 2019, arXiv:1901.05555, eq. 11 and the normalisation below it.
    """
    weights = (1 - beta) / (1 - beta ** np.maximum(counts, 1).astype(np.float64))
    return np.asarray(weights * len(weights) / weights.sum())


def cost_weights(head: Binary | Multiclass) -> NDArray[np.float64]:
    """What it costs to be wrong about an item of each class; their mean is 1.

    Of a multiclass head that is the cost of missing the class and the mean cost of a false alarm
    of the others.

    Returns
    -------
    weights : (k,) float64 ndarray
    """
    if isinstance(head, Binary):
        costs = np.array([head.cost.false_alarm, head.cost.miss])
    else:
        miss = np.array([head.costs[one].miss if one in head.costs else 1.0 for one in head.labels])
        alarm = np.array([head.costs[one].false_alarm if one in head.costs else 1.0 for one in head.labels])
        costs = miss + (alarm.sum() - alarm) / (len(alarm) - 1)
    return np.asarray(costs * len(costs) / costs.sum())


class _Weighted(nn.Module):
    """A loss of classes, each with its weight."""

    weights: Tensor

    def __init__(self, gamma: float, smoothing: float, weights: NDArray[np.float64]) -> None:
        super().__init__()
        self.gamma, self.smoothing = gamma, smoothing
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32), persistent=False)


class _YesNo(_Weighted):
    """Cross-entropy or focal loss of one or several logits; targets (n,) or (n, k) in 0..1, NaN for none.

    With soft labels the focal factor is the distance of probability and label (Li et al. 2020,
    arXiv:2006.04388, eq. 2), which for labels of 0 and 1 is that of Lin et al. 2017,
    arXiv:1708.02002, eq. 4.
    """

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        targets = targets.reshape(outputs.shape)
        known = ~torch.isnan(targets)
        truth = torch.where(known, targets, torch.zeros_like(targets))
        wanted = truth * (1 - self.smoothing) + self.smoothing / 2
        losses = functional.binary_cross_entropy_with_logits(outputs, wanted, reduction="none")
        if self.gamma:
            losses = losses * (wanted - torch.sigmoid(outputs)).abs() ** self.gamma
        # weights: (2, labels), of no and of yes
        return _mean(losses * torch.lerp(self.weights[0], self.weights[1], truth), known)


class _Choice(_Weighted):
    """Cross-entropy or focal loss of (n, k) logits; (n,) targets, -1 for none (Lin et al. 2017, eq. 4)."""

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        known = targets >= 0
        truth = targets.clamp(min=0)
        losses = functional.cross_entropy(outputs, truth, reduction="none", label_smoothing=self.smoothing)
        if self.gamma:
            right = torch.softmax(outputs, 1).gather(1, truth[:, None])[:, 0]
            losses = losses * (1 - right) ** self.gamma
        return _mean(losses * self.weights[truth], known)


class _Numbers(nn.Module):
    """Elementwise loss of (n, k) numbers, NaN for none, and the size of their mean error if asked."""

    def __init__(self, elementwise: Callable[[Tensor, Tensor], Tensor], bias_weight: float) -> None:
        super().__init__()
        self.elementwise, self.bias_weight = elementwise, bias_weight

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        known = ~torch.isnan(targets)
        truth = torch.where(known, targets, torch.zeros_like(targets))
        loss = _mean(self.elementwise(outputs, truth), known)
        if self.bias_weight:
            errors = torch.where(known, outputs - truth, torch.zeros_like(outputs))
            bias = errors.sum(0) / known.sum(0).clamp(min=1)
            loss = loss + self.bias_weight * bias.abs().mean()
        return loss


class _Maps(nn.Module):
    """Mean elementwise loss of (n, ny, nx) maps, averaged over scales that halve the resolution."""

    def __init__(self, elementwise: Callable[[Tensor, Tensor], Tensor], scales: int) -> None:
        super().__init__()
        self.elementwise, self.scales = elementwise, scales

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        losses = [self.elementwise(outputs, targets).mean()]
        for _ in range(self.scales - 1):
            outputs, targets = (functional.avg_pool2d(one[:, None], 2)[:, 0] for one in (outputs, targets))
            losses.append(self.elementwise(outputs, targets).mean())
        return torch.stack(losses).mean()


def _class_weights(
    name: str,
    head: Binary | Multiclass | Multilabel,
    loss: Loss,
    counts: NDArray[np.int64] | None,
    weights: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Weights of a head's classes: (k,) for a choice, (2, labels) for yes or no."""
    if isinstance(head, Multilabel):
        table = np.ones((2, len(head.labels)))
        if name == "cost_weighted":
            for k, label in enumerate(head.labels):
                if label in head.costs:
                    one = head.costs[label]
                    table[:, k] = np.array([one.false_alarm, one.miss]) * 2 / (one.false_alarm + one.miss)
        if name == "class_balanced_focal" and counts is not None:
            table = table * class_balanced_weights(counts, loss.beta)
        return table
    total = np.ones(max(head.size, 2)) if weights is None else np.asarray(weights, np.float64)
    if name == "cost_weighted":
        total = total * cost_weights(head)
    if name == "class_balanced_focal" and counts is not None:
        total = total * class_balanced_weights(counts, loss.beta)
    return total[:, None] if isinstance(head, Binary) else total


def _elementwise(name: str, loss: Loss) -> Callable[[Tensor, Tensor], Tensor]:
    match name:
        case "mse":
            return lambda outputs, truth: (outputs - truth) ** 2
        case "huber":
            return lambda outputs, truth: functional.huber_loss(
                outputs, truth, reduction="none", delta=loss.delta
            )
        case _:
            return lambda outputs, truth: (outputs - truth).abs()


def _mean(losses: Tensor, known: Tensor) -> Tensor:
    """Mean over what is known; 0, with a gradient of 0, where nothing is."""
    kept = torch.where(known, losses, torch.zeros_like(losses))
    return kept.sum() / known.sum().clamp(min=1)
