"""The meter process: raw inference events into partials.

For each frozen range (its intent is committed):
1. decode strictly; what is no valid event is counted and left to the sink's dead letters;
2. fold into one partial per pipeline, packed into one message per partition: bytes that depend on the range alone;
3. produce them and wait for the broker's word;
4. done: the next commit moves the offset.
A crash anywhere replays the very same range into the very same bytes, which stage 2 recognises by lo..hi.
Four times a second each partition of the partials topic is told how far the sources were read, as of the moment at
which the broker was asked for their ends: what came later says nothing about idleness.
"""

from __future__ import annotations

import gc
import logging
import socket
from math import ceil
from typing import Any

from confluent_kafka import KafkaException, Producer
from prometheus_client import Counter

from streams.meter.batch import Batch, Reader, Span
from streams.meter.fold import rules_of
from streams.meter.pack import Packed, pack
from streams.meter.unknown import Unknown
from tidemill.codec import encode
from tidemill.errors import Retry
from tidemill.events import PartitionProgress, Progress
from tidemill.io import kafka
from tidemill.io.ranges import Range, RangeConsumer
from tidemill.io.service import Service
from tidemill.settings import Settings
from tidemill.topics import FEEDBACK, PARTIALS, REQUESTS, RESPONSES

log = logging.getLogger(__name__)
GROUP = "tidemill-meter"
SOURCES = (REQUESTS, RESPONSES, FEEDBACK)
MAX_MESSAGES = 20_000
MAX_WAIT_S = 0.25
MAX_BYTES = 16_777_216
AHEAD_MS = 60_000
"""Windows between the slowest and the fastest source partition stay open in stage 2: a minute's, no more."""
PROGRESS_S = 0.25
COLLECT_AFTER = (200_000, 20, 20)
"""Some ranges of events come and go between two searches for cycles: they hold none, and the search costs a third."""
FLUSH_S = 10.0

EVENTS = Counter("tidemill_meter_events_total", "source events folded by topic", ["topic"])
RANGES = Counter("tidemill_meter_ranges_total", "frozen ranges produced")
REJECTED = Counter("tidemill_meter_rejected_total", "messages that were no valid event, by topic", ["topic"])


def run(settings: Settings) -> None:
    """Fold until SIGTERM. Blocks."""
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    with Service(settings, "meter") as service:
        meter = Meter(settings, service)
        try:
            meter.loop()
        finally:
            meter.close()


class Meter:
    """One member of the meters' group."""

    def __init__(self, settings: Settings, service: Service) -> None:
        self._settings = settings
        self._service = service
        self._name = f"{socket.gethostname()}:{settings.port('meter')}"[:256]
        self._rules = rules_of(settings)
        skew_ms = settings.windows.max_clock_skew_s * 1000
        dimensions = {dimension for rule in self._rules.values() for dimension in rule.slices}
        self._readers = {topic.name: Reader(topic, skew_ms, dimensions) for topic in SOURCES}
        self._ranges = RangeConsumer(
            settings,
            "meter",
            GROUP,
            [topic.name for topic in SOURCES],
            MAX_MESSAGES,
            MAX_WAIT_S,
            max_bytes=MAX_BYTES,
            ahead_ms=AHEAD_MS,
            stopping=lambda: service.stopping,
        )
        self._producer: Producer = kafka.producer(settings, "meter", message_timeout_ms=30_000)
        self._unknown = Unknown(self._rules)
        self._newest: dict[tuple[str, int], int] = {}
        self._partitions: tuple[int, int] | None = None
        self._said_s = 0.0

    def loop(self) -> None:
        """Until told to end."""
        while not self._service.stopping:
            try:
                _, targets = self._counts()
                for span in self._ranges.poll():
                    self._measure(span, targets)
                self._say_progress()
                self._service.ready()
            except Retry as error:
                self._service.waiting(str(error))
                self._service.stop_event.wait(error.after_s)

    def close(self) -> None:
        """Leave the group; what is under way stays noted for the next owner."""
        self._ranges.close()
        self._producer.flush(FLUSH_S)

    def _measure(self, span: Range, targets: int) -> None:
        batch = self._readers[span.topic].read(span.messages)
        packed = pack(
            Span(span.topic, span.partition, span.first + span.lo, span.first + span.hi), batch, self._rules, targets
        )
        while True:
            try:
                if not self._ranges.holds(span):
                    return
                self._send(packed)
                break
            except Retry as error:
                if self._service.stopping:
                    return
                self._service.waiting(str(error))
                self._ranges.hold(error.after_s)
        self._ranges.done(span)
        self._note(span, batch)

    def _note(self, span: Range, batch: Batch) -> None:
        """Count a range that is done."""
        if batch.events:
            place = (span.topic, span.partition)
            self._newest[place] = max(self._newest.get(place, 0), int(batch.times_ms.max()))
        self._unknown.note(batch.column("pipeline"), self._service.clock.monotonic_s())
        EVENTS.labels(span.topic).inc(len(batch.events))
        RANGES.inc()
        if rejected := len(span.messages) - len(batch.events):
            REJECTED.labels(span.topic).inc(rejected)

    def _send(self, packed: list[Packed]) -> None:
        """Produce and wait. Raises Retry when the broker did not take all of them (all are sent again)."""
        failures: list[str] = []
        note = kafka.delivered(failures)
        for one in packed:
            self._produce(one.value, partition=one.partition, on_delivery=note)
        left = self._producer.flush(FLUSH_S)
        if failures or left:
            raise Retry(f"partials not taken by Kafka: {failures[0] if failures else f'{left} unanswered'}")

    def _say_progress(self) -> None:
        now_s = self._service.clock.monotonic_s()
        if now_s - self._said_s < PROGRESS_S:
            return
        self._said_s = now_s
        sources, targets = self._counts()
        now_ms = self._service.clock.now_ms()  # before it is asked: a stop in between must not make old ends new
        positions = self._ranges.positions()
        asked_s = max((one.asked_s for one in positions), default=0.0)
        message = encode(
            Progress(
                meter=self._name,
                time_ms=now_ms - ceil(asked_s * 1000),
                source_partitions=sources,
                partitions=tuple(
                    PartitionProgress(
                        topic=p.topic,
                        partition=p.partition,
                        position=p.position,
                        end=p.end,
                        max_event_ms=self._newest.get((p.topic, p.partition)),
                    )
                    for p in positions
                ),
            )
        )
        for partition in range(targets):
            self._produce(message, partition=partition)
        self._producer.poll(0)

    def _produce(self, value: bytes, **place: Any) -> None:
        try:
            self._producer.produce(PARTIALS.name, value, **place)
        except BufferError as error:
            self._producer.poll(0.5)
            raise Retry("Kafka takes no partials at the moment", after_s=0.5) from error

    def _counts(self) -> tuple[int, int]:
        """Source partitions in all, and partitions of the partials topic."""
        if self._partitions is None:
            try:
                found = self._producer.list_topics(timeout=kafka.TIMEOUT_S).topics
            except KafkaException as error:
                raise Retry(f"Kafka does not answer: {error}") from error
            if any(topic.name not in found for topic in (*SOURCES, PARTIALS)):
                raise Retry("topics are not there (yet): run `tidemill init`")
            sources = sum(len(found[topic.name].partitions) for topic in SOURCES)
            self._partitions = (sources, len(found[PARTIALS.name].partitions))
        return self._partitions
