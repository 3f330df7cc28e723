"""How answers are cut into pages, and how a client that has an answer already is told so.

A page is found again by the last row of the page before, which stays where it is whatever is added.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import Response
from pydantic_core import to_json

from astrid.service.errors import Problem

__all__ = ["JSON", "json_bytes", "moment", "next_link", "not_modified", "place_after", "reply", "tag_of"]

JSON = "application/json"
_LONGEST = 600  # characters of a cursor
_NOT_QUERY = ("cursor", "limit")


def next_link(request: Request, place: Sequence[Any]) -> tuple[str, dict[str, str]]:
    """Where the next page is.

    Parameters
    ----------
    request : Request
        For this page.
    place : sequence
        Of the last row, in JSON's own types.

    Returns
    -------
    address : str
        Path and query, without a host: what is in front of the service does not matter.
    headers : dict
        With ``Link`` (RFC 8288).
    """
    content = json.dumps([_digest(request), *place], separators=(",", ":")).encode()
    cursor = base64.urlsafe_b64encode(content).decode().rstrip("=")
    query = [(key, value) for key, value in request.query_params.multi_items() if key != "cursor"]
    address = f"{request.url.path}?{urlencode([*query, ('cursor', cursor)])}"
    return address, {"Link": f'<{address}>; rel="next"'}


def place_after(request: Request, cursor: str | None, kinds: tuple[type, ...]) -> tuple[Any, ...] | None:
    """The place in a cursor; None without one.

    Parameters
    ----------
    request : Request
    cursor : str or None
    kinds : tuple of type
        Of the values of a place.

    Raises
    ------
    Problem
        400 where it is none, or of another query.
    """
    if cursor is None:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(cursor[:_LONGEST] + "=" * (-len(cursor) % 4)))
        digest, *place = found
        good = len(place) == len(kinds) and all(
            type(one) is kind and abs(one if isinstance(one, int | float) else 0) < 1 << 62
            for one, kind in zip(place, kinds, strict=True)
        )
    except (ValueError, TypeError, binascii.Error, RecursionError):
        good, digest, place = False, None, []
    if not good or digest != _digest(request):
        raise Problem(
            400, "the cursor is not of this query; follow the link of the page before, or leave it out"
        )
    return tuple(place)


def _digest(request: Request) -> str:
    """Of what is asked, so that a cursor is not used for something else."""
    asked = sorted(pair for pair in request.query_params.multi_items() if pair[0] not in _NOT_QUERY)
    return hashlib.sha256(json.dumps([request.url.path, asked]).encode()).hexdigest()[:8]


def json_bytes(value: Any) -> bytes:
    """A value as JSON; what is not finite is null, times are ISO 8601."""
    return to_json(value, inf_nan_mode="null")


def tag_of(*facts: Any) -> str:
    """An entity tag of what an answer depends on."""
    text = json.dumps(facts, default=str)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def not_modified(request: Request, tag: str, headers: Mapping[str, str] | None = None) -> Response | None:
    """The answer 304 for a client that has the entity of this tag; None for others."""
    given = request.headers.get("if-none-match", "")
    known = {one.strip().removeprefix("W/") for one in given.split(",")}
    if tag not in known and "*" not in known:
        return None
    return Response(
        status_code=304, headers={"ETag": tag, "Cache-Control": "private, no-cache", **(headers or {})}
    )


def reply(
    request: Request,
    value: Any,
    *,
    tag: str | None = None,
    headers: Mapping[str, str] | None = None,
    status: int = 200,
) -> Response:
    """JSON with its entity tag, or 304.

    Parameters
    ----------
    request : Request
    value : object
    tag : str, optional
        Of what the answer depends on; of the bytes if not given.
    headers : mapping, optional
    status : int
    """
    content = json_bytes(value)
    tag = tag or f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    unchanged = not_modified(request, tag, headers)
    if unchanged is not None:
        return unchanged
    kept = {"ETag": tag, "Cache-Control": "private, no-cache", **(headers or {})}
    return Response(content, status, kept, JSON)


def moment(seconds: float | None) -> str | None:
    """A time in seconds since 1970 as ISO 8601."""
    if seconds is None or not math.isfinite(seconds):
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
