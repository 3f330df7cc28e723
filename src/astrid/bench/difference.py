"""The main job against simulated truth, against other programs and on real images.

Every row is measured here and now; goals that are missed stay in the table.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrid.bench._peers import FAILURES, PEERS, Peer, PeerInput
from astrid.bench._real_pairs import real_images, real_rows
from astrid.bench._scores import Score, chance_detections, score
from astrid.bench.frame import ONE_THREAD, Measured, Report, Row, measure_process
from astrid.images.differencing import difference
from astrid.images.frame import Frame
from astrid.images.simulation import SimulatedPair, simulate_pair
from astrid.images.simulation_config import SimulationConfig

__all__ = ["run"]

log = logging.getLogger(__name__)

_SEEDS = (1, 2, 3, 4, 5)
_REPEATS = 2
_PACKAGES = ("sep", "sfft", "stdpipe")


@dataclass(frozen=True, eq=False)
class _Found:
    """What a run of our own pipeline brings back from its process."""

    candidates: NDArray[np.float64]  # x, y, snr of unflagged ones
    flux: NDArray[np.float64]
    flux_err: NDArray[np.float64]
    n_flagged: int
    significance_sigma: float
    registration_rms_px: float
    flux_ratio: float
    science: NDArray[np.float32] | None
    reference: NDArray[np.float32] | None


@dataclass(frozen=True, eq=False)
class _Trial:
    """One simulated pair, what we found in it and what it cost."""

    pair: SimulatedPair
    measured: Measured[_Found]
    score: Score


def run(quick: bool = False, on_stage: Callable[[str], None] | None = None) -> Report:
    """Measure difference imaging.

    Parameters
    ----------
    quick : bool
        One 1024 x 1024 pair and the plainest peer only, within a minute.
    on_stage : callable, optional
        Called with the name of each stage as it begins.

    Returns
    -------
    Report
    """
    say = on_stage or (lambda stage: None)
    rows: list[Row] = []
    if quick:
        config = _sized(1024)
        trials = [_trial(config, 1, say, keep=True)]
        rows += _simulated_rows("1024²", trials, cpu_goal=None, memory_goal=None)
        rows += _peer_rows("1024²", trials[0], PEERS[:1], say)
        return Report("difference", tuple(rows), _PACKAGES)
    trials = _trials("2048²", _sized(2048), _SEEDS, rows, say)
    if trials:
        rows += _simulated_rows("2048²", trials, cpu_goal="<= 3", memory_goal="<= 1024")
        rows += _peer_rows("2048²", trials[0], PEERS, say)
    large = _trials("4096²", _sized(4096), _SEEDS[:1], rows, say)
    if large:
        rows += _simulated_rows("4096²", large, cpu_goal="<= 16", memory_goal="<= 3072")
    for name, variant in _variants().items():
        varied = _trials(name, variant, _SEEDS[:2], rows, say)
        if varied:
            rows += _variant_rows(name, varied)
    images = real_images()
    if images is None:
        say("real images: absent, so no rows; set ASTRID_REAL_DATA to the folder that holds images/")
    else:
        rows += real_rows(images, say)
    return Report("difference", tuple(rows), _PACKAGES)


def _variants() -> dict[str, SimulationConfig]:
    """Pairs that differ from the benchmark in one respect, and one with everything that goes wrong."""
    swapped = {"fwhm_science": 4.2, "fwhm_reference": 3.0}
    swapped |= {"ellipticity_science": 0.04, "ellipticity_reference": 0.02}
    return {
        "2048², FWHM 4.2 and 3.0 px": _sized(2048, **swapped),
        "2048², PSF varying by 5 %, warp of 0.2 px": _sized(2048, psf_variation=0.05, warp=0.2),
        "2048², FWHM 20 % larger in the corners": _sized(2048, psf_curvature=0.2),
        "2048², a third of the changes negative": _sized(2048, fraction_vanished=0.33),
        "2048², changes of S/N 30 to 300": _sized(2048, snr_range=(30.0, 300.0)),
        "1024², the demo field with all artefacts": SimulationConfig.named("demo"),
    }


def _sized(side: int, **changes: object) -> SimulationConfig:
    """The benchmark pair with the same density of everything on a frame of another size."""
    share = (side / 2048) ** 2
    counts = {"n_stars": 3000, "n_galaxies": 300, "n_transients": 150}
    scaled = {name: round(count * share) for name, count in counts.items()}
    return SimulationConfig.named("benchmark", shape=(side, side), **scaled, **changes)


def _trials(
    name: str, config: SimulationConfig, seeds: Sequence[int], rows: list[Row], say: Callable[[str], None]
) -> list[_Trial]:
    """One trial a seed, the first with its images; a seed that fails leaves a missed row, not a crash."""
    trials: list[_Trial] = []
    for seed in seeds:
        try:
            trials.append(_trial(config, seed, say, keep=not trials))
        except FAILURES as error:
            log.warning("%s, seed %d: %s", name, seed, error)
            rows.append(Row(f"{name}: seed {seed} failed: {type(error).__name__}", None, goal=">= 0.98"))
    return trials


def _trial(config: SimulationConfig, seed: int, say: Callable[[str], None], *, keep: bool = False) -> _Trial:
    """Simulate, difference in a fresh process, score."""
    say(f"simulated {config.shape[0]}², seed {seed}")
    pair = simulate_pair(config, seed)
    measured = measure_process(
        _ours, pair.science, pair.reference, keep, repeats=_REPEATS, environment=ONE_THREAD
    )
    found = measured.result
    return _Trial(pair, measured, score(pair.truth, found.candidates, found.flux, found.flux_err))


def _ours(science: Frame, reference: Frame, keep: bool) -> _Found:
    """From two frames to candidates: everything that is timed."""
    result = difference(science, reference)
    table = result.candidates
    clean = np.asarray(table["flags"]) == ""
    columns = [np.asarray(table[name], np.float64)[clean] for name in ("x", "y", "snr", "flux", "flux_err")]
    return _Found(
        candidates=np.stack(columns[:3], axis=1),
        flux=columns[3],
        flux_err=columns[4],
        n_flagged=int(np.sum(~clean)),
        significance_sigma=result.significance_sigma,
        registration_rms_px=result.registration_rms_px,
        flux_ratio=result.flux_ratio,
        science=result.science.data if keep else None,
        reference=result.reference.data if keep else None,
    )


def _simulated_rows(
    size: str, trials: Sequence[_Trial], *, cpu_goal: str | None, memory_goal: str | None
) -> list[Row]:
    """The figures of the pairs of one size; of several seeds the worst meets the goal or does not."""
    scores = [trial.score for trial in trials]
    found = [trial.measured.result for trial in trials]
    config = trials[0].pair.config
    n = len(trials)
    worst = f", worst of {n} seeds" if n > 1 else ""
    chance = chance_detections(config.shape, (config.fwhm_science, config.fwhm_reference))
    bias, pull, count = _photometry(scores)
    bright = sum(one.n_bright for one in scores)
    recalls = [one.recall_bright for one in scores]
    false_goal = "<= 2" if config.shape[0] <= 2048 else None
    cpu = max(trial.measured.cpu_s for trial in trials)
    memory = max(trial.measured.peak_mb for trial in trials)
    false = [one.false_detections for one in scores]
    errors = [100 * abs(result.flux_ratio / config.flux_ratio - 1) for result in found]
    sigma = max((result.significance_sigma for result in found), key=lambda value: abs(value - 1))
    shifts = [result.registration_rms_px for result in found]
    floor = ("8 forward and 6 inverse float32 FFTs", _fft_seconds(config.shape))
    noise = ("noise alone, theory", chance)
    both = f"{size}: unflagged false positives of both signs"
    cost = f"{size}: CPU time, frames to candidates"
    rows = [
        Row(f"{size}: recall at true S/N > 7{worst}", min(recalls), n=bright, goal=">= 0.98"),
        Row(f"{both}{worst}", max(false), n=n, goal=false_goal).beside(*noise),
        Row(f"{size}: robust sigma of S_corr{worst}", sigma, n=n, goal="= 1 ± 0.01"),
        Row(f"{size}: photometric bias", bias, "%", n=count, goal="= 0 ± 1"),
        Row(f"{size}: width of the photometric pulls", pull, n=count, goal="= 1 ± 0.1"),
        Row(f"{size}: error of the flux ratio{worst}", max(errors), "%", n=n),
        Row(f"{size}: registration rms{worst}", max(shifts), "px", n=n, goal="< 0.1"),
        Row(f"{cost}{worst}", cpu, "s", n=n, goal=cpu_goal).beside(*floor),
        Row(f"{size}: peak memory{worst}", memory, "MiB", n=n, goal=memory_goal),
    ]
    if n > 1:
        rows += [
            Row(f"{size}: recall of all, S/N 3 to 30, median", _median([s.recall_all for s in scores]), n=n),
            Row(f"{both}, median", _median(false), n=n, goal=false_goal).beside(*noise),
            Row(f"{both}, mean", _mean(false), n=n).beside(*noise),
            Row(f"{size}: negative ones among them, mean", _mean([s.false_negative for s in scores]), n=n),
            Row(f"{size}: flagged candidates, mean", _mean([result.n_flagged for result in found]), n=n),
            Row(f"{cost}, median", _median([t.measured.cpu_s for t in trials]), "s", n=n, goal=cpu_goal),
        ]
    return rows


def _variant_rows(name: str, trials: Sequence[_Trial]) -> list[Row]:
    """A few figures of pairs that differ from the benchmark in one respect."""
    n = len(trials)
    bias, _, count = _photometry([trial.score for trial in trials])
    return [
        Row(f"{name}: recall at true S/N > 7, worst", min(t.score.recall_bright for t in trials), n=n),
        Row(
            f"{name}: unflagged false positives of both signs, worst",
            max(t.score.false_detections for t in trials),
            n=n,
        ),
        Row(
            f"{name}: robust sigma of S_corr, worst",
            max((t.measured.result.significance_sigma for t in trials), key=lambda sigma: abs(sigma - 1)),
            n=n,
        ),
        Row(f"{name}: photometric bias", bias, "%", n=count),
    ]


def _photometry(scores: Sequence[Score]) -> tuple[float, float, int]:
    """Bias in per cent, width of the pulls, and the number of changes they come from."""
    flux, true, error = (
        np.concatenate([getattr(one, name) for one in scores]) for name in ("flux", "flux_true", "flux_err")
    )
    weight = true / error**2
    bias = 100 * (np.sum(flux * weight) / np.sum(true * weight) - 1)
    return float(bias), float(np.std((flux - true) / error)), len(flux)


def _peer_rows(size: str, trial: _Trial, peers: Sequence[Peer], say: Callable[[str], None]) -> list[Row]:
    """Our figures beside those of each peer on the same pair; the goal is to be ahead."""
    config, found = trial.pair.config, trial.measured.result
    assert found.science is not None and found.reference is not None  # kept for this
    given = PeerInput(
        science=found.science,
        reference=found.reference,
        fwhm_science=config.fwhm_science,
        fwhm_reference=config.fwhm_reference,
        flux_ratio=config.flux_ratio,
        sky_science=config.sky_science,
        sky_reference=config.sky_reference,
        gain=config.gain,
    )
    rows: list[Row] = []
    for peer in peers:
        say(f"peer: {peer.name}")
        rows += _beside(size, trial, peer, given)
    return rows


def _beside(size: str, trial: _Trial, peer: Peer, given: PeerInput) -> list[Row]:
    ours = trial.score
    figures = [
        ("recall at true S/N > 7", ours.recall_bright, "", ">="),
        ("unflagged false positives of both signs", float(ours.false_detections), "", "<="),
        ("CPU time, theirs without registration and sky", trial.measured.cpu_s, "s", "<="),
        ("peak memory", trial.measured.peak_mb, "MiB", "<="),
    ]
    named = [Row(f"{size}, same pair: {what}", value, unit, n=1) for what, value, unit, _ in figures]
    if not peer.installed:
        note = f'{peer.name}: not installed (pip install "astrid[bench]")'
        return [Row(row.name, row.value, row.unit, n=1, peer=note) for row in named]
    try:
        measured = measure_process(peer.find, given, repeats=peer.repeats, environment=ONE_THREAD)
    except FAILURES as error:
        log.warning("%s: %s", peer.label, error)
        note = f"{peer.label}: failed ({type(error).__name__})"
        return [Row(row.name, row.value, row.unit, n=1, peer=note) for row in named]
    theirs = score(trial.pair.truth, measured.result)
    values = [theirs.recall_bright, float(theirs.false_detections), measured.cpu_s, measured.peak_mb]
    return [
        Row(row.name, row.value, row.unit, n=1, goal=f"{relation} {value:.6g}").beside(peer.label, value)
        for row, value, (_, _, _, relation) in zip(named, values, figures, strict=True)
    ]


def _fft_seconds(shape: tuple[int, int]) -> float:
    """CPU time of 8 forward and 6 inverse real transforms of this size in float32, the least of 3."""
    from scipy import fft

    image = np.random.default_rng(0).standard_normal(shape, np.float32)
    costs = []
    for _ in range(3):
        start = time.process_time()
        for _ in range(8):
            transform = fft.rfft2(image)
        for _ in range(6):
            fft.irfft2(transform, s=shape)
        costs.append(time.process_time() - start)
    return min(costs)


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
