"""Finding a system by its name, and one's own by a module or a file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from astrid.errors import UsageError
from astrid.learn.task import Task
from astrid.zoo import task, tasks
from astrid.zoo.braai import BRAAI

OWN = """
from astrid.learn.task import Binary, Input, Task
NUMBER = 3
TOY = Task(name="toy", inputs={"x": Input(shape=(2,))}, heads={"y": Binary(labels=("no", "yes"))},
           network="FILE:Net")
class Net:
    def __init__(self, inputs, outputs):
        self.outputs = outputs
"""


def test_the_listing_is_the_folder() -> None:
    assert "braai" in tasks()
    assert tasks() == tuple(sorted(tasks()))
    assert all(task(name).name == name for name in tasks())


def test_a_task_is_found_by_name_and_by_module() -> None:
    assert task("braai") is BRAAI
    assert task("astrid.zoo.braai:BRAAI") is BRAAI


def test_a_task_in_a_file_may_name_a_network_in_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "toy_of_test_zoo.py").write_text(OWN.replace("FILE", "toy_of_test_zoo"))
    found = task(f"{tmp_path / 'toy_of_test_zoo.py'}:TOY")
    assert isinstance(found, Task)
    assert found.build_network().outputs == {"y": 1}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("braii", "there is no system 'braii'; choose one of braai"),
        ("astrid.zoo.braai:BRAII", "astrid.zoo.braai has no 'BRAII'"),
        ("astrid.zoo.braai:Training", "is no task but of type ModelMetaclass"),
        ("nowhere.py:TOY", "there is no such file"),
    ],
)
def test_what_is_no_task_is_refused(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        task(name)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("own_a.py", OWN, "has no 'TOI'"),
        ("own_b.py", "import nowhere_at_all\nTOI = 1", "ModuleNotFoundError: No module named"),
        ("own_c.py", "TOI = 1 / 0", "ZeroDivisionError"),
        ("own_d.py", "TOI = (", "SyntaxError"),
        ("own_e.py", "TOI = 1", "is no task but of type int"),
        ("wave.py", "TOI = 1", "there is another module called 'wave'; rename"),
        ("own-f.py", "TOI = 1", "cannot be the name of a module"),
    ],
)
def test_a_file_that_gives_no_task_is_refused(tmp_path: Path, file: str, content: str, message: str) -> None:
    (tmp_path / file).write_text(content)
    with pytest.raises(UsageError, match=message) as caught:
        task(f"{tmp_path / file}:TOI")
    assert "\n" not in str(caught.value)


def test_the_second_file_of_the_same_name_is_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same_stem.py").write_text(OWN)
    task(f"{tmp_path}/a/same_stem.py:TOY")
    with pytest.raises(UsageError, match="there is another module called 'same_stem'"):
        task(f"{tmp_path}/b/same_stem.py:TOY")


def test_listing_the_systems_loads_no_torch() -> None:
    code = "import sys, astrid.zoo; astrid.zoo.tasks(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
