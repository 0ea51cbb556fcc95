"""The audit process: compares every few minutes, watches the other roles in between.

1. what it said before is read back from monitoring.thresholds; 2. each round asks the roles, and when it is time
compares rows and windows; 3. what begins or ends is said, and counts as said once Kafka has taken it.
"""

from __future__ import annotations

import logging

from confluent_kafka import KafkaException
from prometheus_client import Gauge

from consumers.audit import alarms
from consumers.audit.compare import audit
from consumers.audit.report import Report
from consumers.audit.watch import Watch, watched
from tidemill.errors import Retry
from tidemill.io.clickhouse import Store, StoreError
from tidemill.io.service import Service
from tidemill.io.system_alarms import SystemAlarms
from tidemill.settings import Settings
from tidemill.topics import LANDING, THRESHOLDS

log = logging.getLogger(__name__)
LOOK_EVERY_S = 5.0
QUERY_TIMEOUT_S = 120.0
"""Before a row is called missing, all rows of its table are looked at."""
AGAIN_S = 10.0
"""After a comparison that Kafka or the store did not let finish."""

MISSING = Gauge("tidemill_audit_missing_rows", "messages without a row or a dead letter, in the last comparison")
DUPLICATES = Gauge("tidemill_audit_duplicate_rows", "rows too many for their offsets, in the last comparison")
DIFFERING = Gauge("tidemill_audit_differing_windows", "windows that differ from their raw rows, in the last comparison")
AGE = Gauge("tidemill_audit_age_seconds", "since the last comparison ended")


def run(settings: Settings) -> None:
    """Compare and watch until SIGTERM. Blocks."""
    with Service(settings, "audit") as service:
        while not service.stopping:
            try:
                Audit(settings, service).run()
            except (Retry, KafkaException) as error:
                service.waiting(str(error))
                service.stop_event.wait(getattr(error, "after_s", 1.0))


class Audit:
    """One auditor. A second one beside it would say the same under the same ids."""

    def __init__(self, settings: Settings, service: Service) -> None:
        self._settings = settings
        self._service = service
        self._clock = service.clock
        self._store = Store(settings, query_timeout_s=QUERY_TIMEOUT_S)
        self._alarms = SystemAlarms(settings, THRESHOLDS, "audit", self._clock)
        self._ended_s = self._clock.monotonic_s()
        self._due_s = self._ended_s
        AGE.set_function(lambda: self._clock.monotonic_s() - self._ended_s)

    def run(self) -> None:
        """Until the service stops. Raises Retry when Kafka is not there."""
        self._alarms.read_back(self._service.beat)
        known = {subject.rpartition("/")[2] for rule, subject in self._alarms.firing if rule == alarms.ROLE_STALE}
        watch = Watch(watched(self._settings), self._settings.audit.stale_s, self._clock, known)
        while not self._service.stopping:
            self._alarms.say(watch.look(), [alarms.ROLE_STALE])
            if self._clock.monotonic_s() >= self._due_s:
                self._compare()
            self._service.beat()
            self._service.stop_event.wait(min(LOOK_EVERY_S, self._settings.audit.stale_s / 2))

    def _compare(self) -> None:
        since_ms = max(0, self._clock.now_ms() - round(self._settings.audit.look_back_s * 1000))
        try:
            report = audit(self._settings, self._store, self._clock, since_ms, self._alive, self._earlier())
        except (Retry, StoreError) as error:
            log.warning("no comparison: %s", error)
            self._service.waiting(f"the comparison waits: {error}")
            self._due_s = self._clock.monotonic_s() + AGAIN_S
            return
        self._tell(report)
        self._alarms.say(alarms.of_report(report), [alarms.AUDIT_ROWS, alarms.AUDIT_WINDOWS], alarms.undecided(report))
        self._ended_s = self._clock.monotonic_s()
        self._due_s = self._ended_s + self._settings.audit.every_s
        self._service.ready()

    def _alive(self, _what: str, _done: int, _of: int) -> None:
        self._service.beat()
        if self._service.stopping:
            raise Retry("the process ends")

    def _earlier(self) -> dict[str, int]:
        """What open alarms are about is compared again, however long ago it was: only that can end them."""
        names = {topic.table: topic.name for topic in LANDING}
        found: dict[str, int] = {}
        for (rule, _), alarm in self._alarms.firing.items():
            if rule == alarms.ROLE_STALE:
                continue
            about = "windows" if rule == alarms.AUDIT_WINDOWS else names[alarm.data.metric.rpartition("/")[2]]
            found[about] = min(found.get(about, alarm.data.window_start_ms), alarm.data.window_start_ms)
        return found

    def _tell(self, report: Report) -> None:
        MISSING.set(report.missing)
        DUPLICATES.set(report.duplicates)
        if report.windows.behind:
            log.info("windows are not compared: the sink is %d messages behind", report.windows.behind)
        else:
            DIFFERING.set(report.windows.different)
        log.info(
            "compared: %d rows missing, %d too many, %d windows differ",
            report.missing,
            report.duplicates,
            report.windows.different,
            extra={"rows": sum(part.rows for part in report.parts), "windows": report.windows.compared},
        )
