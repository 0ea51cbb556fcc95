"""A compacted topic whose early records are gone when the sink first reads it."""

from __future__ import annotations

from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from tests.faults.observed import messages
from tests.unit.sink.samples import full
from tests.waiting import until
from tidemill.codec import encode
from tidemill.io.kafka import producer
from tidemill.settings import Settings
from tidemill.topics import ROUTES

COUNT = 3_000
_KEYS = 400


def make_holes(settings: Settings) -> None:
    """Write ``COUNT`` records over few keys; return once compaction has taken some of them and rests."""
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    eager = {"segment.ms": "200", "min.cleanable.dirty.ratio": "0.01", "max.compaction.lag.ms": "200"}
    _configure(admin, ConfigResource(ResourceType.TOPIC, ROUTES.name), eager)
    _configure(admin, ConfigResource(ResourceType.BROKER, "1"), {"log.cleaner.backoff.ms": "500"})
    made = producer(settings, "faults-holes")
    for number in range(COUNT):
        route = full(ROUTES.event, pipeline=f"p{number * 7919 % _KEYS}", epoch=number)
        made.produce(ROUTES.name, encode(route), route.pipeline.encode())
        if number % 100 == 0:
            made.flush(30)
    assert made.flush(30) == 0
    until(lambda: _append_until_compacted(settings), within_s=90, every_s=1.0, what="compaction makes holes")
    _configure(admin, ConfigResource(ResourceType.TOPIC, ROUTES.name), {"min.cleanable.dirty.ratio": "1.0"})
    counts: list[int] = []

    def rests() -> bool:
        counts.append(len(messages(settings, ROUTES.name)))
        return counts[-3:] == counts[-1:] * 3

    until(rests, within_s=60, every_s=1.0, what="compaction rests")


def _append_until_compacted(settings: Settings) -> bool:
    """A segment is closed by the next record only."""
    made = producer(settings, "faults-holes")
    made.produce(ROUTES.name, encode(full(ROUTES.event, pipeline="last", epoch=COUNT)), b"last")
    assert made.flush(30) == 0
    return len(messages(settings, ROUTES.name)) < COUNT // 2


def _configure(admin: AdminClient, resource: ConfigResource, values: dict[str, str]) -> None:
    for name, value in values.items():
        resource.add_incremental_config(ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET))
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)
