"""A small pair of files and one run of it, shared by the tests of this room."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from astrid.images.simulated_survey import write_pair
from astrid.images.simulation import SimulatedPair, simulate_pair
from astrid.images.simulation_config import SimulationConfig
from astrid.survey import RunSummary, difference_files

COMMAND = "astrid images difference science_0.fits reference_0.fits --avro"


@dataclass(frozen=True)
class Files:
    """A simulated pair and where it lies."""

    pair: SimulatedPair
    science: Path
    reference: Path
    truth: Path


@dataclass(frozen=True)
class Run:
    """A run and where its products lie."""

    files: Files
    out: Path
    summary: RunSummary
    result: Any


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory):
    """Make a pair of files; the same seed gives the same files."""

    def make(seed: int, size: int = 256) -> Files:
        folder = tmp_path_factory.mktemp("pair")
        config = SimulationConfig(
            shape=(size, size), n_stars=size * size // 900, n_galaxies=4, n_transients=4, snr_range=(15, 40)
        )
        pair = simulate_pair(config, seed=seed)
        science, reference, truth, _ = write_pair(folder, pair, "0")
        return Files(pair, folder / science, folder / reference, folder / truth)

    return make


@pytest.fixture(scope="session")
def files(simulated) -> Files:
    return simulated(1)


@pytest.fixture(scope="session")
def run(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run with everything switched on but a model."""
    out = tmp_path_factory.mktemp("runs") / "run1"
    summary, result = difference_files(
        files.science, files.reference, out, model=None, avro=True, command=COMMAND, truth=files.pair.truth
    )
    return Run(files, out, summary, result)
