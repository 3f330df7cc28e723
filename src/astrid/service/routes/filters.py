"""Filters of the stream: listed, checked on stored alerts, saved and retired."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from astrid.errors import AstridError, FilterError
from astrid.service.access import Admin, Viewer
from astrid.service.audit import audit
from astrid.service.errors import Problem, responses
from astrid.service.paging import moment, reply
from astrid.service.selection import known_columns
from astrid.service.state import State, StateOf
from astrid.service.work import in_thread
from astrid.store.records import FilterRecord
from astrid.stream.filters import Filter, FilterBank, check_filter, doubts, read_filter

__all__ = ["router"]

router = APIRouter(prefix="/api/v1/filters", tags=["filters"])

_ASKED = 100_000  # stored alerts that a check looks at, the newest
_SECONDS = 5.0
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
_LONGEST = 20_000  # characters of a condition
_REGION = 500_000  # characters of a region

Name = Annotated[str, Path(pattern=_NAME)]


class Watched(BaseModel):
    """One place of a watch list."""

    model_config = ConfigDict(extra="forbid")

    ra: float = Field(ge=0, le=360, description="deg")
    dec: float = Field(ge=-90, le=90, description="deg")
    radius: float = Field(default=2.0, gt=0, le=3600, description="arcsec")
    name: str = Field(default="", max_length=200)


class Definition(BaseModel):
    """What a filter wants; all of it must hold."""

    model_config = ConfigDict(extra="forbid")

    sql: str = Field(default="true", max_length=_LONGEST, description="Condition on the columns.")
    region: str | None = Field(default=None, max_length=_REGION, description="ASCII MOC.")
    watch_list: list[Watched] | None = Field(default=None, min_length=1, max_length=100_000)
    limit_per_hour: int | None = Field(default=None, ge=1, le=1_000_000)
    sinks: list[Annotated[str, Field(max_length=1000)]] = Field(default=[], max_length=16)


class FilterBody(BaseModel):
    """One version of a filter."""

    name: str
    hash: str
    active: bool
    created: str | None
    definition: dict[str, Any]


class FilterList(BaseModel):
    """Filters."""

    filters: list[FilterBody]


class Checked(BaseModel):
    """What a filter would have let through."""

    n: int = Field(description="Stored alerts that were looked at, the newest.")
    n_passed: int
    warnings: list[str]


class Saved(Checked):
    """A filter that was saved."""

    name: str
    hash: str


@router.get("", response_model=FilterList, responses=responses(401, 403, 422, 503, 504))
async def filters(
    request: Request,
    state: StateOf,
    user: Viewer,
    all: Annotated[bool, Query(description="Also older versions, and those that are retired.")] = False,
) -> Response:
    """List the filters of the stream."""
    records = await in_thread(state, state.store.filters, None if all else True)
    return reply(request, {"filters": [_body(one) for one in records]})


@router.post("/check", response_model=Checked, responses=responses(401, 403, 413, 422, 503, 504))
async def check(state: StateOf, user: Viewer, definition: Definition) -> Checked:
    """Say what is wrong or doubtful with a filter, and how many of the newest alerts it lets through."""
    filter = _made("unnamed", definition)
    bank = FilterBank([filter])
    return await in_thread(state, _check, state, filter, bank, interrupt=bank.interrupt)


@router.get("/{name}", response_model=FilterBody, responses=responses(401, 403, 404, 422, 503, 504))
async def filter_(request: Request, state: StateOf, user: Viewer, name: Name) -> Response:
    """The version of a filter that is in use."""
    records = await in_thread(state, state.store.filters)
    found = next((one for one in records if one.name == name), None)
    if found is None:
        raise Problem(404, f"no filter {name!r} is in use; GET /api/v1/filters lists them")
    return reply(request, _body(found))


@router.put("/{name}", response_model=Saved, responses=responses(401, 403, 413, 422, 503, 504))
async def save(state: StateOf, user: Admin, name: Name, definition: Definition) -> Saved:
    """Save a filter: the next batch of the stream uses it. Older versions are kept."""
    filter = _made(name, definition)
    bank = FilterBank([filter])
    found = await in_thread(state, _check, state, filter, bank, interrupt=bank.interrupt)

    def work() -> None:
        _check_sinks(filter)
        state.store.save_filter(filter.name, filter.hash, filter.model_dump(mode="json"))
        audit(state, user, "filter.save", filter.name, {"hash": filter.hash})

    await in_thread(state, work)
    return Saved(name=filter.name, hash=filter.hash, **found.model_dump())


@router.delete(
    "/{name}", status_code=204, response_class=Response, responses=responses(401, 403, 404, 422, 503, 504)
)
async def retire(state: StateOf, user: Admin, name: Name) -> Response:
    """Ask a filter no more; its versions and what passed them are kept."""

    def work() -> None:
        if name not in {one.name for one in state.store.filters()}:
            raise Problem(404, f"no filter {name!r} is in use; GET /api/v1/filters lists them")
        state.store.retire_filter(name)
        audit(state, user, "filter.retire", name)

    await in_thread(state, work)
    return Response(status_code=204)


def _made(name: str, definition: Definition) -> Filter:
    return read_filter({"name": name, **definition.model_dump(mode="json")})


def _check(state: State, filter: Filter, bank: FilterBank) -> Checked:
    warnings = check_filter(filter, known_columns(state))
    if filter.name in bank.failures:
        raise FilterError(bank.failures[filter.name])
    n = passed = 0
    failure = ""
    end = time.monotonic() + _SECONDS
    for table in state.store.history(columns=list(bank.columns), newest_first=True):
        n += len(table)
        passed += int(bank.passes(table)[filter.name].sum())
        failure = failure or bank.failures.get(filter.name, "")
        if n >= _ASKED or time.monotonic() > end:
            break
    return Checked(n=n, n_passed=passed, warnings=[*warnings, *doubts(n, passed, failure)])


def _check_sinks(filter: Filter) -> None:
    """Addresses that a sink can be made of."""
    from astrid.stream.sinks import open_sink

    for address in filter.sinks:
        try:
            open_sink(address).close()
        except AstridError as error:
            raise Problem(422, f"a sink cannot be used ({error}); correct its address"[:300]) from error


def _body(record: FilterRecord) -> dict[str, Any]:
    return {
        "name": record.name,
        "hash": record.hash,
        "active": record.active,
        "created": moment(record.created),
        "definition": record.definition,
    }
