"""The Faust app: messages in, outputs and states out, in an order that survives a kill at any point.

For every batch of messages (``Worker.step``):

1. Fold the messages, in log order, into the states of their partition (in memory).
2. Produce what goes out (windows, threshold events, dead letters); wait until the broker has it.
3. Write the changed states to the table, one record a pipeline; wait until the changelog has them.
4. Acknowledge the batch **before** this one; Faust commits within a second. (Faust may commit one offset too many,
   and detectors like to hear a round of progress again: so the last batch is always read twice after a restart.)

Killed between 2 and 3, the batch is read again and folded into the old state: the same outputs with the same ids go
out again (threshold ids and window keys are derived from their cause). Killed after 3, the partials of the batch are
known by their offsets (``applied``) and the progress changes nothing, so nothing goes out twice.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import faust

from streams.app.credentials import credentials
from streams.app.measures import Measures
from streams.app.table import NAME, StateTable, key_of, states_of
from streams.partition import PartitionFold
from streams.pipeline import Outputs
from tidemill import topics
from tidemill.clock import Clock
from tidemill.codec import encode
from tidemill.errors import Quarantine
from tidemill.settings import Settings

log = logging.getLogger(__name__)
BATCH = 500
WITHIN_S = 0.2
"""A batch is folded at least this often while messages come in."""
MAX_STATE_BYTES = 8 * topics.MAX_MESSAGE_BYTES
_SEGMENT_BYTES = 64 * 1024 * 1024


class Worker:
    """The app and what it does with its messages. Build one per process, inside the running event loop."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self.measures = Measures(clock)
        self.app = _app(settings)
        self._partials = _topic(self.app, topics.PARTIALS)
        self._outputs = {
            topics.WINDOWS.name: _topic(self.app, topics.WINDOWS),
            topics.THRESHOLDS.name: _topic(self.app, topics.THRESHOLDS),
            topics.PARTIALS.dlq: self.app.topic(topics.PARTIALS.dlq, **_RAW),
        }
        self._table = self.app.Table(
            NAME,
            key_type=bytes,
            value_type=bytes,
            partitions=topics.PARTIALS.partitions,
            extra_topic_configs={
                "max.message.bytes": str(MAX_STATE_BYTES),
                "segment.bytes": str(_SEGMENT_BYTES),
                "min.cleanable.dirty.ratio": "0.1",
            },
            help="the whole state of every pipeline",
        )
        self._folds: dict[int, PartitionFold] = {}
        self._held: list[Any] = []
        self._decode = topics.PARTIALS.decoder()
        self.positions: dict[int, int] = {}
        """By partition: the offset after the last message handled."""
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

    def waiting(self, spans: Mapping[int, tuple[int, int]]) -> int:
        """Messages past the last one handled in the partitions that are ours.

        ``spans``: by partition, the committed offset (where Faust begins) and the end offset.
        """
        ours = {tp.partition for tp in self.app.consumer.assignment() if tp.topic == topics.PARTIALS.name}
        return sum(end - self.positions.get(p, start) for p, (start, end) in spans.items() if p in ours)

    async def _forget(self, *_: Any, **__: Any) -> None:
        self._folds.clear()
        self._held.clear()
        self.positions.clear()

    async def _work(self, stream: Any) -> None:
        async for events in stream.noack_take(BATCH, within=WITHIN_S):
            if self.failure is None:
                try:
                    await self.step(events)
                except Exception as error:
                    # Faust would go on with the next batch, as if this one had been done.
                    log.exception("a batch failed; the process starts again and reads it anew")
                    self.failure = error

    async def step(self, events: Sequence[Any]) -> None:
        """Handle one batch; see the module's docstring. Raises when the broker refuses something."""
        out = Outputs([], [])
        letters: list[tuple[Any, str]] = []
        touched: dict[int, PartitionFold] = {}
        for event in events:
            partition = event.message.partition
            fold = touched.get(partition)
            if fold is None:
                fold = touched[partition] = self._fold(partition)
            try:
                found = fold.take(self._decode(event.value))
            except Quarantine as problem:
                letters.append((event, problem.reason))
                continue
            out.windows.extend(found.windows)
            out.events.extend(found.events)
        await self._produce(out, letters)
        for partition, fold in touched.items():
            for pipeline, state in fold.changed().items():
                self._table[key_of(partition, pipeline)] = state
        await self._table.written()
        held, self._held = self._held, list(events)
        for event in held:
            event.ack()
        for event in events:
            self.positions[event.message.partition] = event.message.offset + 1
        self.measures.stepped(len(events), out, touched)

    def _fold(self, partition: int) -> PartitionFold:
        fold = self._folds.get(partition)
        if fold is None:
            fold = self._folds[partition] = PartitionFold(self._settings, states_of(self._table, partition))
        return fold

    async def _produce(self, out: Outputs, letters: list[tuple[Any, str]]) -> None:
        sent = [self._send(topics.WINDOWS.name, row.pipeline, encode(row)) for row in out.windows]
        sent += [self._send(topics.THRESHOLDS.name, said.data.pipeline, encode(said)) for said in out.events]
        for event, reason in letters:
            log.warning("a message is no partial: %s", reason, extra={"offset": event.message.offset})
            headers = {"__connect.errors.exception.message": reason.encode()}
            key = event.message.key
            sent.append(self._outputs[topics.PARTIALS.dlq].send_soon(key=key, value=event.value, headers=headers))
        for future in sent:
            await future

    def _send(self, topic: str, pipeline: str, value: bytes) -> Any:
        return self._outputs[topic].send_soon(key=pipeline.encode(), value=value)


_RAW: dict[str, Any] = {
    "key_type": bytes,
    "value_type": bytes,
    "key_serializer": "raw",
    "value_serializer": "raw",
    "allow_empty": True,
}


def _topic(app: faust.App, topic: topics.Topic) -> Any:
    return app.topic(topic.name, partitions=topic.partitions, **_RAW)


def _app(settings: Settings) -> faust.App:
    data = settings.data_dir / "faust"
    data.mkdir(parents=True, exist_ok=True)
    return faust.App(
        f"tidemill-streams-{settings.deployment}",
        autodiscover=False,
        broker=[f"aiokafka://{address.strip()}" for address in settings.kafka_bootstrap.split(",")],
        broker_credentials=credentials(settings.kafka.options),
        broker_commit_every=1_000,
        broker_commit_interval=1.0,
        broker_max_poll_records=1_000,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=f"{socket.gethostname()}-{settings.port('streams')}",
        datadir=str(data),
        key_serializer="raw",
        processing_guarantee="at_least_once",
        producer_compression_type="lz4",
        producer_max_request_size=MAX_STATE_BYTES,
        store="memory://",
        stream_buffer_maxsize=16_384,
        stream_wait_empty=False,  # the held-back batch is read again anyway
        Table=StateTable,
        topic_disable_leader=True,
        topic_partitions=topics.PARTIALS.partitions,
        topic_replication_factor=settings.kafka.replication,
        value_serializer="raw",
        web_enabled=False,
    )
