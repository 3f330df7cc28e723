"""The compiled loops of the period searches; import it through `points.kernels`, for numba may be absent.

A phase is a 32-bit whole number of 2^-32 turns, so that it wraps by itself. Stepping to the next frequency is
one addition; every `RESET` frequencies the phases are computed anew in float64, so that no error builds up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, uint16, uint32, uint64

__all__ = ["binned_variance", "boxes", "entropy", "harmonic_sums", "projected"]

TURN = 4294967296.0  # 2^32 of these are one turn
RESET = 1024  # a rounded step is off by at most 2^-33 of a turn: 1.2e-7 turns after so many
LANES = 4  # frequencies at once: independent histograms hide the latency of adding to the same cell twice
WIDE = 64  # frequencies at once where all is arithmetic: eight vectors of eight doubles


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a loop once for each machine; it releases the interpreter's lock."""
    return njit(cache=True, nogil=True, fastmath=True, error_model="numpy")(function)


@compiled
def steps_of(time: Any, step: float) -> Any:
    """How far the phase of each point moves from one frequency to the next."""
    steps = np.empty(time.size, np.uint32)
    for i in range(time.size):
        x = time[i] * step
        steps[i] = np.uint32(np.int64(np.round((x - np.floor(x)) * TURN)))
    return steps


@compiled
def phases_at(time: Any, frequency: float, phases: Any) -> None:
    """Write the phase of each point at one frequency."""
    for i in range(time.size):
        x = time[i] * frequency
        phases[i] = np.uint32(np.int64((x - np.floor(x)) * TURN))


@compiled
def entropy(time: Any, level: Any, start: float, step: float, size: int, n_phase: int, n_level: int) -> Any:
    """Conditional entropy H(level | phase) in nats at each frequency; `level` is int64, below `n_level`."""
    n = time.size
    n_log_n = np.zeros(n + 1, np.float32)
    for i in range(2, n + 1):
        n_log_n[i] = np.float32(i * np.log(float(i)))
    steps = steps_of(time, step)
    phases = np.empty(n, np.uint32)
    row = np.empty(n, np.uint32)  # cells of one level lie together, so that phases are the fast axis
    for i in range(n):
        row[i] = uint32(level[i] * n_phase)
    cell = np.empty((LANES, n), np.uint32)
    counts = np.empty((LANES, n_level * n_phase), np.int32)
    totals = np.empty(n_phase, np.int32)
    result = np.empty(size, np.float32)
    for first in range(0, size, LANES):
        if first % RESET == 0:
            phases_at(time, start + first * step, phases)
        for i in range(n):
            phase, move, own = phases[i], steps[i], row[i]
            for lane in range(LANES):
                # 20 bits of the phase are enough to tell the bin, and the product fits in 32
                cell[lane, i] = (
                    uint32(uint32(uint32(phase >> uint32(12)) * uint32(n_phase)) >> uint32(20)) + own
                )
                phase = uint32(phase + move)
            phases[i] = phase
        counts[:] = 0
        for i in range(n):
            for lane in range(LANES):
                counts[lane, cell[lane, i]] += 1
        for lane in range(min(LANES, size - first)):
            total = np.float32(0)
            totals[:] = 0
            for j in range(n_level):
                for k in range(n_phase):
                    count = counts[lane, j * n_phase + k]
                    totals[k] += count
                    total -= n_log_n[count]
            for k in range(n_phase):
                total += n_log_n[totals[k]]
            result[first + lane] = total / n
    return result


@compiled
def binned_variance(time: Any, level: Any, start: float, step: float, size: int, n_phase: int) -> Any:
    """Sum over phase bins of (sum of levels)^2 / count, at each frequency; `level` is uint64, below 2^16.

    A bin is one 64-bit number, the count above the sum, so that a point is one addition.
    """
    n = time.size
    steps = steps_of(time, step)
    phases = np.empty(n, np.uint32)
    both = np.empty(n, np.uint64)
    for i in range(n):
        both[i] = uint64(level[i]) + (uint64(1) << uint64(40))
    cell = np.empty((LANES, n), np.uint16)
    bins = np.empty((LANES, n_phase), np.uint64)
    result = np.empty(size, np.float64)
    low = (uint64(1) << uint64(40)) - uint64(1)
    for first in range(0, size, LANES):
        if first % RESET == 0:
            phases_at(time, start + first * step, phases)
        for i in range(n):
            phase, move = phases[i], steps[i]
            for lane in range(LANES):
                cell[lane, i] = uint16(uint32(uint32(phase >> uint32(12)) * uint32(n_phase)) >> uint32(20))
                phase = uint32(phase + move)
            phases[i] = phase
        bins[:] = 0
        for i in range(n):
            for lane in range(LANES):
                bins[lane, cell[lane, i]] += both[i]
        for lane in range(min(LANES, size - first)):
            total = 0.0
            for k in range(n_phase):
                count = np.float64(bins[lane, k] >> uint64(40))
                summed = np.float64(bins[lane, k] & low)
                if count > 0:
                    total += summed * summed / count
            result[first + lane] = total
    return result


@compiled
def projected(window: Any, series: Any, n_terms: int, result: Any) -> None:
    """Sum of squares that a Fourier series with a mean explains, from the sums of weights and of the series.

    The polynomials in z = exp(2 pi i f t) that are orthogonal under the weights follow from the sums of the
    weights alone, by Szego's recursion; z^n_terms times the series is projected on each in turn.

    `window` is (2 n_terms + 1, m) complex: the sums of w z^k; `series` is (n_terms + 1, m): those of w y z^k.
    """
    size, count = window.shape[1], 2 * n_terms + 1
    # polynomial and its reverse by coefficient, real and imaginary, for WIDE frequencies
    pr, pi = np.empty((count + 1, WIDE)), np.empty((count + 1, WIDE))
    qr, qi = np.empty((count + 1, WIDE)), np.empty((count + 1, WIDE))
    wr, wi = np.zeros((count, WIDE)), np.zeros((count, WIDE))
    yr, yi = np.zeros((n_terms + 1, WIDE)), np.zeros((n_terms + 1, WIDE))
    br, bi, ar, ai = np.empty(WIDE), np.empty(WIDE), np.empty(WIDE), np.empty(WIDE)
    norm, total, usable = np.empty(WIDE), np.empty(WIDE), np.empty(WIDE)
    for first in range(0, size, WIDE):
        width = min(WIDE, size - first)
        for k in range(count):
            for x in range(width):
                wr[k, x], wi[k, x] = window[k, first + x].real, window[k, first + x].imag
        for k in range(n_terms + 1):
            for x in range(width):
                yr[k, x], yi[k, x] = series[k, first + x].real, series[k, first + x].imag
        pr[:] = 0.0
        pi[:] = 0.0
        for x in range(WIDE):
            pr[0, x] = 1.0
            norm[x] = wr[0, 0]
            total[x] = 0.0
            usable[x] = 1.0
        for k in range(count):
            br[:] = 0.0
            bi[:] = 0.0
            for m in range(k + 1):
                j = abs(n_terms - m)
                sign = 1.0 if n_terms >= m else -1.0  # the series is real: its sum at -k is the conjugate
                for x in range(WIDE):
                    br[x] += pr[m, x] * yr[j, x] + sign * pi[m, x] * yi[j, x]
                    bi[x] += sign * pr[m, x] * yi[j, x] - pi[m, x] * yr[j, x]
            for x in range(WIDE):
                total[x] += usable[x] * (br[x] * br[x] + bi[x] * bi[x]) / norm[x]
            if k == count - 1:
                break
            ar[:] = 0.0
            ai[:] = 0.0
            for m in range(k + 1):
                for x in range(WIDE):
                    ar[x] += pr[m, x] * wr[m + 1, x] - pi[m, x] * wi[m + 1, x]
                    ai[x] += pr[m, x] * wi[m + 1, x] + pi[m, x] * wr[m + 1, x]
                    qr[m, x] = pr[k - m, x]
                    qi[m, x] = -pi[k - m, x]
            for x in range(WIDE):
                ar[x] /= norm[x]
                ai[x] /= norm[x]
                left = norm[x] * (1.0 - ar[x] * ar[x] - ai[x] * ai[x])
                # a polynomial that vanishes on all points (fewer phases than terms) explains nothing more
                usable[x] = usable[x] if left > 1e-7 * wr[0, x] else 0.0
                norm[x] = left if left > 1e-7 * wr[0, x] else 1.0
            for m in range(k + 1, 0, -1):
                for x in range(WIDE):
                    pr[m, x] = pr[m - 1, x]
                    pi[m, x] = pi[m - 1, x]
            for x in range(WIDE):
                pr[0, x] = 0.0
                pi[0, x] = 0.0
            for m in range(k + 1):
                for x in range(WIDE):
                    pr[m, x] -= ar[x] * qr[m, x] - ai[x] * qi[m, x]
                    pi[m, x] -= ar[x] * qi[m, x] + ai[x] * qr[m, x]
        for x in range(width):
            result[first + x] = total[x]


@compiled
def harmonic_sums(
    time: Any, weight: Any, series: Any, frequency: Any, n_terms: int, windows: Any, values: Any
) -> None:
    """Write the sums that `projected` needs at any frequencies, point by point."""
    lanes = 8  # frequencies at once, so that the powers of z are taken in vectors
    turned = np.empty(lanes)
    zr, zi, pr, pi = np.empty(lanes), np.empty(lanes), np.empty(lanes), np.empty(lanes)
    wr, wi = np.empty((2 * n_terms + 1, lanes)), np.empty((2 * n_terms + 1, lanes))
    yr, yi = np.empty((n_terms + 1, lanes)), np.empty((n_terms + 1, lanes))
    for first in range(0, frequency.size, lanes):
        width = min(lanes, frequency.size - first)
        for x in range(lanes):
            turned[x] = frequency[first + min(x, width - 1)]
        wr[:] = 0.0
        wi[:] = 0.0
        yr[:] = 0.0
        yi[:] = 0.0
        for i in range(time.size):
            for x in range(lanes):
                turn = time[i] * turned[x]
                # a quarter of the angle by its series (to 1e-11), then doubled twice: the library's
                # functions are not compiled into vectors
                u = 0.5 * np.pi * (turn - np.floor(turn + 0.5))
                v = u * u
                c = 1 + v * (-1 / 2 + v * (1 / 24 + v * (-1 / 720 + v * (1 / 40320 - v / 3628800))))
                q = u * (1 + v * (-1 / 6 + v * (1 / 120 + v * (-1 / 5040 + v * (1 / 362880 - v / 39916800)))))
                c, q = c * c - q * q, 2 * q * c
                zr[x], zi[x] = c * c - q * q, 2 * q * c
                pr[x], pi[x] = 1.0, 0.0
            for m in range(2 * n_terms + 1):
                for x in range(lanes):
                    wr[m, x] += weight[i] * pr[x]
                    wi[m, x] += weight[i] * pi[x]
                if m <= n_terms:
                    for x in range(lanes):
                        yr[m, x] += series[i] * pr[x]
                        yi[m, x] += series[i] * pi[x]
                for x in range(lanes):
                    real = pr[x] * zr[x] - pi[x] * zi[x]
                    pi[x] = pr[x] * zi[x] + pi[x] * zr[x]
                    pr[x] = real
        for x in range(width):
            for m in range(2 * n_terms + 1):
                windows[m, first + x] = complex(wr[m, x], wi[m, x])
            for m in range(n_terms + 1):
                values[m, first + x] = complex(yr[m, x], yi[m, x])


@compiled
def boxes(
    time: Any,
    weight: Any,
    series: Any,
    frequency: Any,
    n_bins: Any,
    widths: Any,
    least: float,
    power: Any,
    box: Any,
) -> None:
    """Write the best box at each frequency: what it explains, and its first bin and width in bins.

    `series` is weight times deviation from the mean, the weights sum to 1; only boxes below the mean count,
    and only those that hold at least the share `least` of the weight. `widths` is (m, n_widths), in bins.
    """
    n, most = time.size, 0
    for k in range(frequency.size):
        most = max(most, n_bins[k] + widths[k].max())
    inside, below = np.empty(most + 1), np.empty(most + 1)
    cell = np.empty(n, np.int64)
    values = np.empty(most)
    for k in range(frequency.size):
        count, longest = n_bins[k], widths[k].max()
        for i in range(n):
            turn = time[i] * frequency[k]
            cell[i] = min(np.int64((turn - np.floor(turn)) * count), count - 1) + 1
        inside[:] = 0.0
        below[:] = 0.0
        for i in range(n):
            inside[cell[i]] += weight[i]
            below[cell[i]] += series[i]
        for j in range(longest):  # boxes that run over the end of the phase go on at its beginning
            inside[count + 1 + j] = inside[1 + j]
            below[count + 1 + j] = below[1 + j]
        for j in range(1, count + longest + 1):
            inside[j] += inside[j - 1]
            below[j] += below[j - 1]
        best, at, long = 0.0, 0, widths[k, 0]
        for width in widths[k]:
            top = 0.0
            for j in range(count):
                share = inside[j + width] - inside[j]
                depth = below[j + width] - below[j]
                usable = (depth < 0.0) & (share > least) & (share < 0.5)
                values[j] = depth * depth / (share * (1.0 - share)) if usable else 0.0
                top = max(top, values[j])
            if top > best:
                best, long = top, width
                for j in range(count):
                    if values[j] == top:
                        at = j
                        break
        power[k] = best
        box[k, 0], box[k, 1] = at, long
