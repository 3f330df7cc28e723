"""Running the code of a page: its blocks in order, in one empty directory."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from astrid.cli.main import app

_BLOCK = re.compile(r"^```(python|shell)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (\w+\.py)\n")


@pytest.fixture
def run_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path], tuple[list[str], dict[str, Any]]]:
    """Runs a page in `tmp_path`: Python is executed, commands are called, blocks that name a file are kept.

    Gives the code of each block, and the names that the Python blocks have made.
    """

    def run(page: Path) -> tuple[list[str], dict[str, Any]]:
        monkeypatch.chdir(tmp_path)
        text = page.read_text(encoding="utf-8")
        codes: list[str] = []
        names: dict[str, Any] = {}
        for block in _BLOCK.finditer(text):
            language, code = block.groups()
            codes.append(code)
            file = _FILE.match(code)
            if file:
                (tmp_path / file[1]).write_text(code)
            elif language == "python":
                # blank lines in front, so that a failure names the line of the page
                exec(compile("\n" * text[: block.start(2)].count("\n") + code, str(page), "exec"), names)
            else:
                for line in code.splitlines():
                    result = CliRunner().invoke(app, shlex.split(line)[1:], catch_exceptions=False)
                    assert result.exit_code == 0, f"{line}\n{result.stderr}"
        return codes, names

    return run
