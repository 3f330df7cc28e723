"""The compiled loops behind `features` and `fourier`; import it only where numba is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

__all__ = ["fit_series", "measure"]

_TERMS = 5
_TINY = 1e-10  # of a pivot against its diagonal: below, a term is no news beside those before


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _quantile(ordered: Any, q: float) -> float:
    """Between the neighbours, as numpy has it by default."""
    place = q * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _log_tail(z: float) -> float:
    """Logarithm of the normal distribution beyond z, for z above 0."""
    if z < 20:
        return math.log(0.5 * math.erfc(z * math.sqrt(0.5)))
    # Far out erfc is 0; Mills' ratio to the third term is exact to 1e-7 there.
    square = z * z
    series = 1 - 1 / square + 3 / square**2 - 15 / square**3
    return -0.5 * square - math.log(z) - 0.5 * math.log(2 * math.pi) + math.log(series)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _anderson_darling(ordered: Any) -> float:
    n = len(ordered)
    mean = ordered.mean()
    deviation = math.sqrt(((ordered - mean) ** 2).sum() / (n - 1))
    total = 0.0
    for i in range(n):
        z = (ordered[i] - mean) / deviation
        tail = _log_tail(abs(z))
        rest = math.log1p(-math.exp(tail))
        below, above = (rest, tail) if z > 0 else (tail, rest)
        # The term of the i-th point and that of its mirror image have the same argument.
        total += (2 * i + 1) * below + (2 * (n - i) - 1) * above
    return -n - total / n


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _shapiro_wilk(ordered: Any, weights: Any) -> float:
    mean = ordered.mean()
    top = 0.0
    n = len(ordered)
    for i in range(len(weights)):
        top += weights[i] * (ordered[n - 1 - i] - ordered[i])
    return top**2 / ((ordered - mean) ** 2).sum()


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def measure(time: Any, mag: Any, error: Any, offsets: Any, weights: Any, where: Any, out: Any) -> None:
    """The 22 statistics of each curve.

    Parameters
    ----------
    time, mag, error : (n,) float64 ndarray
    offsets : (m + 1,) int64 ndarray
    weights : (w,) float64 ndarray
        Shapiro and Wilk's, of each number of points that occurs.
    where : (m,) int64 ndarray
        Where those of each curve begin.
    out : (m, 22) float64 ndarray
    """
    for curve in range(len(offsets) - 1):
        start, end = offsets[curve], offsets[curve + 1]
        t, m, e = time[start:end], mag[start:end], error[start:end]
        n = len(m)
        ordered = np.sort(m)
        median = _quantile(ordered, 0.5)
        weight = weighted = 0.0
        for i in range(n):
            w = 1 / (e[i] * e[i])
            weight += w
            weighted += w * m[i]
        mean = weighted / weight
        chi2 = away = cubes = fourths = excess = 0.0
        brightest, faintest = np.inf, -np.inf
        for i in range(n):
            d = m[i] - mean
            z = d / e[i]
            chi2 += z * z
            cubes += z * z * z
            fourths += z * z * z * z
            away += abs(m[i] - median) / e[i]
            excess += d * d - e[i] * e[i]
            faintest = max(faintest, m[i] - e[i])
            brightest = min(brightest, m[i] + e[i])
        spread = math.sqrt(chi2 / weight)
        steps = lapses = 0.0
        for i in range(n - 1):
            lapse = t[i + 1] - t[i]
            if lapse > 0:  # points of one moment tell nothing of a lapse
                steps += (m[i + 1] - m[i]) ** 2 / lapse**2
                lapses += 1 / lapse**2
        bias = math.sqrt(n / (n - 1.0))
        welch = stetson_j = absolute = 0.0
        for i in range(n):
            z = bias * (m[i] - mean) / e[i]
            absolute += abs(z)
            if i:
                product = z * bias * (m[i - 1] - mean) / e[i - 1]
                welch += product
                stetson_j += math.copysign(math.sqrt(abs(product)), product)
        row = out[curve]
        row[0] = n
        row[1] = median
        row[2] = mean
        row[3] = chi2 / (n - 1)
        row[4] = away / (n - 1)
        row[5] = spread
        row[6] = (faintest - brightest) / (faintest + brightest)
        row[7] = excess / (n * mean * mean)
        row[8] = _quantile(np.sort(np.abs(m - median)), 0.5)
        for k, low in enumerate((0.25, 0.20, 0.15, 0.10, 0.05)):
            row[9 + k] = _quantile(ordered, 1 - low) - _quantile(ordered, low)
        row[14] = n / ((n - 1.0) * (n - 2.0)) * cubes
        row[15] = n * (n + 1.0) / ((n - 1.0) * (n - 2.0) * (n - 3.0)) * fourths
        row[15] -= 3 * (n - 1.0) ** 2 / ((n - 2.0) * (n - 3.0))
        row[16] = lapses * spread * spread / steps if steps > 0 else np.nan
        row[17] = welch
        row[18] = stetson_j
        row[19] = absolute / n / math.sqrt(bias**2 * chi2 / n)
        ratio = np.sort(m / e)
        if ratio[0] < ratio[-1]:
            row[20] = _anderson_darling(ratio)
            row[21] = _shapiro_wilk(ratio, weights[where[curve] : where[curve] + n // 2])
        else:
            row[20] = row[21] = np.nan


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def fit_series(time: Any, mag: Any, error: Any, offsets: Any, periods: Any, out: Any) -> None:
    """Fit an offset, a slope and 0 to 5 harmonics to each curve; the number that has the least BIC stays.

    All six fits come from one Cholesky decomposition, since each has the terms of the one before.

    Parameters
    ----------
    time, mag, error : (n,) float64 ndarray
    offsets : (m + 1,) int64 ndarray
    periods : (m,) float64 ndarray
    out : (m, 15) float64 ndarray
        Power, BIC, offset, slope, five times cosine and sine; and the number of harmonics.
    """
    size = 2 + 2 * _TERMS
    basis, right, known = np.empty(size), np.empty(size), np.empty(size)
    matrix = np.empty((size, size))
    for curve in range(len(offsets) - 1):
        start, end = offsets[curve], offsets[curve + 1]
        t, m, e = time[start:end], mag[start:end], error[start:end]
        n, period = len(t), periods[curve]
        span = t[-1] - t[0]
        weight = weighted = 0.0
        for i in range(n):
            w = 1 / (e[i] * e[i])
            weight += w
            weighted += w * m[i]
        mean = weighted / weight
        matrix[:], right[:] = 0.0, 0.0
        chi2 = 0.0
        for i in range(n):
            cycle = t[i] / period
            angle = 2 * math.pi * (cycle - math.floor(cycle))
            cosine, sine = math.cos(angle), math.sin(angle)
            basis[0], basis[1] = 1.0, (t[i] - t[0]) / span
            basis[2], basis[3] = cosine, sine
            for k in range(4, size, 2):  # the next harmonic by the theorem of addition
                basis[k] = basis[k - 2] * cosine - basis[k - 1] * sine
                basis[k + 1] = basis[k - 1] * cosine + basis[k - 2] * sine
            w = 1 / (e[i] * e[i])
            y = m[i] - mean
            chi2 += w * y * y
            for a in range(size):
                scaled = w * basis[a]
                right[a] += scaled * y
                for b in range(a + 1):
                    matrix[a, b] += scaled * basis[b]
        least, best, straight, remaining = np.inf, 0, 0.0, chi2
        for a in range(size):
            pivot = matrix[a, a]
            whole = pivot
            for b in range(a):
                value = matrix[a, b]
                for c in range(b):
                    value -= matrix[a, c] * matrix[b, c]
                value /= matrix[b, b]
                matrix[a, b] = value
                pivot -= value * value
            if pivot <= _TINY * whole or a >= n:
                break
            matrix[a, a] = math.sqrt(pivot)
            value = right[a]
            for b in range(a):
                value -= matrix[a, b] * known[b]
            known[a] = value / matrix[a, a]
            remaining = max(remaining - known[a] ** 2, 0.0)
            if a % 2:
                bic = remaining + math.log(n) * (a + 1)
                if a == 1:
                    straight = remaining
                if bic < least:
                    least, best = bic, a // 2
                    out[curve, 0] = (straight - remaining) / straight if straight > 0 else np.nan
                    out[curve, 1] = bic
        used = 2 + 2 * best
        for a in range(used - 1, -1, -1):
            value = known[a]
            for b in range(a + 1, used):
                value -= matrix[b, a] * out[curve, 2 + b]
            out[curve, 2 + a] = value / matrix[a, a]
        for a in range(used, size):
            out[curve, 2 + a] = 0.0
        out[curve, 2] += mean
        out[curve, 3] /= span
        out[curve, 14] = best
