"""``tidemill run streams``: stage 2, windows, detectors and rules."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from typing import Any

from confluent_kafka import KafkaException, TopicPartition

from streams.app.watchdog import Watchdog
from tidemill import topics
from tidemill.clock import SystemClock
from tidemill.errors import Retry
from tidemill.io import kafka
from tidemill.io.service import Service
from tidemill.settings import Settings

log = logging.getLogger(__name__)
LOOK_EVERY_S = 0.2
WATCH_EVERY_S = 5.0
STOP_WITHIN_S = 20.0
PATIENCE_S = 30.0
"""How long messages may wait without any being handled before the process ends, to be started again."""


def run(settings: Settings) -> None:
    """Work until SIGTERM. Waits for the broker and the topics; ends the process with 1 when Faust stands still."""
    with Service(settings, "streams") as service:
        if _topics_there(settings, service):
            failed = asyncio.run(_serve(settings, service))
            if failed:
                log.error("ending, to be started again: %s", failed)
                logging.shutdown()
                os._exit(1)  # Faust may be too stuck for an orderly end


def _topics_there(settings: Settings, service: Service) -> bool:
    """Wait until the broker has the topic to read; False when told to end before."""
    while not service.stopping:
        try:
            client = kafka.follower(settings, "tidemill-streams-start", topics.PARTIALS)
            client.close()
            return True
        except Retry as problem:
            service.waiting(str(problem))
            service.stop_event.wait(problem.after_s)
    return False


async def _serve(settings: Settings, service: Service) -> str:
    """Run the app until told to end; an answer that is not empty says why it cannot go on."""
    from streams.app.worker import GC, Worker

    gc.set_threshold(*GC)
    clock = SystemClock()
    worker = Worker(settings, clock)
    worker.app.finalize()
    watchdog = Watchdog(PATIENCE_S)
    watching = kafka.consumer(settings, "tidemill-streams-watchdog", worker.app.conf.id)  # asks only, joins nothing
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
                spans = await asyncio.to_thread(_spans, watching)
                now_s, done = clock.monotonic_s(), worker.measures.messages
                if spans and watchdog.stands_still(now_s, worker.waiting(spans), done):
                    _log_tasks()
                    failed = f"messages wait and none has been handled for {PATIENCE_S:g} s"
    except Exception as error:
        log.exception("Faust could not go on")
        failed = repr(error)
    finally:
        watching.close()
    try:
        await asyncio.wait_for(worker.app.stop(), STOP_WITHIN_S)
    except TimeoutError:
        failed = failed or f"Faust did not stop within {STOP_WITHIN_S:g} s"
    return failed


def _spans(client: Any) -> dict[int, tuple[int, int]]:
    """Committed and end offset by partition; empty when the broker does not answer (then nobody can work)."""
    places = [TopicPartition(topics.PARTIALS.name, partition) for partition in range(topics.PARTIALS.partitions)]
    try:
        spans = {}
        for place in client.committed(places, timeout=5):
            low, high = client.get_watermark_offsets(place, timeout=5)
            spans[int(place.partition)] = (max(int(low), int(place.offset)), int(high))
        return spans
    except (KafkaException, TypeError):
        return {}


def _log_tasks() -> None:
    """Where every task of the loop stands: the one trace a standstill leaves."""
    for task in asyncio.all_tasks():
        frames = [f"{f.f_code.co_filename.rsplit('/', 1)[-1]}:{f.f_lineno}" for f in task.get_stack(limit=4)]
        log.error("standing still: %s", task.get_name(), extra={"at": frames, "task": repr(task.get_coro())})
