"""What a call leaves behind when every metric is watched: its question with context and embedding, an answer that ends
in one of several ways, a score, a thumb. All but the question's text is drawn by chance, the same way for ever.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from benchmarks.drift_corpus import Call
from tidemill.answers import TRUNCATED, answer_features
from tidemill.embedding import embedding_features
from tidemill.events import Feedback, InferenceRequest, InferenceResponse, Message
from tidemill.language import language_of
from tidemill.output_format import is_json
from tidemill.text import WORD_BUCKETS, question_features, word_buckets

PIPELINE, VERSION = "bank", "bank-v1"
SCORED, QUALITY = 0.2, 0.9
"""The share of answers that get a score, and how many of these are right."""
THUMBED = 0.1
WITH_CONTEXT = 0.3
"""The share of calls for which something was fetched."""
FAILED, UNPRICED = 0.01, 0.02
CUT_OFF, FILTERED = 0.02, 0.01
"""Finish reasons other than ``stop``."""
EMPTY, REFUSED, MALFORMED = 0.005, 0.01, 0.02
"""Shares of answers; all others are JSON, as the pipeline wants it."""
REFUSAL = "I'm unable to help with that."
ANSWER_MS, SCORE_MS = 400, 5_000
"""From the call to its answer, and to what users say of it."""
Event = InferenceRequest | InferenceResponse | Feedback


class Asked(NamedTuple):
    """A call and what its events share."""

    call: Call
    call_id: str
    at_ms: int
    language: str

    @property
    def slices(self) -> dict[str, str]:
        """By dimension."""
        named = dict(name.split("=", 1) for name in self.call.slices if name)
        return {"tenant": named["tenant"], "prompt_version": named["prompt"], "input_language": self.language}


def asked(call: Call, call_id: str, at_ms: int) -> Asked:
    """The call, its language guessed as the gateway does."""
    return Asked(call, call_id, at_ms, language_of([call.text]))


def request(of: Asked, chance: Random, contexts: list[str]) -> InferenceRequest:
    """As the gateway would write it. Its embedding is made of counts of words: no model is needed."""
    messages = [Message(role="user", content=of.call.text)]
    if chance.random() < WITH_CONTEXT:
        messages.append(Message(role="tool", content=chance.choice(contexts)))
    words = word_buckets([of.call.text])
    embedding = embedding_features([float(words.get(bucket, 0)) for bucket in range(WORD_BUCKETS)]) if words else {}
    return InferenceRequest(
        call_id=of.call_id,
        time_ms=of.at_ms,
        pipeline=PIPELINE,
        gen_ai_conversation_id=of.call_id,
        gen_ai_input_messages=tuple(messages),
        input_features=question_features(messages) | embedding,
        input_words=words,
        tenant=of.slices["tenant"],
        prompt_version=of.slices["prompt_version"],
        input_language=of.language,
    )


def response(of: Asked, chance: Random, answers: list[str]) -> InferenceResponse:
    """As the gateway would write it: most answers end well and have their form, some do not."""
    failed, text = chance.random() < FAILED, _text(chance, answers)
    (finish,) = chance.choices(("stop", TRUNCATED, "content_filter"), (1 - CUT_OFF - FILTERED, CUT_OFF, FILTERED))
    tokens, read = len(text.split()) * 4 // 3, chance.randrange(20, 30)
    return InferenceResponse(
        call_id=of.call_id,
        answer_id=of.call_id,
        time_ms=of.at_ms + ANSWER_MS,
        call_time_ms=of.at_ms,
        pipeline=PIPELINE,
        gen_ai_conversation_id=of.call_id,
        model_version=VERSION,
        variant="champion",
        status="error" if failed else "ok",
        gen_ai_response_finish_reason="" if failed else finish,
        gen_ai_usage_input_tokens=read,
        gen_ai_usage_cached_tokens=min(read, 16) * chance.randrange(2),
        gen_ai_usage_output_tokens=0 if failed else tokens,
        cost_micros=None if chance.random() < UNPRICED else read + 4 * tokens,
        e2e_ms=float(ANSWER_MS),
        gen_ai_output_text=None if failed else text,
        output_features={} if failed else answer_features(text, "ok", finish, is_json),
        tenant=of.slices["tenant"],
        prompt_version=of.slices["prompt_version"],
        input_language=of.language,
    )


def said_of(of: Asked, chance: Random) -> Iterator[Feedback]:
    """What the scorer and a user say of the answer, if anything."""
    for metric, share in (("exact_match", SCORED), ("thumb", THUMBED)):
        if chance.random() < share:
            yield Feedback(
                feedback_id=f"{of.call_id}-{metric}",
                call_id=of.call_id,
                time_ms=of.at_ms + SCORE_MS,
                call_time_ms=of.at_ms,
                pipeline=PIPELINE,
                model_version=VERSION,
                kind="thumb" if metric == "thumb" else "score",
                source="user" if metric == "thumb" else "scorer",
                metric=metric,
                score=float(chance.random() < QUALITY),
                slices=of.slices,
            )


def _text(chance: Random, answers: list[str]) -> str:
    answer = chance.choice(answers)
    at = chance.random()
    if at < EMPTY:
        return ""
    if at < EMPTY + REFUSED:
        return REFUSAL
    return answer if at < EMPTY + REFUSED + MALFORMED else json.dumps(answer)
