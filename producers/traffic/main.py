"""Live demo traffic as a process: seeded habits, planned changes, until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal

from producers.traffic.story import Change, demo_changes, demo_habits
from producers.traffic.traffic import Tally, Traffic
from tidemill.clock import Clock, SystemClock
from tidemill.io.secrets import audit_keys, gateway_keys
from tidemill.io.service import configure_logs
from tidemill.settings import Settings

log = logging.getLogger(__name__)
REPORT_EVERY_S = 30.0


def run(settings: Settings, *, seed: int = 0, changes: list[Change] | None = None, duration_s: float = 0) -> Tally:
    """Be the users of the demo's pipelines until SIGTERM, or for ``duration_s`` seconds when that is not 0.

    Blocks; gives back what the users saw. Calls fail while the gateway is away, and go on.
    """
    configure_logs("traffic", settings.log_level)
    url = f"http://127.0.0.1:{settings.gateway_port}"
    clock = SystemClock()
    traffic = Traffic(
        url, gateway_keys(settings)[0], demo_habits(), audit_key=audit_keys(settings)[0], seed=seed, clock=clock
    )
    asyncio.run(_run(traffic, demo_changes() if changes is None else changes, clock, duration_s))
    return traffic.tally


async def _run(traffic: Traffic, changes: list[Change], clock: Clock, duration_s: float) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    users = asyncio.create_task(traffic.run())
    story = asyncio.create_task(_tell(traffic, changes, clock))
    try:
        await asyncio.wait_for(stop.wait(), duration_s or None)
    except TimeoutError:
        pass
    story.cancel()
    users.cancel()
    await asyncio.gather(story, users, return_exceptions=True)


async def _tell(traffic: Traffic, changes: list[Change], clock: Clock) -> None:
    started_s = clock.monotonic_s()
    todo = sorted(changes, key=lambda change: change.after_s)
    while True:
        elapsed_s = clock.monotonic_s() - started_s
        while todo and todo[0].after_s <= elapsed_s:
            change = todo.pop(0)
            traffic.change(change.pipeline, **change.habits)
            log.info("the users change: %s", change.note)
        tally = traffic.tally
        log.info(
            "traffic",
            extra={"sent": dict(tally.sent), "answered": dict(tally.answered), "failed": dict(tally.failed)},
        )
        wait_s = min(REPORT_EVERY_S, todo[0].after_s - elapsed_s) if todo else REPORT_EVERY_S
        await asyncio.sleep(max(0.1, wait_s))
