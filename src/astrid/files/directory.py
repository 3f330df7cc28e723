"""A run's directory: all of its products appear together, or none of them does.

Products are written into a hidden directory beside the wanted one, which takes the
wanted name when everything is complete. What the products are is not known here.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from astrid.errors import OutputError

__all__ = ["check_space", "product_directory"]

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space or choose another --out",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another --out",
    errno.EFBIG: "a file would be larger than is allowed here; choose another --out",
    errno.EROFS: "the file system is read-only; choose another --out",
    errno.EACCES: "no permission to write there; choose another --out",
    errno.EPERM: "no permission to write there; choose another --out",
    errno.ENOTDIR: "a part of the path is a file; choose another --out",
    errno.EEXIST: "a part of the path is a file; choose another --out",
}


@contextmanager
def product_directory(
    out: str | Path,
    *,
    names: Collection[str],
    last: str = "run.json",
    beside: Collection[str] = (),
    overwrite: bool = False,
) -> Iterator[Path]:
    """Give a directory to write products into; they appear in `out` when the block ends well.

    Whether `out` can be written is checked at once, before the work. If the block
    raises, or the process is killed, `out` is as it was before. A run that is already
    in `out` is replaced: its `last` file goes first and the new one comes last, so that
    a directory with that file is always complete.

    Parameters
    ----------
    out : str or Path
    names : collection of str
        Names that a product can have: a directory that holds only such files is ours.
    last : str
        The product that says that the run is complete.
    beside : collection of str
        Names of other files that may be there; they are left alone.
    overwrite : bool
        Write into a directory that holds any other files; those are left alone.

    Yields
    ------
    Path
        An empty directory on the same file system as `out`.

    Raises
    ------
    OutputError
        `out` is a file, holds files of others, or cannot be written; or the disk is full.
    """
    target = Path(out).absolute()
    _check_target(target, {*names, *beside}, overwrite)
    # inside an existing directory: its parent may not be writable, or another file system
    home = target if target.is_dir() else target.parent
    prefix = f".{target.name}.partial-{socket.gethostname()}-"
    made: list[Path] = []
    try:
        made = _make_parents(home)
        for old in home.glob(f"{prefix}*"):
            if _abandoned(old, prefix):
                shutil.rmtree(old, ignore_errors=True)
        staging = home / f"{prefix}{os.getpid()}"
        staging.mkdir()
    except OSError as error:
        _remove_empty(made)
        raise _explained(target, error) from error
    try:
        yield staging
        _publish(staging, target, names, last)
    except OSError as error:
        if error.filename is not None and not str(error.filename).startswith((str(staging), str(target))):
            raise  # another file, such as an input
        raise _explained(target, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        _remove_empty(made)


def check_space(staging: Path, needed: int, out: str | Path) -> None:
    """Make sure that `needed` bytes fit, before the work is done.

    Raises
    ------
    OutputError
        The file system has less free space.
    """
    free = shutil.disk_usage(staging).free
    if free < needed:
        raise OutputError(
            f"{out} cannot be written: the products need about {needed / 1e6:.0f} MB and {free / 1e6:.0f} MB "
            "are free; free some space or choose another --out"
        )


def _check_target(target: Path, names: Collection[str], overwrite: bool) -> None:
    try:
        if target.exists() and not target.is_dir():
            raise OutputError(f"{target} is a file, expected a directory; choose another --out")
        entries = sorted(entry.name for entry in target.iterdir()) if target.is_dir() else []
    except OSError as error:
        raise _explained(target, error) from error
    foreign = [name for name in entries if name not in names and ".partial-" not in name]
    if foreign and not overwrite:
        listed = ", ".join(foreign[:3]) + (", …" if len(foreign) > 3 else "")
        raise OutputError(
            f"{target} holds files that are not products of this command ({listed}); choose another --out "
            "or pass --overwrite to write beside them"
        )


def _publish(staging: Path, target: Path, names: Collection[str], last: str) -> None:
    """Bring the products to their place; the file `last` vouches for all the others."""
    if not target.is_dir():
        staging.rename(target)
        return
    (target / last).unlink(missing_ok=True)
    products = {path.name: path for path in staging.iterdir()}
    for name in names:
        if name not in products and name != last:
            (target / name).unlink(missing_ok=True)
    for name in sorted(products, key=lambda name: name == last):
        products[name].replace(target / name)


def _make_parents(directory: Path) -> list[Path]:
    """Make the directory; what had to be made, innermost first."""
    absent = []
    for path in (directory, *directory.parents):
        if path.exists():
            break
        absent.append(path)
    directory.mkdir(parents=True, exist_ok=True)
    return absent


def _remove_empty(made: list[Path]) -> None:
    for path in made:
        with suppress(OSError):  # not empty: a product is in it
            path.rmdir()


def _abandoned(staging: Path, prefix: str) -> bool:
    """Whether the process that wrote there, on this machine, is gone."""
    number = staging.name.removeprefix(prefix)
    if not number.isdigit() or int(number) == os.getpid():
        return True
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _explained(target: Path, error: OSError) -> OutputError:
    reason = _ADVICE.get(error.errno or 0, f"{error.strerror or error}; choose another --out")
    return OutputError(f"{target} cannot be written: {reason}")
