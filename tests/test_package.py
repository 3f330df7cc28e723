"""The house itself: light to start, built on its floors, honest about its errors."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import astrid
from astrid import errors

HEAVY = {"numpy", "scipy", "astropy", "matplotlib", "pyarrow", "torch", "sep", "ccdproc", "fastavro"}


def modules_loaded_by(statement: str) -> set[str]:
    """Top-level modules present after `statement` in a fresh interpreter."""
    report = "import json, sys\nprint(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\n{report}"], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_astrid_loads_nothing_heavy():
    assert modules_loaded_by("import astrid").isdisjoint(HEAVY | {"typer", "rich"})


def test_importing_images_needs_no_plotting_no_avro_no_network():
    loaded = modules_loaded_by("import astrid; astrid.images")
    assert loaded.isdisjoint({"matplotlib", "fastavro", "ccdproc", "torch", "typer", "rich", "pandas"})


def test_help_loads_nothing_heavy():
    statement = (
        "import contextlib, io, sys\n"
        "from astrid.cli.main import app\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    app(['--help'])"
    )
    assert modules_loaded_by(statement).isdisjoint(HEAVY)


TRAINING = {"torch", "lightning", "onnx", "onnxscript", "captum", "optuna", "tensorboard"}


def command(*words: str) -> str:
    """Run a command in the same interpreter, without what it prints."""
    return (
        "import contextlib, io, sys\n"
        "from astrid.cli.main import app\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        f"    app({list(words)!r})"
    )


def test_listing_models_loads_nothing_of_training_and_no_runtime():
    loaded = modules_loaded_by(command("models", "list"))
    assert loaded.isdisjoint(TRAINING | {"onnxruntime", "sklearn", "matplotlib", "astropy", "scipy"})
    assert "astrid" in loaded


def test_all_of_the_engine_can_be_named_without_torch():
    rooms = "import astrid\nfor room in (astrid.learn, astrid.zoo):\n"
    statement = f"{rooms}    [getattr(room, name) for name in dir(room)]"
    assert modules_loaded_by(statement).isdisjoint(TRAINING | {"matplotlib", "sklearn"})


def test_differencing_and_scoring_load_nothing_of_training(tmp_path: Path):
    pair = (
        "from astrid.images.simulated_survey import write_pair\n"
        "from astrid.images import SimulationConfig, simulate_pair\n"
        "from pathlib import Path\n"
        "config = SimulationConfig(shape=(256, 256), n_stars=70, n_galaxies=4, n_transients=4)\n"
        f"write_pair(Path({str(tmp_path)!r}), simulate_pair(config, seed=1), '1')\n"
    )
    files = [str(tmp_path / f"{role}_1.fits") for role in ("science", "reference")]
    loaded = modules_loaded_by(pair + command("images", "difference", *files, "--out", str(tmp_path / "run")))
    assert (tmp_path / "run" / "report.html").exists()
    assert loaded.isdisjoint(TRAINING | {"torchvision"})


def test_rooms_are_reached_from_the_top():
    assert astrid.errors is errors
    assert set(astrid.__all__) <= set(dir(astrid))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = astrid.nonsense


def test_everything_promised_by_a_room_is_there():
    for room in (astrid, astrid.images, astrid.learn, astrid.zoo):
        assert not [name for name in room.__all__ if not hasattr(room, name)]


def test_error_tree_in_the_docstring_is_the_tree_in_the_code():
    drawn = {word for word in (errors.__doc__ or "").split() if word.endswith("Error")}
    defined = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert drawn == defined
    assert all(issubclass(getattr(errors, name), errors.AstridError) for name in defined)


def test_torchvision_is_absent():
    # beside a CPU torch it breaks every package that imports it, while `pip check` is content
    assert importlib.util.find_spec("torchvision") is None


def test_torch_is_in_no_core_requirement(repository: Path):
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    extras = [line for extra in project["optional-dependencies"].values() for line in extra]
    everything = project["dependencies"] + extras
    assert not any(line.startswith("torch") for line in project["dependencies"])
    assert not any(line.startswith(("torchvision", "timm")) for line in everything)


def lint_imports(repository: Path, source: Path) -> subprocess.CompletedProcess[str]:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from importlinter.cli import lint_imports;"
        "sys.exit(lint_imports(config_filename=sys.argv[2], no_cache=True))"
    )
    command = [sys.executable, "-c", program, str(source), str(repository / "pyproject.toml")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_floors_hold(repository: Path):
    pytest.importorskip("importlinter")
    done = lint_imports(repository, repository / "src")
    assert done.returncode == 0, done.stdout


def test_a_room_that_imports_upwards_is_caught(repository: Path, tmp_path: Path):
    pytest.importorskip("importlinter")
    for source in (repository / "src" / "astrid").rglob("*.py"):
        copy = tmp_path / source.relative_to(repository / "src")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(source.read_text())
    trespasser = tmp_path / "astrid" / "images" / "frame.py"
    trespasser.write_text(trespasser.read_text() + "\nimport astrid.survey\n")
    done = lint_imports(repository, tmp_path)
    assert done.returncode != 0
    assert "astrid.images.frame -> astrid.survey" in done.stdout
