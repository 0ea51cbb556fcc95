"""Letters as read: whose headers are whose, which match, which go back, how they are shown."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import Message

from consumers.deadletters.bury import Rejected, letter, stub
from consumers.deadletters.guard import sent_since
from consumers.deadletters.reading import ID, REPLAYED, Found, Replayed, Wanted
from consumers.deadletters.replay import Tally, batches, marker, sendable
from tidemill.cli.letters import as_json, cut, lines, readable
from tidemill.io.letters import PREFIX, Refusal, split
from tidemill.topics import MAX_DLQ_MESSAGE_BYTES, REQUESTS

NOW_MS = 1_763_800_000_000


def found(
    value: bytes | None = b"{",
    *,
    offset: int = 7,
    key: bytes | None = b"k",
    reason: str = "schema: field 3 of 4",
    own: list[tuple[str, bytes]] | None = None,
    more: list[tuple[str, bytes]] | None = None,
    at: int = 0,
) -> Found:
    """A letter as it is read: what was buried, at ``at`` of the dead-letter topic."""
    message = Message(
        topic=REQUESTS.name, partition=1, offset=offset, value=value, key=key, headers=own, timestamp=(2, 55)
    )
    rejected = Rejected(message, reason, "decode")
    sent = letter(rejected) if len(value or b"") <= MAX_DLQ_MESSAGE_BYTES else stub(rejected)
    headers: list[Any] = sent.headers + (more or [])
    return Found(
        REQUESTS.name,
        Message(
            topic=REQUESTS.dlq,
            partition=0,
            offset=at,
            value=sent.value,
            key=sent.key,
            headers=headers,
            timestamp=(1, NOW_MS),
        ),
    )


def test_a_letter_gives_back_the_messages_own_headers_even_an_earlier_refusals() -> None:
    own = [("trace", b"\x00"), *Refusal("other", "sink", "row", "before", 3, 4, 5).headers()]
    back = found(own=own)
    assert back.own == own and back.place == (1, 7) and back.stage == "decode"


def test_headers_without_a_topic_are_told_apart_by_their_prefix() -> None:
    own, said = split([("a", b"1"), (PREFIX + "exception.message", b"why"), (ID, b"letter 0-3")])
    assert own == [("a", b"1")] and said == {"exception.message": "why", ID: "letter 0-3"}


def test_what_is_not_known_is_not_said() -> None:
    names = [name for name, _ in Refusal("t", "gateway", "attribution", "why").headers()]
    assert PREFIX + "topic" in names and PREFIX + "offset" not in names and PREFIX + "timestamp" not in names


def test_a_message_has_one_id_wherever_its_letter_stands() -> None:
    first = found(at=3)
    assert first.id == found(at=9).id == "1-7@55" != found(offset=8).id
    assert found(at=9, more=[(ID, b"letter 0-3")]).id == "letter 0-3"


def test_a_refused_message_that_calls_itself_a_marker_is_a_letter() -> None:
    forged = Refusal(REQUESTS.name, "sink", "decode", "why").headers()
    message = Message(topic=REQUESTS.dlq, partition=0, offset=1, headers=[(REPLAYED, b"1"), *forged])
    assert Found(REQUESTS.name, message).refused
    marker_ = Message(topic=REQUESTS.dlq, partition=0, offset=2, value=b"not json", headers=[(REPLAYED, b"1")])
    assert not Found(REQUESTS.name, marker_).refused and Replayed(marker_).ids == []


def test_an_hours_letters_are_the_sinks_own_each_once() -> None:
    gateway = Refusal(REQUESTS.name, "gateway", "attribution", "why").headers()
    foreign = Message(topic=REQUESTS.dlq, partition=0, offset=1, headers=gateway, timestamp=(1, NOW_MS))
    marker_ = Message(topic=REQUESTS.dlq, partition=0, offset=2, headers=[(REPLAYED, b"1")], timestamp=(1, NOW_MS))
    others = [Found(REQUESTS.name, foreign), Found(REQUESTS.name, marker_)]
    own = [found(at=3), found(at=4), found(at=5, more=[(ID, b"1-7@55")]), found(at=6, offset=8)]
    assert sent_since(others + own, NOW_MS) == {"1-7@55", "1-8@55"}
    assert sent_since(own, NOW_MS + 1) == set()


@pytest.mark.parametrize(
    ("wanted", "takes"),
    [
        (Wanted(), True),
        (Wanted(reason="FIELD 3"), True),
        (Wanted(reason="field N of N"), True),
        (Wanted(reason="field 5"), False),
        (Wanted(stage="decode"), True),
        (Wanted(stage="row"), False),
        (Wanted(since_ms=NOW_MS, until_ms=NOW_MS + 1), True),
        (Wanted(since_ms=NOW_MS + 1), False),
        (Wanted(until_ms=NOW_MS), False),
        (Wanted(partition=1, offset=7), True),
        (Wanted(partition=0), False),
        (Wanted(offset=8), False),
    ],
)
def test_filters(wanted: Wanted, takes: bool) -> None:
    assert wanted.takes(found()) is takes


def test_what_goes_back_is_whole_has_a_place_and_went_not_before() -> None:
    nowhere = Found(REQUESTS.name, Message(topic=REQUESTS.dlq, partition=0, offset=1, value=b"x"))
    huge = found(b"{" * (MAX_DLQ_MESSAGE_BYTES + 1))
    tally, done = Tally(), {found(offset=1).id}
    given = [found(offset=1), found(offset=2), found(offset=2, at=5), huge, nowhere]
    assert list(sendable(given, done, tally)) == [given[1]]
    assert (tally.already, tally.cut, tally.foreign) == (2, 1, 1)


def test_batches_are_bounded_in_number_and_bytes() -> None:
    given = [found(b"x" * 10, offset=n) for n in range(7)]
    assert [len(batch) for batch in batches(given, most=3)] == [3, 3, 1]
    assert [len(batch) for batch in batches(given, most_bytes=20)] == [2, 2, 2, 1]
    assert marker(given[:2]) == {0: b'["1-0@55","1-1@55"]'}


def test_content_is_shown_only_where_asked_for() -> None:
    secret = found(b"my prompt")
    assert "prompt" not in "\n".join(lines(secret, values=False)) + str(as_json(secret, values=False))
    assert "my prompt" in lines(secret, values=True) and as_json(secret, values=True)["value"] == "my prompt"
    assert as_json(secret, values=False)["value_bytes"] == 9
    huge = as_json(found(b"{" * (MAX_DLQ_MESSAGE_BYTES + 1)), values=False)
    assert huge["cut"] and huge["value_bytes"] == MAX_DLQ_MESSAGE_BYTES + 1
    assert as_json(found(None), values=True)["value"] is None
    assert "tombstone" in lines(found(None), values=True)[-1]


def test_content_cannot_steer_the_terminal() -> None:
    assert readable(b"\x1b[31mred\r\nnext") == "\\x1b[31mred\\r\nnext"
    assert readable(b"\xff\x00") == "hex ff00"
    assert cut("x" * 12, 10) == "x" * 10 + "… (2 characters more)"
