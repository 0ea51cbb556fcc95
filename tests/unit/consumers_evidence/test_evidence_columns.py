"""What of a call goes into evidence and report."""

from __future__ import annotations

from pathlib import Path

from consumers.evidence.call import call_of, columns
from consumers.evidence.report import TOO_FEW, build, harmless, usable
from tests.unit.consumers_evidence.made import call, job, store_row
from tidemill import evidence


def test_call_becomes_flat_columns() -> None:
    flat = columns(call_of(store_row()))
    assert (flat["input_chars"], flat["output_chars"], flat["score"]) == (12.0, 5.0, 1.0)
    assert (flat["input_text"], flat["output_text"], flat["error_rate"]) == ("hello", "yes", 0.0)
    assert "cost" in flat and "queue_ms" not in flat and "queue_ms" in columns(call_of(store_row()), {"queue_ms"})


def test_unknown_stays_unknown() -> None:
    names = ("status", "question", "score", "quality", "input", "output", "answer", "e2e_ms", "attributes", "words")
    found = call_of(store_row(**dict.fromkeys(names), tenant=None, model_version=None))
    flat = columns(found)
    known = ("error_rate", "cost", "score", "quality", "e2e_ms", "input_text", "output_text")
    assert {flat[name] for name in known} == {None}
    assert found.figures["unpriced"] is None and found.slices["model_version"] == ""


def test_a_call_says_what_the_windows_count() -> None:
    def figures(status: str) -> tuple[float | None, float | None]:
        found = call_of(store_row(status=status)).figures
        return found["error_rate"], found["cancel_rate"]

    assert [figures(status) for status in ("ok", "error", "timeout", "cancelled", "rejected")] == [
        (0.0, 0.0),
        (1.0, 0.0),
        (1.0, 0.0),
        (0.0, 1.0),
        (0.0, 0.0),
    ]
    assert call_of(store_row(cost_micros=1_500)).figures["cost"] == 0.0015


def test_absurd_features_are_left_out() -> None:
    odd = [("chars", 1e308), ("words", float("nan")), ("digit_share", float("-inf")), ("mean_word_length", -3.0)]
    figures = call_of(store_row(input=odd)).figures
    assert [name for name in figures if name.startswith("input_")] == ["input_tokens", "input_mean_word_length"]


def test_columns_unknown_to_one_side_are_left_out() -> None:
    known, scoreless = columns(call_of(store_row())), columns(call_of(store_row(score=None)))
    numbers, texts = usable([known] * 20, [scoreless] * 20)
    assert "score" not in numbers and "ttft_ms" not in numbers and "e2e_ms" in numbers
    assert texts == ["input_text", "output_text"]


def test_too_few_calls_make_no_report_but_the_evidence_there_is(tmp_path: Path) -> None:
    out = tmp_path / "alarm"
    few = [call(number) for number in range(-3, 0)]
    assert build(job(few, [call(n) for n in range(50)], out=str(out))) == TOO_FEW
    assert [file.name for file in tmp_path.iterdir()] == ["alarm.evidence.json"]
    found = evidence.read(
        evidence.evidence_file(tmp_path.parent, "alarm").parent.parent / tmp_path.name / "alarm.evidence.json"
    )
    assert found is not None and found.found == "too_few_calls"
    assert (found.before.calls, found.after.calls) == (3, 50)


def test_no_users_words_are_markup_of_the_report() -> None:
    row = harmless({"input_<b>": 1.0, "input_text": "</script><script>alert(1)", "output_text": None})
    assert row == {"input_‹b›": 1.0, "input_text": "‹/script›‹script›alert(1)", "output_text": None}
