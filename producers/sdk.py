"""A small helper for any Python app that calls models itself and wants tidemill to watch them.

    recorder = Recorder(bootstrap="127.0.0.1:18092")
    call = recorder.request(pipeline="support", session="s-17", messages=[("user", "Where is my card?")])
    recorder.response(call, model_version="support-v1", status="ok", output="card_arrival", e2e_ms=412.0)
    recorder.feedback(call, kind="label", source="crm", value="card_arrival")
    recorder.close()

Every event is checked before it is sent; what a topic cannot hold is refused with a clear error. Safe to use from
several threads. Nothing blocks but ``flush`` and ``close``: where Kafka is away so long that no more can be held here,
the event is refused with Retry, and counted.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as KafkaMessage

from tidemill.answers import answer_features
from tidemill.clock import Clock, SystemClock
from tidemill.codec import encode
from tidemill.embedding import embedding_features
from tidemill.errors import Retry, Stop
from tidemill.events import Feedback, InferenceRequest, InferenceResponse, Message
from tidemill.ids import uuid7
from tidemill.language import language_of
from tidemill.slices import ATTRIBUTE, DIMENSIONS
from tidemill.text import question_features, word_buckets
from tidemill.topics import FEEDBACK, MAX_MESSAGE_BYTES, REQUESTS, RESPONSES, Topic

_ENVELOPE_BYTES = 1_024
"""Room for key, headers and batch overhead below the topic's limit."""
_SLICED_BY = (*DIMENSIONS, "attributes")
_FAILURES_KEPT = 100
"""Failures kept in words; beyond, only counted."""


@dataclass(frozen=True)
class Call:
    """One recorded call: hand it to ``response`` and ``feedback``."""

    call_id: str
    pipeline: str
    session: str
    time_ms: int
    sliced: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """What traffic is sliced by: of the call, and so of its answers."""

    @property
    def slices(self) -> dict[str, str]:
        """The same by dimension, as its scores say it."""
        attributes = self.sliced.get("attributes") or {}
        named = {f"{ATTRIBUTE}{name}": value for name, value in attributes.items()}
        return named | {name: self.sliced.get(name, "") for name in DIMENSIONS}


class Recorder:
    """Writes the inference topics.

    ``request``, ``response`` and ``feedback`` raise Retry at once where the event cannot be held for Kafka (it is not
    recorded then: try again later, or let it go), and Stop where it could never be.
    """

    def __init__(
        self, bootstrap: str, *, options: Mapping[str, str | int] | None = None, clock: Clock | None = None
    ) -> None:
        """``bootstrap`` is Kafka's ``host:port`` list, ``options`` extra librdkafka settings (security …)."""
        self._clock = clock or SystemClock()
        self.refused = 0
        """Events not taken so far because Kafka was away."""
        self.acknowledged = 0
        """Events that Kafka has; grows in ``waiting``, ``flush`` and with each further event."""
        self._lock = threading.Lock()
        self._failed = 0
        self._failures: deque[str] = deque(maxlen=_FAILURES_KEPT)
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "compression.type": "lz4",
                "linger.ms": 5,
                "message.max.bytes": MAX_MESSAGE_BYTES + _ENVELOPE_BYTES,  # librdkafka's default is below the topic's
                **(options or {}),
            }
        )

    def request(
        self,
        *,
        pipeline: str,
        session: str,
        messages: Iterable[tuple[str, str]] | None = None,
        call_id: str | None = None,
        time_ms: int | None = None,
        embedding: Sequence[float] | None = None,
        **fields: Any,
    ) -> Call:
        """Record what was asked: ``messages`` are (role, text) pairs, None where content must not leave the app.

        ``embedding``: the question's, where the app has one (from retrieval, say); four numbers of it leave the app,
        and a shift of them is noticed. ``fields`` are further fields of InferenceRequest. Raises Stop where the event
        breaks the contract.
        """
        now = self._clock.now_ms() if time_ms is None else time_ms
        said = None if messages is None else tuple(Message(role=role, content=text) for role, text in messages)
        users = [message.content for message in said or () if message.role == "user"]
        if users:
            fields.setdefault("input_features", question_features(said or ()))
            fields.setdefault("input_words", word_buckets(users))
            fields.setdefault("input_language", language_of(users))
        sliced = {name: value for name, value in fields.items() if name in _SLICED_BY}
        call = Call(call_id or uuid7(now), pipeline, session, now, sliced)
        if embedding is not None:
            try:
                fields["input_features"] = fields.get("input_features", {}) | embedding_features(embedding)
            except ValueError as error:
                raise Stop(f"call {call.call_id} of {pipeline!r}: {error}") from error
        event = InferenceRequest(
            call_id=call.call_id,
            time_ms=now,
            pipeline=pipeline,
            gen_ai_conversation_id=session,
            gen_ai_input_messages=said,
            **fields,
        )
        self._send(REQUESTS, call.call_id, event)
        return call

    def response(
        self,
        call: Call,
        *,
        model_version: str,
        status: str = "ok",
        output: str | None = None,
        time_ms: int | None = None,
        **fields: Any,
    ) -> None:
        """Record how the answer ended; ``fields`` are further fields of InferenceResponse (tokens, timings, cost).
        Tenant, prompt version, language and attributes are the call's.

        Raises Stop where the event breaks the contract.
        """
        if output is not None:
            finish_reason = fields.get("gen_ai_response_finish_reason", "")
            fields.setdefault("output_features", answer_features(output, status, finish_reason))
        event = InferenceResponse(
            **{
                "call_id": call.call_id,
                "answer_id": call.call_id,
                "time_ms": self._clock.now_ms() if time_ms is None else time_ms,
                "call_time_ms": call.time_ms,
                "pipeline": call.pipeline,
                "gen_ai_conversation_id": call.session,
                "model_version": model_version,
                "variant": "champion",
                "status": status,
                "gen_ai_output_text": output,
                **call.sliced,
                **fields,
            }
        )
        self._send(RESPONSES, call.call_id, event)

    def feedback(
        self,
        call: Call,
        *,
        kind: str,
        source: str,
        score: float | None = None,
        value: str | None = None,
        time_ms: int | None = None,
        **fields: Any,
    ) -> str:
        """Record a judgement; give back its id.

        A bare label or correction (``value``) is compared with the answers of its call by the scorer. A ``score`` in
        [0, 1] counts for alarms where its ``metric`` is the pipeline's ``quality.metric``, or as a thumb; any other is
        only kept. Who can write this topic is believed: a ``source`` that the pipeline trusts makes a label one that
        the gate judges by.
        Raises Stop where the event breaks the contract, or where it has neither score nor value.
        """
        if score is None and value is None:
            raise Stop("feedback: give a score (0 to 1) or a value (label or correction); both are missing")
        now = self._clock.now_ms() if time_ms is None else time_ms
        feedback_id = uuid7(now)
        event = Feedback(
            **{
                "feedback_id": feedback_id,
                "call_id": call.call_id,
                "time_ms": now,
                "call_time_ms": call.time_ms,
                "pipeline": call.pipeline,
                "kind": kind,
                "source": source,
                "score": score,
                "value": value,
                "slices": call.slices,
                **fields,
            }
        )
        self._send(FEEDBACK, call.call_id, event)
        return feedback_id

    def waiting(self) -> int:
        """About how many events are still to be acknowledged or given up (librdkafka counts its own notices, too)."""
        self._producer.poll(0)
        return len(self._producer)

    def flush(self, timeout_s: float = 30.0) -> None:
        """Wait until all is acknowledged. Raises Retry, with how many are left or failed."""
        left = self._producer.flush(timeout_s)
        with self._lock:
            failed, first = self._failed, list(self._failures)[:1]
            self._failed = 0
            self._failures.clear()
        if left or failed:
            raise Retry(f"{left} events not yet acknowledged, {failed} failed {first}")

    def close(self) -> None:
        """Flush; further use is an error."""
        self.flush()

    def _send(self, topic: Topic, key: str, event: Any) -> None:
        raw = checked(topic, event)
        self._producer.poll(0)
        try:
            self._producer.produce(topic.name, raw, key, on_delivery=self._note)
        except BufferError as error:
            with self._lock:
                self.refused += 1
                refused = self.refused
            raise Retry(
                f"{topic.name}: the event is not taken, {len(self._producer):,} wait for Kafka already and no more can "
                f"be held ({refused:,} refused so far); is Kafka away? try again later"
            ) from error
        except KafkaException as error:
            raise Stop(f"{topic.name}: the event cannot be sent with these options: {error}") from error

    def _note(self, error: KafkaError | None, message: KafkaMessage) -> None:
        with self._lock:
            if error is None:
                self.acknowledged += 1
            else:
                self._failed += 1
                self._failures.append(f"{message.topic()}: {error}")


def checked(topic: Topic, event: Any) -> bytes:
    """The event's bytes, if its topic can hold it. Raises Stop with the field and what is allowed."""
    raw = encode(event)
    try:
        msgspec.json.decode(raw, type=topic.event)
    except msgspec.ValidationError as error:
        raise Stop(f"{topic.name}: the event breaks the contract: {error}") from error
    if len(raw) > MAX_MESSAGE_BYTES - _ENVELOPE_BYTES:
        raise Stop(
            f"{topic.name}: the event has {len(raw):,} bytes, the topic holds {MAX_MESSAGE_BYTES - _ENVELOPE_BYTES:,}; "
            "shorten the text, or leave it out (messages=None, output=None)"
        )
    return raw
