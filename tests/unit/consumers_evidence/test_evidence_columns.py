"""What of a call goes into a report."""

from __future__ import annotations

import json
from pathlib import Path

from consumers.evidence.calls import columns
from consumers.evidence.report import TOO_FEW, build, usable


def row(**changes: object) -> dict[str, object]:
    made: dict[str, object] = {
        "call": "c",
        "at": 1,
        "input": [("input_chars", 12.0)],
        "output": [("output_chars", 5.0)],
        "messages": json.dumps([{"role": "system", "content": "s"}, {"role": "user", "content": "hello"}]),
        "status": "ok",
        "e2e_ms": 40.0,
        "ttft_ms": None,
        "output_tokens": 4,
        "answer": "yes",
        "score": 1.0,
    }
    return made | changes


def test_call_becomes_flat_columns() -> None:
    flat = columns(row())
    assert flat["input_chars"] == 12.0 and flat["output_chars"] == 5.0 and flat["score"] == 1.0
    assert (flat["input_text"], flat["output_text"], flat["failed"]) == ("hello", "yes", 0.0)


def test_unknown_stays_unknown() -> None:
    flat = columns(row(status=None, messages=None, score=None, input=None, output=None, answer=None, e2e_ms=None))
    assert {name: flat[name] for name in ("failed", "input_text", "score")} == {
        "failed": None,
        "input_text": None,
        "score": None,
    }


def test_columns_unknown_to_one_side_are_left_out() -> None:
    known, scoreless = columns(row()), columns(row(score=None))
    numbers, texts = usable([known] * 20, [scoreless] * 20)
    assert "score" not in numbers and "ttft_ms" not in numbers and "e2e_ms" in numbers
    assert texts == ["input_text", "output_text"]


def test_too_few_calls_make_no_report(tmp_path: Path) -> None:
    out = tmp_path / "alarm"
    job = {"title": "t", "out": str(out), "reference": [columns(row())] * 3, "current": [columns(row())] * 50}
    assert build(job) == TOO_FEW
    assert list(tmp_path.iterdir()) == []
