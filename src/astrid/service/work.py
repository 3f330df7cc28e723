"""Heavy work beside the answers: a few threads with a short queue, and a process that can be killed.

What is done there is given as a function; nothing waits here without a limit.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any, Literal, TypeVar

from astrid.errors import AstridError
from astrid.service.errors import Problem
from astrid.service.state import State

__all__ = ["Apart", "Work", "apart", "in_thread"]

T = TypeVar("T")

_WAITING = 16  # requests that wait for each thread
_MEMORY = 8 << 30  # bytes of address space of the process beside us
_LOOK = 0.2  # s
_MAKING = threading.Lock()


class Work:
    """Threads with a queue that is never long.

    Parameters
    ----------
    threads : int
    waiting : int
        Calls that wait for a thread; more are refused.
    """

    def __init__(self, threads: int, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "work")
        self._most = threads + waiting
        self._lock = threading.Lock()
        self._taken = 0

    async def __call__(
        self,
        function: Callable[..., T],
        *arguments: Any,
        seconds: float,
        interrupt: Callable[[], None] | None = None,
    ) -> T:
        """What a function returns; it counts as work until it has really ended.

        Parameters
        ----------
        function : callable
        *arguments
            Its arguments.
        seconds : float
            How long the caller waits, the queue included.
        interrupt : callable, optional
            Called when nobody waits any more.

        Raises
        ------
        Problem
            503 where the queue is full, 504 where it takes longer.
        """
        with self._lock:
            if self._taken >= self._most:
                raise Problem(503, "too many requests are being worked on; try again", {"Retry-After": "2"})
            self._taken += 1
        future = self._pool.submit(function, *arguments)
        future.add_done_callback(self._done)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), seconds)
        except TimeoutError:
            raise Problem(504, f"this took longer than {seconds:g} s; ask for less at a time") from None
        finally:
            if not future.done() and not future.cancel() and interrupt is not None:
                interrupt()

    def _done(self, future: Future[Any]) -> None:
        with self._lock:
            self._taken -= 1


class Apart:
    """One process for work that no thread could be kept from: it is killed when it takes too long.

    Parameters
    ----------
    stopping : threading.Event
        Set when the service stops.
    """

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._lock = threading.Lock()
        self._process: Any = None
        self._pipe: Connection | None = None

    def __call__(self, seconds: float, function: Callable[..., T], *arguments: Any) -> T:
        """What a function of a module returns; arguments and result travel between processes.

        Raises
        ------
        AstridError
            The function's own.
        Problem
            504 where it takes longer than `seconds`; 413 where it takes too much memory.
        """
        with self._lock:
            pipe = self._started()
            try:
                pipe.send((function, arguments))
                waited = 0.0
                while not pipe.poll(_LOOK):
                    waited += _LOOK
                    if waited >= seconds or self._stopping.is_set():
                        self._end()
                        raise Problem(504, f"this took longer than {seconds:g} s; send less at a time")
                good, value = pipe.recv()
            except (EOFError, OSError):
                self._end()
                raise Problem(413, "this needs more memory than is given to a request; send less") from None
            if good:
                return value
            raise value

    def close(self) -> None:
        """End the process."""
        self._end()

    def _started(self) -> Connection:
        if self._process is None or not self._process.is_alive() or self._pipe is None:
            self._end()
            # spawn, not fork: a forked child would inherit the locks of our threads
            context = multiprocessing.get_context("spawn")
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self._process, self._pipe = process, ours
        return self._pipe

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None


def _serve(pipe: Connection) -> None:
    """What the process does: one call after the other, until its parent is gone."""
    _limit_memory()
    while True:
        try:
            function, arguments = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer: tuple[bool, Any] = (True, function(*arguments))
        except AstridError as error:
            answer = (False, type(error)(str(error)))
        except MemoryError:
            return  # the pipe ends, which the other side understands
        pipe.send(answer)


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = _MEMORY if hard == resource.RLIM_INFINITY else min(_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


async def in_thread(
    state: State,
    function: Callable[..., T],
    *arguments: Any,
    interrupt: Callable[[], None] | None = None,
    lane: Literal["store", "models"] = "store",
) -> T:
    """What a function returns that keeps a processor busy for up to some seconds.

    Parameters
    ----------
    state : State
    function : callable
    *arguments
    interrupt : callable, optional
        See `Work`.
    lane : {"store", "models"}
        Questions to the store and to models do not wait for each other.

    Raises
    ------
    Problem
        See `Work`.
    """
    threads = max(2, os.cpu_count() or 2)
    work = _once(state, f"work {lane}", lambda: Work(threads, _WAITING * threads))
    return await work(function, *arguments, seconds=state.settings.time_limit, interrupt=interrupt)


async def apart(state: State, function: Callable[..., T], *arguments: Any) -> T:
    """What a function returns that may take a minute, and a lot of memory: one at a time.

    Raises
    ------
    Problem
        See `Work` and `Apart`.
    """
    process = _once(state, "apart", lambda: Apart(state.stopping))
    queue = _once(state, "apart queue", lambda: Work(1, 2))
    seconds = state.settings.time_limit
    return await queue(process, 0.9 * seconds, function, *arguments, seconds=seconds)


def _once(state: State, name: str, made: Callable[[], Any]) -> Any:
    found = state.shared.get(name)
    if found is None:
        with _MAKING:
            found = state.shared.get(name)
            if found is None:
                found = state.shared[name] = made()
    return found
