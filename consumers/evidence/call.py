"""One call as evidence sees it: its figures by metric, the slices it belongs to, its texts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from tidemill.answers import TRUNCATED, USUAL_FINISHES
from tidemill.slices import ATTRIBUTE, DIMENSIONS

_PLAIN = ("queue_ms", "ttft_ms", "tpot_ms", "e2e_ms", "input_tokens", "cached_tokens", "output_tokens")
_JUDGED = ("score", "quality", "thumb")
REPORTED = ("score", "quality", "thumb", "error_rate", "e2e_ms", "ttft_ms", "output_tokens", "cost")
"""Figures that a report compares, beside those of the texts."""
_FAILED = ("error", "timeout")
MAX_VALUE = 1e12
"""Features beyond are their producer's mistake: left out here as in the windows."""


class Call(Struct, frozen=True, kw_only=True):
    """What is unknown of a call is None, never 0."""

    call_id: str
    time_ms: int
    figures: dict[str, float | None]
    """By window metric: what this call adds to it. ``score`` is the last score under any metric."""
    slices: dict[str, str]
    """By dimension; empty text: the call has no such value."""
    words: dict[int, int] = {}
    """Counts of the words of the users' text by hash bucket."""
    question: str | None = None
    answer: str | None = None
    expected: str | None = None


def call_of(row: Mapping[str, Any]) -> Call:
    """A call from a row of the query."""
    figures: dict[str, float | None] = {name: row[name] for name in (*_PLAIN, *_JUDGED)}
    status, cost, reason = row["status"], row["cost_micros"], row["finish_reason"]
    figures["error_rate"] = None if status is None else float(status in _FAILED)
    figures["cancel_rate"] = None if status is None else float(status == "cancelled")
    figures["unpriced"] = None if status is None else float(cost is None)
    figures["truncated_rate"] = float(reason == TRUNCATED) if reason else None
    figures["other_finish_rate"] = float(reason not in USUAL_FINISHES) if reason else None
    figures["cost"] = None if cost is None else cost / 1e6
    for side in ("input", "output"):
        texts = {name: value for name, value in dict(row[side] or ()).items() if abs(value) <= MAX_VALUE}
        figures |= {name if name.startswith(f"{side}_") else f"{side}_{name}": value for name, value in texts.items()}
    slices = {name: row[name] or "" for name in (*DIMENSIONS, "model_version", "variant")}
    slices |= {f"{ATTRIBUTE}{name}": value for name, value in dict(row["attributes"] or ()).items()}
    return Call(
        call_id=row["call_id"],
        time_ms=row["time_ms"],
        figures=figures,
        slices=slices,
        words=dict(row["words"] or ()),
        question=row["question"] or None,
        answer=row["answer"],
        expected=row["expected"],
    )


def columns(call: Call, also: Iterable[str] = ()) -> dict[str, Any]:
    """A call as one flat row of a report: the figures that are compared (and those named in ``also``) and the texts."""
    chosen = {*REPORTED, *also}
    figures = {
        name: value
        for name, value in call.figures.items()
        if name in chosen or (name.startswith(("input_", "output_")) and not name.endswith("_tokens"))
    }
    return {**figures, "input_text": call.question, "output_text": call.answer}


def kept(call: Call, capture: str) -> Call:
    """What may be shown of a call: with ``capture`` off no texts and no attributes, whatever was kept before."""
    if capture != "off":
        return call
    named = {name: value for name, value in call.slices.items() if not name.startswith(ATTRIBUTE)}
    return replace(call, slices=named, question=None, answer=None, expected=None)
