"""The quickstart does what it says: its blocks are run in order, in one empty directory."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from typer.testing import CliRunner

from astrid.cli.main import app

_BLOCK = re.compile(r"^```(python|shell)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_block_of_the_quickstart_runs(repository: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = repository / "docs" / "quickstart.md"
    text = page.read_text(encoding="utf-8")
    blocks = list(_BLOCK.finditer(text))
    assert len(blocks) > 5
    names: dict[str, object] = {}
    for block in blocks:
        language, code = block.groups()
        if language == "python":
            lines_before = text[: block.start(2)].count("\n")
            # blank lines in front, so that a failure names the line of the page
            exec(compile("\n" * lines_before + code, str(page), "exec"), names)
        else:
            for line in code.splitlines():
                result = CliRunner().invoke(app, shlex.split(line)[1:], catch_exceptions=False)
                assert result.exit_code == 0, f"{line}\n{result.stderr}"
    assert (tmp_path / "run1" / "report.html").stat().st_size > 0
