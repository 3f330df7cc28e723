"""Who asks, and what they may: roles as dependencies of routes.

How a name is proved is in `authentication`; here it is only asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from astrid.service.errors import Problem

__all__ = ["ROLES", "Admin", "Labeller", "User", "Viewer", "get_user", "signed_in"]

ROLES = ("viewer", "labeller", "admin")
"""Each may all that those before it may."""


@dataclass(frozen=True)
class User:
    """Who asks.

    Attributes
    ----------
    name : str
    role : str
        One of `ROLES`.
    """

    name: str
    role: str

    def may(self, role: str) -> bool:
        """Whether this user has the rights of a role."""
        return ROLES.index(self.role) >= ROLES.index(role)


def get_user(request: Request) -> User | None:
    """Who asks, or None: nobody that we know."""
    found = request.scope.get("state", {}).get("user")
    return found if isinstance(found, User) else None


async def signed_in(request: Request) -> User:
    """A dependency: somebody with an account, whatever the role."""
    user = get_user(request)
    if user is None:
        raise Problem(401, "log in first, or send a token", {"WWW-Authenticate": "Bearer"})
    return user


def _needs(role: str) -> object:
    async def check(user: Annotated[User, Depends(signed_in)]) -> User:
        if not user.may(role):
            raise Problem(403, f"this needs the role {role}; your account {user.name!r} is a {user.role}")
        return user

    return Depends(check)


Viewer = Annotated[User, _needs("viewer")]
"""The annotation of a parameter of routes that everybody with an account may use."""
Labeller = Annotated[User, _needs("labeller")]
"""The same for those who answer questions."""
Admin = Annotated[User, _needs("admin")]
"""The same for those who change what others see."""
