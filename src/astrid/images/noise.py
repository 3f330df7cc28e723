"""The noise of a frame: its variance at each pixel and its correlation between pixels.

Both are measured on the image itself wherever sky can be seen, so that stacked or
resampled images, whose noise is correlated, get an honest significance.
"""

from __future__ import annotations

import numpy as np
import sep
from numpy.typing import NDArray
from scipy import fft, ndimage

from astrid.errors import FrameError
from astrid.images.background import blocks, source_mask, whole_pixels
from astrid.images.frame import Frame

__all__ = ["measure_noise", "noise_correlation", "robust_sigma"]

_LARGEST_LAG = 8
# Correlations below this are what faint unmasked sources leave in any real sky.
_WHITE = 0.03
# With less of the sky empty, what looks empty may be fainter sources, correlated but no noise.
_EMPTY = 0.8
_STARLIGHT, _RESAMPLED, _LOPSIDED = 0.3, 0.2, 1.3
# Second differences whose middle pixel is below the median: sqrt((36 - 16 * 2 / pi) / 36).
_BELOW_MEDIAN = 0.8468
_SAMPLE = 1 << 19
_CORRELATION_SIDE = 768


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
    kept in shape and scaled to the scatter that the sky really shows. Where sources
    leave less than a fifth of the sky empty or hide it, the noise is taken from second
    differences of the fainter half of the pixels and assumed white.

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
        No gain and no variance, or no noise at all.

    References
    ----------
    Second differences: Immerkaer 1996, CVIU 64, 300.
    """
    if frame.variance is None and frame.gain is None:
        raise FrameError(f"{frame.name}: no gain, so photon noise is unknown; pass --gain e-/ADU")
    good = frame.mask == 0
    white = _lower_sigma(frame.data, good)
    lit = source_mask(frame.data, white)
    crowded = False
    if (good & ~lit).sum() < _EMPTY * good.sum():
        # Sources everywhere, or noise that is correlated and only looks like it. What correlates
        # over two pixels is starlight: resampled noise does not reach that far.
        fainter = source_mask(frame.data, None, threshold=2.5)
        level = np.full(frame.shape, white, np.float32)
        correlation = noise_correlation(frame.data, level, good & ~fainter)
        if correlation is not None:
            middle = correlation.shape[0] // 2
            # Starlight is lopsided as well, which smoothed noise is not.
            crowded = bool(correlation[middle, middle + 2] > _STARLIGHT) and _lopsided(frame.data, good)
            if not crowded and correlation[middle, middle + 1] > _RESAMPLED:
                lit = fainter
    empty = good & ~lit
    crowded = crowded or empty.sum() < 256
    if frame.variance is not None:
        sigma = np.sqrt(frame.variance)
    elif crowded:
        sigma = np.full(frame.shape, _crowded_sigma(frame, good), np.float32)
    else:
        # Every other pixel tells the noise as well, at a quarter of the price.
        some = np.ascontiguousarray(frame.data[::2, ::2])
        half = max(mesh // 2, 8)
        rms = sep.Background(some, mask=~empty[::2, ::2], bw=half, bh=half).rms(dtype=np.float32)
        sigma = whole_pixels(np.maximum(rms, 0.2 * np.median(rms[::4, ::4])), frame.shape)
    correlation, scale = None, 1.0
    if not crowded:
        step = max(1, int(np.sqrt(frame.data.size / _SAMPLE)))
        some = empty[::step, ::step] & (sigma[::step, ::step] > 0)
        values = frame.data[::step, ::step][some] / sigma[::step, ::step][some]
        scale = robust_sigma(values) if some.any() else 0.0
        if scale > 0:
            correlation = noise_correlation(frame.data, sigma * np.float32(scale), empty)
    if not scale * float(np.median(sigma[::8, ::8])) > 0:
        raise FrameError(f"{frame.name}: the sky shows no noise at all; give a variance plane")
    variance = np.square(sigma)
    variance *= np.float32(scale**2)
    if frame.variance is None:
        assert frame.gain is not None
        # Photon noise from averages: single noisy pixels would bias their own variance.
        light = whole_pixels(np.maximum(blocks(frame.data), 0) / np.float32(4 * frame.gain), frame.shape)
        variance += light if crowded else light * lit
    elif abs(scale - 1) > 0.1:
        frame = frame.warn(
            f"{frame.name}: the sky scatters {scale:.2f} times what the variance plane says; "
            "the plane was scaled to the scatter"
        )
    return frame.with_(variance=variance.astype(np.float32, copy=False), noise_correlation=correlation)


def _lopsided(data: NDArray[np.float32], good: NDArray[np.bool_]) -> bool:
    """Whether the upper half of the pixels is much wider than the lower."""
    step = max(1, int(np.sqrt(data.size / _SAMPLE)))
    low, middle, high = np.percentile(data[::step, ::step][good[::step, ::step]], [15.8655, 50, 84.1345])
    return bool(high - middle > _LOPSIDED * (middle - low))


def _lower_sigma(data: NDArray[np.float32], good: NDArray[np.bool_]) -> float:
    """Width of the lower half of the pixels, which sources lift least."""
    step = max(1, int(np.sqrt(data.size / _SAMPLE)))
    low, middle = np.percentile(data[::step, ::step][good[::step, ::step]], [15.8655, 50])
    return float(middle - low)


def _crowded_sigma(frame: Frame, good: NDArray[np.bool_]) -> float:
    """Noise of the sky below the sources, from second differences of the fainter pixels."""
    assert frame.gain is not None
    kernel = np.array([1.0, -2.0, 1.0], np.float32)
    second = ndimage.correlate1d(ndimage.correlate1d(frame.data, kernel, axis=0), kernel, axis=1)
    whole = ndimage.minimum_filter(good.view(np.uint8), 3, mode="constant").view(np.bool_)
    if whole.sum() < 256:
        raise FrameError(
            f"{frame.name}: only {int(whole.sum())} pixels are good, so the noise cannot be measured; "
            "check the mask or give a variance plane"
        )
    faint = whole & (frame.data <= np.median(frame.data[whole]))
    total = robust_sigma(second[faint]) / (6.0 * _BELOW_MEDIAN)
    light = max(float(np.median(frame.data[faint])), 0.0) / frame.gain
    return float(np.sqrt(max(total**2 - light, 0.25 * total**2)))


def noise_correlation(
    data: NDArray[np.float32],
    sigma: NDArray[np.float32],
    empty: NDArray[np.bool_],
    largest_lag: int = _LARGEST_LAG,
) -> NDArray[np.float32] | None:
    """Autocorrelation of the sky noise between neighbouring pixels.

    Parameters
    ----------
    data : (ny, nx) float32 ndarray
        Background-subtracted; of a large image the middle is used.
    sigma : (ny, nx) float32 ndarray
        Its noise.
    empty : (ny, nx) bool ndarray
        Where it is sky.
    largest_lag : int, px

    Returns
    -------
    correlation : (2 largest_lag + 1, 2 largest_lag + 1) float32 ndarray, or None
        1 in the middle; None when the noise is white within 3 %, or there is none.
    """
    box = tuple(
        slice((side - min(side, _CORRELATION_SIDE)) // 2, (side + min(side, _CORRELATION_SIDE)) // 2)
        for side in data.shape
    )
    where = empty[box].astype(np.float32)
    count = max(float(where.sum()), 1.0)
    values = np.where(empty[box], np.clip(data[box] / np.maximum(sigma[box], 1e-30), -4, 4), np.float32(0))
    values -= np.float32(values.sum() / count) * where
    lag = min(largest_lag, *(side - 1 for side in values.shape))
    # All lags at once: the transform of the power spectrum, padded so that nothing wraps round.
    shape = [fft.next_fast_len(side + lag, real=True) for side in values.shape]
    products, pairs = (
        fft.irfft2(np.square(np.abs(fft.rfft2(plane, s=shape))), s=shape) for plane in (values, where)
    )
    index = np.arange(-lag, lag + 1)
    products, pairs = products[np.ix_(index, index)], pairs[np.ix_(index, index)]
    result = products / np.maximum(pairs, 1.0)
    if lag:
        # A correlation that does not end is sky that was left, and no noise.
        rim = np.concatenate([result[0], result[-1], result[1:-1, 0], result[1:-1, -1]])
        result = result - max(float(np.median(rim)), 0.0)
    if not result[lag, lag] > 0:
        return None
    result = (result / result[lag, lag]).astype(np.float32)
    error = 1 / np.sqrt(count)
    if lag == 0 or max(abs(float(result[lag, lag + 1])), abs(float(result[lag + 1, lag]))) < max(
        _WHITE, 4 * error
    ):
        return None
    result[np.abs(result) < 3 * error] = 0
    return result
