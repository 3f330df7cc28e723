"""Heavy work has limits: its queue, its time, its memory."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from astrid.errors import PacketError
from astrid.service.errors import Problem
from astrid.service.work import Apart, Work


def fail() -> None:
    raise PacketError("this is broken; mend it")


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def eat() -> int:
    return len(bytearray(64 << 30))


def test_who_comes_to_a_full_queue_is_sent_away_at_once():
    async def run() -> list[object]:
        work = Work(1, 2)
        calls = [work(sleep, 0.3, seconds=5) for _ in range(6)]
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert await work(sleep, 0.0, seconds=5) == 0.0  # and then there is room again
        return found

    found = asyncio.run(run())
    refused = [one for one in found if isinstance(one, Problem)]
    assert [one for one in found if one == 0.3] == [0.3] * 3
    assert [one.status_code for one in refused] == [503] * 3
    assert all(one.headers["Retry-After"] for one in refused)


def test_work_that_takes_too_long_is_given_up_and_told_to_stop():
    ended = threading.Event()

    async def run() -> None:
        work = Work(1, 1)
        with pytest.raises(Problem) as caught:
            await work(ended.wait, 10, seconds=0.2, interrupt=ended.set)
        assert caught.value.status_code == 504
        assert ended.is_set()
        assert await work(sleep, 0.0, seconds=5) == 0.0

    asyncio.run(run())


def test_a_process_apart_answers_refuses_and_is_killed_in_time():
    apart = Apart(threading.Event())
    try:
        assert apart(20, sleep, 0.01) == 0.01
        with pytest.raises(PacketError, match="this is broken; mend it"):
            apart(20, fail)
        began = time.monotonic()
        with pytest.raises(Problem) as caught:
            apart(0.5, sleep, 60)
        assert caught.value.status_code == 504
        assert time.monotonic() - began < 5
        assert apart(20, sleep, 0.02) == 0.02  # another process
        with pytest.raises(Problem) as caught:
            apart(20, eat)
        assert caught.value.status_code == 413
        assert apart(20, sleep, 0.03) == 0.03
    finally:
        apart.close()


def test_a_service_that_stops_does_not_wait_for_the_process():
    stopping = threading.Event()
    apart = Apart(stopping)
    threading.Timer(0.5, stopping.set).start()
    began = time.monotonic()
    with pytest.raises(Problem):
        apart(60, sleep, 60)
    assert time.monotonic() - began < 20
