"""Straight trails of satellites and aircraft: found by a Hough transform and masked.

It looks for lines that cross a good part of the frame and have the width of a
seeing disc; short streaks of asteroids, spikes and bleeds are not its business.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from astrid.images.frame import Flag, Frame

__all__ = ["Trail", "find_trails", "trail_mask"]

# Hough accumulators of 512 px hold the noise of a few thousand pixels per line.
_MAX_SIDE = 512
_PIXEL_SIGMA = 1.5
# A trail counts if its line stands out this much and is seen over this part of its course.
_LINE_SIGMA = 7.0
_MIN_COVERAGE = 0.6
_MIN_LENGTH = 0.35
_PROFILE_SIGMA = 7.0
_MAX_WIDTH = 25.0
_BORDER = 0.03
_SEGMENTS = 32


@dataclass(frozen=True)
class Trail:
    """A straight trail.

    Parameters
    ----------
    x0, y0, x1, y1 : float, px
        Ends of its axis inside the frame, 0-based.
    width : float, px
        Full width at half maximum across.
    snr : float
        Significance of the line in the Hough transform.
    """

    x0: float
    y0: float
    x1: float
    y1: float
    width: float
    snr: float

    def distance(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
        """Distance of points from the line through the ends, in px, signed."""
        dx, dy = self.x1 - self.x0, self.y1 - self.y0
        return ((x - self.x0) * dy - (y - self.y0) * dx) / np.hypot(dx, dy)


def find_trails(frame: Frame, *, max_trails: int = 8) -> list[Trail]:
    """Find straight trails in a frame.

    The background is taken away, the frame binned to at most 512 px, sources
    that are compact removed, and the pixels above 1.5 sigma transformed (Duda &
    Hart 1972). The counts of each line are compared with those expected for its
    length, by their own scatter, and the best line is measured in the unbinned
    pixels, masked, and the search repeated.

    Parameters
    ----------
    frame : Frame
        Background included or not.
    max_trails : int
        Search no further than this many.

    Returns
    -------
    trails : list of Trail
        In falling significance.
    """
    residual = _normalised(frame)
    bins = max(1, -(-max(frame.shape) // _MAX_SIDE))
    bright, usable = _bright_pixels(residual, bins)
    trails: list[Trail] = []
    for _ in range(2 * max_trails):
        line = _best_line(bright, usable)
        if line is None or len(trails) == max_trails:
            break
        theta, rho, snr = line
        # the middle of a bin is not that of its first pixel
        shift = (bins - 1) / 2 * (np.cos(theta) + np.sin(theta))
        found = _measure(residual, theta, rho * bins + shift, snr, bins)
        if found is not None:  # once more along the axis that was measured
            found = _measure(residual, *_polar(found), snr, bins) or found
        # whatever it was, it must not be found again
        y, x = np.nonzero(bright)
        near = np.abs(x * np.cos(theta) + y * np.sin(theta) - rho) < 4
        if found is not None:
            trails.append(found)
            middle = (bins - 1) / 2
            across = np.abs(found.distance(x * bins + middle, y * bins + middle))
            near |= across < 3 * found.width + 3 * bins
            residual[trail_mask(frame.shape, [found]) != 0] = 0
        bright[y[near], x[near]] = False
    return trails


def trail_mask(shape: tuple[int, int], trails: list[Trail]) -> NDArray[np.uint16]:
    """Mask of `Flag.TRAIL` over trails, (ny, nx) uint16, 1.5 FWHM to either side."""
    mask = np.zeros(shape, np.uint16)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    for trail in trails:
        length = np.hypot(trail.x1 - trail.x0, trail.y1 - trail.y0)
        along = ((x - trail.x0) * (trail.x1 - trail.x0) + (y - trail.y0) * (trail.y1 - trail.y0)) / length
        margin = 2 * trail.width
        inside = (np.abs(trail.distance(x, y)) <= max(1.5 * trail.width, 2.0)) & (
            (along >= -margin) & (along <= length + margin)
        )
        mask[inside] |= np.uint16(Flag.TRAIL)
    return mask


def _polar(trail: Trail) -> tuple[float, float]:
    """Angle and distance ``x cos(theta) + y sin(theta) = rho`` of a trail's axis, theta in [0, pi)."""
    theta = np.arctan2(trail.x1 - trail.x0, trail.y0 - trail.y1) % np.pi
    return float(theta), float(trail.x0 * np.cos(theta) + trail.y0 * np.sin(theta))


def _normalised(frame: Frame) -> NDArray[np.float32]:
    """Pixels without background in units of the noise; flagged pixels are 0."""
    import sep

    bad = frame.mask != 0
    side = int(np.clip(min(frame.shape) // 8, 8, 64))
    background = sep.Background(frame.data, mask=bad, bw=side, bh=side)
    residual = (frame.data - background.back()) / max(background.globalrms, 1e-30)
    residual[bad] = 0
    return residual


def _bright_pixels(residual: NDArray[np.float32], bins: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Binned pixels above the threshold that are not of compact sources, and all that count."""
    ny, nx = (n // bins * bins for n in residual.shape)
    # one very bright pixel must not light up its bin more than a trail does
    clipped = np.clip(residual[:ny, :nx], -5, 10).reshape(ny // bins, bins, nx // bins, bins)
    binned = clipped.mean((1, 3)) * bins
    usable = (residual[:ny, :nx] != 0).reshape(ny // bins, bins, nx // bins, bins).mean((1, 3)) > 0.5
    smooth = ndimage.gaussian_filter(binned, 1.0)
    sigma = 1.4826 * np.median(np.abs(smooth - np.median(smooth)))
    bright = smooth > np.median(smooth) + _PIXEL_SIGMA * max(sigma, 1e-30)
    labels, _ = ndimage.label(smooth > np.median(smooth) + 4 * sigma, np.ones((3, 3)))
    for index, where in enumerate(ndimage.find_objects(labels), start=1):
        part = labels[where] == index
        if not _is_elongated(part):
            grown = tuple(slice(max(s.start - 2, 0), s.stop + 2) for s in where)
            blob = ndimage.binary_dilation(labels[grown] == index, iterations=2)
            usable[grown] &= ~blob
    # the background is poorly known at the border, and defects of detectors run along it
    margin = max(3, round(_BORDER * min(bright.shape)))
    usable[:margin] = usable[-margin:] = False
    usable[:, :margin] = usable[:, -margin:] = False
    return bright & usable, usable


def _is_elongated(part: NDArray[np.bool_]) -> bool:
    """Whether a patch is long and thin, or a wide net of such, and not a source."""
    y, x = np.nonzero(part)
    if y.size < 12:
        return False
    if np.hypot(*part.shape) > 40 and part.mean() < 0.2:
        return True  # trails that cross, or a trail with a star on it
    major, minor = np.sqrt(np.maximum(np.linalg.eigvalsh(np.cov(np.stack([x, y])))[::-1], 1 / 12))
    return bool(major > 3.5 and major > 4 * minor)


def _best_line(bright: NDArray[np.bool_], usable: NDArray[np.bool_]) -> tuple[float, float, float] | None:
    """Most significant line ``x cos(theta) + y sin(theta) = rho`` of the bright pixels."""
    ny, nx = bright.shape
    y, x = np.nonzero(bright)
    if y.size < 20:
        return None
    diagonal = int(np.ceil(np.hypot(ny, nx)))
    thetas = np.arange(0, np.pi, 0.7 / diagonal * 2)
    counts = _accumulate(x, y, thetas, diagonal)
    yy, xx = np.nonzero(usable[::4, ::4])
    # lengths need no more than every fourth pixel; smoothed to undo the moire of the grid
    lengths = 16 * ndimage.uniform_filter1d(_accumulate(4 * xx, 4 * yy, thetas, diagonal), 9, axis=1)
    long_enough = lengths > _MIN_LENGTH * min(ny, nx)
    if not long_enough.any():
        return None
    density = y.size / usable.sum()
    # two neighbouring offsets together, so that a trail between two is not halved
    counts = counts + np.roll(counts, 1, axis=1)
    excess = (counts - 2 * density * lengths) / np.sqrt(np.maximum(2 * density * lengths, 1))
    sample = excess[long_enough]
    centre = np.median(sample)
    scatter = 1.4826 * np.median(np.abs(sample - centre))
    excess = np.where(long_enough, (excess - centre) / max(scatter, 0.5), 0)
    row, column = np.unravel_index(int(np.argmax(excess)), excess.shape)
    if excess[row, column] < _LINE_SIGMA:
        return None
    return float(thetas[row]), float(column - diagonal - 0.5), float(excess[row, column])


def _accumulate(
    x: NDArray[np.int64], y: NDArray[np.int64], thetas: NDArray[np.float64], diagonal: int
) -> NDArray[np.float64]:
    """Number of points on each line, (thetas, 2 diagonal + 1)."""
    counts = np.empty((thetas.size, 2 * diagonal + 1))
    for row, theta in enumerate(thetas):
        rho = np.rint(x * np.cos(theta) + y * np.sin(theta)).astype(np.int64) + diagonal
        counts[row] = np.bincount(rho, minlength=2 * diagonal + 1)
    return counts


def _measure(residual: NDArray[np.float32], theta: float, rho: float, snr: float, bins: int) -> Trail | None:
    """Axis, width and extent of a line in the unbinned pixels; `None` if it is no trail."""
    ny, nx = residual.shape
    normal = np.array([np.cos(theta), np.sin(theta)])
    course = np.array([-normal[1], normal[0]])
    reach = float(np.hypot(ny, nx))
    along = np.arange(-reach, reach, 1.0)
    half = 6 * bins + 8
    across = np.arange(-half, half + 1, 0.5)
    x = rho * normal[0] + along[:, None] * course[0] + across * normal[0]
    y = rho * normal[1] + along[:, None] * course[1] + across * normal[1]
    inside = (x >= 0) & (x <= nx - 1) & (y >= 0) & (y <= ny - 1)
    kept = inside[:, half * 2]
    if kept.sum() < _MIN_LENGTH * min(ny, nx):
        return None
    x, y, along = x[kept], y[kept], along[kept]
    strip = ndimage.map_coordinates(np.clip(residual, -5, 20), [y, x], order=1, cval=0.0)
    step = max(len(along) // _SEGMENTS, 4)
    count = max(len(along) // step, 2)
    edges = np.linspace(0, len(along), count + 1).astype(int)
    segments = [slice(low, high) for low, high in pairwise(edges)]
    # the median along a segment forgets stars; its offset across is the course of the trail
    profiles = np.array([np.median(strip[segment], axis=0) for segment in segments])
    profiles -= np.median(profiles, axis=1, keepdims=True)
    # a slight error of the angle moves the peak from segment to segment: allow for a slope
    slope, offset, profile = _aligned(profiles, across, bins)
    peak = float(profile.max())
    noise = 1.4826 * float(np.median(np.abs(profiles - np.median(profiles))))
    width = _width(profile, across)
    outside = np.abs(across - offset) > 2 * width + 2
    if peak <= 0 or width > _MAX_WIDTH or outside.sum() < 10:
        return None
    if peak < _PROFILE_SIGMA * max(float(profile[outside].std()), 1e-30):
        return None
    centres = offset + slope * (np.arange(len(segments)) - (len(segments) - 1) / 2)
    core = np.abs(across[None, :] - centres[:, None]) <= max(width / 2, 1.0)
    strength = (profiles * core).sum(1) / np.maximum(core.sum(1), 1)
    seen = strength > max(0.3 * peak, 1.0 * noise / np.sqrt(max(core[0].sum() / 2, 1)))
    first, last = _longest_run(seen)
    covered = (last - first) * step
    if covered < _MIN_LENGTH * min(ny, nx) or seen[first:last].mean() < _MIN_COVERAGE:
        return None
    upright = min(abs(theta % (np.pi / 2)), np.pi / 2 - abs(theta % (np.pi / 2))) < 0.004
    if upright and width < 1.8:
        return None  # a column or row of the detector, no light
    ends = [segments[first].start, min(segments[last - 1].stop, len(along)) - 1]
    points: list[float] = []
    for end in ends:
        c = offset + slope * ((end - (step - 1) / 2) / step - (len(segments) - 1) / 2)
        points += [
            float(rho * normal[0] + along[end] * course[0] + c * normal[0]),
            float(rho * normal[1] + along[end] * course[1] + c * normal[1]),
        ]
    return Trail(points[0], points[1], points[2], points[3], width, snr)


def _aligned(
    profiles: NDArray[np.float64], across: NDArray[np.float64], bins: int
) -> tuple[float, float, NDArray[np.float64]]:
    """Slope (px per segment) and offset of the trail, and its mean profile, by the sharpest sum."""
    n = len(profiles)
    steps = np.arange(n) - (n - 1) / 2
    best = (-np.inf, 0.0, profiles[0])
    for slope in np.linspace(-2.0 * bins, 2.0 * bins, 41) / max(n / 2, 1):
        moved = np.array(
            [
                np.interp(across + slope * s, across, profile)
                for s, profile in zip(steps, profiles, strict=True)
            ]
        )
        # a trimmed mean: stars in a few segments must not pull the axis
        mean = ndimage.gaussian_filter1d(np.sort(moved, axis=0)[n // 6 : n - n // 6].mean(0), 1.0)
        if mean.max() > best[0]:
            best = (float(mean.max()), float(slope), mean)
    profile = best[2]
    top = int(np.argmax(profile))
    low, high = max(top - 6, 0), top + 7
    weight = np.clip(profile[low:high] - profile.max() / 3, 0, None)
    offset = float(np.sum(weight * across[low:high]) / np.sum(weight)) if weight.sum() > 0 else across[top]
    return best[1], float(offset), profile


def _width(profile: NDArray[np.float64], across: NDArray[np.float64]) -> float:
    """Full width at half maximum of the peak, at least 1 px."""
    top = int(np.argmax(profile))
    low = high = top
    while low > 0 and profile[low - 1] > profile[top] / 2:
        low -= 1
    while high < profile.size - 1 and profile[high + 1] > profile[top] / 2:
        high += 1
    return max(float(across[high] - across[low]) + 0.5, 1.0)


def _longest_run(seen: NDArray[np.bool_]) -> tuple[int, int]:
    """Longest stretch in which the trail is seen, gaps of up to two segments allowed."""
    closed = ndimage.binary_closing(np.pad(seen, 3), np.ones(3))[3:-3] | seen
    labels, count = ndimage.label(closed)
    if not count:
        return 0, 0
    runs = ndimage.find_objects(labels)
    longest = max((run[0] for run in runs), key=lambda run: run.stop - run.start)
    return longest.start, longest.stop
