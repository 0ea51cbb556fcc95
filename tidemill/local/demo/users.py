"""The demo's users in a thread of their own, so that the story can be told beside them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

from producers.traffic.habits import Habits
from producers.traffic.traffic import Tally, Traffic
from tidemill.clock import Clock
from tidemill.io.secrets import audit_keys, gateway_keys
from tidemill.settings import Settings


class Users:
    """Runs a Traffic until left. Use as a context manager."""

    def __init__(self, settings: Settings, habits: list[Habits], *, seed: int, clock: Clock) -> None:
        url = f"http://127.0.0.1:{settings.gateway_port}"
        self.traffic = Traffic(
            url, gateway_keys(settings)[0], habits, audit_key=audit_keys(settings)[0], seed=seed, clock=clock
        )
        self._clock = clock
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name="users", daemon=True)

    @property
    def tally(self) -> Tally:
        """What they have seen so far."""
        return self.traffic.tally

    def __enter__(self) -> Users:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def change(self, habits: Mapping[str, Mapping[str, Any]]) -> int:
        """New habits by pipeline, all at once; the time of the change, epoch milliseconds."""
        at_ms = self._clock.now_ms()
        for pipeline, changes in habits.items():
            self.traffic.change(pipeline, **changes)
        return at_ms

    def stop(self) -> None:
        """End the calls; waits for those under way. Safe to repeat."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._cancel)
            self._thread.join(30)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _run(self) -> None:
        async def until_cancelled() -> None:
            self._task = asyncio.current_task()
            await self.traffic.run()

        try:
            self._loop.run_until_complete(until_cancelled())
        except asyncio.CancelledError:
            pass
        finally:
            self._loop.close()
