"""A row in the audit for what somebody changed through the service.

Changes of accounts write theirs together with the change, in `astrid.store.accounts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from astrid.service.access import User
from astrid.service.state import State

__all__ = ["audit"]


def audit(
    state: State, user: User, action: str, subject: str, detail: Mapping[str, Any] | None = None
) -> None:
    """Keep that somebody changed something.

    Parameters
    ----------
    state : State
    user : User
    action : str
        A noun and a verb, such as ``filter.save``.
    subject : str
        What was changed.
    detail : mapping, optional
        In JSON's own types.
    """
    state.store.accounts.record(user.name, action, subject, dict(detail or {}))
