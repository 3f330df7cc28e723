"""Periodograms of many light curves at once by torch, on the processor or on a GPU.

The definitions are those of `astrid.lightcurves.periods`, whose compiled loops serve where there is no GPU;
peaks and the choice of a period are there too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import DependencyError, LightCurveError, UsageError
from astrid.lightcurves.periods import FrequencyGrid, Periodograms, Points
from astrid.lightcurves.periods.entropy import check_bins, levels
from astrid.lightcurves.periods.harmonics import bands_of
from astrid.lightcurves.periods.variance import FINEST

__all__ = ["MEMORY", "binned_powers", "check_device", "entropies", "harmonic_powers", "periodograms"]

MEMORY = 1 << 29
"""Bytes that the arrays of one chunk take at most, unless another number is given; results are beside it."""

_TURN = 1 << 32  # a phase is a whole number of these parts of a turn, as in the compiled loops
_RESET = 1024  # and is computed anew after so many frequencies, as there
_WIDE = 256  # frequencies of a chunk, before more light curves come into it


def check_device(device: str) -> Any:
    """Return the device that a name stands for.

    Parameters
    ----------
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.

    Returns
    -------
    torch.device

    Raises
    ------
    UsageError
        There is no such device.
    DependencyError
        torch is not installed.
    """
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise UsageError(f"{device!r} is no device of the period search; give cpu, cuda or cuda:N")
    torch = _torch()
    if device != "cpu":
        number = int(device.partition(":")[2] or 0)
        seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if number >= seen:
            raise UsageError(
                f"the device {device} is asked for and torch sees {seen or 'no'} GPU{'s' * (seen > 1)}; give "
                + (f"a number below {seen}" if seen else "cpu, or install a torch that fits the GPU")
            )
    return torch.device(device)


def periodograms(device: str) -> Periodograms:
    """Return the periodograms that `find_period` shall use: compiled loops on ``cpu``, torch on a GPU.

    A search is of one light curve, so each call is a batch of one, over chunks of its grid.

    Raises
    ------
    UsageError
        There is no such device.
    DependencyError
        torch is not installed.
    """
    if device == "cpu":
        return Periodograms()
    check_device(device)
    return Periodograms(
        harmonic=lambda points, grid, n_terms: harmonic_powers([points], grid, n_terms, device=device)[0],
        entropy=lambda points, grid: entropies([points], grid, device=device)[0],
    )


def entropies(
    curves: Sequence[Points],
    grid: FrequencyGrid,
    n_phase: int = 20,
    n_level: int = 10,
    *,
    device: str = "cpu",
    memory: int = MEMORY,
) -> NDArray[np.float32]:
    """Compute the conditional entropy of many light curves on one grid; see `conditional_entropy`.

    Parameters
    ----------
    curves : sequence of Points
        Of any lengths; all are padded to the longest, so put those of like lengths together.
    grid : FrequencyGrid
    n_phase, n_level : int
        Bins in phase and in magnitude.
    device : str
        See `check_device`.
    memory : int, bytes
        That the arrays of a chunk take at most.

    Returns
    -------
    entropy : (n_curves, grid.size) float32 ndarray, nats

    Raises
    ------
    UsageError
        Bins or memory that cannot be used, or no such device.
    DependencyError
        torch is not installed.

    References
    ----------
    Graham et al. 2013, MNRAS 434, 2629, eq. 3.
    """
    check_bins(n_phase, n_level)
    place, torch = check_device(device), _torch()
    result = np.zeros((len(curves), grid.size), dtype=np.float32)
    if not curves:
        return result
    rows = _rows([(own.time, levels(own.mag, n_level)) for _, own in _bands(curves)])
    owner = [i for i, _ in _bands(curves)]
    length, n_cells = rows.time.shape[1], n_phase * n_level
    count = np.arange(length + 1, dtype=np.float64)
    table = torch.tensor((count * np.log(np.maximum(count, 1))).astype(np.float32), device=place)
    for part, freqs in _chunks(len(owner), grid.size, 32 * length + 20 * n_cells, 96 * length, memory):
        cell = _phase_bins(torch, rows.time[part], grid, freqs, n_phase, place)
        # cells of one phase bin do not lie together: levels are the slow axis, as in the compiled loops
        cell += torch.tensor(rows.value[part] * n_phase, device=place)[:, None, :]
        shape = (cell.shape[0], cell.shape[1], n_cells)
        counts = torch.zeros(shape, dtype=torch.int32, device=place)
        inside = torch.tensor(rows.inside[part].astype(np.int32), device=place)  # 0 for padding: not counted
        counts.scatter_add_(2, cell, inside[:, None, :].expand(cell.shape))
        del cell
        totals = counts.reshape(*shape[:2], n_level, n_phase).sum(dim=2, dtype=torch.int32)
        entropy = _looked_up(table, totals) - _looked_up(table, counts)
        values = entropy.cpu().numpy() / rows.inside[part].sum(axis=1, keepdims=True).astype(np.float32)
        for row, value in zip(range(len(owner))[part], values, strict=True):
            share = np.float32(rows.inside[row].sum() / curves[owner[row]].time.size)
            result[owner[row], freqs] += share * value
    return result


def binned_powers(
    curves: Sequence[Points],
    grid: FrequencyGrid,
    n_phase: int = 20,
    *,
    device: str = "cpu",
    memory: int = MEMORY,
) -> NDArray[np.float64]:
    """Compute the analysis of variance in phase bins of many light curves; see `binned_power`.

    Parameters
    ----------
    curves, grid, n_phase, device, memory
        As of `entropies`.

    Returns
    -------
    power : (n_curves, grid.size) float64 ndarray
        Fraction of the variance between phase bins.

    Raises
    ------
    LightCurveError
        A light curve is constant, or has more than 16 million points.
    UsageError
        Bins or memory that cannot be used, or no such device.
    DependencyError
        torch is not installed.

    References
    ----------
    Schwarzenberg-Czerny 1989, MNRAS 241, 153, eqs. 4-6.
    """
    if not 2 <= n_phase <= 4096:
        raise UsageError(f"{n_phase} phase bins cannot be used; give 2 to 4096")
    place, torch = check_device(device), _torch()
    between, total = np.zeros((len(curves), grid.size)), np.zeros(len(curves))
    series, owner, units, squares = [], [], [], []
    for i, own in _bands(curves):
        if curves[i].time.size >= 1 << 24:
            raise LightCurveError(
                f"{curves[i].time.size} points are more than the 16 million that phase bins can count"
            )
        extent = np.ptp(own.mag)
        if extent == 0:
            continue
        scaled = np.rint((own.mag - own.mag.min()) * (FINEST / extent))
        series.append((own.time, scaled.astype(np.int64)))
        owner.append(i)
        units.append((extent / FINEST) ** 2)
        squares.append(scaled.sum() ** 2 / scaled.size)
        total[i] += units[-1] * float(np.sum((scaled - scaled.mean()) ** 2))
    _refuse_constants(total)
    if not curves:
        return between
    rows = _rows(series)
    length = rows.time.shape[1]
    # a bin is one number, the count above the sum: whole numbers, so that the order of adding changes nothing
    both = np.where(rows.inside, rows.value + (1 << 40), 0)
    for part, freqs in _chunks(len(owner), grid.size, 32 * length + 56 * n_phase, 96 * length, memory):
        cell = _phase_bins(torch, rows.time[part], grid, freqs, n_phase, place)
        bins = torch.zeros((*cell.shape[:2], n_phase), dtype=torch.int64, device=place)
        bins.scatter_add_(2, cell, torch.tensor(both[part], device=place)[:, None, :].expand(cell.shape))
        del cell
        count = (bins >> 40).to(torch.float64).clamp_(min=1.0)
        summed = (bins & ((1 << 40) - 1)).to(torch.float64)
        values = (summed * summed / count).sum(dim=2).cpu().numpy()
        for row, value in zip(range(len(owner))[part], values, strict=True):
            between[owner[row], freqs] += units[row] * (value - squares[row])
    return np.clip(between / total[:, None], 0.0, 1.0)


def harmonic_powers(
    curves: Sequence[Points],
    grid: FrequencyGrid,
    n_terms: int = 1,
    *,
    device: str = "cpu",
    memory: int = MEMORY,
) -> NDArray[np.float64]:
    """Fit Fourier series to many light curves by the direct sums over their points; see `harmonic_power`.

    One term is Lomb-Scargle. All is in float64.

    Parameters
    ----------
    curves, grid, device, memory
        As of `entropies`.
    n_terms : int

    Returns
    -------
    power : (n_curves, grid.size) float64 ndarray
        Fraction of the weighted variance that the series explains.

    Raises
    ------
    LightCurveError
        A light curve is constant, or no band of it has more points than terms.
    UsageError
        Memory that cannot be used, or no such device.
    DependencyError
        torch is not installed.

    References
    ----------
    Zechmeister & Kuerster 2009, A&A 496, 577, eq. 5. Schwarzenberg-Czerny 1996, ApJ 460, L107.
    """
    place, torch = check_device(device), _torch()
    explained, total = np.zeros((len(curves), grid.size)), np.zeros(len(curves))
    series, owner = [], []
    for i, points in enumerate(curves):
        for part in bands_of(points, n_terms):
            series.append((part.time, np.stack([part.weight, part.weight * part.mag], axis=1)))
            owner.append(i)
            total[i] += float(series[-1][1][:, 1] @ part.mag)
    _refuse_constants(total)
    if not curves:
        return explained
    rows = _rows(series)
    length, count = rows.time.shape[1], 2 * n_terms + 1
    for chosen, freqs in _chunks(len(owner), grid.size, 80 * length + 128 * (count + 1), 96 * length, memory):
        time = torch.tensor(rows.time[chosen], device=place)
        strength = torch.tensor(rows.value[chosen], device=place)  # 0 for padding
        frequency = grid.start + grid.step * np.arange(freqs.start, freqs.stop)
        turn = time[:, None, :] * torch.tensor(frequency, device=place)[:, None]
        turn -= turn.floor()
        turn *= 2 * np.pi
        real, imag = turn.cos(), turn.sin()
        del turn
        first = strength.sum(dim=1)[:, None, :].expand(-1, len(frequency), -1)
        sums = [torch.complex(first, torch.zeros_like(first))]  # (row, frequency, weights and series)
        power_real, power_imag = real, imag
        for k in range(1, count):
            if k > 1:
                power_real, power_imag = (
                    power_real * real - power_imag * imag,
                    power_real * imag + power_imag * real,
                )
            sums.append(torch.complex(power_real @ strength, power_imag @ strength))
        del real, imag, power_real, power_imag
        window = [one[..., 0] for one in sums]
        values = [one[..., 1] for one in sums[: n_terms + 1]]
        result = _projected(torch, window, values, n_terms).cpu().numpy()
        for row, value in zip(range(len(owner))[chosen], result, strict=True):
            explained[owner[row], freqs] += value
    return np.clip(explained / total[:, None], 0.0, 1.0)


@dataclass(frozen=True)
class _Rows:
    """Light curves of one band each, padded to one length: time, value and which points are real."""

    time: NDArray[np.float64]
    value: NDArray[Any]
    inside: NDArray[np.bool_]


def _rows(series: Sequence[tuple[NDArray[np.float64], NDArray[Any]]]) -> _Rows:
    shape = (len(series), max(time.size for time, _ in series))
    first = series[0][1]
    rows = _Rows(np.zeros(shape), np.zeros(shape + first.shape[1:], first.dtype), np.zeros(shape, dtype=bool))
    for i, (time, value) in enumerate(series):
        rows.time[i, : time.size], rows.value[i, : time.size] = time, value
        rows.inside[i, : time.size] = True
    return rows


def _bands(curves: Sequence[Points]) -> Iterator[tuple[int, Points]]:
    """Each band of each light curve, with the number of the curve."""
    for i, points in enumerate(curves):
        for band in np.unique(points.band):
            yield i, points.take(points.band == band)


def _chunks(n_rows: int, size: int, pair: int, row: int, memory: int) -> Iterator[tuple[slice, slice]]:
    """Rows and frequencies that go together: `row` bytes for each row, `pair` for each of its frequencies."""
    if memory < row + pair:
        raise UsageError(
            f"{memory} bytes do not hold one frequency of the longest light curve; give at least {row + pair}"
        )
    rows = int(np.clip(memory // (row + pair * min(size, _WIDE)), 1, n_rows))
    freqs = int(np.clip((memory // rows - row) // pair, 1, size))
    for i in range(0, n_rows, rows):
        for j in range(0, size, freqs):
            yield slice(i, min(i + rows, n_rows)), slice(j, min(j + freqs, size))


def _phase_bins(
    torch: Any, time: NDArray[np.float64], grid: FrequencyGrid, freqs: slice, n_phase: int, place: Any
) -> Any:
    """Phase bin of each point at each frequency, (rows, frequencies, points) int64.

    The whole numbers of the compiled loops: computed in float64 at every `_RESET`-th frequency, then stepped.
    """
    step = time * grid.step
    steps = np.rint((step - np.floor(step)) * _TURN).astype(np.int64) % _TURN
    number = np.arange(freqs.start, freqs.stop)
    block = number // _RESET - freqs.start // _RESET
    cell = (
        torch.tensor(steps, device=place)[:, None, :] * torch.tensor(number % _RESET, device=place)[:, None]
    )
    for k in range(int(block[-1]) + 1):
        turn = time * (grid.start + (freqs.start // _RESET + k) * _RESET * grid.step)
        phase = ((turn - np.floor(turn)) * _TURN).astype(np.int64)
        here = np.flatnonzero(block == k)
        cell[:, here[0] : here[-1] + 1] += torch.tensor(phase, device=place)[:, None, :]
    # 20 bits of the phase tell the bin, there as here
    return cell.bitwise_and_(_TURN - 1).bitwise_right_shift_(12).mul_(n_phase).bitwise_right_shift_(20)


def _looked_up(table: Any, counts: Any) -> Any:
    """Sum over the cells of what the table has for each count, (rows, frequencies)."""
    return table.index_select(0, counts.reshape(-1)).reshape(counts.shape).sum(dim=2)


def _projected(torch: Any, window: Sequence[Any], series: Sequence[Any], n_terms: int) -> Any:
    """Sum of squares that a Fourier series with a mean explains: `folding.projected` in whole arrays."""
    count = 2 * n_terms + 1
    least = 1e-7 * window[0].real
    norm = window[0].real.clone()
    total, usable = torch.zeros_like(norm), torch.ones_like(norm, dtype=torch.bool)
    polynomial = [torch.ones_like(window[0])]
    for k in range(count):
        onto = torch.zeros_like(window[0])
        for m in range(k + 1):
            # the series is real: its sum at -k is the conjugate
            sums = series[n_terms - m] if n_terms >= m else series[m - n_terms].conj()
            onto += polynomial[m].conj() * sums
        total += torch.where(usable, (onto.real**2 + onto.imag**2) / norm, 0.0)
        if k == count - 1:
            break
        turned = torch.zeros_like(window[0])
        for m in range(k + 1):
            turned += polynomial[m] * window[m + 1]
        turned /= norm
        left = norm * (1.0 - turned.real**2 - turned.imag**2)
        # a polynomial that vanishes on all points (fewer phases than terms) explains nothing more
        usable &= left > least
        norm = torch.where(left > least, left, 1.0)
        shifted = [torch.zeros_like(window[0]), *polynomial]
        polynomial = [
            *(shifted[m] - turned * polynomial[k - m].conj() for m in range(k + 1)), shifted[k + 1]
        ]  # fmt: skip
    return total


def _refuse_constants(total: NDArray[np.float64]) -> None:
    if np.any(total <= 0):
        number = int(np.flatnonzero(total <= 0)[0])
        raise LightCurveError(f"light curve {number} of the batch is constant; a constant has no period")


def _torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise DependencyError('periodograms by torch need torch; pip install "astrid[train]"') from error
    return torch
