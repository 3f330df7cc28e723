"""The dashboard: the night, its rates, whether it is like others, and how far the labelling is.

What is slow, the comparison with other nights, is asked for by the page once it is on the screen.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response
from markupsafe import Markup

from astrid.errors import StoreError
from astrid.pages.charts import Curve, chart
from astrid.review.progress import Progress, progress
from astrid.service.access import Viewer
from astrid.service.pages.review import Task, task_names
from astrid.service.routes.labels import task_of
from astrid.service.state import State, StateOf
from astrid.service.work import in_thread
from astrid.store.records import BatchRecord
from astrid.stream.drift import Drift, night_drift

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

_NIGHTS, _DAYS = 30, 30  # in the charts
_BATCHES = 200
_REASONS = 6
_DRIFTS = "drift of nights"
_COMPARING = threading.Lock()  # one at a time: it reads tens of thousands of rows


@router.get("/")
def start(user: Viewer) -> RedirectResponse:
    """The page to begin with."""
    return RedirectResponse("/review", 307)


@router.get("/review")
def show(request: Request, state: StateOf, user: Viewer, task: Task = None) -> Response:
    """How things are."""
    name = task_of(state, task)
    counts = state.store.counts()
    batches = state.store.batches(max(0, counts.batches - _BATCHES))
    done = progress(state.store, name)
    nights = [(night, n) for night, n in counts.nights.items() if night]
    return state.page(
        request, "dashboard.html", task=name, tasks=task_names(state), counts=counts,
        nights=nights[::-1][:6], last=nights[-1] if nights else None, rates=_rates(batches), done=done,
        day=_today(done),
        night_chart=_bars(nights[-_NIGHTS:], "alerts", "Alerts of each night"),
        label_chart=_bars([(one.day, one.n) for one in done.days][-_DAYS:], "labels", "Answers of each day"),
        trainings=[_training(one) for one in done.trainings], may_label=user.may("labeller"),
    )  # fmt: skip


@router.get("/review/api/drift")
async def drift(
    state: StateOf, user: Viewer, night: Annotated[str, Query(pattern=r"^\d{4}-\d\d-\d\d$")]
) -> dict[str, Any]:
    """Whether a night is like those before."""
    found = await in_thread(state, _drift, state, night)
    if found is None or not (found.comparisons or found.coverage):
        reasons = found.reasons if found else ()
        return {"verdict": None, "reasons": list(reasons[:_REASONS]), "against": ""}
    nights = f"{found.nights[0]} to {found.nights[-1]}" if found.nights else "no night"
    return {
        "verdict": found.verdict,
        "reasons": list(found.reasons[:_REASONS]),
        "against": f"{found.n:,} alerts against {found.n_reference:,} of {nights}",
    }


def _drift(state: State, night: str) -> Drift | None:
    """The comparison of a night, kept until it has more alerts; None where there is nothing to compare."""
    known: dict[str, tuple[int, Drift | None]] = state.shared.setdefault(_DRIFTS, {})
    n = state.store.counts().nights.get(night, 0)
    with _COMPARING:
        if known.get(night, (-1, None))[0] != n:
            try:
                found = night_drift(state.store, night)
            except StoreError:
                found = None
            known.clear()
            known[night] = (n, found)
        return known[night][1]


def _rates(batches: Sequence[BatchRecord]) -> dict[str, Any]:
    """What the last batches tell of the stream."""
    if not batches:
        return {"last": None}
    latencies = [one.latency_p50 for one in batches if one.latency_p50 is not None]
    slowest = [one.latency_p99 for one in batches if one.latency_p99 is not None]
    last = batches[-1]
    return {
        "last": last.committed,
        "ago": _ago(time.time() - last.committed),
        "behind": last.behind,
        "p50": float(np.median(latencies)) if latencies else None,
        "p99": max(slowest) if slowest else None,
        "quarantined": sum(one.n_quarantined for one in batches),
        "n": sum(one.n for one in batches),
    }


def _ago(seconds: float) -> str:
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {name} ago"
    return "just now"


def _today(done: Progress) -> int:
    today = time.strftime("%Y-%m-%d", time.gmtime())
    return next((one.n for one in done.days if one.day == today), 0)


def _bars(values: Sequence[tuple[str, int]], what: str, title: str) -> Markup:
    """Numbers in their order as a small chart; empty where there is only one."""
    if len(values) < 2:
        return Markup("")
    heights = np.array([n for _, n in values], np.float64)
    curve = Curve(np.arange(len(values) + 1, dtype=np.float64), heights, what, steps=True)
    # the numbers are ours, and `chart` escapes its texts
    return Markup(  # noqa: S704
        chart(
            [curve],
            x_label=f"in their order, {values[0][0]} to {values[-1][0]}",
            y_label=what,
            title=title,
            x_range=(0.0, float(len(values))),
            y_range=(0.0, max(1.0, 1.12 * float(heights.max()))),
        )
    )


def _training(record: dict[str, Any]) -> dict[str, Any]:
    """A training, and what it gained on the frozen answers, with the intervals."""
    gains = []
    for one in (record["figures"] or {}).get("compared", ()):
        spread = "" if one["low"] is None else f" ({_signed(one['low'])} to {_signed(one['high'])})"
        gains.append(
            {
                "name": one["name"],
                "text": f"{one['before']:.4g} → {one['after']:.4g}",
                "gain": f"{_signed(one['gain'])}{spread}",
            }
        )
    return {"record": record, "gains": gains}


def _signed(value: float) -> str:
    return f"{value:+.3g}".replace("-", "−")
