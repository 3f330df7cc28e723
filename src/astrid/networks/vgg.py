"""VGG-like networks for small cutouts: a few plain convolutions, two poolings, one dense layer.

The published real/bogus network braai is the default; several heads share all but the last layer.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from astrid.errors import UsageError
from astrid.networks.normalization import normalization as normalization_called

__all__ = ["VGG6"]

_POOLS = (2, 4)


class VGG6(nn.Module):
    """Four convolutions and two dense layers, the last of which is one for each head.

    With one input of shape (63, 63, 3) and one output it has the 312,081 parameters of braai.

    Parameters
    ----------
    inputs : mapping of str to (ny, nx, channels)
        One image.
    outputs : mapping of str to int
        Size of each head.
    normalization : str
        See `astrid.networks.normalization`.
    dropout : (float, float, float)
        After the first and the second pooling, and after the dense layer.
    width : int
        Channels of the first two convolutions; the next two have twice as many, the dense layer
        16 times.

    Raises
    ------
    UsageError
        Not one image, or one that is too small.

    References
    ----------
    Duev et al. 2019, arXiv:1907.11259, figure 5.
    """

    head_names = ("heads",)
    gradcam_layer = "conv4"

    def __init__(
        self,
        inputs: Mapping[str, tuple[int, ...]],
        outputs: Mapping[str, int],
        *,
        normalization: str = "row_l2",
        dropout: tuple[float, float, float] = (0.25, 0.25, 0.5),
        width: int = 16,
    ) -> None:
        super().__init__()
        self.input = _one_image(inputs)
        height, columns, channels = inputs[self.input]
        self.normalize = normalization_called(normalization)
        self.conv1 = nn.Conv2d(channels, width, 3)
        self.conv2 = nn.Conv2d(width, width, 3)
        self.conv3 = nn.Conv2d(width, 2 * width, 3)
        self.conv4 = nn.Conv2d(2 * width, 2 * width, 3)
        self.pool1, self.pool2 = nn.MaxPool2d(_POOLS[0]), nn.MaxPool2d(_POOLS[1])
        self.drop1, self.drop2, self.drop3 = (nn.Dropout(rate) for rate in dropout)
        self.dense = nn.Linear(_left(height) * _left(columns) * 2 * width, 16 * width)
        # a name such as "type" would hide an attribute of the dictionary, so each gets a suffix
        self.heads = nn.ModuleDict({f"{name}_out": nn.Linear(16 * width, k) for name, k in outputs.items()})
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):  # as Keras begins, with which the paper trained
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def embed(self, **inputs: Tensor) -> Tensor:
        """Features before the heads: (B, 16 width)."""
        x = self.normalize(inputs[self.input].permute(0, 3, 1, 2))
        x = self.conv2(self.conv1(x).relu()).relu()
        x = self.drop1(self.pool1(x))
        x = self.conv4(self.conv3(x).relu()).relu()
        x = self.drop2(self.pool2(x))
        # flattened with the channels last, as Keras does: published weights fit without reordering
        return self.drop3(self.dense(x.permute(0, 2, 3, 1).flatten(1)).relu())

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Logits of each head, (B, k), from (B, ny, nx, channels) float32."""
        features = self.embed(**inputs)
        return {name.removesuffix("_out"): head(features) for name, head in self.heads.items()}


def _one_image(inputs: Mapping[str, tuple[int, ...]]) -> str:
    if len(inputs) != 1 or len(next(iter(inputs.values()))) != 3:
        raise UsageError(
            f"VGG6 takes one image (rows, columns, channels), got {dict(inputs)}; change the task"
        )
    name, shape = next(iter(inputs.items()))
    if min(_left(shape[0]), _left(shape[1])) < 1:
        raise UsageError(f"VGG6 takes images of at least 20 by 20 pixels, got {shape}; cut larger ones")
    return name


def _left(size: int) -> int:
    """Pixels along an axis after all convolutions and poolings."""
    for pool in _POOLS:
        size = (size - 4) // pool
    return size
