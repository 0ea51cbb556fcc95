"""The sink process: Kafka's landing topics into ClickHouse's tables.

For each frozen range (its intent is committed):
1. decode strictly and build rows; what fits no row is set aside; where that is too much, stop (``dead_letters``);
2. insert each block under the range's token, again and again until the store has it; count rows where that is not
   certain, and bring back what a killed store lost;
3. send what was set aside to the dead letters;
4. done: the next commit moves the offset.
A crash anywhere replays the very same range: the store knows its tokens, and a dead letter may come twice.
A range whose rows cannot be made right is never passed over: it stays pending and is looked at again, and its partition
waits, while the others go on.
"""

from __future__ import annotations

import gc
import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from prometheus_client import Counter, Gauge

from consumers.deadletters import DeadLetters, Rejected
from consumers.deadletters.guard import Guard
from consumers.sink import held
from consumers.sink.batch import Block, prepare
from consumers.sink.insert import Abandoned, Alarmed, Inserter, Sent
from consumers.sink.landing import LANDINGS, check
from tidemill.bulk import BulkDecoder
from tidemill.errors import Retry, Stop
from tidemill.io.clickhouse import Store, StoreError
from tidemill.io.ranges import Range, RangeConsumer
from tidemill.io.service import Service
from tidemill.settings import Settings
from tidemill.topics import SINK_GROUP

log = logging.getLogger(__name__)
MAX_ROWS = 20_000
MAX_WAIT_S = 0.8
MAX_FETCH_BYTES = 131_072
"""Of a partition; all landing topics together have many, and each may have an answer unpacked in memory."""
AHEAD = 1
"""Ranges whose rows are on their way to the store while the next one's are made."""
GC_THRESHOLD = 200_000
"""A range is some hundred thousand objects without cycles: looking for them at Python's own pace costs a fifth."""
ALARM_AGAIN_S = 10.0
"""How long until a range in alarm is looked at again: somebody may have put its rows right."""
_UNKNOWN_TABLE, _UNKNOWN_DATABASE = 60, 81

ROWS = Counter("tidemill_sink_rows_total", "rows acknowledged by table", ["table"])
DEAD = Counter("tidemill_sink_dead_letters_total", "messages sent to dead-letter topics by topic", ["topic"])
RETRIES = Counter("tidemill_sink_insert_retries_total", "insert attempts that had to be repeated")
HEALS = Counter("tidemill_sink_heals_total", "rows the store knew and lacked, brought back, by table", ["table"])
ALARMS = Gauge("tidemill_sink_alarms", "ranges whose rows cannot be made right: somebody must look")
PENDING = Gauge("tidemill_sink_pending_seconds", "age of the oldest range not yet acknowledged")


def run(settings: Settings) -> None:
    """Carry rows until SIGTERM. Blocks. Raises Stop when a table does not fit the events, or too much is refused."""
    calm_collector()
    with Service(settings, "sink") as service:
        store = Store(settings)
        while not service.stopping:
            try:
                check_tables(store)
                break
            except Retry as error:
                service.waiting(str(error))
                service.stop_event.wait(error.after_s)
        sink = Sink(settings, service, store)
        try:
            sink.loop()
        finally:
            sink.close()


def calm_collector() -> None:
    """Let Python look for cycles of objects seldom."""
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


def check_tables(store: Store) -> None:
    """Compare every table with what its events need.

    Raises Stop on a difference, or a TTL under which rows cannot be counted; Retry while a table is not there.
    """
    for landing in LANDINGS.values():
        try:
            found = store.rows(f"DESCRIBE TABLE {landing.table}")
            rules = held.rules(store, landing.table)
            if rules.countable and rules.ttl:
                held.expired_minutes(store, [0], landing.time_ms, rules.ttl)
        except held.Unjudged as error:
            raise Stop(
                f"table {landing.table}: {error}; let its TTL delete by {landing.time_ms.removesuffix('_ms')} alone "
                f"(`ALTER TABLE {landing.table} MODIFY TTL ...`)"
            ) from error
        except StoreError as error:
            if error.code in (_UNKNOWN_TABLE, _UNKNOWN_DATABASE):
                raise Retry(f"table {landing.table} is not there (yet): run `tidemill init`") from error
            raise Retry(f"table {landing.table} cannot be described: {error}") from error
        check(landing, found)


class Work(NamedTuple):
    """A range under way."""

    span: Range
    blocks: list[Block]
    sent: list[Sent | None]
    rejected: list[Rejected]


class Sink:
    """One member of the sink's group."""

    CONSUMER: type[RangeConsumer] = RangeConsumer
    """Where its ranges come from; the benchmark's sink without exactly-once has another."""

    def __init__(self, settings: Settings, service: Service, store: Store) -> None:
        self._service = service
        self._decoders: dict[str, BulkDecoder[Any]] = {
            name: found.topic.bulk_decoder() for name, found in LANDINGS.items()
        }
        self._ranges = self.CONSUMER(
            settings,
            "sink",
            SINK_GROUP,
            list(LANDINGS),
            MAX_ROWS,
            MAX_WAIT_S,
            max_fetch_bytes=MAX_FETCH_BYTES,
            stopping=lambda: service.stopping,
        )
        self._letters = DeadLetters(settings, "sink-deadletters")
        self._guard = Guard(settings, service.clock)
        self._inserter = Inserter(store, self._wait)
        self._working: Range | None = None
        self._under_way: deque[Work] = deque()
        self._alarms: dict[Range, Alarmed] = {}
        self._alarms_due_s = 0.0
        ALARMS.set_function(lambda: len(self._alarms))
        PENDING.set_function(self._ranges.oldest_open_s)

    def loop(self) -> None:
        """Until told to end; what is under way then is finished."""
        while not self._service.stopping:
            try:
                ranges = self._ranges.poll()
            except Retry as error:
                self._service.waiting(str(error))
                self._finish(ahead=0)
                self._service.stop_event.wait(error.after_s)
                continue
            for span in ranges:
                self._begin(span)
                self._finish(ahead=AHEAD)
            again = self._alarms_due()
            for span in again:
                self._begin(span)
            if again or not ranges:
                self._finish(ahead=0)
            if self._alarms:
                self._service.waiting("; ".join(str(alarm) for alarm in self._alarms.values()))
            else:
                self._service.ready()
        self._finish(ahead=0)

    def close(self) -> None:
        """Leave the group; what is under way stays noted for the next owner."""
        self._ranges.close()

    def _alarms_due(self) -> list[Range]:
        now = time.monotonic()
        if now < self._alarms_due_s:
            return []
        self._alarms_due_s = now + ALARM_AGAIN_S
        return list(self._alarms)

    def _begin(self, span: Range) -> None:
        """Make the rows and send them. Raises Stop where too much is refused."""
        self._working = span
        fresh = self._alarms.pop(span, None) is None and not span.replayed
        blocks, rejected = prepare(span, LANDINGS[span.topic], self._decoders[span.topic])
        try:
            if rejected:
                self._finish(ahead=0)  # the limits look at everything that was refused before
                self._working = span
            self._ask(partial(self._guard.check, span, tuple(rejected)))
            self._still_ours()
            new = [fresh and not (span.again and self._inserter.has(block)) for block in blocks]
        except Abandoned:
            return log.info("left %s to its next owner", span.token)
        sent = [self._inserter.send(block) if is_new else None for block, is_new in zip(blocks, new, strict=True)]
        self._under_way.append(Work(span, blocks, sent, rejected))

    def _finish(self, *, ahead: int) -> None:
        """Bring ranges under way to their end, the oldest first, until ``ahead`` are left."""
        while len(self._under_way) > ahead:
            work = self._under_way.popleft()
            self._working = work.span
            try:
                self._land(work)
            except Abandoned:
                log.info("left %s to its next owner", work.span.token)
            except Alarmed as alarm:
                log.error("alarm, %s stays pending: %s", work.span.token, alarm)
                self._alarms[work.span] = alarm

    def _land(self, work: Work) -> None:
        rows, rejected = 0, work.rejected
        for block, sent in zip(work.blocks, work.sent, strict=True):
            landed = self._inserter.land(block, sent)
            rejected += landed.rejected
            rows += landed.rows
            if landed.healed:
                log.warning("brought back %d rows of %s", landed.healed, block.token)
                HEALS.labels(block.table).inc(landed.healed)
        if rejected:
            self._bury(work.span, rejected)
        self._ask(partial(self._guard.note, work.span, len(rejected)))
        self._ranges.done(work.span)
        ROWS.labels(LANDINGS[work.span.topic].table).inc(rows)

    def _ask(self, question: Callable[[], None]) -> None:
        """Ask what needs Kafka's answer until there is one. Raises Stop where a limit of the dead letters is passed."""
        while True:
            try:
                return question()
            except Retry as error:
                self._wait(str(error), error.after_s)

    def _bury(self, span: Range, rejected: list[Rejected]) -> None:
        log.warning("%d messages of %s to the dead letters, first: %s", len(rejected), span.token, rejected[0].reason)
        count = len(rejected)
        while rejected:
            rejected = self._letters.send(rejected, waiting=self._patient)
            if rejected:
                self._wait(f"{len(rejected)} dead letters were not taken by Kafka", 1.0)
        DEAD.labels(span.topic).inc(count)

    def _patient(self) -> bool:
        self._ranges.hold(0.05)
        return not self._service.stopping

    def _wait(self, reason: str, seconds: float) -> None:
        """Between two attempts: visible, and still a member of the group."""
        RETRIES.inc()
        self._service.waiting(reason)
        self._ranges.hold(seconds)
        if self._service.stopping:
            raise Abandoned
        self._still_ours()

    def _still_ours(self) -> None:
        """Raises Abandoned when the range in hand went to another member."""
        assert self._working is not None
        while True:
            try:
                if self._ranges.holds(self._working):
                    return
                raise Abandoned
            except Retry as error:
                if self._service.stopping:
                    raise Abandoned from error
                self._service.waiting(str(error))
                self._ranges.hold(error.after_s)
