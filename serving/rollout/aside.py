"""Work that may block (an engine or registry that hangs), off the thread that judges; one piece of a name at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Aside:
    """``start`` never waits. With ``inline`` it does the work itself, at once: for tests that count effects."""

    def __init__(self, *, inline: bool = False) -> None:
        self._pool = None if inline else ThreadPoolExecutor(8, thread_name_prefix="rollout")
        self._running: dict[str, Future[None]] = {}

    def start(self, name: str, work: Callable[[], None]) -> bool:
        """Do it, unless the last one of this name is still going on; whether it was begun.

        Raises what the last one of this name raised, if it did.
        """
        last = self._running.get(name)
        if last is not None and not last.done():
            return False
        if last is not None:
            del self._running[name]
            last.result()
        if self._pool is None:
            work()
        else:
            self._running[name] = self._pool.submit(work)
        return True

    def close(self) -> None:
        """Begin nothing more, and wait for what goes on: a successor must not find it half done."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
