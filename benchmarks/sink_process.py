"""The sink as its benchmark runs it, in a process of its own: ``python -m benchmarks.sink_process plain|stages FILE``.

``plain`` is the same sink without what makes it exactly-once: no intents before inserts, no tokens, no renewals; the
offset is committed after the insert, without waiting. A crash then repeats rows. ``stages`` is the product's sink with
a clock of CPU time around its stages; the sums are written to FILE once the process is told to end.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import defaultdict
from functools import wraps
from pathlib import Path
from typing import Any

from confluent_kafka import TopicPartition

from consumers.sink import batch
from consumers.sink import main as product
from tidemill.io.clickhouse import Store
from tidemill.io.ranges import Range, RangeConsumer
from tidemill.io.service import Service
from tidemill.settings import Settings, load_settings

STAGES: tuple[tuple[Any, str, str], ...] = (
    (RangeConsumer, "_take_in", "messages out of the Kafka client, into ranges"),
    (RangeConsumer, "_commit_offsets", "intents and offsets committed"),
    (batch, "_piece", "JSON into events"),
    (batch, "_rows", "events into Arrow"),
    (product, "prepare", "pieces into blocks"),
    (Store, "insert", "blocks onto the wire"),
    (product.Sink, "loop", "the loop"),
)
REST = "the Kafka client's own threads: fetching, unpacking"


class PlainRanges(RangeConsumer):
    """Ranges that are handed out at once and committed behind the insert."""

    def _commit_offsets(self, wanted: list[Any]) -> list[Any]:
        return [pair for pair in wanted if pair[1].h is not None]

    def holds(self, span: Range) -> bool:
        """Nobody asks."""
        return True

    def done(self, span: Range) -> None:
        """Commit and go on."""
        super().done(span)
        assert self._consumer is not None
        self._consumer.commit(offsets=[TopicPartition(span.topic, span.partition, span.hi + 1)], asynchronous=True)


class PlainStore(Store):
    """Inserts that the store does not compare with earlier ones."""

    def _deduplication(self, token: str) -> dict[str, str]:
        return {"insert_deduplicate": "0"}


class PlainSink(product.Sink):
    """At least once."""

    CONSUMER = PlainRanges


def plain(settings: Settings) -> None:
    """Until SIGTERM."""
    product.calm_collector()
    with Service(settings, "sink") as service:
        sink = PlainSink(settings, service, PlainStore(settings))
        try:
            sink.loop()
        finally:
            sink.close()


class Clock:
    """CPU time by stage, seconds; time in a stage within a stage counts there only."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)
        self._within = threading.local()

    def around(self, owner: Any, name: str, stage: str) -> None:
        """Put a clock around a function."""
        inner = getattr(owner, name)

        @wraps(inner)
        def timed(*arguments: Any, **named: Any) -> Any:
            outside = getattr(self._within, "spent", 0.0)
            self._within.spent = 0.0
            begun = time.thread_time()
            try:
                return inner(*arguments, **named)
            finally:
                spent = time.thread_time() - begun
                self.spent[stage] += spent - self._within.spent
                self._within.spent = outside + spent

        setattr(owner, name, timed)


def stages(settings: Settings, file: Path) -> None:
    """Until SIGTERM."""
    clock = Clock()
    for owner, name, stage in STAGES:
        clock.around(owner, name, stage)
    begun = time.process_time()
    product.run(settings)
    rest = time.process_time() - begun - sum(clock.spent.values())
    file.write_text(json.dumps(clock.spent | {REST: rest}), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "plain":
        plain(load_settings())
    else:
        stages(load_settings(), Path(sys.argv[2]))
