"""What dpo, kto and distill train on, and what is too little for them."""

from __future__ import annotations

import msgspec
import pytest

from retrain.datasets import lessons
from retrain.datasets.dataset import DataSet, TooSmall, build, held_out
from retrain.datasets.rows import AskedCall, JudgedCall, LabelledCall, Row, in_order
from tests.unit.retrain.made import rules

RULES = rules()
SESSIONS = [f"session-{n}" for n in range(60)]
WORDS = ["amber", "birch", "cedar", "dune", "ember", "fern", "grove", "heath", "iris", "jade"]


def question(number: int) -> str:
    return f"{WORDS[number % 10]} {WORDS[number // 10 % 10]} {WORDS[number // 100 % 10]} {number}"


def label(number: int) -> LabelledCall:
    return LabelledCall(
        call_id=f"call-{number}",
        call_time_ms=number,
        label_time_ms=number + 10,
        session=SESSIONS[number % 60],
        source="audit" if number % 2 else "user",
        prompt=question(number),
        label=f"answer {WORDS[number % 10]} {number}",
    )


MADE: DataSet = build([label(n) for n in range(200)], [], [], RULES)
LABELS = {call.call_id: call.label for call in MADE.calls}


def test_a_correction_stands_beside_the_wrong_answer_it_corrects() -> None:
    calls = list(LABELS)
    answers = dict.fromkeys(calls[:40], "something else") | {call: LABELS[call] for call in calls[40:]}
    made = lessons.pairs(MADE, answers, [], RULES)
    assert {row.rejected for row in made.train} == {"something else"}
    assert {row.completion for row in made.train} == {LABELS[call] for call in calls[:40]}
    assert (made.counts["pairs"], made.counts["train"], made.verified) == (40, 40, MADE.verified)
    assert made.digest != MADE.digest
    assert sum(each["train"] for each in made.origins["sources"].values()) == 40
    assert {call.call_id for call in made.calls} == set(calls[:40])


def test_without_wrong_answers_there_is_nothing_to_prefer() -> None:
    with pytest.raises(
        TooSmall, match=r"kind dpo: 0 pairs .* 0 have no kept answer, \d+ were answered rightly; set kind"
    ):
        lessons.pairs(MADE, LABELS, [], RULES)
    with pytest.raises(TooSmall, match=rf"kind dpo: 0 pairs .* {len(MADE.calls)} have no kept answer"):
        lessons.pairs(MADE, {}, [], RULES)


def thumb(number: int, liked: bool, *, tenant: str = "", answer: str = "") -> JudgedCall:
    told = label(number)
    found = msgspec.structs.asdict(told) | {
        "source": "user",
        "tenant": tenant,
        "label": answer or f"said {WORDS[number % 10]} {number}",
    }
    return JudgedCall(**found | {"kind": "thumb"}, liked=liked)


def test_thumbs_are_taught_where_the_gate_does_not_judge() -> None:
    made = lessons.thumbs(MADE, [thumb(n, n % 3 > 0) for n in range(200, 300)], [], 0, RULES)
    outside = [n for n in range(200, 300) if not held_out(SESSIONS[n % 60], MADE.held_out_share)]
    assert {row.prompt for row in made.train} == {question(n) for n in outside}
    assert made.counts["liked"] == sum(n % 3 > 0 for n in outside)
    assert made.counts["disliked"] == len(outside) - made.counts["liked"]
    assert all(row.liked is not None for row in made.train)
    assert {call.call_id for call in made.calls} == {f"call-{n}" for n in outside}
    assert not made.counts.keys() & {"fresh_train", "replay", "train_labels"}, "no label is trained on"
    assert made.origins["sources"]["user"] | {"labels": 0} == {
        **{"labels": 0, "train": len(outside), "compared": 0, "contradicted": 0, "left_out": False},
        **{"thumbs": 100, "thumbs_compared": 0, "thumbs_contradicted": 0},
        **{"trusted": False, "licence": "not stated"},
    }
    assert made.origins["train_calls_ms"] == (min(outside), max(outside))
    assert made.origins["verified_calls_ms"] == MADE.origins["verified_calls_ms"]


def test_no_thumb_on_a_question_that_judges_is_taught() -> None:
    given = [thumb(n, True) for n in range(200, 300)]
    frozen = [Row(prompt=each.prompt.upper(), completion="other") for each in given[:50]]
    kept = {row.prompt for row in lessons.thumbs(MADE, given, frozen, 0, RULES).train}
    assert not kept & {each.prompt for each in given[:50]}


def test_the_most_thumbs_of_an_answer_hold_and_a_tie_is_left_out() -> None:
    inside = [n for n in range(200, 400) if not held_out(SESSIONS[n % 60], MADE.held_out_share)]
    tied, first = inside[0], inside[1]
    others = [thumb(n, True) for n in inside[2:]]
    given = [thumb(tied, True), thumb(tied, False, tenant="b")]
    given += [thumb(first, False), thumb(first, False, tenant="b"), thumb(first, True, tenant="c")]
    found = {
        row.prompt: row.liked for row in lessons.thumbs(MADE, [*given, *others], [], 0, rules(max_wrong_share=1)).train
    }
    assert question(tied) not in found
    assert found[question(first)] is False


def test_too_few_thumbs_are_refused_in_words() -> None:
    with pytest.raises(TooSmall, match=r"kind kto: 0 answers with a thumb, at least 5 .* 0 thumbs were given"):
        lessons.thumbs(MADE, [], [], 0, RULES)


def test_a_teacher_is_asked_what_has_no_label() -> None:
    asked = [
        AskedCall(call_id=f"a-{n}", session=SESSIONS[n % 60], prompt=f"{question(n)} a@b.example")
        for n in range(300, 400)
    ]
    known = [AskedCall(call_id=call.call_id, session=call.session, prompt=call.prompt) for call in MADE.calls]
    made = lessons.unlabelled(MADE, [*asked, *known], [], 20, RULES)
    added = [row for row in made.train if not row.completion]
    assert made.counts["unlabelled"] == len(added) == 20
    assert set(MADE.train) < set(made.train)
    assert not any("a@b.example" in row.prompt for row in added)


def test_rows_that_differ_in_their_thumb_alone_have_an_order() -> None:
    rows = [Row(prompt="q", completion="a", liked=True), Row(prompt="q", completion="a", liked=False)]
    assert in_order(rows) == in_order(rows[::-1]) == tuple(rows[::-1])


def test_rows_of_labels_keep_their_form_and_digest() -> None:
    assert msgspec.json.encode(Row(prompt="q", completion="a")) == b'{"prompt":"q","completion":"a"}'
