"""The wire format: strict on types, open to unknown fields, never lossy, frozen by digest."""

from __future__ import annotations

import json
from importlib import resources
from typing import Literal

import jsonschema
import msgspec
import pytest

from tidemill import contracts
from tidemill.codec import Decoder, encode
from tidemill.errors import Quarantine
from tidemill.events import InferenceRequest
from tidemill.topics import BY_NAME, LANDING, TOPICS, Topic

GOOD = {
    "schema": 1,
    "call_id": "019aaaac-2600-77b9-9ab8-a1961421bbb1",
    "time_ms": 1_763_800_000_000,
    "pipeline": "support",
    "gen_ai_conversation_id": "s-1",
}
decode = Decoder[InferenceRequest](InferenceRequest)


def test_a_good_event_is_read_and_unknown_fields_are_ignored() -> None:
    event = decode(json.dumps(GOOD | {"from_the_future": [1]}).encode())
    assert event.pipeline == "support"
    assert event.gen_ai_input_messages is None


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, "null"),
        (b"", "json"),
        (b"{", "json"),
        (b"null", "schema"),
        (b"[1]", "schema"),
        (b'{"pipeline": "\xff"}', "(json|utf-8|schema)"),
        (json.dumps(GOOD | {"schema": 2}).encode(), r"schema.*\$.schema"),
        (json.dumps(GOOD | {"time_ms": "now"}).encode(), r"\$.time_ms"),
        (json.dumps(GOOD | {"time_ms": -1}).encode(), r"\$.time_ms"),
        (json.dumps(GOOD | {"time_ms": 10**18}).encode(), r"\$.time_ms"),
        (json.dumps(GOOD | {"call_id": "x"}).encode(), r"\$.call_id"),
        (json.dumps(GOOD | {"pipeline": None}).encode(), r"\$.pipeline"),
        (json.dumps({k: v for k, v in GOOD.items() if k != "pipeline"}).encode(), "pipeline"),
        (b"[" * 100_000, "(json|schema)"),
        (b'{"attributes": {"a": ' + b"[" * 100_000, "(json|schema)"),
    ],
)
def test_a_malformed_message_is_quarantined_with_its_reason(raw: bytes | None, reason: str) -> None:
    with pytest.raises(Quarantine, match=reason):
        decode(raw)


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    status: Literal["ok", "error"] = "ok"
    by_role: dict[Literal["client"], int] = {}
    turns: list[Literal["user"]] = []


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("status", "the customer said", "schema: Invalid enum value - at `$.status`"),
        ("status", "the customer' - at `$.said", "schema: Invalid enum value - at `$.status`"),
        ("status", "the\ncustomer said", "schema: Invalid enum value - at `$.status`"),
        ("by_role", {"the customer": 1}, "schema: Invalid enum value - at `key` in `$.by_role`"),
        ("turns", ["the customer"], "schema: Invalid enum value - at `$.turns[0]`"),
        ("the customer - at `said", 1, "schema: Object contains unknown field"),
        ("status", 5, "schema: Expected `str`, got `int` - at `$.status`"),
    ],
)
def test_a_reason_quotes_nothing_of_the_message(field: str, value: object, reason: str) -> None:
    with pytest.raises(Quarantine) as refusal:
        Decoder[Strict](Strict)(json.dumps({field: value}).encode())
    assert refusal.value.reason == reason


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_released_schemas_are_frozen_and_are_what_the_types_say(topic: Topic) -> None:
    assert contracts.released_schema(topic) == contracts.schema_text(topic), (
        f"{topic.name}: the event type changed; release a new version (new schema file), do not edit a released one"
    )


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_examples_decode_round_trip_and_meet_the_schema(topic: Topic) -> None:
    read = topic.decoder()
    payloads = contracts.examples(topic)
    assert payloads
    for payload in payloads:
        jsonschema.validate(payload, contracts.schema_of(topic))
        event = read(json.dumps(payload).encode())
        assert read(encode(event)) == event


def test_a_schema_with_other_bytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contracts, "digest", lambda text: "0" * 64)
    with pytest.raises(Exception, match="frozen digest"):
        contracts.released_schema(TOPICS[0])


def test_the_table_of_topics_is_consistent() -> None:
    assert len(BY_NAME) == len(TOPICS)
    migrations = "".join(
        item.read_text()
        for item in (resources.files("tidemill.sql") / "migrations").iterdir()
        if item.name[0].isdigit()
    )
    for topic in LANDING:
        assert f"CREATE TABLE IF NOT EXISTS {topic.table}\n" in migrations
