"""An event that its producer sent twice: meter, backfill and audit know it by the same id; the sink knows offsets."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message
from msgspec.json import decode
from msgspec.structs import replace

from consumers.audit import rows
from consumers.audit.rows import Stretch
from consumers.audit.windows import Reconciliation
from consumers.sink.batch import prepare
from consumers.sink.landing import LANDINGS
from streams.backfill.recompute import folded
from streams.backfill.source import KINDS, Kind, Source
from streams.meter.batch import Batch, Span
from streams.meter.fold import Rules
from streams.meter.pack import pack
from tests.integration.store_fixture import start_store
from tests.unit.sink.samples import least
from tidemill.codec import encode
from tidemill.events import Cell, Feedback, InferenceResponse, Partials
from tidemill.ids import uuid7
from tidemill.io.clickhouse import Store
from tidemill.io.ranges import Range
from tidemill.settings import Settings
from tidemill.topics import METERED

START_MS = 1_763_800_000_000
"""The start of a window."""
EVENTS = 60
IDS = 20
PIPELINES = ("p", "q")
RULES = dict.fromkeys(PIPELINES, Rules("exact_match"))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Of a store of its own, with every table."""
    store = start_store(tmp_path_factory.mktemp("store") / "data")
    found = Settings.model_validate({"clickhouse": {"url": store.url}})
    Store(found).migrate()
    yield found
    assert store.stop() == 0, store.log.read_text()


def log(kind: Kind) -> list[Any]:
    """Events of one partition, of some seconds of one window. Many are repeats, and two pipelines use the same ids.

    A repeat says something else than the first, so that it shows which of them was taken.
    """
    chance = random.Random(7)
    found = []
    for number in range(EVENTS):
        said: dict[str, Any] = {"pipeline": chance.choice(PIPELINES), "time_ms": START_MS + number * 100}
        one = uuid7(START_MS, chance.randrange(IDS).to_bytes(10, "big"))
        if kind.event is InferenceResponse:
            said |= {"call_time_ms": said["time_ms"], "e2e_ms": float(number)}
        if kind.event is Feedback:
            said |= {"kind": "score", "metric": "exact_match", "score": number / EVENTS}
        found.append(replace(least(kind.event), **said, **{kind.id: one}))
    return found


def ids(kind: Kind, events: Sequence[Any]) -> set[tuple[str, str]]:
    """What the audit takes for different events."""
    name = rows.IDS[kind.topic.table or ""]
    return {(event.pipeline, getattr(event, name)) for event in events}


def metered(kind: Kind, events: Sequence[Any], lo: int = 0) -> dict[str, list[Cell]]:
    """The meter's cells of one frozen range, by pipeline."""
    batch = Batch(range(lo, lo + len(events)), np.array([e.time_ms for e in events], np.int64), events)
    messages = pack(Span(kind.topic.name, 0, lo, lo + len(events) - 1), batch, RULES, 1)
    return {p.pipeline: list(p.cells) for one in messages for p in decode(one.value, type=Partials).partials}


def counted(found: dict[str, list[Cell]]) -> int:
    """Events in the cells, of whatever kind."""
    return sum(
        cell.requests + cell.answers + (cell.moments["quality"].n if "quality" in cell.moments else 0)
        for own in found.values()
        for cell in own
    )


def land(store: Store, kind: Kind, events: Sequence[Any]) -> None:
    """The rows of one frozen range, as the sink makes and names them."""
    topic, table = kind.topic, kind.topic.table or ""
    messages = [
        Message(topic.name, 0, place, None, encode(event), timestamp=(TIMESTAMP_LOG_APPEND_TIME, event.time_ms))
        for place, event in enumerate(events)
    ]
    span = Range("cluster", topic.name, "topic-id", 0, 0, 0, len(events) - 1, messages, False)
    blocks, refused = prepare(span, LANDINGS[topic.name], topic.bulk_decoder())
    assert not refused
    for block in blocks:
        store.insert(table, block.rows, block.token)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.topic.table)
def test_a_repeat_counts_once_in_a_range_and_in_a_backfill_and_the_audit_shows_it(
    settings: Settings, kind: Kind
) -> None:
    events, table = log(kind), kind.topic.table or ""
    store = Store(settings)
    for _ in range(2):  # the second insert is a replay, which the sink's token ends
        land(store, kind, events)
    seen = rows.upstream(store, table, rows.IDS[table], kind.topic.name, [Stretch(0, EVENTS)], EVENTS)
    assert seen.rows == EVENTS, "each message is a row, a repeat as well"

    in_a_range = metered(kind, events)
    assert counted(in_a_range) == len(ids(kind, events)) == seen.rows - seen.repeated < EVENTS

    size_ms = settings.windows.size_s * 1000
    for pipeline in PIPELINES:
        source = Source(store, settings.windows, pipeline)
        (piece,) = source.pieces(START_MS, START_MS + size_ms)
        (recomputed,) = folded(kind.topic.name, pipeline, source.events(kind, piece, 0), RULES[pipeline])
        assert list(recomputed.cells) == in_a_range[pipeline], "the first of each, for both"


def test_the_audit_compares_no_window_in_which_an_event_came_twice(settings: Settings) -> None:
    store = Store(settings)
    for kind in KINDS:
        land(store, kind, log(kind))  # again, if they are there
    until_ms = START_MS + settings.windows.size_s * 1000
    found = Reconciliation(store, settings.windows, PIPELINES, START_MS, until_ms).run(lambda *_: None)
    assert (found.repeated, found.compared) == (len(PIPELINES), 0)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.topic.table)
def test_a_repeat_beyond_the_end_of_its_range_counts_again(kind: Kind) -> None:
    events = log(kind)
    once = len(ids(kind, events))
    totals = set()
    for cut in range(1, EVENTS):
        parts = events[:cut], events[cut:]
        total = sum(counted(metered(kind, part, lo)) for part, lo in zip(parts, (0, cut), strict=True))
        assert total == sum(len(ids(kind, part)) for part in parts)
        totals.add(total)
    assert min(totals) >= once and max(totals) > once


def test_every_event_that_the_meter_counts_has_an_id() -> None:
    assert {topic.table for topic in METERED} == set(rows.IDS) == {kind.topic.table for kind in KINDS}
