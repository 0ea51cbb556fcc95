"""Features of any text are bounded and the same each time, whoever takes them; scores of transcripts are bounded."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from streams.meter.batch import Batch, Span
from streams.meter.fold import Rules, fold
from streams.meter.pack import pack
from tidemill.answers import ANSWER_FEATURES, answer_features
from tidemill.events import InferenceRequest, InferenceResponse, Message
from tidemill.output_format import conforms_to, is_json
from tidemill.scoring import score
from tidemill.text import QUESTION_FEATURES, question_features, word_buckets

LENGTHS = {"chars", "words", "mean_word_length", "context_chars"}
SPAN = Span("t", 0, 0, 99)
START_MS = 1_763_800_000_000
texts = st.text(max_size=80) | st.lists(st.sampled_from(["no", "да", "yes.", "{}", "\n"]), max_size=30).map(" ".join)
endings = st.sampled_from([("ok", "stop"), ("ok", "length"), ("ok", "tool_calls"), ("ok", ""), ("error", "")])
checks = st.sampled_from([None, is_json, conforms_to({"type": "object"})])
roles = st.sampled_from(["user", "assistant", "system", "tool", "context"])
messages = st.lists(st.builds(Message, role=roles, content=texts), max_size=4).map(tuple)
RULES = {"p": Rules("exact_match", 100, is_json)}


@given(texts, endings, checks)
def test_features_of_an_answer(text: str, ending: tuple[str, str], check: Any) -> None:
    found = answer_features(text, *ending, check)
    assert found == answer_features(text, *ending, check)
    assert found.keys() <= set(ANSWER_FEATURES)
    assert all(0 <= value <= (len(text) if name in LENGTHS else 1) for name, value in found.items())
    assert ("valid" in found) == (check is not None and ending[0] == "ok" and ending[1] != "tool_calls")


@given(messages)
def test_features_of_a_question(said: tuple[Message, ...]) -> None:
    found = question_features(said)
    assert found == question_features(said)
    assert found.keys() == (set(QUESTION_FEATURES) if any(m.role == "user" for m in said) else set())
    assert all(value >= 0 if name in LENGTHS else 0 <= value <= 1 for name, value in found.items())


def request(number: int, said: tuple[Message, ...]) -> InferenceRequest:
    call = f"0197c1de-0000-7000-8000-{number:012d}"
    return InferenceRequest(
        call_id=call, time_ms=START_MS, pipeline="p", gen_ai_conversation_id="s", gen_ai_input_messages=said
    )


def response(number: int, text: str | None, ending: tuple[Any, str]) -> InferenceResponse:
    call = f"0197c1de-0000-7000-8000-{number:012d}"
    return InferenceResponse(
        call_id=call,
        answer_id=call,
        time_ms=START_MS,
        call_time_ms=START_MS,
        pipeline="p",
        gen_ai_conversation_id="s",
        model_version="p-v1",
        variant="champion",
        status=ending[0],
        gen_ai_response_finish_reason=ending[1],
        gen_ai_output_text=text,
    )


def batch(events: list[Any]) -> Batch:
    return Batch(range(len(events)), np.full(len(events), START_MS, np.int64), events)


@given(st.lists(st.tuples(st.none() | texts, endings), max_size=8))
def test_answers_with_and_without_features_give_equal_partials(answers: list[tuple[str | None, Any]]) -> None:
    """With them as the gateway sends them, the text kept or not; a replay gives the same bytes."""
    bare = [response(number, text, ending) for number, (text, ending) in enumerate(answers)]
    told = [
        replace(event, output_features=answer_features(text, ending[0], ending[1], is_json))
        for event, (text, ending) in zip(bare, answers, strict=True)
    ]
    content_free = [replace(event, gen_ai_output_text=None) for event in told]
    found = fold(SPAN, batch(bare), RULES)
    assert found == fold(SPAN, batch(told), RULES) == fold(SPAN, batch(content_free), RULES)
    assert pack(SPAN, batch(bare), RULES, 2) == pack(SPAN, batch(content_free), RULES, 2)


@given(st.lists(messages, max_size=6))
def test_questions_with_and_without_features_give_equal_partials(questions: list[tuple[Message, ...]]) -> None:
    bare = [request(number, said) for number, said in enumerate(questions)]
    content_free = [
        replace(
            event,
            gen_ai_input_messages=None,
            input_features=question_features(said),
            input_words=word_buckets([m.content for m in said if m.role == "user"]),
        )
        for event, said in zip(bare, questions, strict=True)
    ]
    assert pack(SPAN, batch(bare), RULES, 2) == pack(SPAN, batch(content_free), RULES, 2)


@given(texts, texts)
def test_word_accuracy_is_a_score(answer: str, label: str) -> None:
    found = score("word_accuracy", answer, label)
    assert found is None or 0 <= found <= 1
    assert score("word_accuracy", label, label) in (None, 1.0)
