"""New candidates as they are stored, by server-sent events: a client that was away goes on where it was."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from astrid.errors import StoreError
from astrid.service.access import Viewer
from astrid.service.errors import Problem, responses
from astrid.service.paging import json_bytes
from astrid.service.routes.candidates import positions
from astrid.service.selection import Selection, selection_of
from astrid.service.state import State, StateOf
from astrid.service.work import in_thread

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", tags=["events"])

_LOOK = 1.0  # s between two looks at the store, for all clients together
_HEARTBEAT = 15.0  # s
_LIFE = 3600.0  # s: a client comes back by itself, and who has lost the account does not
_MOST = 200  # clients
_BATCHES = 8  # that are read at a time by who was away for long
_END = 2**31 - 1  # beyond every row of a batch
_ID = re.compile(r"(\d{1,10})-(\d{1,10})")


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses=responses(400, 401, 403, 404, 422, 503, 504)
    | {
        200: {
            "description": "Events without end.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def events(
    state: StateOf,
    user: Viewer,
    filter: Annotated[
        str | None, Query(max_length=20_000, description="Condition on the columns, such as realbogus > 0.8")
    ] = None,
    saved: Annotated[str | None, Query(max_length=64, description="Name of a saved filter.")] = None,
    column: Annotated[list[str] | None, Query(max_length=200, description="As for candidates.")] = None,
    since: Annotated[
        str | None, Query(max_length=30, description="Identifier of an event, as Last-Event-ID.")
    ] = None,
    last_event_id: Annotated[str | None, Header(max_length=30)] = None,
) -> StreamingResponse:
    """Tell new candidates as they are stored; each event has an identifier to go on from.

    ``Last-Event-ID``, which browsers send by themselves, or ``since`` says where to go on; without, only
    what is stored from now on is told. Every 15 seconds there is a heartbeat. The stream ends after an
    hour, and when the service stops: come again with the last identifier.
    """
    given = last_event_id or since
    if given:
        match = _ID.fullmatch(given)
        if match is None:
            raise Problem(400, f"{given[:30]!r} is no identifier of an event; send the last one that came")
        place = (int(match[1]), int(match[2]))
    else:
        place = (await in_thread(state, state.store.newest_batch), _END)
    wanted = await in_thread(state, selection_of, state, filter, saved, column)
    watch = state.shared.setdefault("events", _Watch(state))
    if watch.clients >= _MOST:
        raise Problem(503, f"{_MOST} clients are listening; try again later", {"Retry-After": "60"})
    watch.clients += 1
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        _told(state, watch, wanted, place), headers=headers, media_type="text/event-stream"
    )


class _Watch:
    """The newest batch, looked up once for all clients."""

    def __init__(self, state: State) -> None:
        self.clients = 0
        self._state = state
        self._lock = asyncio.Lock()
        self._at = float("-inf")
        self._newest = 0

    async def newest(self) -> int:
        async with self._lock:
            if time.monotonic() - self._at >= _LOOK:
                self._newest = await in_thread(self._state, self._state.store.newest_batch)
                self._at = time.monotonic()
        return self._newest


async def _told(
    state: State, watch: _Watch, wanted: Selection, place: tuple[int, int]
) -> AsyncIterator[bytes]:
    try:
        began = said = time.monotonic()
        yield b"retry: 3000\n\n"
        while not state.stopping.is_set() and time.monotonic() - began < _LIFE:
            try:
                newest = await watch.newest()
                while place < (newest, _END):
                    until = min(newest, place[0] + _BATCHES)
                    rows = await in_thread(
                        state, _rows, state, wanted, place, until, interrupt=wanted.interrupt
                    )
                    for (batch, row), body in rows:
                        yield b"id: %d-%d\nevent: candidate\ndata: %s\n\n" % (batch, row, body)
                        said = time.monotonic()
                    place = (until, _END)
            except (Problem, StoreError):  # overloaded, or the database is away: later, from the same place
                yield b": the store cannot be read at the moment\n\n"
                await asyncio.sleep(4 * _LOOK)
            if time.monotonic() - said >= _HEARTBEAT:
                yield b"id: %d-%d\n: heartbeat\n\n" % place
                said = time.monotonic()
            await asyncio.sleep(_LOOK)
    finally:
        watch.clients -= 1


def _rows(
    state: State, wanted: Selection, after: tuple[int, int], until: int
) -> list[tuple[tuple[int, int], bytes]]:
    """What is asked for after a place, up to the end of a batch."""
    return list(_found(state, wanted, after, until))


def _found(
    state: State, wanted: Selection, after: tuple[int, int], until: int
) -> Iterator[tuple[tuple[int, int], bytes]]:
    for table in state.store.history(columns=wanted.needed, batches=(after[0], until)):
        batch = table["batch"].to_numpy()
        position = positions(batch)
        passed = wanted.passes(table) & ((batch > after[0]) | (position > after[1]))
        chosen = np.flatnonzero(passed)
        rows: list[dict[str, Any]] = wanted.rows(table, chosen)
        for k, row in zip(chosen.tolist(), rows, strict=True):
            yield (int(batch[k]), int(position[k])), json_bytes(row)
