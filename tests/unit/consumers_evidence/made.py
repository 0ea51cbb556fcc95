"""Calls and rows for the tests of evidence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from consumers.evidence.call import Call, call_of
from consumers.evidence.slices import Row
from consumers.evidence.why import Job

CHANGE_MS = 1_763_800_000_000


def store_row(**changes: object) -> dict[str, object]:
    """A row of the query, as the store gives it."""
    names = ("queue_ms", "ttft_ms", "tpot_ms", "input_tokens", "cached_tokens", "thumb", "cost_micros", "expected")
    made: dict[str, object] = dict.fromkeys(names)
    made |= {
        "call_id": "c",
        "time_ms": CHANGE_MS,
        "tenant": "",
        "prompt_version": "",
        "input_language": "en",
        "attributes": [("region", "eu")],
        "input": [("chars", 12.0)],
        "words": [(7, 2)],
        "output": [("chars", 5.0)],
        "question": "hello",
        "model_version": "support-v1",
        "variant": "champion",
        "status": "ok",
        "finish_reason": "stop",
        "e2e_ms": 40.0,
        "output_tokens": 4,
        "answer": "yes",
        "score": 1.0,
        "quality": 1.0,
    }
    return made | changes


def call(number: int, **changes: object) -> Call:
    """A call at its number's place in time."""
    return call_of(store_row(call_id=f"c{number:05}", time_ms=CHANGE_MS + number * 100, **changes))


def job(reference: list[Call], current: list[Call], **changes: object) -> Job:
    """The job of an alarm on quality."""
    given: dict[str, object] = {
        "title": "t",
        "out": "unused",
        "alarm_id": "a" * 32,
        "pipeline": "support",
        "metric": "quality",
        "change_ms": CHANGE_MS,
        "made_ms": CHANGE_MS + 60_000,
        "capture": "full",
    }
    return Job(reference=reference, current=current, **(given | changes))  # type: ignore[arg-type]


TENANTS = {"acme": 0.2, "bolt": 0.4, "cove": 0.3, "dune": 0.1}


def rows(chance: np.random.Generator, count: int, score: Callable[[str], float]) -> list[Row]:
    """Calls of four tenants with three more attributes; right with the probability ``score`` gives a tenant."""
    tenants = chance.choice(list(TENANTS), count, p=list(TENANTS.values()))
    others = np.minimum(chance.zipf(1.6, (count, 3)), 9)
    return [
        Row(
            float(chance.random() < score(str(tenant))),
            {"tenant": str(tenant)} | {f"attributes.{i}": str(v) for i, v in enumerate(other)},
        )
        for tenant, other in zip(tenants, others, strict=True)
    ]
