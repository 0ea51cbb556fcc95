"""The evidence process: one report at a time, in the background of everything else.

1. take the next firing alarm; 2. wait until calls after the change have landed; 3. ask the store for both sides;
4. build evidence and report in a niced process; 5. commit the alarm's offset. A report that is there already is not
made again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import tempfile
from collections import deque
from pathlib import Path
from typing import IO

import msgspec
from confluent_kafka import Consumer, KafkaException, Message
from prometheus_client import Counter

from consumers.evidence import calls
from consumers.evidence.report import TOO_FEW
from consumers.evidence.why import Job
from tidemill.errors import Quarantine, Retry
from tidemill.events import ThresholdEvent
from tidemill.evidence import FOLDER, OLD_MS, WAIT_MS
from tidemill.io.clickhouse import NO_TABLES, Store, StoreError
from tidemill.io.kafka import consumer, partition_count
from tidemill.io.modes import write_private
from tidemill.io.service import Service
from tidemill.settings import Settings
from tidemill.topics import THRESHOLDS

log = logging.getLogger(__name__)
GROUP = "tidemill-evidence"
ATTEMPTS = 3
AGAIN_S = 20.0
BUILD_TIMEOUT_S = 600.0
SKEW_MS = 60_000
"""Clocks of producers may be ahead by so much."""
LATEST_MS = 120_000
"""Calls later than this after the alarm are none of its doing: by then the system may have answered to it."""
DAY_S = 86_400.0
CLEAR_EVERY_S = 3_600.0

REPORTS = Counter("tidemill_evidence_reports_total", "evidence reports by outcome", ["outcome"])


def run(settings: Settings) -> None:
    """Build reports until SIGTERM. Blocks."""
    with Service(settings, "evidence") as service:
        while not service.stopping:
            try:
                Evidence(settings, service).run()
            except (Retry, KafkaException) as error:
                service.waiting(str(error))
                service.stop_event.wait(getattr(error, "after_s", 1.0))


def report_path(settings: Settings, alarm_id: str, ending: str) -> Path:
    """Where an alarm's report lies: ``html`` for people, ``json`` for programs."""
    return settings.data_dir / FOLDER / f"{Path(alarm_id).name}.{ending}"


def clear(settings: Settings, now_s: float) -> int:
    """Remove what is older than ``evidence.keep_days``; how many files. Safe to repeat, and beside a build.

    It must be that much older than the newest file, too: a clock that is ahead would remove every report.
    """
    written: dict[Path, float] = {}
    for file in (settings.data_dir / FOLDER).glob("*"):
        with contextlib.suppress(OSError):
            if file.is_file():
                written[file] = file.stat().st_mtime
    old_s = min(now_s, max(written.values(), default=now_s)) - settings.evidence.keep_days * DAY_S
    cleared = 0
    for file in (file for file, time_s in written.items() if time_s < old_s):
        with contextlib.suppress(OSError):
            file.unlink()
            cleared += 1
    return cleared


class Evidence:
    """Takes alarms in order."""

    def __init__(self, settings: Settings, service: Service) -> None:
        self._settings = settings
        self._service = service
        self._store = Store(settings)
        self._held: deque[Message] = deque()
        self._cleared_s = -CLEAR_EVERY_S

    def run(self) -> None:
        """Until the service stops. Raises Retry when Kafka is not there yet."""
        reader = consumer(self._settings, "tidemill-evidence", GROUP)
        try:
            partition_count(reader, THRESHOLDS.name)
            reader.subscribe([THRESHOLDS.name], on_revoke=self._lost, on_lost=self._lost)
            self._service.ready()
            while not self._service.stopping:
                self._service.beat()
                self._clear()
                self._held.extend(m for m in reader.consume(20, 0.2) if m.error() is None)
                while self._held and not self._service.stopping:
                    message = self._held[0]
                    settled = self._settle(reader, message)
                    if not settled or not self._held or self._held[0] is not message:
                        break
                    self._held.popleft()
                    reader.commit(message=message, asynchronous=False)
        finally:
            reader.close()

    def _clear(self) -> None:
        if (now_s := self._service.clock.monotonic_s()) - self._cleared_s >= CLEAR_EVERY_S:
            self._cleared_s = now_s
            if cleared := clear(self._settings, self._service.clock.now_ms() / 1000):
                log.info("%d files of reports were older than evidence.keep_days and are removed", cleared)

    def _lost(self, *_: object) -> None:
        self._held.clear()

    def _settle(self, reader: Consumer, message: Message) -> bool:
        """Make the report of one alarm, or find that none is to be made; False when the process ends first."""
        try:
            event: ThresholdEvent = THRESHOLDS.decoder()(message.value())
        except Quarantine:
            return True
        html = report_path(self._settings, event.data.alarm_id, "html")
        age_ms = self._service.clock.now_ms() - event.time_ms
        about_calls = event.data.kind != "system"
        if event.data.state != "firing" or not about_calls or html.exists() or age_ms > OLD_MS:
            return True
        if not self._wait(reader, max(0.0, (WAIT_MS - age_ms) / 1000)):
            return False
        for attempt in range(1, ATTEMPTS + 1):
            outcome = self._attempt(reader, event, html.with_suffix(""))
            if outcome == "interrupted":
                return False
            REPORTS.labels(outcome).inc()
            log.info("evidence of %s: %s", event.data.alarm_id, outcome, extra={"attempt": attempt})
            if outcome == "built" or attempt == ATTEMPTS:
                return True
            if not self._wait(reader, AGAIN_S):
                return False
        return True

    def _attempt(self, reader: Consumer, event: ThresholdEvent, out: Path) -> str:
        data = event.data
        pipeline = self._settings.pipelines.get(data.pipeline)
        quality = pipeline.quality.metric if pipeline is not None else ""
        change_ms = data.change_time_ms if data.change_time_ms is not None else data.window_start_ms
        while not self._service.stopping:
            now_ms = self._service.clock.now_ms()
            try:
                reference = calls.before(self._store, data.pipeline, quality, change_ms, data.slice)
                until_ms = min(now_ms + SKEW_MS, event.time_ms + LATEST_MS)
                current = calls.after(self._store, data.pipeline, quality, change_ms, until_ms, data.slice)
                break
            except Retry as error:
                self._service.waiting(f"evidence waits for the store: {error}")
                self._wait(reader, 2.0)
            except StoreError as error:
                if error.code not in NO_TABLES:  # too much memory, say: the next alarm must not wait for this one
                    log.warning("the store refuses the calls of %s: %s", data.alarm_id, error)
                    return "failed"
                self._service.waiting(f"evidence waits for the tables: {error}")
                self._wait(reader, 2.0)
        else:
            return "interrupted"
        self._service.ready()
        job = Job(
            title=f"{data.pipeline}: {data.rule} - {data.summary or data.metric}",
            out=str(out.absolute()),
            alarm_id=data.alarm_id,
            pipeline=data.pipeline,
            metric=data.metric,
            change_ms=change_ms,
            made_ms=now_ms,
            capture=pipeline.capture if pipeline is not None else "full",
            reference=reference,
            current=current,
        )
        return self._build(reader, job, out)

    def _build(self, reader: Consumer, job: Job, out: Path) -> str:
        out.parent.mkdir(parents=True, exist_ok=True)
        file = out.with_name(f"{out.name}.job")
        try:
            write_private(file, msgspec.json.encode(job).decode())
            with tempfile.TemporaryFile() as said:  # a pipe that nobody reads would hold up a build that warns a lot
                return self._built(reader, file, said)
        finally:
            file.unlink(missing_ok=True)

    def _built(self, reader: Consumer, file: Path, said: IO[bytes]) -> str:
        process = subprocess.Popen(
            [sys.executable, "-m", "consumers.evidence.report", "--job", str(file)],
            stdout=subprocess.DEVNULL,
            stderr=said,
            env=os.environ | {"OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "1"},
            start_new_session=True,
        )
        try:
            end = self._service.clock.monotonic_s() + BUILD_TIMEOUT_S
            while process.poll() is None:
                if self._service.stopping:
                    return "interrupted"
                if self._service.clock.monotonic_s() > end:
                    return "too_slow"
                self._wait(reader, 0.5)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
        if process.returncode == 0:
            return "built"
        said.seek(max(0, said.seek(0, os.SEEK_END) - 500))
        log.warning("no report: code %s: %s", process.returncode, said.read().decode(errors="replace").strip())
        return "too_few_calls" if process.returncode == TOO_FEW else "failed"

    def _wait(self, reader: Consumer, seconds: float) -> bool:
        """Wait as a member in good standing (polled, nothing fetched); False when the process ends meanwhile."""
        end = self._service.clock.monotonic_s() + seconds
        reader.pause(reader.assignment())
        try:
            while self._service.clock.monotonic_s() < end and not self._service.stopping:
                self._service.beat()
                stray = reader.poll(0.2)
                if stray is not None and stray.error() is None:
                    self._held.append(stray)
        finally:
            reader.resume(reader.assignment())
        return not self._service.stopping
