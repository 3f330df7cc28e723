"""Writing a file so that a reader never meets half of it.

Everything is written to a temporary file beside its target, which takes the name when
it is complete; directories of products are the business of `directory`.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from astrid.errors import OutputError

__all__ = ["atomic_path"]

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space or choose another place",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another place",
    errno.EACCES: "no permission to write there; choose another place",
    errno.EPERM: "no permission to write there; choose another place",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.ENOENT: "its folder does not exist; create it first",
    errno.ENOTDIR: "its folder is not a folder; choose another place",
    errno.EISDIR: "it is a folder; give the name of a file",
    errno.EFBIG: "it is larger than the file system allows; choose another place",
    errno.ENAMETOOLONG: "its name is too long; choose a shorter one",
}

_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written|not enough space", re.IGNORECASE)


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path that becomes `path` when the block ends without an exception.

    The temporary file lies in the same folder and keeps the suffix, so that
    writers which choose a format by suffix do so; it is flushed to the disk
    before it takes the name, and removed if anything goes wrong.

    Parameters
    ----------
    path : str or path-like
        The final name. A file of that name is replaced.

    Yields
    ------
    temporary : Path
        To be written by the caller; it exists and is empty.

    Raises
    ------
    OutputError
        The file cannot be written: full disk, no permission, no such folder.
    """
    target = Path(path)
    suffix = "".join(target.suffixes[-2:])
    temporary = target.with_name(f".partial-{secrets.token_hex(8)}{suffix}")
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder")
        temporary.touch(exist_ok=False)
    except (OSError, ValueError) as error:
        raise _explained(target, error) from error
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(target)
    except OSError as error:
        # An OSError about another file, such as an input, is for the caller to explain.
        if error.filename is not None and Path(os.fsdecode(error.filename)) not in (temporary, target):
            raise
        raise _explained(target, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _explained(target: Path, error: OSError | ValueError) -> OutputError:
    code = getattr(error, "errno", None) or 0
    if _SHORT_WRITE.search(str(error)):  # numpy and astropy name no errno
        code = errno.ENOSPC
    return OutputError(f"{target} cannot be written: {_REASONS.get(code, f'{error}; choose another place')}")
