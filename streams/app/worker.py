"""The Faust app: messages in, outputs and states out, in an order that survives a kill at any point.

For every batch of messages (``Worker.step``):

1. Fold the messages, in log order, into the states of their partition (in memory).
2. Produce what goes out (windows, threshold events, dead letters); wait until the broker has it.

Every CHECKPOINT_S of them, or MAX_HELD messages:

3. Write the changed states to the table, one record a pipeline; wait until the changelog has them.
4. Write each partition's own state, which vouches for the others; wait again; remove released pipelines' states.
5. Acknowledge all messages but the last of each partition; Faust commits within a second (perhaps one offset more).

A partition that is taken over is first written as it is (``PartitionFold.begin``: its log may be another by now).
Killed anywhere, the messages since the last commit are read again. States say up to which offset they go, so those
that step 3 wrote pass over what they know and the others do it again: the same outputs with the same ids go out twice
(threshold ids and window keys are derived from their cause), and nothing is missing or different.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterable
from typing import Any

import faust
from faust.types import TP

from streams.app.credentials import credentials
from streams.app.logs import Logs
from streams.app.measures import Measures
from streams.app.outlet import Outlet
from streams.app.sequence import Sequence
from streams.app.table import MAX_STATE_BYTES, NAME, TOPIC_CONFIG, StateTable, key_of, states_of
from streams.partition import HEAD, PartitionFold
from tidemill import topics
from tidemill.clock import Clock
from tidemill.errors import Quarantine
from tidemill.io import kafka
from tidemill.settings import Settings

log = logging.getLogger(__name__)
BATCH = 50
WITHIN_S = 0.2
"""A batch is folded at least this often while messages come in. Messages hold up to a megabyte: few may wait."""
FETCH_BYTES = 4 * topics.MAX_MESSAGE_BYTES
"""Per partition and fetch: several of the largest messages, or each costs a round trip."""
CHECKPOINT_S = 5.0
MAX_HELD = 2_000
"""Messages between two checkpoints: a partials message holds up to a megabyte and folds in about 20 ms."""
SESSION_S = 20.0
"""How long a worker that went away without a word keeps its partitions from the others."""
PATIENCE_S = SESSION_S * 0.8
"""How long a rebalance waits for the batch in hand."""
SEEK_AGAIN_S = 1.0
GC = (50_000, 20, 100)
"""Python's collector looks through all states again and again, and finds nothing there: seldom is enough."""
WRITE_BYTES = topics.MAX_MESSAGE_BYTES
"""States are written in portions of this size, so that they do not all wait in memory at once."""


class Worker:
    """The app and what it does with its messages. Build one per process, inside the running event loop."""

    def __init__(self, settings: Settings, clock: Clock, topic_id: str) -> None:
        """``topic_id``: Kafka's id of the partials' topic. For another one the member is another: the broker gives a
        known member what it had, which is nothing where it saw the topic away.
        """
        self._settings = settings
        self._clock = clock
        self.measures = Measures(clock)
        self.app = _app(settings, f"{socket.gethostname()}-{settings.port('streams')}-{topic_id}")
        self._partials = self.app.topic(topics.PARTIALS.name, partitions=topics.PARTIALS.partitions, **_RAW)
        self._outlet = Outlet(settings)
        self.logs = Logs(settings, self.app.conf.id)
        self._table = self.app.Table(
            NAME,
            key_type=bytes,
            value_type=bytes,
            partitions=topics.PARTIALS.partitions,
            extra_topic_configs=TOPIC_CONFIG,
            help="the whole state of every pipeline and partition",
        )
        self._folds: dict[int, PartitionFold] = {}
        self._held: list[Any] = []
        self._touched: set[int] = set()
        self._written_s = clock.monotonic_s()
        self._busy = asyncio.Lock()
        self._decode = topics.PARTIALS.decoder()
        self._sequences: dict[int, Sequence] = {}
        self._sought_s: dict[int, float] = {}
        self.failure: BaseException | None = None
        """What ended the work for good; the process must go down and start again."""
        self.app.on_partitions_assigned.connect(self._forget)
        self.app.on_partitions_revoked.connect(self._forget)
        self.app.agent(self._partials, name="tidemill.streams.partials", concurrency=1)(self._work)

    @property
    def working(self) -> bool:
        """Partitions are assigned and their states restored (in a larger group, perhaps none is ours)."""
        return bool(self.app.started) and not self.app.rebalancing and not self.app.in_recovery and self._assigned()

    def _assigned(self) -> bool:
        return bool(self.app.consumer.assignment())

    def standing(self) -> dict[int, int]:
        """The partitions that are ours, each with the offset that comes next; -1 before any message."""
        ours = {tp.partition for tp in self.app.consumer.assignment() if tp.topic == topics.PARTIALS.name}
        return {p: self._sequences[p].expected if p in self._sequences else -1 for p in ours}

    async def _forget(self, *_: Any, **__: Any) -> None:
        """Partitions come and go: let the batch in hand end first, so that nobody else has them while it writes."""
        try:
            async with asyncio.timeout(PATIENCE_S), self._busy:
                self._folds.clear()
                self._held.clear()
                self._touched.clear()
                self._sequences.clear()
                self._sought_s.clear()
        except TimeoutError as error:
            self.failure = self.failure or error

    async def _work(self, stream: Any) -> None:
        async for events in stream.noack_take(BATCH, within=WITHIN_S):
            async with self._busy:
                if self.failure is None:
                    try:
                        await self.step([event for event in events if self._current(event)])
                    except Exception as error:
                        # Faust would go on with the next batch, as if this one had been done.
                        log.exception("a batch failed; the process starts again and reads it anew")
                        self.failure = error

    def _current(self, event: Any) -> bool:
        """Whether the event belongs to this assignment: Faust's own buffers may hold some from before a rebalance."""
        return bool(event.message.generation_id == self.app.consumer_generation_id)

    async def step(self, events: Iterable[Any]) -> None:
        """Handle one batch; see the module's docstring. Raises when the broker refuses something."""
        handled = []
        for event in events:
            sequence = await self._sequence(event.message.partition)
            place = sequence.place(event.message.offset)
            if place == "gap":
                await self._go_back(event.message.partition, sequence)
                place = sequence.place(event.message.offset)
            if place == "next":
                await self._take(event)
            if place != "gap":
                handled.append(event)
        await self._outlet.flush()
        for event in handled:
            event.value = event.message.value = None  # held for its offset alone
        self._held += handled
        if self._due() or len(self._held) >= MAX_HELD:
            await self._checkpoint()
        self.measures.stepped(len(handled), self._folds)

    async def rest(self) -> None:
        """Write a checkpoint that is due when no message comes to bring it. Call it often; does nothing in between."""
        if self._touched and self._due() and self.failure is None and not self._busy.locked():
            async with self._busy:
                try:
                    await self._checkpoint()
                except Exception as error:
                    log.exception("a checkpoint failed; the process starts again")
                    self.failure = error

    def _due(self) -> bool:
        return self._clock.monotonic_s() - self._written_s >= CHECKPOINT_S

    async def _sequence(self, partition: int) -> Sequence:
        found = self._sequences.get(partition)
        if found is None:
            fold = PartitionFold(self._settings, states_of(self._table, partition))
            begin = fold.begin((await asyncio.to_thread(self.logs.of, [partition]))[partition])
            await self._write({partition: fold})
            self._folds[partition] = fold
            found = self._sequences[partition] = Sequence(begin)
        return found

    async def _go_back(self, partition: int, sequence: Sequence) -> None:
        """Read again from where a message is missing; Faust may lose a seek to a fetch under way, so not just once."""
        now_s = self._clock.monotonic_s()
        if now_s - self._sought_s.get(partition, -SEEK_AGAIN_S) < SEEK_AGAIN_S:
            return
        first = await asyncio.to_thread(
            kafka.first_offset, self._settings, topics.PARTIALS, partition, sequence.expected
        )
        log.warning("partition %d: %d came next, messages from %d on are there", partition, sequence.expected, first)
        sequence.pass_to(first)
        self._sought_s[partition] = now_s
        await self.app.consumer.seek(TP(topics.PARTIALS.name, partition), first)

    async def _take(self, event: Any) -> None:
        message = event.message
        fold = self._folds[message.partition]
        self._touched.add(message.partition)
        try:
            said = self._decode(event.value)
        except Quarantine as problem:
            log.warning("a message is no partial: %s", problem.reason, extra={"offset": message.offset})
            await self._outlet.reject(message, event.value, problem.reason)
            self.measures.malformed()
            return
        for out in fold.take(said, message.offset, round(message.timestamp * 1000)):
            await self._outlet.send(out)
            self.measures.said(out)
            await asyncio.sleep(0)

    async def _checkpoint(self) -> None:
        """Write what changed and acknowledge what led there, but for the last message of each partition."""
        await self._write({partition: self._folds[partition] for partition in sorted(self._touched)})
        last = {event.message.partition: event for event in self._held}
        for event in self._held:
            if event is not last[event.message.partition]:
                event.ack()
        self._held = list(last.values())
        self._touched.clear()
        self._written_s = self._clock.monotonic_s()

    async def _write(self, folds: dict[int, PartitionFold]) -> None:
        """Write what changed, each partition's own state once the changelog has the others; then remove those that
        are needed no more.
        """
        heads: dict[bytes, bytes] = {}
        waiting = 0
        for partition, fold in folds.items():
            for pipeline, state in fold.changed():
                if pipeline == HEAD:
                    heads[key_of(partition, HEAD)] = state
                    continue
                self._table[key_of(partition, pipeline)] = state
                waiting += len(state)
                if waiting >= WRITE_BYTES:
                    await self._table.written()
                    waiting = 0
        await self._table.written()
        for key, state in heads.items():
            self._table[key] = state
        await self._table.written()
        for partition, fold in folds.items():
            for pipeline in fold.released():
                self._table.pop(key_of(partition, pipeline), None)
        await self._table.written()


_RAW: dict[str, Any] = {
    "key_type": bytes,
    "value_type": bytes,
    "key_serializer": "raw",
    "value_serializer": "raw",
    "allow_empty": True,
}


def _app(settings: Settings, member: str) -> faust.App:
    data = settings.data_dir / "faust"
    data.mkdir(parents=True, exist_ok=True)
    return faust.App(
        f"tidemill-streams-{settings.deployment}",
        autodiscover=False,
        broker=[f"aiokafka://{address.strip()}" for address in settings.kafka_bootstrap.split(",")],
        broker_credentials=credentials(settings.kafka.options),
        broker_commit_every=1_000,
        broker_commit_interval=1.0,
        broker_max_poll_records=BATCH,
        broker_session_timeout=SESSION_S,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=FETCH_BYTES,
        consumer_group_instance_id=member,
        datadir=str(data),
        key_serializer="raw",
        processing_guarantee="at_least_once",
        producer_compression_type="lz4",
        producer_max_request_size=MAX_STATE_BYTES,
        store="memory://",
        stream_buffer_maxsize=BATCH,
        stream_wait_empty=False,  # what was not acknowledged is read again anyway
        Table=StateTable,
        table_standby_replicas=0,  # a second copy of all states in memory saves a second of recovery
        topic_disable_leader=True,
        topic_partitions=topics.PARTIALS.partitions,
        topic_replication_factor=settings.kafka.replication,
        value_serializer="raw",
        web_enabled=False,
    )
