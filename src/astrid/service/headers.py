"""Headers of every answer: what a browser may do with it, and for how long it may be kept.

A route that says otherwise is left alone, but for what a page may load.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from astrid.service.state import State

__all__ = ["POLICY", "SecurityHeaders"]

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
"""What a page may load, and from where: our own files; no script and no style inside a page."""

_ALWAYS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_TLS = "max-age=31536000"
_YEAR = "public, max-age=31536000, immutable"


class SecurityHeaders:
    """ASGI middleware that adds headers to every answer.

    Parameters
    ----------
    app : ASGI application
    state : State
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app = app
        self._always = dict(_ALWAYS)
        if state.settings.is_secure:
            self._always["Strict-Transport-Security"] = _TLS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; its answer gets the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._always.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", _keeping(scope, message["status"], headers))
            await send(message)

        await self._app(scope, receive, dressed)


def _keeping(scope: Scope, status: int, headers: MutableHeaders) -> str:
    if scope["path"].startswith("/static/"):
        # the address has the hash of the file
        return _YEAR if status == 200 and scope["query_string"].startswith(b"v=") else "no-cache"
    # what has a tag may be kept and asked for again; the rest is for the one who asked, and now
    return "private, no-cache" if "etag" in headers else "no-store"
