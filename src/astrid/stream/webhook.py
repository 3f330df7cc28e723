"""Announcements posted to a web address, signed, and tried again while the receiver is busy."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from astrid.errors import StreamError, UsageError
from astrid.stream.announcement import Announcement
from astrid.stream.http import retry_after
from astrid.stream.sinks import RefusedError

__all__ = ["Poster", "Webhook", "signature"]

_SECRET = "ASTRID_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable
_TIMEOUT = 15.0  # s
_TRIES = 3
_PAUSE = 1.0  # s before the second try, doubled with each
_LONGEST = 30.0  # s that a receiver can hold up all others
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_CLOSED = (401, 403, 404, 405, 407, 410)  # of the address, whatever is sent
_HERE = ("localhost", "127.0.0.1", "::1")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A moved receiver is an error: a redirected POST would arrive as a GET without its content."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing."""
        return


class Poster:
    """Sends contents to a web address, one after the other.

    Parameters
    ----------
    address : str
        Begins with https://; http:// is for receivers on this machine.
    tries : int
    pause, timeout : float, s

    Raises
    ------
    UsageError
        It is no such address, or holds a password.
    """

    def __init__(
        self, address: str, *, tries: int = _TRIES, pause: float = _PAUSE, timeout: float = _TIMEOUT
    ) -> None:
        parts = urlsplit(address)
        if "@" in parts.netloc:
            raise UsageError(
                f"the address of {parts.hostname} must not hold a name and password; use its token"
            )
        if not parts.hostname or (parts.scheme != "https" and parts.hostname not in _HERE):
            raise UsageError(f"announcements go to https:// only, not to {parts.scheme}://{parts.hostname}")
        # the rest of the address may be a secret: never in messages
        self.place = f"{parts.scheme}://{parts.netloc}"
        self._address, self._tries, self._pause, self._timeout = address, tries, pause, timeout
        self._opener = urllib.request.build_opener(_NoRedirect)

    def post(self, content: bytes, headers: Mapping[str, str]) -> None:
        """Send one content; when this returns, the receiver has said that it has it.

        Raises
        ------
        StreamError
            It cannot be reached or stays busy.
        RefusedError
            It does not take this.
        """
        for attempt in range(1, self._tries + 1):
            try:
                request = urllib.request.Request(  # noqa: S310 - http(s) only, see above
                    self._address, data=content, headers={"User-Agent": "astrid", **headers}, method="POST"
                )
                with self._opener.open(request, timeout=self._timeout) as reply:
                    reply.read(1)
                return
            except urllib.error.HTTPError as error:
                error.close()
                reason, wait = f"it answers {error.code}", retry_after(error.headers, time.time())
                if error.code in _CLOSED or error.code < 400:
                    raise StreamError(
                        f"{self.place} takes no announcements ({reason}); check the address"
                    ) from error
                if error.code not in _BUSY:
                    raise RefusedError(f"{self.place} does not take the announcement ({reason})") from error
            except urllib.error.URLError as error:
                if isinstance(error.reason, ssl.SSLCertVerificationError):
                    why = error.reason.verify_message
                    raise StreamError(
                        f"{self.place} has a certificate that is not trusted ({why})"
                    ) from error
                reason, wait = str(error.reason), None
            except (http.client.HTTPException, OSError) as error:
                reason, wait = " ".join(f"{type(error).__name__}: {error}".split()), None
            wait = self._pause * 2 ** (attempt - 1) if wait is None else wait
            if attempt < self._tries and wait <= _LONGEST:
                time.sleep(wait)
            else:
                break
        raise StreamError(f"{self.place} cannot be reached ({reason}); it is tried again later")


class Webhook:
    """Posts each announcement as JSON.

    The header ``Idempotency-Key`` is its key, percent-encoded. With a secret in the environment variable
    ASTRID_WEBHOOK_SECRET, ``X-AstrID-Signature`` is `signature` of ``X-AstrID-Timestamp`` and the content.

    Parameters
    ----------
    address : str
    **how
        See `Poster`.
    """

    at_once = 1
    cutouts = False

    def __init__(self, address: str, **how: Any) -> None:
        self._poster = Poster(address, **how)

    def send(self, announcements: Sequence[Announcement]) -> None:
        """Post them; see `Sink.send`."""
        secret = os.environ.get(_SECRET, "")
        for one in announcements:
            content = one.as_json()
            headers = {"Content-Type": "application/json", "Idempotency-Key": quote(one.key, safe=":")}
            if secret:
                stamp = str(int(time.time()))
                headers["X-AstrID-Timestamp"] = stamp
                headers["X-AstrID-Signature"] = signature(secret, stamp, content)
            self._poster.post(content, headers)

    def close(self) -> None:
        """Nothing is open."""


def signature(secret: str, timestamp: str, content: bytes) -> str:
    """``sha256=`` and the HMAC-SHA-256 of ``TIMESTAMP.CONTENT`` in hexadecimal, for receivers."""
    code = hmac.new(secret.encode(), timestamp.encode() + b"." + content, hashlib.sha256)
    return f"sha256={code.hexdigest()}"
