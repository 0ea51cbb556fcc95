"""Many messages decoded at once are accepted and refused as each of them would be."""

from __future__ import annotations

from typing import Any

import msgspec
from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from streams.meter.batch import Batch, Reader, Span, counting_times_ms
from streams.meter.pack import pack
from tests.unit.sink.samples import NOW_MS, full, least
from tidemill.bulk import BulkDecoder
from tidemill.codec import Decoder, encode
from tidemill.errors import Quarantine
from tidemill.events import Feedback, InferenceResponse
from tidemill.topics import FEEDBACK, REQUESTS, RESPONSES, Topic

GOOD = "0197c1de-0000-7000-8000-%012d"
ids = st.one_of(
    st.integers(0, 999).map(lambda n: GOOD % n),
    st.sampled_from(["", GOOD % 1 + "\n", GOOD % 1 + "\n" + GOOD % 2, "\n" + GOOD % 1, (GOOD % 7).upper(), "x" * 36]),
)
broken = st.sampled_from([None, b"", b"{", b"\xff\xfe", b"null", b"[]", encode(full(InferenceResponse))[:-4]])


def response(call_id: str, answer_id: str) -> bytes:
    return encode(msgspec.structs.replace(full(InferenceResponse), call_id=call_id, answer_id=answer_id))


def judgement(call_id: str, answer_id: str | None) -> bytes:
    return encode(msgspec.structs.replace(full(Feedback), call_id=call_id, answer_id=answer_id))


def one_by_one(event_type: Any, raws: list[bytes | None]) -> tuple[list[Any], dict[int, str]]:
    events: list[Any] = []
    refused: dict[int, str] = {}
    for place, raw in enumerate(raws):
        try:
            events.append(Decoder(event_type)(raw))
        except Quarantine as error:
            refused[place] = error.reason
    return events, refused


@given(st.lists(st.builds(response, ids, ids) | broken, max_size=12))
def test_responses(raws: list[bytes | None]) -> None:
    agree(InferenceResponse, raws)


@given(st.lists(st.builds(judgement, ids, st.none() | ids) | broken, max_size=12))
def test_feedback(raws: list[bytes | None]) -> None:
    agree(Feedback, raws)


def agree(event_type: Any, raws: list[bytes | None]) -> None:
    events, refused = BulkDecoder(event_type)(raws)
    wanted, reasons = one_by_one(event_type, raws)
    assert refused == reasons
    assert [encode(event) for event in events] == [encode(event) for event in wanted]
    assert all(isinstance(event, event_type) for event in events)


def test_a_type_without_patterns_is_decoded_as_it_is() -> None:
    assert BulkDecoder(int)([b"1", b"x", b"2"])[0] == [1, 2]


@given(st.sampled_from([REQUESTS, RESPONSES, FEEDBACK]), st.lists(st.booleans(), max_size=30))
def test_a_batch_read_from_messages_folds_as_one_of_events(topic: Topic, whole: list[bool]) -> None:
    events = [
        msgspec.structs.replace(
            (full if one else least)(topic.event), call_id=GOOD % number, pipeline="p", time_ms=NOW_MS
        )
        for number, one in enumerate(whole)
    ]
    messages = [
        Message(topic=topic.name, partition=0, offset=n, value=encode(event), key=b"k", timestamp=(2, NOW_MS))
        for n, event in enumerate(events)
    ]
    read = Reader(topic, 0).read(messages)
    times = counting_times_ms([event.time_ms for event in events], [NOW_MS] * len(events), 0)
    span = Span(topic.name, 0, 0, 99)
    assert pack(span, read, {}, 2) == pack(span, Batch(range(len(events)), times, events), {}, 2)
