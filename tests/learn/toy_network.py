"""The network of the toy task: four fixed filters, their mean over the image, one layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ToyNetwork(nn.Module):
    """One convolution and one layer, for one image input; see the fixtures in ``conftest``."""

    head_names = ("head",)
    gradcam_layer = "convolution"

    def __init__(self, inputs, outputs, *, dropout: float = 0.0):
        super().__init__()
        ((self.input, shape),) = inputs.items()
        ((self.output, size),) = outputs.items()
        self.convolution = nn.Conv2d(shape[-1], 4, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(4, size)

    def embed(self, **inputs: Tensor) -> Tensor:
        image = 0.1 * inputs[self.input].permute(0, 3, 1, 2)
        return torch.relu(self.convolution(image)).mean(dim=(2, 3))

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        return {self.output: self.head(self.dropout(self.embed(**inputs)))}
