"""Pages about accounts: one's own with its tokens, and everybody's with the audit for administrators.

They only show; what is changed goes through the routes of accounts.
"""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from astrid.service.access import ROLES, Admin, Viewer
from astrid.service.state import StateOf

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

_ROWS = 100


@router.get("/account")
def account(request: Request, state: StateOf, user: Viewer) -> Response:
    """One's own account."""
    accounts = state.store.accounts
    tokens = sorted(accounts.tokens(user.name), key=lambda one: (one.revoked is not None, -one.id))
    known = accounts.user(user.name)
    return state.page(request, "account.html", tokens=tokens, has_account=known is not None, known=known)


@router.get("/admin")
def admin(
    request: Request,
    state: StateOf,
    user: Admin,
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
) -> Response:
    """All accounts, and who changed what."""
    accounts = state.store.accounts
    rows = accounts.audit(before=before, limit=_ROWS + 1)
    audit = [
        {"record": one, "detail": json.dumps(one.detail, ensure_ascii=False)[:300] if one.detail else ""}
        for one in rows[:_ROWS]
    ]
    older = rows[_ROWS - 1].id if len(rows) > _ROWS else None
    return state.page(
        request, "admin.html", users=accounts.users(), roles=ROLES, audit=audit, older=older, before=before
    )
