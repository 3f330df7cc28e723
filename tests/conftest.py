"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The directory with the real images; tests that ask for it are skipped where it is absent."""
    given = os.environ.get("ASTRID_REAL_DATA")
    root = Path(given) if given else REPOSITORY.parent / "shared" / "data"
    if not root.is_dir():
        pytest.skip(f"no real data at {root}; set ASTRID_REAL_DATA to the directory that holds images/")
    return root


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return REPOSITORY


@pytest.fixture(scope="session", autouse=True)
def no_bundles_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests see no bundle but those that come with the package or that they make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASTRID_BUNDLES", str(tmp_path_factory.mktemp("bundles")))
        yield


class PostgreSQL:
    """A server of our own in a temporary folder, which can be killed; it listens on a socket there."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries = binaries
        self._folder = folder
        self._data = folder / "data"
        self._numbers = count()
        # the server refuses to run as root
        self._prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        self._run("initdb", "-D", str(self._data), "-U", "astrid", "-A", "trust", "--no-sync", "-E", "UTF8")
        with (self._data / "postgresql.conf").open("a") as file:
            # a killed process loses nothing without fsync: only a power cut would
            file.write(f"listen_addresses = ''\nunix_socket_directories = '{folder}'\nfsync = off\n")
        self.start()

    def url(self, database: str) -> str:
        """The address of a database."""
        return f"postgresql://astrid@/{database}?host={self._folder}"

    def new_database(self) -> str:
        """The address of a new, empty database."""
        name = f"test{next(self._numbers)}"
        self._run("createdb", "-h", str(self._folder), "-U", "astrid", "-T", "template0", name)
        return self.url(name)

    def start(self) -> None:
        """Start it; after a kill this waits until nothing of the old one is left."""
        for _ in range(50):
            done = self._run(
                "pg_ctl", "-D", str(self._data), "-w", "-l", str(self._folder / "log"), "start", check=False
            )
            if done == 0:
                return
            time.sleep(0.1)
        raise RuntimeError((self._folder / "log").read_text())

    def kill(self) -> None:
        """Kill the server by signal 9, as if its machine ran out of memory."""
        os.kill(int((self._data / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)

    def stop(self) -> None:
        """Stop it in good order."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", "immediate", "stop", check=False)

    def _run(self, program: str, *arguments: str, check: bool = True) -> int:
        command = [*self._prefix, str(self._binaries / program), *arguments]
        return subprocess.run(
            command, check=check, cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ).returncode


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server; tests that ask for it are skipped where its programs are absent."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    program = shutil.which("initdb") or (str(found[-1]) if found else None)
    if program is None:
        pytest.skip("no PostgreSQL server is installed (Debian: apt install postgresql)")
    memory = Path("/dev/shm")  # noqa: S108
    # a database for each test is many files, which cost nothing there
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2e9
    # not in the folder of pytest, which is closed to other users
    folder = Path(tempfile.mkdtemp(prefix="astrid-pg-", dir=memory if roomy else None))
    try:
        if os.geteuid() == 0:
            try:
                user = pwd.getpwnam("postgres")
            except KeyError:
                pytest.skip("we are root, which PostgreSQL refuses, and there is no user postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
            folder.chmod(0o755)
        server = PostgreSQL(Path(program).resolve().parent, folder)
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
