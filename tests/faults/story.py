"""What is sent in a scenario: the same messages for the same seed, with two troubles that must raise one alarm each.

Quality of ``schedule`` falls in the middle and stays low; ``support`` has a burst of errors that ends. All else is
calm.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.faults.poison import poison
from tidemill.codec import encode
from tidemill.events import Feedback, InferenceRequest, InferenceResponse
from tidemill.ids import uuid7
from tidemill.topics import FEEDBACK, REQUESTS, RESPONSES, Topic

SOURCES = (REQUESTS, RESPONSES, FEEDBACK)
PIPELINES = ("schedule", "support")
ALARMS = frozenset(
    {("schedule", "quality", "firing"), ("support", "errors", "firing"), ("support", "errors", "resolved")}
)
"""Pipeline, rule and state of every threshold event the story gives cause for."""
_HOUR_MS = 3_600_000


class Said(NamedTuple):
    """One message: when it is sent (milliseconds from the start), where to, and what."""

    at_ms: int
    topic: Topic
    key: bytes
    value: bytes | None
    valid: bool = True


@dataclass(frozen=True)
class Plot:
    """How a story goes."""

    seed: int = 0
    seconds: int = 60
    per_second: int = 20
    """Calls a second of each pipeline."""
    poisoned: float = 0.0
    """Malformed messages for each good one."""
    repeated: float = 0.0
    """Share of the answers that their producer sends twice: half at once, half six seconds later."""
    misdated: float = 0.0
    """Share of the answers stamped three hours ahead or behind, after a quarter of the story."""
    transactions: bool = False
    """Whether messages come in transactions, some of them aborted."""


def story(plot: Plot, start_ms: int) -> list[Said]:
    """All messages in the order they are sent; event times are ``start_ms`` and the planned moment."""
    noise = random.Random(plot.seed)
    said: list[Said] = []
    for number in range(plot.seconds * plot.per_second):
        for pipeline in PIPELINES:
            said += _call(plot, noise, start_ms, number * 1000 // plot.per_second + noise.randrange(20), pipeline)
    good = list(said)
    for number in range(int(len(good) * plot.poisoned)):
        spoilt = noise.choice([one for one in good[:50] if one.value is not None])
        at_ms = noise.randrange(plot.seconds * 1000)
        value = poison(spoilt.value or b"", number, noise)
        said.append(Said(at_ms, spoilt.topic, f"poison-{number}".encode(), value, valid=False))
    return sorted(said, key=lambda one: one.at_ms)


def _call(plot: Plot, noise: random.Random, start_ms: int, at_ms: int, pipeline: str) -> list[Said]:
    call = uuid7(start_ms + at_ms, noise.randbytes(10))
    key = call.encode()
    took_ms = noise.randrange(20, 300)
    ended_ms = at_ms + took_ms
    shared: dict[str, Any] = {"call_id": call, "pipeline": pipeline, "gen_ai_conversation_id": f"s-{call[-4:]}"}
    request = InferenceRequest(time_ms=start_ms + at_ms, **shared)
    answer = InferenceResponse(
        answer_id=call,
        time_ms=start_ms + ended_ms + _clock_error_ms(plot, noise, at_ms),
        call_time_ms=start_ms + at_ms,
        model_version=f"{pipeline}-v1",
        variant="champion",
        status="error" if noise.random() < _error_share(plot, pipeline, ended_ms) else "ok",
        gen_ai_usage_input_tokens=noise.randrange(10, 200),
        gen_ai_usage_cached_tokens=noise.randrange(10),
        gen_ai_usage_output_tokens=noise.randrange(1, 30),
        ttft_ms=took_ms * 0.4,
        e2e_ms=float(took_ms),
        cost_micros=noise.randrange(1, 100) if noise.random() < 0.9 else None,
        **shared,
    )
    told = [Said(at_ms, REQUESTS, key, encode(request)), Said(ended_ms, RESPONSES, key, encode(answer))]
    if noise.random() < plot.repeated:
        later = noise.choice((1, 6_000))
        told.append(told[-1]._replace(at_ms=ended_ms + later))
    if noise.random() < 0.5:
        told.append(Said(ended_ms + 100, FEEDBACK, key, encode(_judged(plot, noise, start_ms, ended_ms, answer))))
    return told


def _judged(plot: Plot, noise: random.Random, start_ms: int, ended_ms: int, answer: InferenceResponse) -> Feedback:
    fallen = answer.pipeline == "schedule" and ended_ms > plot.seconds * 500
    return Feedback(
        feedback_id=f"f-{answer.call_id}",
        call_id=answer.call_id,
        time_ms=start_ms + ended_ms + 100,
        call_time_ms=answer.call_time_ms,
        pipeline=answer.pipeline,
        model_version=answer.model_version,
        kind="score",
        source="client",
        metric="exact_match",
        score=float(noise.random() < (0.2 if fallen else 0.95)),
    )


def _error_share(plot: Plot, pipeline: str, at_ms: int) -> float:
    """The burst lasts from three to six tenths of the story."""
    return 0.6 if pipeline == "support" and 0.3 <= at_ms / plot.seconds / 1000 < 0.6 else 0.0


def _clock_error_ms(plot: Plot, noise: random.Random, at_ms: int) -> int:
    if not plot.misdated or at_ms < plot.seconds * 250 or noise.random() >= plot.misdated:
        return 0
    return noise.choice((-3, 3)) * _HOUR_MS
