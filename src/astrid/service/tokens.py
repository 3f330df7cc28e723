"""Tokens: how programs show on whose behalf they ask, and what is kept of a secret.

Needs no web framework, so that the command line can make one.
"""

from __future__ import annotations

import hashlib
import secrets
import time

from astrid.store.accounts import Accounts

__all__ = ["PREFIX", "digest", "new_token"]

PREFIX = "astrid_"
"""What a token begins with, so that one that was published by mistake is found."""


def digest(secret: str) -> str:
    """What is kept of a secret: with 256 random bits in it, no slow hash is needed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def new_token(accounts: Accounts, user: str, name: str, days: float | None, by: str) -> tuple[int, str]:
    """Make a token of a user.

    Parameters
    ----------
    accounts : Accounts
    user : str
    name : str
        What it is for.
    days : float, optional
        It ends after so many.
    by : str
        Who makes it.

    Returns
    -------
    number : int
    token : str
        The secret, of which only the hash is kept.
    """
    secret = PREFIX + secrets.token_urlsafe(32)
    expires = None if days is None else time.time() + 86400 * days
    return accounts.add_token(user, name, digest(secret), expires, by=by), secret
