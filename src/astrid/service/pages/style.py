"""The style sheet that the pages share with the reports that AstrID writes: colours and type."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

from fastapi import APIRouter, Request
from fastapi.responses import Response

from astrid.service.paging import not_modified, tag_of

__all__ = ["router"]

router = APIRouter(include_in_schema=False)


@router.get("/review/page.css")
def style(request: Request) -> Response:
    """Colours and type; the page to log in needs them too."""
    content, tag = _style()
    return not_modified(request, tag) or Response(
        content, headers={"ETag": tag, "Cache-Control": "public, max-age=3600"}, media_type="text/css"
    )


@cache
def _style() -> tuple[bytes, str]:
    content = resources.files("astrid.pages").joinpath("templates", "page.css").read_bytes()
    return content, tag_of(hashlib.sha256(content).hexdigest())
