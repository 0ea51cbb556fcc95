"""Slices end to end but for Kafka: rows and windows in a real store; audit and backfill agree with the stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from consumers.audit.report import Windows
from consumers.audit.windows import Reconciliation
from consumers.sink.batch import prepare
from consumers.sink.landing import LANDINGS
from streams.backfill.recompute import Recomputed, changes
from streams.backfill.source import KINDS, Source
from streams.meter.fold import rules_of
from streams.windows.slices import slicing_of
from tests.integration.store_fixture import start_store
from tests.unit.streams.drawing import START_MS, deployment
from tests.unit.streams.test_backfill_recompute import SECONDS, SIZE_S, stream, told
from tests.unit.streams.test_repeats import land
from tidemill.codec import encode
from tidemill.events import Window
from tidemill.io.clickhouse import Store
from tidemill.io.ranges import Range
from tidemill.settings import Settings
from tidemill.topics import WINDOWS

DIMENSIONS = ("tenant", "input_language", "attributes.language")
EVENTS = told(["v1", "v2"])
END_MS = START_MS + SECONDS * 1000


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Of a store with the rows of some calls and the windows of a stream that names two tenants of three."""
    store = start_store(tmp_path_factory.mktemp("store") / "data")
    drawn = deployment(size_s=SIZE_S, slices=DIMENSIONS, max_slices=2)
    found = drawn.model_copy(update={"clickhouse": drawn.clickhouse.model_copy(update={"url": store.url})})
    tables = Store(found)
    tables.migrate()
    for kind in KINDS:
        land(tables, kind, [event for event in EVENTS if isinstance(event, kind.event)])
    land_windows(tables, stream(found, EVENTS, 23))
    yield found
    assert store.stop() == 0, store.log.read_text()


def land_windows(store: Store, windows: Sequence[Window]) -> None:
    stamp = (TIMESTAMP_LOG_APPEND_TIME, END_MS)
    messages = [Message(WINDOWS.name, 0, n, None, encode(row), timestamp=stamp) for n, row in enumerate(windows)]
    span = Range("cluster", WINDOWS.name, "topic-id", 0, 0, 0, len(messages) - 1, messages, False)
    blocks, refused = prepare(span, LANDINGS[WINDOWS.name], WINDOWS.bulk_decoder())
    assert not refused
    for block in blocks:
        store.insert("windows", block.rows, block.token)


def audited(settings: Settings, dimensions: Sequence[str] = DIMENSIONS) -> Windows:
    by = {"schedule": dimensions}
    compared = Reconciliation(Store(settings), settings.windows, ["schedule"], START_MS, END_MS, by)
    return compared.run(lambda *_: None)


def test_slices_land_beside_the_whole(settings: Settings) -> None:
    (row,) = Store(settings).rows(
        "SELECT sumIf(n, slice = '') AS whole, sumIf(n, startsWith(slice, 'tenant=')) AS tenants, "
        "uniqExactIf(slice, startsWith(slice, 'tenant=')) AS names FROM windows WHERE metric = 'requests'"
    )
    assert row["whole"] == row["tenants"] > 0
    assert row["names"] == 3, "two tenants and other"


def test_quality_lands_by_slice_of_the_scores_that_say_theirs(settings: Settings) -> None:
    (row,) = Store(settings).rows(
        "SELECT sumIf(n, slice = '') AS whole, sumIf(n, startsWith(slice, 'tenant=')) AS tenants, "
        "uniqExactIf(slice, startsWith(slice, 'tenant=')) AS names FROM windows WHERE metric = 'quality'"
    )
    assert row["whole"] * 4 == row["tenants"] * 5 > 0
    assert row["names"] == 3, "two tenants and other"


def test_the_audit_finds_no_difference_with_slices_or_without(settings: Settings) -> None:
    for dimensions in (DIMENSIONS, DIMENSIONS[:1], ()):
        found = audited(settings, dimensions)
        assert (found.compared, found.differing) == (SECONDS // SIZE_S, {}), dimensions


def test_a_backfill_finds_nothing_to_write(settings: Settings) -> None:
    source = Source(Store(settings), settings.windows, "schedule", sliced=True)
    (piece,) = source.pieces(START_MS, END_MS)
    known = source.windows(START_MS, END_MS)
    pipeline, rules = settings.pipelines["schedule"], rules_of(settings)["schedule"]
    computed = Recomputed("schedule", SIZE_S * 1000, rules, known, settings.windows.max_series, slicing_of(pipeline))
    for kind in KINDS:
        computed.add(kind.topic.name, source.events(kind, piece, 0))
    tallies_of_slices = computed.slices.of(START_MS).tallies.values()
    assert sum(tally.requests for tally in tallies_of_slices) == len(DIMENSIONS) * 8 * SIZE_S
    scores = sum(tally.moments["quality"].n for tally in tallies_of_slices)
    assert scores == len(DIMENSIONS) * 8 * SIZE_S * 4 // 5, "four in five say their slices"
    for start, tallies in computed.tallies.items():
        mine = [row for row in known if row.start_ms == start]
        slices = computed.slices.of(start)
        assert changes("schedule", start, start + SIZE_S * 1000, tallies, mine, (), 7, slices).rows == []


def test_the_audit_sees_a_slice_that_is_wrong(settings: Settings) -> None:
    store = Store(settings)
    where = f"WHERE slice = 'tenant=acme' AND metric = 'cost' AND start_ms = {START_MS}"
    store.command(
        "INSERT INTO windows SELECT * REPLACE (revision + 9 AS revision, total + 1 AS total, 999999 AS _offset) "
        f"FROM windows {where}"
    )
    found = audited(settings)
    assert found.differing == {"schedule": [START_MS]}
    (example,) = found.examples
    assert (example.slice, example.metric, example.model_version) == ("tenant=acme", "cost", "")
