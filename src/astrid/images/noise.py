"""The noise of a frame: its variance at each pixel and its correlation between pixels.

Both are measured on the image itself wherever sky can be seen, so that stacked or
resampled images, whose noise is correlated, get an honest significance.
"""

from __future__ import annotations

import numpy as np
import sep
from numpy.typing import NDArray
from scipy import ndimage

from astrid.errors import FrameError
from astrid.images.background import source_mask
from astrid.images.frame import Frame

__all__ = ["measure_noise", "noise_correlation", "robust_sigma"]

# The standard deviation of a Gaussian cut at +-3 sigma, as sep's clipping leaves it.
_CLIPPED_SIGMA = 0.98658
_LARGEST_LAG = 4
# Correlations below this are what faint unmasked sources leave in any real sky.
_WHITE = 0.03
_SAMPLE = 1 << 20


def robust_sigma(values: NDArray[np.floating]) -> float:
    """Standard deviation of the Gaussian core of a sample, from its 16 and 84 percentiles.

    Parameters
    ----------
    values : ndarray
        At least two finite values.

    Returns
    -------
    sigma : float
    """
    low, high = np.percentile(values, [15.8655, 84.1345])
    return float(high - low) / 2


def measure_noise(frame: Frame, mesh: int = 64) -> Frame:
    """Set the variance and the noise correlation of a background-subtracted frame.

    The variance of the sky is measured on the image in mesh cells; sources add
    their photon noise by the gain. A variance plane that came with the frame is
    kept in shape and scaled to the scatter that the sky really shows.

    Parameters
    ----------
    frame : Frame
        Background-subtracted.
    mesh : int, px

    Returns
    -------
    frame : Frame
        With `variance` and `noise_correlation` set.

    Raises
    ------
    FrameError
        No gain and no variance, or too little sky.
    """
    good = frame.mask == 0
    sky = sep.Background(frame.data, mask=~good, bw=mesh, bh=mesh)
    sources = source_mask(frame.data, sky.globalrms)
    empty = good & ~sources
    if empty.sum() < 256:
        raise FrameError(
            f"{frame.name}: only {int(empty.sum())} pixels of {frame.data.size} show empty sky, so the noise "
            "cannot be measured; give a variance plane or a frame that is not filled by sources"
        )
    if frame.variance is not None:
        sigma = np.sqrt(frame.variance)
    else:
        if frame.gain is None:
            raise FrameError(f"{frame.name}: no gain, so photon noise is unknown; pass --gain e-/ADU")
        masked = sep.Background(frame.data, mask=~empty, bw=mesh, bh=mesh)
        sigma = masked.rms(dtype=np.float32) / np.float32(_CLIPPED_SIGMA)
        floor = 0.2 * float(np.median(sigma))
        if floor <= 0:
            raise FrameError(f"{frame.name}: the sky shows no noise at all; give a variance plane")
        np.maximum(sigma, floor, out=sigma)
    z = np.where(empty, frame.data / np.where(sigma > 0, sigma, 1), np.float32(0))
    sample = z[empty]
    sample = sample[:: max(1, sample.size // _SAMPLE)]
    scale = robust_sigma(sample)
    if not scale > 0:
        raise FrameError(f"{frame.name}: the sky shows no noise at all; give a variance plane")
    correlation = noise_correlation(z / np.float32(scale), empty)
    variance = np.square(sigma * np.float32(scale))
    if frame.variance is None:
        # Photon noise from a smoothed image: single noisy pixels would bias their own variance.
        assert frame.gain is not None
        light = ndimage.uniform_filter(frame.data, 3, mode="nearest")
        variance += np.where(sources, np.maximum(light, 0) / np.float32(frame.gain), np.float32(0))
    elif abs(scale - 1) > 0.1:
        frame = frame.warn(
            f"{frame.name}: the sky scatters {scale:.2f} times what the variance plane says; "
            "the plane was scaled to the scatter"
        )
    return frame.with_(variance=variance.astype(np.float32, copy=False), noise_correlation=correlation)


def noise_correlation(
    z: NDArray[np.float32], empty: NDArray[np.bool_], largest_lag: int = _LARGEST_LAG
) -> NDArray[np.float32] | None:
    """Autocorrelation of the sky noise between neighbouring pixels.

    Parameters
    ----------
    z : (ny, nx) float32 ndarray
        Sky divided by its noise, 0 where it is not sky.
    empty : (ny, nx) bool ndarray
        Where `z` is sky.
    largest_lag : int, px

    Returns
    -------
    correlation : (2 largest_lag + 1, 2 largest_lag + 1) float32 ndarray, or None
        1 in the middle; None when the noise is white within 3 %.
    """
    ny, nx = (min(side, 1024) for side in z.shape)
    y0, x0 = (z.shape[0] - ny) // 2, (z.shape[1] - nx) // 2
    values = np.clip(z[y0 : y0 + ny, x0 : x0 + nx], -4, 4)
    where = empty[y0 : y0 + ny, x0 : x0 + nx].astype(np.float32)
    values = values - np.float32(values.sum() / max(where.sum(), 1)) * where
    lag = min(largest_lag, ny - 1, nx - 1)
    result = np.zeros((2 * lag + 1, 2 * lag + 1), np.float32)
    power = float(np.vdot(values, values)) / max(float(where.sum()), 1.0)
    for dy in range(lag + 1):
        for dx in range(-lag, lag + 1):
            if dy == 0 and dx < 0:
                continue
            here = (slice(0, ny - dy), slice(max(0, -dx), nx - max(0, dx)))
            there = (slice(dy, ny), slice(max(0, dx), nx - max(0, -dx)))
            pairs = float(np.vdot(where[here], where[there]))
            value = float(np.vdot(values[here], values[there])) / max(pairs, 1.0) / power
            result[lag + dy, lag + dx] = result[lag - dy, lag - dx] = value
    pairs_error = 1 / np.sqrt(max(float(where.sum()), 1.0))
    neighbours = [result[lag, lag + 1], result[lag + 1, lag]] if lag else [0.0]
    if max(abs(float(value)) for value in neighbours) < max(_WHITE, 4 * pairs_error):
        return None
    result[np.abs(result) < 3 * pairs_error] = 0
    return result
