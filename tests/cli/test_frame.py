"""The command frame: one object for machines, one line for problems, the right exit code."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from astrid import errors
from astrid._version import __version__
from astrid.cli import main as frame
from astrid.cli.output import named, stages, to_json

np = pytest.importorskip("numpy")


@pytest.fixture
def astrid_with(monkeypatch):
    """Run ``astrid trial ...`` where the noun's one verb does what the test says."""

    def run(action, *arguments):
        application = typer.Typer(add_completion=False)

        @application.command()
        def verb(json: bool = False) -> None:
            action(json)

        @application.command()
        def other() -> None:
            """Makes the noun a group of verbs."""

        monkeypatch.setitem(frame.NOUNS, "trial", ("trial_module", "A noun for this test."))
        monkeypatch.setitem(sys.modules, "trial_module", SimpleNamespace(app=application))
        return CliRunner().invoke(frame.app, ["trial", *arguments])

    return run


def raising(error):
    def action(json):
        raise error

    return action


def test_version_is_the_packages():
    result = CliRunner().invoke(frame.app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.strip() == f"astrid {__version__}"


def test_help_names_every_noun():
    result = CliRunner().invoke(frame.app, ["--help"])
    assert result.exit_code == 0
    assert all(noun in result.stdout for noun in frame.NOUNS)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.FrameError("a.fits: no image; give a file with one"), 1),
        (errors.DependencyError("x needs y; pip install it"), 1),
        (errors.OutputError("out: cannot be written; give another"), 1),
        (errors.UsageError("--at and --radec exclude each other; give one"), 2),
    ],
)
def test_a_named_problem_is_one_plain_line_and_its_exit_code(astrid_with, error, code):
    result = astrid_with(raising(error), "verb")
    assert result.exit_code == code
    assert result.stderr == f"error: {error}\n"
    assert result.stdout == ""


def test_a_message_over_several_lines_is_still_one_line(astrid_with):
    result = astrid_with(raising(errors.FrameError("first\n   second")), "verb")
    assert result.stderr == "error: first second\n"


def test_with_json_a_problem_is_also_one_object(astrid_with):
    result = astrid_with(raising(errors.AlignmentError("no overlap; give another pair")), "verb", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "error": {"kind": "AlignmentError", "message": "no overlap; give another pair"}
    }


def test_a_full_disk_is_said_in_a_sentence(astrid_with):
    result = astrid_with(raising(OSError(errno.ENOSPC, "No space left on device", "run1/mask.fits")), "verb")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: run1/mask.fits: the disk is full")


def test_an_interrupt_ends_with_130(astrid_with):
    assert astrid_with(raising(KeyboardInterrupt()), "verb").exit_code == 130


def test_a_bug_is_not_disguised_as_bad_data(astrid_with):
    result = astrid_with(raising(ZeroDivisionError("ours")), "verb")
    assert isinstance(result.exception, ZeroDivisionError)
    assert named(ZeroDivisionError()) is None


@pytest.mark.parametrize("arguments", [["nonsense"], ["bench", "difference", "--nonsense"]])
def test_wrong_usage_ends_with_2(arguments):
    result = CliRunner().invoke(frame.app, arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr


def test_the_installed_command_reports_an_unknown_benchmark():
    command = [sys.executable, "-c", "from astrid.cli.main import main; main()", "bench", "nonsense"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: there is no benchmark 'nonsense'")
    assert done.stderr.count("\n") == 1


def test_json_is_strict_whatever_the_numbers_are():
    value = {
        "nan": float("nan"),
        "inf": np.float32("inf"),
        "n": np.int64(3),
        "a": np.arange(2),
        "b": np.True_,
    }
    assert json.loads(to_json(value)) == {"nan": None, "inf": None, "n": 3, "a": [0, 1], "b": True}


def test_stages_are_silent_when_nobody_looks(capsys):
    with stages(json_mode=False, patience=0.0) as on_stage:
        on_stage("subtracting")
    assert capsys.readouterr() == ("", "")
