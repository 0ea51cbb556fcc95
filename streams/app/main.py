"""``tidemill run streams``: stage 2, windows, detectors and rules."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from streams.app.logs import topic_ids
from streams.app.watchdog import Watchdog
from tidemill.clock import SystemClock
from tidemill.errors import Retry
from tidemill.io.service import Service
from tidemill.settings import Settings
from tidemill.topics import PARTIALS

if TYPE_CHECKING:
    from streams.app.worker import Worker

log = logging.getLogger(__name__)
LOOK_EVERY_S = 0.2
WATCH_EVERY_S = 5.0
STOP_WITHIN_S = 20.0
PATIENCE_S = 30.0
"""How long messages may wait without any being handled before the process ends, to be started again."""


def run(settings: Settings) -> None:
    """Work until SIGTERM. Waits for the broker and the topics; ends the process with 1 when Faust stands still."""
    with Service(settings, "streams") as service:
        ids = _topics_there(settings, service)
        if ids:
            failed = asyncio.run(_serve(settings, service, ids))
            if failed:
                log.error("ending, to be started again: %s", failed)
                logging.shutdown()
                os._exit(1)  # Faust may be too stuck for an orderly end


def _topics_there(settings: Settings, service: Service) -> dict[str, str]:
    """Wait until the broker has the topics that the states speak of; their ids, none when told to end before."""
    while not service.stopping:
        try:
            return topic_ids(settings)
        except Retry as problem:
            service.waiting(str(problem))
            service.stop_event.wait(problem.after_s)
    return {}


async def _serve(settings: Settings, service: Service, ids: Mapping[str, str]) -> str:
    """Run the app until told to end; an answer that is not empty says why it cannot go on."""
    from streams.app.worker import GC, Worker

    gc.set_threshold(*GC)
    clock = SystemClock()
    worker = Worker(settings, clock, ids[PARTIALS.name])
    worker.app.finalize()
    watchdog = Watchdog(PATIENCE_S)
    failed = ""
    looks = 0
    try:
        await worker.app.start()
        while not service.stopping and not failed:
            await asyncio.sleep(LOOK_EVERY_S)
            if worker.working:
                service.ready()
            else:
                service.waiting("partitions and their states")
            if worker.failure is not None:
                failed = f"a batch failed: {worker.failure!r}"
            elif worker.app.crashed:
                failed = "Faust crashed"
            worker.measures.aged()
            await worker.rest()
            looks += 1
            if looks % round(WATCH_EVERY_S / LOOK_EVERY_S) == 0:
                failed = failed or await _watch(worker, watchdog, ids, clock.monotonic_s())
    except Exception as error:
        log.exception("Faust could not go on")
        failed = repr(error)
    try:
        await asyncio.wait_for(worker.app.stop(), STOP_WITHIN_S)
        worker.logs.close()
    except TimeoutError:
        failed = failed or f"Faust did not stop within {STOP_WITHIN_S:g} s"
    return failed


async def _watch(worker: Worker, watchdog: Watchdog, ids: Mapping[str, str], now_s: float) -> str:
    """What keeps the worker from going on, as the broker has it; empty where nothing does, or no answer comes."""
    standing, done = worker.standing(), worker.measures.messages
    try:
        logs = await asyncio.to_thread(worker.logs.of, list(range(PARTIALS.partitions)))
    except Retry:
        return ""  # nobody can work then
    if any(one.end < standing.get(partition, 0) or one.topic_ids != ids for partition, one in logs.items()):
        return "a topic was made anew, or lost its end"
    waiting = sum(logs[p].end - max(offset, logs[p].low, logs[p].committed) for p, offset in standing.items())
    if watchdog.stands_still(now_s, waiting, done):
        _log_tasks()
        return f"messages wait and none has been handled for {PATIENCE_S:g} s"
    return ""


def _log_tasks() -> None:
    """Where every task of the loop stands: the one trace a standstill leaves."""
    for task in asyncio.all_tasks():
        frames = [f"{f.f_code.co_filename.rsplit('/', 1)[-1]}:{f.f_lineno}" for f in task.get_stack(limit=4)]
        log.error("standing still: %s", task.get_name(), extra={"at": frames, "task": repr(task.get_coro())})
