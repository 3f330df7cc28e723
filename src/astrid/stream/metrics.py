"""Numbers of a running worker in the form that Prometheus collects.

They are kept whether or not anybody collects them; what a night amounts to afterwards is read from the
store by `nightly` and `drift`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from astrid.errors import DependencyError, StreamError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["Metrics", "reason_class"]

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)

# Reasons are sentences about one packet, and a label of a metric must have few values. The first that
# is found names the class.
_CLASSES = (
    ("unknown survey", r"of no survey that is known"),
    ("unknown schema", r"schema of number .* is not known|gives no schema"),
    ("bad schema", r"\bschema\b"),
    ("damaged cutout", r"\bstamp|cutout"),
    (
        "damaged packet",
        r"broken|marker|ends too early|left over|beyond|header|compress|begins with|no packet",
    ),
    ("bad position or time", r"not on the sky|no date of a survey"),
    ("bad field", r"expected|identifier|a field is"),
)


def reason_class(reason: str) -> str:
    """The kind of a reason for which a packet is in quarantine.

    Parameters
    ----------
    reason : str
        The sentence that stands beside the packet.

    Returns
    -------
    kind : str
        One of ``unknown survey``, ``unknown schema``, ``bad schema``, ``damaged cutout``, ``damaged
        packet``, ``bad position or time``, ``bad field``, ``other``.
    """
    return next((name for name, pattern in _CLASSES if re.search(pattern, reason)), "other")


class Metrics:
    """Counters, histograms and gauges of one worker, in a registry of their own.

    Parameters
    ----------
    worker : str
        Its name, a label of all metrics.

    Attributes
    ----------
    registry : `~prometheus_client.CollectorRegistry`
        For those who serve metrics in another way.

    Raises
    ------
    DependencyError
        The extra ``stream`` is not installed.
    """

    def __init__(self, worker: str = "astrid") -> None:
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        except ImportError as error:
            raise DependencyError(
                'metrics need prometheus-client, which is not installed; pip install "astrid[stream]"'
            ) from error
        self.registry: CollectorRegistry = CollectorRegistry()
        self._worker = worker
        self._server: Any = None

        def made(kind: Any, name: str, meaning: str, *labels: str, **more: Any) -> Any:
            return kind(f"astrid_{name}", meaning, ("worker", *labels), registry=self.registry, **more)

        self._packets = made(Counter, "packets", "Packets that came in", "survey")
        self._stored = made(Counter, "stored", "Alerts that were new to the store", "survey")
        self._quarantined = made(Counter, "quarantined", "Packets set aside", "survey", "reason")
        self._scored = made(Counter, "scored", "Alerts scored", "bundle")
        self._passes = made(Counter, "passes", "Alerts that passed a filter", "filter")
        self._published = made(Counter, "published", "Announcements given to a sink", "sink", "outcome")
        self._latency = made(
            Histogram, "latency_seconds", "From the arrival of an alert to its decision", buckets=_SECONDS
        )
        self._stages = made(
            Histogram, "stage_seconds", "Wall time of a stage of one batch", "stage", buckets=_SECONDS
        )
        self._behind = made(Gauge, "behind", "Messages of the source that wait to be read")
        self._size = made(Gauge, "batch_size", "Packets of the last batch")
        self._bytes = made(Gauge, "store_bytes", "Size of the store on disk")
        self._committed = made(Gauge, "last_commit_timestamp_seconds", "When the last batch was stored")

    def observe_batch(
        self,
        *,
        packets: Mapping[str, int],
        stored: Mapping[str, int] | None = None,
        quarantined: Mapping[tuple[str, str], int] | None = None,
        scored: Mapping[str, int] | None = None,
        passes: Mapping[str, int] | None = None,
        latencies: Sequence[float] = (),
        stages: Mapping[str, float] | None = None,
        behind: int | None = None,
        store_bytes: int | None = None,
        committed: float | None = None,
    ) -> None:
        """Count one batch.

        Parameters
        ----------
        packets : mapping of str to int
            By survey, those in quarantine included; an empty name where it is not known.
        stored : mapping of str to int, optional
            By survey: the alerts that were new.
        quarantined : mapping of (str, str) to int, optional
            By survey and reason, as a sentence; it is counted by its class.
        scored : mapping of str to int, optional
            By bundle.
        passes : mapping of str to int, optional
            By filter.
        latencies : sequence of float, seconds
            Of each alert, from arrival to decision.
        stages : mapping of str to float, seconds
            Decode, score, match, filter, store, ….
        behind : int, optional
            Messages that wait; unchanged if the source cannot tell.
        store_bytes : int, optional
        committed : float, optional
            Seconds since 1970.
        """
        for counter, counts in ((self._packets, packets), (self._stored, stored or {})):
            for survey, n in counts.items():
                counter.labels(self._worker, survey or "unknown").inc(n)
        for (survey, reason), n in (quarantined or {}).items():
            self._quarantined.labels(self._worker, survey or "unknown", reason_class(reason)).inc(n)
        for counter, counts in ((self._scored, scored or {}), (self._passes, passes or {})):
            for name, n in counts.items():
                counter.labels(self._worker, name).inc(n)
        latency = self._latency.labels(self._worker)
        for seconds in latencies:
            latency.observe(seconds)
        for stage, seconds in (stages or {}).items():
            self._stages.labels(self._worker, stage).observe(seconds)
        self._size.labels(self._worker).set(sum(packets.values()))
        for gauge, value in (
            (self._behind, behind), (self._bytes, store_bytes), (self._committed, committed),
        ):  # fmt: skip
            if value is not None:
                gauge.labels(self._worker).set(value)

    def observe_published(self, sink: str, outcome: str, n: int = 1) -> None:
        """Count announcements.

        Parameters
        ----------
        sink : str
            Its name; an address with a password in it is no name.
        outcome : {"delivered", "held", "failed"}
        n : int
        """
        self._published.labels(self._worker, sink, outcome).inc(n)

    def serve(self, port: int, address: str = "127.0.0.1") -> int:
        """Answer ``GET /metrics`` in the background until `close`.

        Parameters
        ----------
        port : int
            Any that is free for 0.
        address : str
            Only this machine unless told otherwise: metrics name filters and sinks.

        Returns
        -------
        port : int

        Raises
        ------
        StreamError
            It cannot be listened on.
        """
        from prometheus_client import start_http_server

        self.close()
        try:
            self._server, self._thread = start_http_server(port, address, self.registry)
        except (OSError, OverflowError) as error:
            raise StreamError(
                f"metrics cannot be served on {address}:{port} ({error}); give another port"
            ) from error
        return int(self._server.server_port)

    def close(self) -> None:
        """Stop answering; what was counted stays."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def __enter__(self) -> Metrics:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
