"""Hashes of passwords, by Argon2id with the parameters of RFC 9106 for little memory.

Names and attempts are not known here.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from astrid.errors import DependencyError, UsageError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

__all__ = ["SHORTEST", "check_password", "hash_password"]

SHORTEST = 10
"""Characters that a password has at least."""

_LONGEST = 1024  # characters; longer ones would only keep the processor busy


def hash_password(password: str, name: str = "") -> str:
    """What is kept of a password.

    Parameters
    ----------
    password : str
    name : str
        Of its user, which is no password.

    Raises
    ------
    UsageError
        It is too short, too long or the name itself.
    DependencyError
        The extra ``serve`` is not installed.
    """
    if not SHORTEST <= len(password) <= _LONGEST:
        raise UsageError(
            f"the password has {len(password)} characters; give one of {SHORTEST} to {_LONGEST}, such as "
            "a few words"
        )
    if password.casefold() == name.casefold():
        raise UsageError("the password is the name; give another one")
    return _hasher().hash(password)


def check_password(password: str, kept: str | None) -> bool:
    """Whether a password is the one that is kept; takes as long where none is.

    Parameters
    ----------
    password : str
    kept : str or None
    """
    from argon2.exceptions import VerificationError

    if len(password) > _LONGEST:
        return False
    try:
        _hasher().verify(kept or _nobody(), password)
    except VerificationError:
        return False
    return kept is not None


@cache
def _hasher() -> PasswordHasher:
    try:
        from argon2 import PasswordHasher
    except ImportError as error:
        raise DependencyError(
            'passwords need argon2-cffi, which is not installed; pip install "astrid[serve]"'
        ) from error
    return PasswordHasher()


@cache
def _nobody() -> str:
    """The hash of something that nobody knows."""
    import secrets

    return _hasher().hash(secrets.token_urlsafe(32))
