"""The estimate process: twice a minute, what quality is where no label has come yet.

For each pipeline with ``quality.estimate``: learn from the labels of its champion that have landed in the store, then
judge the champion's answers since the last estimate. What comes out are rows of monitoring.windows.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import msgspec
from confluent_kafka import KafkaException

from streams.estimate.estimator import Estimate
from streams.estimate.watch import Watched
from tidemill.codec import encode
from tidemill.errors import Retry
from tidemill.events import Route, Window
from tidemill.io import kafka
from tidemill.io.clickhouse import Store, StoreError
from tidemill.io.service import Service
from tidemill.metrics import UNITS
from tidemill.settings import Settings
from tidemill.topics import WINDOWS

log = logging.getLogger(__name__)
EVERY_MS = 30_000
SETTLE_MS = 5_000
"""Answers of a stretch have landed this long after its end."""
LEAST_CALLS = 50
"""With fewer answers a stretch goes on …"""
LONGEST_MS = 3_600_000
"""… for an hour at most."""
BEFORE_MS = 7 * 24 * 3_600_000
"""Labels older than this at start-up are not learned from."""
FLUSH_S = 10.0
_ROUTES = "SELECT state FROM routes WHERE pipeline = {pipeline:String} ORDER BY epoch DESC LIMIT 1"


def run(settings: Settings) -> None:
    """Estimate until SIGTERM. Blocks."""
    with Service(settings, "estimate") as service:
        role = Estimates(settings, service)
        while not service.stopping:
            try:
                role.look()
                service.ready()
            except (Retry, StoreError, KafkaException) as error:
                service.waiting(f"the estimate waits: {error}")
            service.stop_event.wait(1.0)


class Estimates:
    """The estimates of all pipelines that want one."""

    def __init__(self, settings: Settings, service: Service) -> None:
        self._settings = settings
        self._service = service
        self._store = Store(settings)
        self._producer = kafka.producer(settings, "estimate", message_timeout_ms=30_000)
        self._watched: dict[str, Watched] = {}
        begun = service.clock.now_ms() // EVERY_MS * EVERY_MS
        self._due = {name: begun for name, each in settings.pipelines.items() if each.quality.estimate}
        self._since = dict(self._due)

    def look(self) -> None:
        """Estimate what is due. Raises Retry, StoreError, KafkaException; what was not said is due again."""
        now_ms = self._service.clock.now_ms()
        for name, due_ms in self._due.items():
            until_ms = (now_ms - SETTLE_MS) // EVERY_MS * EVERY_MS
            if until_ms <= due_ms:
                continue
            watched = self._champions(name)
            while watched.learn(self._store.rows, now_ms) and not self._service.stopping:
                self._service.beat()
            since_ms = max(self._since[name], until_ms - LONGEST_MS)
            found = watched.judge(self._store.rows, since_ms, until_ms)
            if found.calls >= LEAST_CALLS:
                self._say(name, watched.version, found, since_ms, until_ms)
                self._since[name] = until_ms
            self._due[name] = until_ms

    def _champions(self, name: str) -> Watched:
        """What is known of the version that serves most now; another version starts from nothing."""
        pipeline = self._settings.pipelines[name]
        rows = self._store.rows(_ROUTES, {"pipeline": name})
        version = pipeline.champion
        if rows:
            version = msgspec.json.decode(rows[0]["state"], type=Route).champion.model_version
        known = self._watched.get(name)
        if known is None or known.version != version:
            quality = pipeline.quality
            since_ms = max(self._service.clock.now_ms() - BEFORE_MS, 0)
            known = Watched(name, version, quality.metric, quality.trusted_sources, since_ms)
            self._watched[name] = known
        return known

    def _say(self, name: str, version: str, found: Estimate, since_ms: int, until_ms: int) -> None:
        if found.value is None:
            log.info("no estimate of %s: %s", name, found.reason)
            return
        failures: list[str] = []
        for row in rows_of(name, version, found, since_ms, until_ms, self._service.clock.now_ms()):
            self._producer.produce(WINDOWS.name, encode(row), name, on_delivery=kafka.delivered(failures))
        if self._producer.flush(FLUSH_S) or failures:
            raise Retry(f"Kafka did not take an estimate: {failures[:1]}")


def rows_of(pipeline: str, version: str, found: Estimate, start_ms: int, end_ms: int, time_ms: int) -> Iterator[Window]:
    """The estimate as window rows: its value and the ends of its interval."""
    ends = {
        "quality_estimate": found.value,
        "quality_estimate_low": found.low,
        "quality_estimate_high": found.high,
    }
    for metric, value in ends.items():
        yield Window(
            pipeline=pipeline,
            model_version=version,
            metric=metric,
            unit=UNITS[metric],
            start_ms=start_ms,
            end_ms=end_ms,
            n=found.calls,
            value=value,
            time_ms=time_ms,
        )
