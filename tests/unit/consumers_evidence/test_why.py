"""Evidence of an alarm: its figure, its sides, its examples, and no more text than the pipeline keeps."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from consumers.evidence.call import Call
from consumers.evidence.examples import MOST, MOST_CHARS
from consumers.evidence.why import evidence, figure_of
from tests.unit.consumers_evidence.made import CHANGE_MS, call, job
from tidemill.metrics import ESTIMATES, TEXT_METRICS, WINDOW_METRICS

PLACE = {"attributes.place": "here"}


def before() -> list[Call]:
    return [call(n, quality=1.0, tenant="acme" if n % 4 == 0 else "bolt") for n in range(-200, 0)]


def after() -> list[Call]:
    """Every fourth call, tenant acme's, is wrong."""
    return [
        call(
            n,
            quality=float(n % 4 != 0),
            tenant="acme" if n % 4 == 0 else "bolt",
            question=f"question {n}",
            answer=f"answer {n}",
            expected="right",
        )
        for n in range(200)
    ]


def test_the_worst_calls_of_the_telling_slice_come_first() -> None:
    found = evidence(job(before(), after()))
    assert (found.figure, found.found, found.slices[0].value) == ("quality", "slice", "acme")
    assert found.change == pytest.approx(-0.25)
    assert (found.before.calls, found.before.known, found.before.mean) == (200, 200, 1.0)
    assert (found.after.from_ms, found.after.until_ms) == (CHANGE_MS, CHANGE_MS + 19_900)
    assert len(found.examples) == MOST
    assert {each.figure for each in found.examples} == {0.0}
    first = found.examples[0]
    assert (first.question, first.answer, first.expected) == ("question 196", "answer 196", "right")
    assert first.slices["tenant"] == "acme"


@pytest.mark.parametrize("capture", ["full", "redacted", "off"])
def test_examples_hold_what_the_pipeline_keeps_and_no_more(capture: str) -> None:
    found = evidence(job(before(), [replace(each, slices=each.slices | PLACE) for each in after()], capture=capture))
    shown = found.examples
    assert ("attributes.place" in {each.dimension for each in found.slices}) == (capture != "off")
    texts = {text for each in shown for text in (each.question, each.answer, each.expected)}
    if capture == "off":
        assert texts == {None} and all(each.slices == {} for each in shown)
        assert all(each.call_id and each.figure == 0.0 for each in shown)
    else:
        assert None not in texts


def test_what_the_store_does_not_have_is_not_shown() -> None:
    bare = [call(n, quality=0.0, question=None, answer=None) for n in range(100)]
    assert {each.question for each in evidence(job(before(), bare)).examples} == {None}


def test_examples_are_short_and_no_question_is_shown_twice() -> None:
    long = [call(n, quality=0.0, question=f"{n % 3} " + "long " * 5_000, answer="y" * 9_000) for n in range(100)]
    shown = evidence(job(before(), long)).examples
    assert len(shown) == 3
    assert all(len(text) <= MOST_CHARS for each in shown for text in (each.question or "", each.answer or ""))


def test_a_rise_shows_the_highest_first() -> None:
    slow = [call(n, e2e_ms=100.0 + n, question=f"q{n}") for n in range(100)]
    found = evidence(job(before(), slow, metric="e2e_ms"))
    assert [each.figure for each in found.examples] == [199.0, 198.0, 197.0, 196.0, 195.0]


def test_new_words_are_counted_against_the_older_half_of_the_calls_before() -> None:
    old = [call(n, words=[(1, 3), (2, 1)]) for n in range(-100, 0)]
    new = [call(n, words=[(1, 1), (9, 3)]) for n in range(100)]
    for metric in ("input_unseen_share", "input_word_distance"):
        found = evidence(job(old, new, metric=metric))
        assert (found.figure, found.before.calls) == ("unseen_share", 50)
        assert (found.before.mean, found.after.mean) == (0.0, 0.75)


@pytest.mark.parametrize("capture", ["full", "off"])
def test_the_language_that_came_in_is_told(capture: str) -> None:
    old = [call(n, input_language="da" if n % 50 == 0 else "en", tenant=f"t{n % 2}") for n in range(-200, 0)]
    new = [call(n, input_language=("en", "de", "")[n % 3], tenant=f"t{n % 2}") for n in range(150)]
    found = evidence(job(old, new, metric="input_language_mismatch", capture=capture))
    assert (found.figure, found.before.calls, found.after.known) == ("input_language_mismatch", 100, 100)
    assert [found.before.mean, found.after.mean] == pytest.approx([0.0392, 0.51])
    assert (found.slices[0].dimension, found.slices[0].value) == ("input_language", "de")
    assert found.found == "slice"


def test_every_metric_has_its_figure_or_is_known_to_have_none() -> None:
    known = {*call(0).figures, *TEXT_METRICS, "unseen_share"}
    assert {metric for metric in WINDOW_METRICS if not figure_of(metric)} == {"requests", "answers", *ESTIMATES}
    assert {figure_of(metric) for metric in WINDOW_METRICS} - {""} <= known
    assert figure_of("something else") == ""


def test_a_metric_that_counts_calls_still_has_examples_of_none() -> None:
    found = evidence(job(before(), after(), metric="requests"))
    assert (found.found, found.slices, found.examples, found.before.calls) == ("not_of_calls", (), (), 200)


def test_nothing_after_the_change_is_no_error() -> None:
    found = evidence(job(before(), []))
    assert (found.found, found.after.mean, found.change) == ("too_few_calls", None, None)
