"""The SDK refuses what a topic cannot hold, before anything is sent."""

from __future__ import annotations

from threading import Event
from typing import Any

import pytest
from confluent_kafka import KafkaError

from producers.replay.replay import _taken, replay
from producers.replay.rows import Row
from producers.sdk import Recorder, checked
from tidemill.clock import ManualClock, SystemClock
from tidemill.embedding import EMBEDDING_FEATURES
from tidemill.errors import Retry, Stop
from tidemill.events import InferenceRequest
from tidemill.ids import uuid7
from tidemill.text import QUESTION_FEATURES
from tidemill.topics import REQUESTS

NOW = 1_763_800_000_000


def event(**fields: object) -> InferenceRequest:
    good = {"call_id": uuid7(NOW), "time_ms": NOW, "pipeline": "p", "gen_ai_conversation_id": "s"}
    return InferenceRequest(**(good | fields))  # type: ignore[arg-type]


def test_a_good_event_passes() -> None:
    assert b'"pipeline":"p"' in checked(REQUESTS, event())


@pytest.mark.parametrize("fields", [{"pipeline": ""}, {"call_id": "7"}, {"time_ms": "now"}, {"attributes": {"a": 1}}])
def test_an_event_that_breaks_the_contract_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(Stop, match="breaks the contract"):
        checked(REQUESTS, event(**fields))


def test_an_event_larger_than_its_topic_is_refused_with_its_size() -> None:
    with pytest.raises(Stop, match="the topic holds"):
        checked(REQUESTS, event(attributes={"text": "x" * 1_100_000}))


def test_feedback_needs_a_score_or_a_value() -> None:
    recorder = Recorder("127.0.0.1:1", options=AWAY, clock=ManualClock(NOW))
    call = recorder.request(pipeline="p", session="s", messages=[("user", "hello")])
    with pytest.raises(Stop, match="both are missing"):
        recorder.feedback(call, kind="label", source="user")
    with pytest.raises(Stop, match=r"\$.score"):
        recorder.feedback(call, kind="score", source="user", score=3.0)


AWAY: dict[str, str | int] = {"log_level": 0}


def test_a_full_queue_refuses_at_once_and_counts() -> None:
    recorder = Recorder("127.0.0.1:1", options={"queue.buffering.max.messages": 1, **AWAY}, clock=ManualClock(NOW))
    recorder.request(pipeline="p", session="s")
    clock = SystemClock()
    began_s = clock.monotonic_s()
    for count in (1, 2):
        with pytest.raises(Retry, match=rf"\d+ wait for Kafka already .*{count} refused"):
            recorder.request(pipeline="p", session="s")
    assert clock.monotonic_s() - began_s < 5
    assert recorder.refused == 2


def test_the_largest_event_that_passes_the_check_is_sent() -> None:
    recorder = Recorder("127.0.0.1:1", options=AWAY, clock=ManualClock(NOW))
    call = recorder.request(pipeline="p", session="s", attributes={"text": "x" * 1_047_000})
    assert call.pipeline == "p"
    small = Recorder("127.0.0.1:1", options={"message.max.bytes": 1000, **AWAY}, clock=ManualClock(NOW))
    with pytest.raises(Stop, match="these options"):
        small.request(pipeline="p", session="s", attributes={"text": "x" * 2000})


def test_failures_are_counted_and_their_words_bounded() -> None:
    recorder = Recorder("127.0.0.1:1", options=AWAY, clock=ManualClock(NOW))

    class Lost:
        def topic(self) -> str:
            return "inference.requests"

    for _ in range(5000):
        recorder._note(KafkaError(KafkaError._MSG_TIMED_OUT), Lost())
    assert len(recorder._failures) == 100
    with pytest.raises(Retry, match="5000 failed"):
        recorder.flush(0.1)
    recorder.flush(0.1)


def test_a_replay_waits_for_room() -> None:
    tries: list[Any] = [Retry("full"), Retry("full"), None]

    def record() -> str:
        if (error := tries.pop(0)) is not None:
            raise error
        return "taken"

    assert _taken(record, Event()) == "taken"
    stopped = Event()
    stopped.set()
    tries = [Retry("full")]
    with pytest.raises(Retry):
        _taken(record, stopped)


def test_a_replay_ends_when_kafka_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hurried(ManualClock):
        def monotonic_s(self) -> float:
            self.advance(5_000)
            return super().monotonic_s()

    monkeypatch.setattr("producers.replay.replay.LOOK_S", 0.001)
    recorder = Recorder("127.0.0.1:1", options=AWAY, clock=ManualClock(NOW))
    rows = [Row(after_ms=0, text="hello"), Row(after_ms=3_600_000, text="an hour later")]
    with pytest.raises(Stop, match=r"Kafka has taken nothing for 30 s \(0 events before, \d+ wait\)"):
        replay(rows, recorder, Hurried(NOW), pipeline="p", model_version="p-v0", speed=1.0, stop=Event())


def test_what_kafka_acknowledges_is_counted() -> None:
    recorder = Recorder("127.0.0.1:1", options=AWAY, clock=ManualClock(NOW))
    recorder._note(None, None)
    assert recorder.acknowledged == 1


def test_four_numbers_of_an_embedding_go_out_beside_what_the_text_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, sent = Recorder("127.0.0.1:1", options=AWAY, clock=ManualClock(NOW)), []
    monkeypatch.setattr(recorder, "_send", lambda topic, key, event: sent.append(event))
    recorder.request(pipeline="p", session="s", messages=[("user", "hello")], embedding=[0.1, -0.2, 0.3])
    recorder.request(pipeline="p", session="s", embedding=[0.1, -0.2, 0.3])
    of_both, alone = (event.input_features for event in sent)
    assert of_both.keys() == {*EMBEDDING_FEATURES, *QUESTION_FEATURES} and alone.keys() == set(EMBEDDING_FEATURES)
    with pytest.raises(Stop, match=r"'p': an embedding needs numbers"):
        recorder.request(pipeline="p", session="s", embedding=[0.0, 0.0])


def test_an_answer_is_sliced_as_its_call() -> None:
    sent: list[Any] = []
    recorder = Recorder("127.0.0.1:1", options=AWAY, clock=ManualClock(NOW))
    recorder._send = lambda topic, key, event: sent.append(event)  # type: ignore[method-assign]
    call = recorder.request(pipeline="p", session="s", tenant="acme", attributes={"language": "de"})
    recorder.response(call, model_version="p-v1")
    recorder.response(call, model_version="p-v1", tenant="globex")
    recorder.feedback(call, kind="thumb", source="user", score=1.0)
    asked, answered, other, thumb = sent
    assert (answered.tenant, answered.attributes) == (asked.tenant, asked.attributes) == ("acme", {"language": "de"})
    assert other.tenant == "globex"
    said = {"tenant": "acme", "prompt_version": "", "input_language": "", "attributes.language": "de"}
    assert thumb.slices == said


def test_a_call_and_its_answers_have_the_language_of_the_users_text() -> None:
    sent: list[Any] = []
    recorder = Recorder("127.0.0.1:1", options=AWAY, clock=ManualClock(NOW))
    recorder._send = lambda topic, key, event: sent.append(event)  # type: ignore[method-assign]
    german = [("system", "Please answer the customer's question."), ("user", "Wo bleibt mein Geld, das fehlt noch?")]
    for fields in ({"messages": german}, {"input_language": "de"}, {"messages": german, "input_language": "nds"}, {}):
        recorder.response(recorder.request(pipeline="p", session="s", **fields), model_version="p-v1")
    assert [event.input_language for event in sent] == ["de", "de", "de", "de", "nds", "nds", "", ""]
    with pytest.raises(Stop, match=r"input_language"):
        Recorder("127.0.0.1:1", options=AWAY).request(pipeline="p", session="s", input_language="de-CH")
