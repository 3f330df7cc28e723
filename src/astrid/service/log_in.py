"""A log-in: the password is checked, and who guesses has to wait.

Attempts that failed are rows of the audit: a restart does not forget them, and services that share a
database count them together.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Sequence

import anyio
from anyio.to_thread import run_sync

from astrid.service.errors import Problem
from astrid.service.passwords import check_password
from astrid.service.state import State
from astrid.store.accounts import AuditRecord

__all__ = ["WINDOW", "address_of", "check"]

WINDOW = 900.0
"""Seconds for which an attempt that failed is counted."""

# For one name from one address, since it was last right; for an address; for a name.
_PAIR, _ADDRESS, _NAME = 5, 30, 50
_AT_ONCE = 2  # hashes: each takes 64 MiB
_WAITING = 16
_LONGEST_NAME = 64  # characters that are kept of what was given


def address_of(client: tuple[str, int] | None) -> str:
    """What stands for a client: its address, or the network of an IPv6 one, all of which it may use."""
    name = client[0] if client else ""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name[:_LONGEST_NAME]
    if address.version == 6 and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return str(getattr(address, "ipv4_mapped", None) or address)


class _Turns:
    """Who is having a password checked, or waits for it."""

    def __init__(self) -> None:
        self.limiter = anyio.CapacityLimiter(_AT_ONCE)
        self.taken = 0


async def check(state: State, name: str, password: str, address: str) -> bool:
    """Whether a name and a password open an account; a failure is kept.

    Parameters
    ----------
    state : State
    name, password : str
    address : str
        Of the client, from `address_of`.

    Raises
    ------
    Problem
        429 after too many failures, whatever the password; 503 where too many log in at once.
    """
    turns = state.shared.setdefault("log-ins", _Turns())
    if turns.taken >= _AT_ONCE + _WAITING:
        state.metrics.log_in("too many")
        raise Problem(503, "too many log in at once; try again", {"Retry-After": "5"})
    turns.taken += 1
    try:
        return await run_sync(_check, state, name, password, address, limiter=turns.limiter)
    finally:
        turns.taken -= 1


def _check(state: State, name: str, password: str, address: str) -> bool:
    accounts = state.store.accounts
    now = time.time()
    wait = _wait(accounts.attempts(now - WINDOW), name[:_LONGEST_NAME], address, now)
    if wait > 0:
        state.metrics.log_in("too many")
        minutes = max(1, round(wait / 60))
        raise Problem(
            429,
            f"too many attempts have failed; try again in {minutes} minute{'s' if minutes > 1 else ''}",
            {"Retry-After": str(round(wait))},
        )
    good = check_password(password, accounts.password(name))
    state.metrics.log_in("good" if good else "wrong")
    if not good:
        accounts.record("", "login.failed", name[:_LONGEST_NAME], {"address": address})
    return good


def _wait(attempts: Sequence[AuditRecord], name: str, address: str, now: float) -> float:
    """Seconds until the next attempt is allowed."""
    pair: list[float] = []
    of_address: list[float] = []
    of_name: list[float] = []
    for one in attempts:
        here = one.detail.get("address") == address
        if one.action == "login":
            if here and one.subject == name:
                pair.clear()
            continue
        if here:
            of_address.append(one.at)
        if one.subject == name:
            of_name.append(one.at)
            if here:
                pair.append(one.at)
    waits = [
        times[-most] + WINDOW - now
        for times, most in ((pair, _PAIR), (of_address, _ADDRESS), (of_name, _NAME))
        if len(times) >= most
    ]
    return max(waits, default=0.0)
