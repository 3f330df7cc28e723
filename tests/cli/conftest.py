"""A person's own system and data, and the commands on models that are given beside them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from astrid.cli.main import app
from astrid.learn import DatasetWriter, Input, registry


@pytest.fixture(autouse=True)
def wide_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables as wide as they need, whatever a package that was loaded before has set."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(scope="session")
def models() -> Callable[..., Any]:
    """Runs ``astrid models``; an exception that is not an exit is a failure of the test."""

    def call(*arguments: object) -> Any:
        result = CliRunner().invoke(app, ["models", *map(str, arguments)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture(scope="session")
def said(models: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """Runs ``astrid models`` and gives the JSON object of a command that went well."""

    def call(*arguments: object) -> dict[str, Any]:
        result = models(*arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    return call


@pytest.fixture(scope="session")
def spot_images() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Makes (n, 5, 5, 1) images, and whether each has a spot."""

    def make(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        spot = rng.integers(0, 2, n)
        pixels = rng.normal(0, 1, (n, 5, 5, 1)).astype(np.float32)
        pixels[:, 2, 2, 0] += 4 * spot
        return pixels, spot

    return make


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, spot_images: Callable[..., Any]):
    """A directory with a system and a data set, in which commands are given."""
    pytest.importorskip("lightning")
    folder = tmp_path_factory.mktemp("home")
    shutil.copy(Path(__file__).with_name("spots.py"), folder)
    pixels, spot = spot_images(600)
    inputs = {"image": Input(shape=(5, 5, 1), channels=("difference",))}
    with DatasetWriter(
        folder / "data", name="spots", inputs=inputs, kind="simulated", group="night"
    ) as writer:
        rows = {
            "id": [f"s{k}" for k in range(600)],
            "night": [f"n{k // 20}" for k in range(600)],
            "spot": np.array(["no", "yes"])[spot],
            "camera": [("red", "blue")[k // 20 % 2] for k in range(600)],
        }
        writer.append({"image": pixels}, rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ASTRID_BUNDLES", str(folder / "bundles"))
        patch.setattr(registry, "_shipped_directory", lambda: folder / "shipped")
        patch.setattr(sys, "path", [*sys.path])
        yield folder
    sys.modules.pop("spots", None)


@pytest.fixture(scope="module")
def run(home: Path, said: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """What a training said."""
    return said("train", "spots.py:SPOTS", "--data", "data", "--out", "run", "--seed", 3)
