"""Numbers of the running service in the form that Prometheus collects.

A route is counted under its pattern, so that no number of an object becomes a label.
"""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Counting", "Metrics"]

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Metrics:
    """Counters, histograms and gauges of one service.

    Attributes
    ----------
    registry : `~prometheus_client.CollectorRegistry`
        Others add their own here.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "astrid_http_requests", "Answers", ("method", "route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "astrid_http_seconds",
            "From the head of a request to the head of its answer",
            ("route",),
            registry=self.registry,
            buckets=_SECONDS,
        )
        self._open = Gauge("astrid_http_open", "Requests whose answer has not ended", registry=self.registry)
        self._refused = Counter(
            "astrid_http_refused", "Requests sent away by a limit", ("status",), registry=self.registry
        )
        self._log_ins = Counter("astrid_log_ins", "Log-ins", ("outcome",), registry=self.registry)

    def refuse(self, status: int) -> None:
        """Count a request that was too long, too slow or too many."""
        self._refused.labels(str(status)).inc()

    def log_in(self, outcome: str) -> None:
        """Count an attempt to log in: ``good``, ``wrong`` or ``too many``."""
        self._log_ins.labels(outcome).inc()

    def begin(self) -> None:
        """Count a request that came in."""
        self._open.inc()

    def end(self, method: str, route: str, status: int, seconds: float | None) -> None:
        """Count an answer that has ended."""
        self._open.dec()
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        if seconds is not None:
            self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All numbers as Prometheus reads them."""
        return generate_latest(self.registry)


class Counting:
    """ASGI middleware that counts requests and their time.

    Parameters
    ----------
    app : ASGI application
    metrics : Metrics
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status, seconds = 499, None  # it was gone before it had an answer

        async def seen(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status, seconds = message["status"], time.perf_counter() - began
            await send(message)

        self._metrics.begin()
        try:
            await self._app(scope, receive, seen)
        finally:
            route = getattr(scope.get("route"), "path", None) or "none"
            self._metrics.end(scope["method"], route, status, seconds)
