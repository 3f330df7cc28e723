"""How cutouts are scaled before the first layer, as a part of the network and so of its ONNX graph.

Each function takes and gives (B, C, ny, nx) tensors, treats each channel by itself and gives 0, not
NaN, where there is nothing to scale by. Which one a model needs is said by its options, nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from astrid.errors import UsageError

__all__ = ["NORMALIZATIONS", "asinh_noise", "cutout_l2", "normalization", "row_l2", "unchanged"]

_SUBSET = 2  # every second pixel of every second row is plenty to measure the noise on
_STEPS = 5  # enough for a tenth of the pixels at 1e3 times the noise: the noise is then right to a factor 2
_WINSOR = 1.5  # deviations beyond so many times the noise are taken back to it
_CONSISTENT = 1.35266  # 1 / E[min(|z|, 1.5)] for a standard normal z: makes the noise its deviation
_LARGEST = 1e9  # fill values such as 3.4e38 would overflow when summed
_PRECISION = 1e-5  # of the level: variations below this share of it are rounding, not noise
_SMALLEST = 1e-30  # its inverse is finite
_HIGHEST = 1e15  # its square is finite
_GAIN = 0.5  # brings typical cutouts to about unit variance


def row_l2(x: Tensor) -> Tensor:
    """Each row of pixels divided by its Euclidean norm, as ``keras.utils.normalize`` does by default.

    Parameters
    ----------
    x : (B, C, ny, nx) float32 tensor

    Returns
    -------
    normalized : tensor of the same shape
        A row of zeros stays so.

    References
    ----------
    Duev et al. 2019, arXiv:1907.11259; the nets whose scores ZTF's packets hold (``d6_m7``) were
    trained in this way, although the paper speaks of the norm of the whole cutout.
    """
    return _divided(x, x.square().sum(dim=3, keepdim=True))


def cutout_l2(x: Tensor) -> Tensor:
    """Each cutout divided by its Euclidean norm.

    Parameters
    ----------
    x : (B, C, ny, nx) float32 tensor

    Returns
    -------
    normalized : tensor of the same shape
        A cutout of zeros stays so.

    References
    ----------
    Duev et al. 2019, arXiv:1907.11259, section 2.
    """
    return _divided(x, x.square().sum(dim=(2, 3), keepdim=True))


def asinh_noise(x: Tensor) -> Tensor:
    """Each cutout above its own level, in units of its own noise, compressed by the inverse sinh.

    Level and noise are Huber's winsorised mean and mean absolute deviation, iterated from signed
    power means, which bright stars hardly move. Pixels that are exactly 0 were filled in: they do
    not count and stay 0. So an instrument's gain, its zero point and a pedestal have no effect, and
    pixels near the noise keep their values in sigma.

    Parameters
    ----------
    x : (B, C, ny, nx) float32 tensor

    Returns
    -------
    normalized : tensor of the same shape
        0.5 asinh((x - level) / noise); 0 everywhere for a constant cutout.

    References
    ----------
    Huber 1981, Robust Statistics, section 6.4 (proposal 2); Lupton, Gunn & Szalay 1999,
    arXiv:astro-ph/9903081, for the inverse sinh.
    """
    x = x.clamp(-_LARGEST, _LARGEST)
    sample = x[:, :, ::_SUBSET, ::_SUBSET].flatten(2)  # contiguous, so the sums below are cheap
    known = (sample != 0).to(x.dtype)
    share = 1 / known.sum(dim=2, keepdim=True).clamp(min=1)

    root = (sample.sign() * sample.abs().sqrt().sqrt()).sum(dim=2, keepdim=True) * share
    level = root.sign() * root.square().square()
    root = ((sample - level).abs().sqrt().sqrt() * known).sum(dim=2, keepdim=True) * share
    limit = _WINSOR * root.square().square()
    for _ in range(_STEPS):
        kept = torch.minimum(torch.maximum(sample - level, -limit), limit) * known
        level = level + kept.sum(dim=2, keepdim=True) * share
        limit = torch.linalg.vector_norm(kept, 1, 2, keepdim=True) * (_WINSOR * _CONSISTENT * share)

    rounding = limit <= _PRECISION * level.abs() + _SMALLEST
    scale = torch.where(rounding, 0, _WINSOR / limit)
    sigmas = (x - level.unsqueeze(3)) * scale.unsqueeze(3)
    size = sigmas.abs().clamp(max=_HIGHEST)
    # torch and ONNX Runtime take five times as long for their own asinh
    compressed = _GAIN * torch.log(size + torch.sqrt(size * size + 1))
    return torch.where(x != 0, sigmas.sign(), 0) * compressed


def unchanged(x: Tensor) -> Tensor:
    """The pixels as they are."""
    return x


NORMALIZATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": unchanged,
    "row_l2": row_l2,
    "cutout_l2": cutout_l2,
    "asinh_noise": asinh_noise,
}
"""By the names that networks take as their option ``normalization``."""


def normalization(name: str) -> Callable[[Tensor], Tensor]:
    """The function called `name`.

    Raises
    ------
    UsageError
        There is none.
    """
    try:
        return NORMALIZATIONS[name]
    except KeyError as error:
        known = ", ".join(NORMALIZATIONS)
        raise UsageError(f"there is no normalization {name!r}; choose one of {known}") from error


def _divided(x: Tensor, square: Tensor) -> Tensor:
    norm = square.sqrt()
    return x / torch.where(norm == 0, torch.ones_like(norm), norm)
