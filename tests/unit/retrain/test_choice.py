"""Near prompts are found and only they; nothing leaks from what the gate judges by; what is private is not taught."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.language import generate
from retrain.datasets.choice import Choice
from retrain.datasets.dataset import TooSmall, build, held_out
from retrain.datasets.nearness import Near, likeness, shingles
from retrain.datasets.rows import LabelledCall, Row
from tests.unit.retrain.made import rules
from tests.unit.retrain.poisoned import call

ASKED = "Can you set up payroll with Paul, tuesday at 17:15, 45 minutes, online?"


def asked(number: int, prompt: str, label: str = "yes", source: str = "user") -> LabelledCall:
    return LabelledCall(
        call_id=f"call-{number}",
        call_time_ms=number,
        label_time_ms=number,
        session=f"session-{number}",
        source=source,
        prompt=prompt,
        label=label,
    )


@pytest.mark.parametrize(
    ("other", "near"),
    [
        (ASKED, True),
        (ASKED.upper().replace(",", ";").replace("?", " ... "), True),
        (ASKED + " Ok.", True),
        (ASKED.replace("Paul", "Anna"), False),
        ("Where is my order?", False),
        ("", False),
    ],
)
def test_a_comma_is_near_and_another_name_is_not(other: str, near: bool) -> None:
    known = Near(0.9)
    known.add(ASKED, "yes")
    assert known.has(other, " yes ") is near
    assert known.has(other, "no") is False, "another answer tells something new"


def test_at_one_only_the_same_words_are_near() -> None:
    known = Near(1.0)
    known.add(ASKED, "yes")
    assert known.has(ASKED.replace("?", "!"), "yes")
    assert not known.has(ASKED + " Ok.", "yes")


texts = st.text("abc ,.", max_size=30)


@settings(deadline=None, max_examples=50)
@given(known=st.lists(texts, max_size=8), asked_for=texts, threshold=st.sampled_from([0.5, 0.8, 1.0]))
def test_what_is_called_near_is_near(known: list[str], asked_for: str, threshold: float) -> None:
    near = Near(threshold)
    for text in known:
        near.add(text, "x")
    alike = [likeness(shingles(asked_for), shingles(text)) for text in known]
    if near.has(asked_for, "x"):
        assert max(alike) >= threshold
    elif alike:
        assert max(alike) < 1, "the same words are always found"


def test_hardly_a_near_one_is_missed() -> None:
    rng = Random(1)
    near, missed, true = Near(0.9), 0, 0
    prompts = [said.text for said in generate("support", "long", rng, 200)]
    for text in prompts:
        near.add(text, "x")
    for text in prompts:
        place = rng.randrange(len(text))
        changed = text[:place] + "q" + text[place + 1 :]
        if max(likeness(shingles(changed), shingles(known)) for known in prompts) >= 0.9:
            true += 1
            missed += not near.has(changed, "x")
    assert true > 150
    assert missed <= 0.02 * true


def test_no_row_is_near_one_that_the_gate_judges_by() -> None:
    choice = Choice([Row(prompt=ASKED, completion="yes")], rules())
    calls = [asked(1, ASKED.replace(",", "")), asked(2, ASKED + " Thanks!", "no"), asked(3, "Where is my order?")]
    assert {each.call_id for each in choice.fresh(calls, 0, [])} == {"call-2", "call-3"}
    assert choice.leaks == 1


def test_of_near_ones_the_trusted_label_stays_and_replay_repeats_nothing() -> None:
    choice = Choice([], rules())
    kept = choice.fresh([asked(n, ASKED + "?" * n) for n in range(5)] + [asked(9, ASKED, source="audit")], 0, [])
    assert [each.source for each in kept] == ["audit"]
    assert choice.near_duplicates == 5
    assert choice.replayed([asked(10, ASKED + "."), asked(11, "Where is my order?")], 5, []) == [
        asked(11, "Where is my order?")
    ]


def test_golden_and_verified_do_not_leak_through_a_comma() -> None:
    audits = [call(n, "a", f"answer {n}", "audit") for n in range(200)]
    judged = build(audits, [], [], rules()).verified
    copies = [asked(n, row.prompt + " !", row.completion) for n, row in enumerate(judged, start=5_000)]
    golden = [Row(prompt=audits[3].prompt + ", please", completion="-")]
    made = build([*audits, *copies], [], golden, rules(near_duplicate=1.0))
    seen = {shingles(row.prompt) for row in made.train}
    assert not seen & {shingles(row.prompt) for row in made.verified}
    free = sum(not held_out(each.session, made.counts["held_out_percent"] / 100) for each in copies)
    assert 0 < made.counts["near_judged_left_out"] <= free


def test_what_points_at_a_person_is_not_taught() -> None:
    calls = [
        asked(1, "write to ann@example.org, order 4839", "order_status"),
        asked(2, "call me", "call +41 44 668 18 00"),
        asked(3, "tuesday 15:30 for 60m", "tue 15:30 60m"),
    ]
    choice = Choice([], rules())
    assert {(each.prompt, each.label) for each in choice.fresh(calls, 0, [])} == {
        ("write to [email], order 4839", "order_status"),
        ("tuesday 15:30 for 60m", "tue 15:30 60m"),
    }
    assert (choice.private_labels, choice.scrubbed) == (1, 1)
    kept = Choice([], rules(scrub=False)).fresh(calls, 0, [])
    assert sorted(each.call_id for each in kept) == ["call-1", "call-2", "call-3"]
    assert {each.prompt for each in kept} == {each.prompt for each in calls}


def test_where_the_answers_wanted_are_private_it_says_which_setting_to_change() -> None:
    calls = [call(n, "a", f"2026-11-{n % 30:02d} for person {n}") for n in range(100)]
    with pytest.raises(TooSmall, match=r"labels hold an e-mail address or a long number.*retrain\.scrub: false"):
        build(calls, [], [], rules())
    assert build(calls, [], [], rules(scrub=False)).counts["train"] > 50


@pytest.mark.parametrize(("pipeline", "way"), [("schedule", "plain"), ("schedule", "words"), ("support", "novel")])
def test_the_demos_labels_are_nearly_all_trained_on(pipeline: str, way: str) -> None:
    said = generate(pipeline, way, Random(1), 300)
    kept = Choice([], rules()).fresh([asked(n, each.text, each.truth) for n, each in enumerate(said)], 0, [])
    assert len(kept) >= 0.97 * len({each.text for each in said})
    assert {each.prompt for each in kept} <= {each.text for each in said}, "nothing in them is scrubbed"
