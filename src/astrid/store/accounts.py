"""Accounts: users with their roles, tokens and sessions, and the audit of what people changed.

Every change writes its row of the audit in the same transaction. How passwords are hashed, and what a role
may, is not known here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa

from astrid.errors import UsageError
from astrid.store.database import Database
from astrid.store.tables import audit, sessions, tokens, users

__all__ = ["Accounts", "AuditRecord", "SessionRecord", "TokenRecord", "UserRecord"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_ROLES = ("viewer", "labeller", "admin")
_USED_EVERY = 60.0  # s: a token that is used all the time is not written down each time


class UserRecord(NamedTuple):
    """An account."""

    name: str
    role: str
    created: float
    active: bool
    has_password: bool


class TokenRecord(NamedTuple):
    """A token without the secret; times are seconds since 1970."""

    id: int
    user: str
    name: str
    created: float
    expires: float | None
    used: float | None
    revoked: float | None


class SessionRecord(NamedTuple):
    """Somebody who has logged in."""

    user: str
    role: str
    csrf: str
    created: float
    expires: float


class AuditRecord(NamedTuple):
    """Who changed what, and when."""

    id: int
    at: float
    user: str
    action: str
    subject: str
    detail: dict[str, Any]


_USER = (users.c.name, users.c.role, users.c.created, users.c.active)
_TOKEN = tuple(tokens.c[name] for name in TokenRecord._fields)


class Accounts:
    """The accounts of a store; threads can share it.

    Every method can raise StoreError: the database is away, locked or full.

    Parameters
    ----------
    database : Database
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    # Users

    def users(self) -> list[UserRecord]:
        """All accounts, by name, those that are switched off included."""
        query = sa.select(*_USER, users.c.password.is_not(None)).order_by(users.c.name)
        return self._database.read(lambda connection: [_user(row) for row in connection.execute(query)])

    def user(self, name: str) -> UserRecord | None:
        """An account, or None if there is none of that name."""
        query = sa.select(*_USER, users.c.password.is_not(None)).where(users.c.name == name)
        row = self._database.read(lambda connection: connection.execute(query).first())
        return None if row is None else _user(row)

    def any(self) -> bool:
        """Whether there is any account."""
        query = sa.select(users.c.name).limit(1)
        return self._database.read(lambda connection: connection.execute(query).first()) is not None

    def password(self, name: str) -> str | None:
        """The hash of the password of an active account; None if there is none."""
        query = sa.select(users.c.password).where((users.c.name == name) & users.c.active)
        return self._database.read(lambda connection: connection.scalar(query))

    def add_user(self, name: str, role: str, password: str | None, *, by: str) -> None:
        """Make an account.

        Parameters
        ----------
        name : str
            Letters, digits and ``. _ @ -``, 64 at most.
        role : {"viewer", "labeller", "admin"}
        password : str or None
            Its hash; with None the account is opened by tokens only.
        by : str
            Who does it.

        Raises
        ------
        UsageError
            There is one of that name, or name or role are not as they should be, or it would be the first
            and no administrator's: nobody could make another.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"the name {name!r} of a user is not usable; give up to 64 letters, digits and . _ @ -, "
                "beginning with a letter or a digit"
            )
        _check_role(role)
        values = {"name": name, "role": role, "password": password, "active": True}

        def work(connection: sa.Connection) -> None:
            self._database.one_writer(connection)
            if connection.scalar(sa.select(users.c.name).where(users.c.name == name)) is not None:
                raise UsageError(f"there is a user {name!r} already; choose another name, or change that one")
            first = connection.scalar(sa.select(users.c.name).limit(1)) is None
            if first and role != "admin":
                raise UsageError(
                    f"the first account has to be an administrator's, not a {role}'s; make that one"
                )
            connection.execute(sa.insert(users).values(**values, created=time.time()))
            _record(connection, by, "user.add", name, {"role": role})

        self._database.write(work)

    def set_role(self, name: str, role: str, *, by: str) -> None:
        """Give a user another role.

        Raises
        ------
        UsageError
            There is no such user or role, or no administrator would be left.
        """
        _check_role(role)
        self._change(name, {"role": role}, by, "user.role", {"role": role})

    def set_active(self, name: str, active: bool, *, by: str) -> None:
        """Switch an account off, which ends its sessions, or on again.

        Raises
        ------
        UsageError
            There is no such user, or no administrator would be left.
        """
        self._change(name, {"active": active}, by, "user.on" if active else "user.off", {})

    def set_password(self, name: str, password: str, *, by: str) -> None:
        """Give an account another password, by its hash; its sessions end.

        Raises
        ------
        UsageError
            There is no such user.
        """
        self._change(name, {"password": password}, by, "user.password", {})

    def _change(
        self, name: str, values: Mapping[str, Any], by: str, action: str, detail: Mapping[str, Any]
    ) -> None:
        def work(connection: sa.Connection) -> None:
            self._database.one_writer(connection)
            changed = connection.execute(sa.update(users).where(users.c.name == name).values(**values))
            if changed.rowcount == 0:
                raise UsageError(f"there is no user {name!r}; astrid serve users list shows who there is")
            admins = (users.c.role == "admin") & users.c.active
            if connection.scalar(sa.select(users.c.name).where(admins).limit(1)) is None:
                raise UsageError(
                    f"{name!r} is the last administrator; make another one first, so that somebody can "
                    "still change accounts"
                )
            if "role" not in values:  # a role is looked up with every request
                connection.execute(sa.delete(sessions).where(sessions.c.user == name))
            _record(connection, by, action, name, detail)

        self._database.write(work)

    # Tokens

    def add_token(self, user: str, name: str, hash: str, expires: float | None, *, by: str) -> int:
        """Keep the hash of a token of a user; its number.

        Raises
        ------
        UsageError
            There is no such user.
        """
        values = {"user": user, "name": name, "hash": hash, "expires": expires, "created": time.time()}

        def work(connection: sa.Connection) -> int:
            if connection.scalar(sa.select(users.c.name).where(users.c.name == user)) is None:
                raise UsageError(f"there is no user {user!r}; astrid serve users list shows who there is")
            inserted = connection.execute(sa.insert(tokens).values(**values).returning(tokens.c.id))
            number = int(inserted.scalar_one())
            _record(connection, by, "token.add", user, {"token": number, "name": name, "expires": expires})
            return number

        return self._database.write(work)

    def tokens(self, user: str | None = None) -> list[TokenRecord]:
        """Tokens of a user, or of all, the oldest first; those that were revoked included."""
        query = sa.select(*_TOKEN).order_by(tokens.c.id)
        if user is not None:
            query = query.where(tokens.c.user == user)
        return self._database.read(
            lambda connection: [TokenRecord(*row) for row in connection.execute(query)]
        )

    def revoke_token(self, number: int, *, by: str) -> None:
        """Make a token open nothing any more.

        Raises
        ------
        UsageError
            There is no such token in use.
        """

        def work(connection: sa.Connection) -> None:
            this = (tokens.c.id == number) & tokens.c.revoked.is_(None)
            query = sa.update(tokens).where(this).values(revoked=time.time()).returning(tokens.c.user)
            owner = connection.scalar(query)
            if owner is None:
                raise UsageError(f"there is no token {number} in use; list the tokens to see which there are")
            _record(connection, by, "token.revoke", owner, {"token": number})

        self._database.write(work)

    def find_token(self, hash: str) -> UserRecord | None:
        """Whose token this is; None if it is nobody's, too old or revoked, or the account is off."""
        now = time.time()
        valid = (
            (tokens.c.hash == hash)
            & tokens.c.revoked.is_(None)
            & (tokens.c.expires.is_(None) | (tokens.c.expires > now))
            & users.c.active
        )
        query = sa.select(*_USER, users.c.password.is_not(None), tokens.c.id, tokens.c.used)
        query = query.select_from(tokens.join(users, tokens.c.user == users.c.name)).where(valid)
        row = self._database.read(lambda connection: connection.execute(query).first())
        if row is None:
            return None
        *facts, number, used = row
        if used is None or now - used > _USED_EVERY:
            touched = sa.update(tokens).where(tokens.c.id == number).values(used=now)
            self._database.write(lambda connection: connection.execute(touched))
        return UserRecord(*facts)

    # Sessions

    def add_session(self, hash: str, user: str, csrf: str, expires: float, detail: Mapping[str, Any]) -> None:
        """Keep that somebody has logged in, and forget the sessions that are over."""
        now = time.time()
        values = {"hash": hash, "user": user, "csrf": csrf, "created": now, "expires": expires}

        def work(connection: sa.Connection) -> None:
            connection.execute(sa.delete(sessions).where(sessions.c.expires <= now))
            connection.execute(sa.insert(sessions).values(**values))
            _record(connection, user, "login", user, detail)

        self._database.write(work)

    def find_session(self, hash: str) -> SessionRecord | None:
        """A session that goes on; None if there is none, it is over, or the account is off."""
        valid = (sessions.c.hash == hash) & (sessions.c.expires > time.time()) & users.c.active
        query = sa.select(
            sessions.c.user, users.c.role, sessions.c.csrf, sessions.c.created, sessions.c.expires
        )
        query = query.select_from(sessions.join(users, sessions.c.user == users.c.name)).where(valid)
        row = self._database.read(lambda connection: connection.execute(query).first())
        return None if row is None else SessionRecord(*row)

    def extend_session(self, hash: str, expires: float) -> None:
        """Let a session go on for longer."""
        query = sa.update(sessions).where(sessions.c.hash == hash).values(expires=expires)
        self._database.write(lambda connection: connection.execute(query))

    def end_session(self, hash: str) -> None:
        """End a session; nothing happens if there is none."""

        def work(connection: sa.Connection) -> None:
            query = sa.delete(sessions).where(sessions.c.hash == hash).returning(sessions.c.user)
            user = connection.scalar(query)
            if user is not None:
                _record(connection, user, "logout", user, {})

        self._database.write(work)

    # The audit

    def record(self, user: str, action: str, subject: str, detail: Mapping[str, Any]) -> None:
        """Keep that somebody changed something."""
        self._database.write(lambda connection: _record(connection, user, action, subject, detail))

    def audit(self, *, before: int | None = None, limit: int = 100) -> list[AuditRecord]:
        """What people changed, the latest first; those of a number before `before`."""
        query = sa.select(*(audit.c[name] for name in AuditRecord._fields))
        query = query.order_by(audit.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(audit.c.id < before)
        return self._database.read(
            lambda connection: [AuditRecord(*row) for row in connection.execute(query)]
        )

    def attempts(self, since: float) -> list[AuditRecord]:
        """Log-ins after a time (s since 1970), good and failed, in their order."""
        query = sa.select(*(audit.c[name] for name in AuditRecord._fields))
        tried = audit.c.action.in_(("login", "login.failed"))
        query = query.where((audit.c.at > since) & tried).order_by(audit.c.id)
        return self._database.read(
            lambda connection: [AuditRecord(*row) for row in connection.execute(query)]
        )


def _user(row: Any) -> UserRecord:
    return UserRecord(*row)


def _check_role(role: str) -> None:
    if role not in _ROLES:
        raise UsageError(f"there is no role {role!r}; give one of {', '.join(_ROLES)}")


def _record(
    connection: sa.Connection, user: str, action: str, subject: str, detail: Mapping[str, Any]
) -> None:
    values = {"user": user, "action": action, "subject": subject, "detail": dict(detail)}
    connection.execute(sa.insert(audit).values(**values, at=time.time()))
