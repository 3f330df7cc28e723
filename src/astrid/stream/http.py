"""Files of packets that lie on a web server: brought here whole, resumed where the connection broke.

Only fetching is done here; the file is read by `astrid.alerts.sources` like any other.
"""

from __future__ import annotations

import http.client
import logging
import shutil
import ssl
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from astrid.errors import OutputError, StreamError, UsageError

__all__ = ["fetched", "retry_after"]

_LOG = logging.getLogger(__name__)
_CHUNK = 1 << 20
_TIMEOUT = 60.0  # s without a byte
_TRIES = 6  # in a row that bring nothing
_PAUSE = 1.0  # s before the first of them, doubled with each
_LONGEST = 300.0  # s that a server may ask to wait
_SUFFIXES = (".avro", ".bin", ".parquet", ".tar", ".tgz")
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_REDIRECTED_PAGE = b"<"  # a login page, sent with the name of the file


@dataclass
class _Fetch:
    """How far a file has come."""

    address: str
    path: Path
    largest: int
    on_progress: Callable[[int, int], None] | None
    size: int | None = None
    version: str | None = None  # that the server gives the file: it must not change on the way

    @property
    def place(self) -> str:
        """The address without what may be secret in it."""
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc}{parts.path}"


@contextmanager
def fetched(
    address: str,
    *,
    largest: int = 1 << 38,
    pause: float = _PAUSE,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[Path]:
    """A temporary copy of a file on a web server.

    Parameters
    ----------
    address : str
        Begins with https:// or http:// and ends as files of packets do.
    largest : int, bytes
        More are refused.
    pause : float, s
        Before the first new attempt, and twice as long before each that follows.
    on_progress : callable, optional
        Told how many bytes have come, and of how many (0 where the server does not say).

    Yields
    ------
    path : Path
        With the name that the file has there; gone afterwards.

    Raises
    ------
    UsageError
        The address cannot be one of packets, or holds a password.
    StreamError
        The server has no such file, cannot be reached, or sends something else.
    OutputError
        There is no room for it.
    """
    parts = urlsplit(address)
    if "@" in parts.netloc:
        raise UsageError(
            f"an address must not hold a name and password; fetch the file of {parts.hostname} yourself"
        )
    name = unquote(PurePosixPath(parts.path).name)
    if not any(suffix in _SUFFIXES for suffix in PurePosixPath(name).suffixes):
        raise UsageError(
            f"{address} names no file of packets; give one that ends in .avro, .parquet or .tar.gz"
        )
    with tempfile.TemporaryDirectory(prefix="astrid-") as folder:
        fetch = _Fetch(address, Path(folder) / PurePosixPath(name).name, largest, on_progress)
        _fetch(fetch, pause)
        yield fetch.path


def retry_after(headers: Any, now: float) -> float | None:
    """Seconds that a server asks to wait, or None."""
    asked = headers.get("Retry-After")
    if asked is None:
        return None
    try:
        wait = float(asked)
    except ValueError:
        try:
            wait = parsedate_to_datetime(asked).timestamp() - now
        except ValueError:
            return None
    return min(max(wait, 0.0), _LONGEST)


def _fetch(fetch: _Fetch, pause: float) -> None:
    failures = 0
    while True:
        before = fetch.path.stat().st_size if fetch.path.exists() else 0
        try:
            _attempt(fetch)
            break
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416:  # what is here is no part of what is there
                fetch.path.unlink(missing_ok=True)
                fetch.version = None
            elif error.code not in _BUSY:
                raise StreamError(f"{fetch.place}: {_refusal(error.code)}") from error
            reason, wait = f"the server answers {error.code}", retry_after(error.headers, time.time())
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise StreamError(
                    f"{fetch.place}: the server's certificate is not trusted "
                    f"({error.reason.verify_message}); check the address"
                ) from error
            reason, wait = str(error.reason), None
        except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
            reason, wait = " ".join(f"{type(error).__name__}: {error}".split()), None
        came = fetch.path.stat().st_size if fetch.path.exists() else 0
        failures = 1 if came > before else failures + 1
        if failures >= _TRIES:
            raise StreamError(f"{fetch.place} cannot be fetched ({reason}); check the network and try again")
        _LOG.warning("%s: %s; going on at byte %d", fetch.place, reason, came)
        time.sleep(pause * 2 ** (failures - 1) if wait is None else wait)
    with fetch.path.open("rb") as file:
        if file.read(64).lstrip()[:1] == _REDIRECTED_PAGE:
            raise StreamError(
                f"{fetch.place} gives a web page and not packets; open it in a browser to see why"
            )


def _attempt(fetch: _Fetch) -> None:
    """Ask for what is still missing, and take it."""
    have = fetch.path.stat().st_size if fetch.path.exists() else 0
    headers = {"Accept-Encoding": "identity", "User-Agent": "astrid"}
    request = urllib.request.Request(fetch.address, headers=headers)  # noqa: S310 - http(s) only, see `FileSource`
    if have and fetch.version is not None:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", fetch.version)  # a file that has changed comes whole
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as reply:  # noqa: S310 - as above
        resumed = reply.status == 206
        if resumed and not str(reply.headers.get("Content-Range", "")).startswith(f"bytes {have}-"):
            fetch.path.unlink()  # a server that does not do what it says
            fetch.version = None
            raise http.client.HTTPException("the server sends another part than that which was asked for")
        if not resumed:
            have = 0
            tag = reply.headers.get("ETag", "")
            fetch.version = tag if tag.startswith('"') else reply.headers.get("Last-Modified")
            fetch.size = None
        length = reply.headers.get("Content-Length")
        if length is not None:
            fetch.size = have + int(length)
            _check_size(fetch, fetch.size)
            free = shutil.disk_usage(fetch.path.parent).free
            if fetch.size - have > free:
                raise OutputError(
                    f"{fetch.place} has {fetch.size / 1e9:.1f} GB and {free / 1e9:.1f} GB are free in "
                    f"{fetch.path.parent.parent}; set TMPDIR to a place with more"
                )
        with fetch.path.open("ab" if resumed else "wb") as file:
            _copy(fetch, reply, file, have)


def _copy(fetch: _Fetch, reply: http.client.HTTPResponse, file: BinaryIO, have: int) -> None:
    while chunk := reply.read(_CHUNK):
        have += len(chunk)
        _check_size(fetch, have)
        try:
            file.write(chunk)
        except OSError as error:
            raise OutputError(
                f"{file.name} cannot be written ({error.strerror}); set TMPDIR to a place with room"
            ) from error
        if fetch.on_progress is not None:
            fetch.on_progress(have, fetch.size or 0)
    if fetch.size is not None and have < fetch.size:
        raise http.client.IncompleteRead(b"", fetch.size - have)


def _check_size(fetch: _Fetch, size: int) -> None:
    if size > fetch.largest:
        raise StreamError(
            f"{fetch.place} has more than {fetch.largest} bytes; fetch it yourself and give the file"
        )


def _refusal(code: int) -> str:
    if code in (401, 403, 407):
        return f"the server lets only some in ({code}); fetch the file yourself and give its path"
    if code in (404, 410):
        return f"the server has no such file ({code}); check the address"
    return f"the server refuses ({code}); check the address"
