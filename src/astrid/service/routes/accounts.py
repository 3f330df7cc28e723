"""Accounts over HTTP: one's own, its tokens and password; everybody's, for administrators; and the audit."""

from __future__ import annotations

from typing import Annotated, Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from astrid.service import log_in
from astrid.service.access import Admin, Viewer
from astrid.service.errors import Problem, responses
from astrid.service.passwords import hash_password
from astrid.service.state import State, StateOf
from astrid.service.tokens import new_token
from astrid.store.accounts import TokenRecord, UserRecord

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", tags=["accounts"])

Role = Literal["viewer", "labeller", "admin"]
Name = Annotated[str, Path(min_length=1, max_length=64, description="Of a user.")]
Number = Annotated[int, Path(ge=1, le=2**31 - 1, description="Of a token.")]
_LONGEST = 1024  # characters of a password


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Account(BaseModel):
    """Who asks."""

    name: str
    role: Role
    csrf: str = Field(description="To be sent as X-CSRF-Token by a page that changes something.")
    proof: Literal["token", "session", "local"] = Field(description="How it is known who this is.")


class UserFacts(BaseModel):
    """An account."""

    name: str
    role: Role
    created: float = Field(description="Seconds since 1970.")
    active: bool
    has_password: bool


class TokenFacts(BaseModel):
    """A token, without its secret; times are seconds since 1970."""

    id: int
    user: str
    name: str
    created: float
    expires: float | None
    used: float | None
    revoked: float | None


class NewToken(TokenFacts):
    """A token that was just made."""

    token: str = Field(description="Shown this once; only its hash is kept.")


class AuditRow(BaseModel):
    """Who changed what."""

    id: int
    at: float = Field(description="Seconds since 1970.")
    user: str
    action: str
    subject: str
    detail: dict[str, object]


class TokenWanted(_Body):
    """A token to be made."""

    name: str = Field(min_length=1, max_length=100, description="What it is for.")
    days: float | None = Field(None, gt=0, le=3650, description="It ends after so many; never if not given.")


class PasswordWanted(_Body):
    """Another password for oneself."""

    current: str = Field(max_length=_LONGEST)
    new: str = Field(max_length=_LONGEST)


class UserWanted(_Body):
    """An account to be made."""

    name: str = Field(max_length=64)
    role: Role
    password: str | None = Field(None, max_length=_LONGEST, description="Without one, tokens only open it.")


class UserChange(_Body):
    """What is to be different; what is not given stays."""

    role: Role | None = None
    active: bool | None = None
    password: str | None = Field(None, max_length=_LONGEST)


@router.get("/account", responses=responses(401))
async def account(request: Request, user: Viewer) -> Account:
    """Who one is."""
    facts = request.scope["state"]
    return Account.model_validate(
        {"name": user.name, "role": user.role, "csrf": facts["csrf"], "proof": facts["proof"]}
    )


@router.put("/account/password", status_code=204, responses=responses(400, 401, 403, 409, 422, 429, 503))
async def change_password(request: Request, state: StateOf, user: Viewer, wanted: PasswordWanted) -> Response:
    """Give oneself another password; all one's sessions end."""
    _in_person(request)
    address = log_in.address_of(request.client)
    if not await log_in.check(state, user.name, wanted.current, address):
        raise Problem(403, "the current password is another one")

    def change() -> None:
        state.store.accounts.set_password(user.name, hash_password(wanted.new, user.name), by=user.name)

    await run_sync(change)
    return Response(status_code=204)


@router.get("/account/tokens", responses=responses(401))
def own_tokens(state: StateOf, user: Viewer) -> list[TokenFacts]:
    """One's own tokens."""
    return [_token(one) for one in state.store.accounts.tokens(user.name)]


@router.post("/account/tokens", status_code=201, responses=responses(401, 403, 409, 422))
def make_token(request: Request, state: StateOf, user: Viewer, wanted: TokenWanted) -> NewToken:
    """Make a token of one's own, which may what its owner may."""
    _in_person(request)
    number, secret = new_token(state.store.accounts, user.name, wanted.name, wanted.days, user.name)
    record = next(one for one in state.store.accounts.tokens(user.name) if one.id == number)
    return NewToken(**record._asdict(), token=secret)


@router.delete("/account/tokens/{number}", status_code=204, responses=responses(401, 404, 422))
def revoke_own(state: StateOf, user: Viewer, number: Number) -> Response:
    """Revoke a token of one's own."""
    _revoke(state, number, state.store.accounts.tokens(user.name), user.name)
    return Response(status_code=204)


@router.get("/users", responses=responses(401, 403))
def users(state: StateOf, user: Admin) -> list[UserFacts]:
    """All accounts."""
    return [_user(one) for one in state.store.accounts.users()]


@router.post("/users", status_code=201, responses=responses(400, 401, 403, 422))
def add_user(state: StateOf, user: Admin, wanted: UserWanted) -> UserFacts:
    """Make an account; the first one is an administrator's, and from then on everybody has to log in."""
    kept = None if wanted.password is None else hash_password(wanted.password, wanted.name)
    state.store.accounts.add_user(wanted.name, wanted.role, kept, by=user.name)
    return _user(_found(state, wanted.name))


@router.patch("/users/{name}", responses=responses(400, 401, 403, 404, 422))
def change_user(state: StateOf, user: Admin, name: Name, wanted: UserChange) -> UserFacts:
    """Change an account; switched off or with another password, its sessions end."""
    _found(state, name)
    accounts = state.store.accounts
    if wanted.role is not None:
        accounts.set_role(name, wanted.role, by=user.name)
    if wanted.active is not None:
        accounts.set_active(name, wanted.active, by=user.name)
    if wanted.password is not None:
        accounts.set_password(name, hash_password(wanted.password, name), by=user.name)
    return _user(_found(state, name))


@router.get("/tokens", responses=responses(401, 403))
def tokens(state: StateOf, user: Admin) -> list[TokenFacts]:
    """Everybody's tokens."""
    return [_token(one) for one in state.store.accounts.tokens()]


@router.delete("/tokens/{number}", status_code=204, responses=responses(401, 403, 404, 422))
def revoke(state: StateOf, user: Admin, number: Number) -> Response:
    """Revoke anybody's token."""
    _revoke(state, number, state.store.accounts.tokens(), user.name)
    return Response(status_code=204)


@router.get("/audit", responses=responses(401, 403, 422))
def audit(
    state: StateOf,
    user: Admin,
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="Number of a row.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[AuditRow]:
    """Who changed what, the latest first."""
    return [AuditRow(**one._asdict()) for one in state.store.accounts.audit(before=before, limit=limit)]


def _in_person(request: Request) -> None:
    """A token cannot make itself last longer than it was meant to, and without accounts there is none."""
    proof = request.scope["state"]["proof"]
    if proof == "local":
        raise Problem(409, "there are no accounts here yet; make one first")
    if proof != "session":
        raise Problem(403, "this is for people who have logged in, not for tokens")


def _found(state: State, name: str) -> UserRecord:
    record = state.store.accounts.user(name)
    if record is None:
        raise Problem(404, f"there is no user {name!r}")
    return record


def _revoke(state: State, number: int, among: list[TokenRecord], by: str) -> None:
    if not any(one.id == number and one.revoked is None for one in among):
        raise Problem(404, f"there is no token {number} in use")
    state.store.accounts.revoke_token(number, by=by)


def _user(record: UserRecord) -> UserFacts:
    return UserFacts(**record._asdict())


def _token(record: TokenRecord) -> TokenFacts:
    return TokenFacts(**record._asdict())
