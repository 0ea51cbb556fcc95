"""Every topic's events fill their table: rows with nulls, the check against the table, values that do not fit."""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import Any

import pytest
from confluent_kafka import Message

from consumers.deadletters.bury import Rejected, letter
from consumers.sink.batch import prepare
from consumers.sink.insert import pause_s
from consumers.sink.landing import LANDINGS, check
from tests.unit.sink.samples import NOW_MS, full, least
from tidemill.codec import encode
from tidemill.errors import Stop
from tidemill.io.ranges import Range
from tidemill.topics import LANDING, REQUESTS, RESPONSES, WINDOWS


def described(table: str) -> list[dict[str, Any]]:
    """What DESCRIBE would say of a table, read from the migrations."""
    folder = resources.files("tidemill.sql") / "migrations"
    text = "\n".join(file.read_text() for file in sorted(folder.iterdir(), key=lambda f: f.name) if ".sql" in file.name)
    body = re.search(rf"CREATE TABLE IF NOT EXISTS {table}\n\((.*?)\n\)", text, re.S)
    assert body is not None
    rows = []
    added = re.findall(rf"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS (.*?)(?: AFTER \w+)?;", text)
    for line in [*body[1].strip().splitlines(), *added]:
        name, rest = line.strip().rstrip(",").split(" ", 1)
        kind, _, default = re.sub(r" CODEC\(.*\)$", "", rest).partition(" DEFAULT ")
        rows.append({"name": name, "type": kind, "default_type": "DEFAULT" if default else ""})
    return rows


def span(topic: str, values: list[bytes | None], partition: int = 1) -> Range:
    messages = [
        Message(topic=topic, partition=partition, offset=100 + n, value=value, key=b"k", timestamp=(1, NOW_MS))
        for n, value in enumerate(values)
    ]
    return Range("c", topic, "tid", 0, partition, 100, 99 + len(values), messages, False)


@pytest.mark.parametrize("topic", LANDING, ids=lambda t: t.name)
def test_columns_fit_the_table_of_the_migrations(topic: Any) -> None:
    check(LANDINGS[topic.name], described(topic.table))


@pytest.mark.parametrize("topic", LANDING, ids=lambda t: t.name)
def test_events_full_and_least_become_rows(topic: Any) -> None:
    found = LANDINGS[topic.name]
    events = [full(topic.event), least(topic.event)]
    blocks, rejected = prepare(span(topic.name, [encode(e) for e in events]), found, topic.bulk_decoder())
    assert rejected == [] and [b.table for b in blocks] == [topic.table]
    assert blocks[0].token == "c:tid:0:1:100-101:202511"
    rows = blocks[0].rows.to_pylist()
    assert [(r["_topic"], r["_partition"], r["_offset"]) for r in rows] == [(topic.name, 1, 100), (topic.name, 1, 101)]
    for row, event in zip(rows, events, strict=True):
        for column in found.columns:
            value = column.get(event)
            if column.kind == "json":
                assert (row[column.name] and json.loads(row[column.name])) == json.loads(encode(value))
            elif column.kind.endswith("_map"):
                assert dict(row[column.name]) == (value or {})
            else:
                assert row[column.name] == value


def test_a_state_holds_the_whole_record() -> None:
    topic = next(t for t in LANDING if t.table == "jobs")
    event = full(topic.event)
    blocks, _ = prepare(span(topic.name, [encode(event)]), LANDINGS[topic.name], topic.bulk_decoder())
    assert blocks[0].rows["state"][0].as_py().encode() == encode(event)


def test_rows_of_two_months_are_two_blocks_with_two_tokens() -> None:
    first, second = full(WINDOWS.event), full(WINDOWS.event, start_ms=NOW_MS - 40 * 86_400_000)
    blocks, _ = prepare(
        span(WINDOWS.name, [encode(first), encode(second)]), LANDINGS[WINDOWS.name], WINDOWS.bulk_decoder()
    )
    assert [b.token[-6:] for b in blocks] == ["202510", "202511"]


@pytest.mark.parametrize("which", ["missing", "type", "zeros"])
def test_the_check_says_no(which: str) -> None:
    rows = described("responses")
    if which == "missing":
        rows = [r for r in rows if r["name"] != "status"]
    elif which == "type":
        rows = [r | {"type": "Float64"} if r["name"] == "ttft_ms" else r for r in rows]
    else:
        rows.append({"name": "region", "type": "String", "default_type": ""})
    named = {"missing": "status is missing", "type": "ttft_ms is Float64", "zeros": "region has no source"}[which]
    with pytest.raises(Stop, match=named):
        check(LANDINGS[RESPONSES.name], rows)


def test_the_check_lets_a_column_with_a_default_or_null_be() -> None:
    extra = [
        {"name": "region", "type": "String", "default_type": "DEFAULT"},
        {"name": "zone", "type": "Nullable(String)", "default_type": ""},
    ]
    check(LANDINGS[RESPONSES.name], described("responses") + extra)


def test_what_is_no_event_is_set_aside_with_its_reason() -> None:
    good = encode(full(REQUESTS.event))
    bad = [None, b"{", b"\xff\xfe", b'{"schema": 2}', b"[]", good.replace(b'"time_ms":', b'"time_ms":"x","y":')]
    blocks, rejected = prepare(
        span(REQUESTS.name, [good, *bad, good]), LANDINGS[REQUESTS.name], REQUESTS.bulk_decoder()
    )
    assert blocks[0].rows["_offset"].to_pylist() == [100, 107]
    assert [r.message.value() for r in rejected] == bad and {r.stage for r in rejected} == {"decode"}
    assert [r.reason.split(":")[0] for r in rejected] == ["null", "json", "json", "schema", "schema", "schema"]


def test_a_value_the_column_cannot_hold_is_found_among_good_ones() -> None:
    good = encode(full(REQUESTS.event))
    poison = encode(full(REQUESTS.event, input_words={2**40: 1}))
    blocks, rejected = prepare(
        span(REQUESTS.name, [good, poison, good]), LANDINGS[REQUESTS.name], REQUESTS.bulk_decoder()
    )
    assert blocks[0].rows["_offset"].to_pylist() == [100, 102] and len(blocks[0].messages) == 2
    assert [(r.message.offset(), r.stage) for r in rejected] == [(101, "row")]
    assert rejected[0].reason.startswith("input_words:")


def test_a_range_of_several_pieces_is_one_block_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumers.sink.batch.PIECE", 3)
    good = encode(full(REQUESTS.event))
    poison = encode(full(REQUESTS.event, input_words={2**40: 1}))
    values = [good, b"{", good, good, poison, good, None, poison, b"[]", good]
    blocks, rejected = prepare(span(REQUESTS.name, values), LANDINGS[REQUESTS.name], REQUESTS.bulk_decoder())
    assert len(blocks) == 1 and blocks[0].rows["_offset"].num_chunks == 1
    assert blocks[0].rows["_offset"].to_pylist() == [100, 102, 103, 105, 109]
    assert [message.offset() for message in blocks[0].messages] == [100, 102, 103, 105, 109]
    assert [(r.message.offset(), r.stage) for r in rejected] == [
        (101, "decode"),
        (104, "row"),
        (106, "decode"),
        (108, "decode"),
        (107, "row"),
    ]


def test_rows_of_two_months_keep_their_messages() -> None:
    times = [NOW_MS, NOW_MS - 40 * 86_400_000, NOW_MS, NOW_MS - 40 * 86_400_000]
    values: list[bytes | None] = [encode(full(REQUESTS.event, time_ms=time)) for time in times]
    blocks, _ = prepare(span(REQUESTS.name, values), LANDINGS[REQUESTS.name], REQUESTS.bulk_decoder())
    for block, offsets in zip(blocks, ([101, 103], [100, 102]), strict=True):
        assert block.rows["_offset"].to_pylist() == offsets == [message.offset() for message in block.messages]


def test_only_poison_makes_no_block() -> None:
    poison = encode(full(REQUESTS.event, input_words={2**40: 1}))
    blocks, rejected = prepare(span(REQUESTS.name, [poison]), LANDINGS[REQUESTS.name], REQUESTS.bulk_decoder())
    assert blocks == [] and len(rejected) == 1


def test_dead_letter_headers_keep_the_messages_own() -> None:
    message = Message(
        topic=REQUESTS.name, partition=3, offset=7, value=None, headers=[("trace", b"\x00\xff")], timestamp=(1, 55)
    )
    found = letter(Rejected(message, "null: the message has no value" + "x" * 5000, "decode")).headers
    assert found[0] == ("trace", b"\x00\xff")
    added = dict(found[1:])
    assert {
        name.removeprefix("__connect.errors."): value for name, value in added.items() if "message" not in name
    } == {
        "topic": b"inference.requests",
        "partition": b"3",
        "offset": b"7",
        "connector.name": b"sink",
        "stage": b"decode",
        "exception.class.name": b"tidemill.errors.Quarantine",
        "timestamp": b"55",
    }
    assert len(added["__connect.errors.exception.message"] or b"") == 1000


def test_pauses_grow_to_a_limit() -> None:
    assert [pause_s(n) for n in (1, 2, 3)] == [0.2, 0.4, 0.8]
    assert pause_s(50) == 5.0 and pause_s(1, after_s=2.0) == 2.0
