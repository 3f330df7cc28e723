"""Dense networks for tables of numbers: all inputs in one row, some hidden layers, one layer a head."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from astrid.errors import UsageError

__all__ = ["Dense"]


class Dense(nn.Module):
    """A multilayer perceptron.

    Every number is first brought to mean 0 and variance 1, as they were in training.

    Parameters
    ----------
    inputs : mapping of str to tuple of int
        Of any shapes; they are flattened and joined in this order.
    outputs : mapping of str to int
        Size of each head.
    hidden : sequence of int
        Sizes of the hidden layers, each followed by a ReLU.
    dropout : float
        After each hidden layer.

    Raises
    ------
    UsageError
        No hidden layer.
    """

    head_names = ("heads",)
    gradcam_layer = None

    def __init__(
        self,
        inputs: Mapping[str, tuple[int, ...]],
        outputs: Mapping[str, int],
        *,
        hidden: Sequence[int] = (64, 64),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not hidden:
            raise UsageError("hidden is empty; give the size of at least one hidden layer")
        self.inputs = tuple(inputs)
        sizes = [sum(math.prod(shape) for shape in inputs.values()), *hidden]
        self.standardize = nn.BatchNorm1d(sizes[0], affine=False)
        self.trunk = nn.Sequential()
        for before, after in itertools.pairwise(sizes):
            self.trunk.extend([nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)])
        # a name such as "type" would hide an attribute of the dictionary, so each gets a suffix
        self.heads = nn.ModuleDict({f"{name}_out": nn.Linear(sizes[-1], k) for name, k in outputs.items()})

    def embed(self, **inputs: Tensor) -> Tensor:
        """Features before the heads: (B, last hidden size)."""
        x = torch.cat([inputs[name].flatten(1) for name in self.inputs], dim=1)
        return self.trunk(self._standardized(x))

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Logits or values of each head, (B, k), from (B, ...) float32."""
        features = self.embed(**inputs)
        return {name.removesuffix("_out"): head(features) for name, head in self.heads.items()}

    def _standardized(self, x: Tensor) -> Tensor:
        if self.training and len(x) == 1:  # a last batch of one item has no variance
            known = self.standardize
            return nn.functional.batch_norm(x, known.running_mean, known.running_var, eps=known.eps)
        return self.standardize(x)
