"""Split, duplicates, conflicts, replay, digest, least sizes."""

from __future__ import annotations

import dataclasses
import random

import pytest

from retrain.datasets.dataset import TooSmall, build, count, held_out, share_held_out
from retrain.datasets.rows import LabelledCall, Row, prompt_key
from tests.unit.retrain.made import rules

RULES = rules()
SESSIONS = [f"session-{n}" for n in range(60)]
OUT = [s for s in SESSIONS if held_out(s, RULES.holdout_share)]
IN = [s for s in SESSIONS if s not in OUT]


def call(number: int, session: str, **changes: str | int) -> LabelledCall:
    given: dict[str, str | int] = {
        "call_id": f"call-{number}",
        "call_time_ms": number,
        "label_time_ms": number + 10,
        "session": session,
        "source": "audit" if number % 2 else "user",
        "prompt": f"question {number}",
        "label": f"answer {number}",
    }
    return LabelledCall(**(given | changes))  # type: ignore[arg-type]


FRESH = [call(n, SESSIONS[n % 60]) for n in range(1000, 1120)]
OLDER = [call(n, SESSIONS[n % 60]) for n in range(0, 400)]


def test_training_and_judging_share_no_session_and_no_prompt() -> None:
    made = build(FRESH, OLDER, [], RULES)
    sessions = {c.prompt: c.session for c in [*FRESH, *OLDER]}
    assert {sessions[row.prompt] in OUT for row in made.train} == {False}
    assert {sessions[row.prompt] in OUT for row in made.verified} == {True}
    assert not {row.prompt for row in made.train} & {row.prompt for row in made.verified}


def test_only_trusted_sources_judge() -> None:
    sources = {c.prompt: c.source for c in FRESH}
    assert {sources[row.prompt] for row in build(FRESH, OLDER, [], RULES).verified} == {"audit"}


def test_replay_is_its_share_of_the_whole() -> None:
    for share in (0.0, 0.25, 0.5):
        made = build(FRESH, OLDER, [], dataclasses.replace(RULES, replay_share=share))
        assert made.counts["replay"] / made.counts["train"] == pytest.approx(share, abs=0.01)


def test_less_replay_than_wanted_takes_all_there_is() -> None:
    few = [c for c in OLDER if c.session in IN][:5]
    assert build(FRESH, few, [], RULES).counts["replay"] == 5


def test_a_trusted_label_of_a_prompt_beats_a_later_one_of_a_user() -> None:
    trusted = call(5000, IN[0], prompt="When?", label="right", source="audit")
    later = call(5001, IN[1], prompt="When?", label="wrong", source="user")
    made = build([*FRESH, trusted, later], [], [], RULES)
    assert [row.completion for row in made.train if row.prompt == "When?"] == ["right"]
    assert made.counts["conflicting_prompts"] == 1


def test_the_latest_label_of_a_prompt_holds_and_conflicts_are_counted() -> None:
    first = call(5000, IN[0], prompt="When?", label="old")
    later = call(5001, IN[1], prompt=" when? ", label="new")
    same = call(5002, IN[2], prompt="When?", label="new")
    made = build([*FRESH, later, first, same], [], [], RULES)
    kept = [row for row in made.train if prompt_key(row.prompt) == prompt_key("when?")]
    assert [row.completion for row in kept] == ["new"]
    assert (made.counts["conflicting_prompts"], made.counts["duplicates_left_out"]) == (1, 2)


def test_a_users_later_label_does_not_change_what_the_gate_believes() -> None:
    right = call(5001, OUT[0], prompt="When?", label="right", source="audit")
    wrong = call(5002, OUT[0], prompt="When?", label="wrong", source="user")
    rows = {row.prompt: row.completion for row in build([*FRESH, right, wrong], [], [], RULES).verified}
    assert rows["When?"] == "right"


def test_golden_prompts_are_in_neither() -> None:
    golden = [Row(prompt=text, completion="-") for text in (FRESH[0].prompt.upper(), OLDER[0].prompt)]
    made = build(FRESH, OLDER, golden, RULES)
    prompts = {prompt_key(row.prompt) for row in (*made.train, *made.verified)}
    assert not prompts & {prompt_key(row.prompt) for row in golden}
    assert made.counts["golden_left_out"] == 1


def test_digest_does_not_depend_on_order_and_does_on_content() -> None:
    shuffled = random.Random(1).sample(FRESH, len(FRESH))
    assert build(shuffled, OLDER[::-1], [], RULES) == build(FRESH, OLDER, [], RULES)
    other = [call(1000, SESSIONS[1000 % 60], label="another"), *FRESH[1:]]
    assert build(other, OLDER, [], RULES).digest != build(FRESH, OLDER, [], RULES).digest


def test_too_few_prompts_are_refused_with_the_setting_named() -> None:
    copies = [call(n, IN[0], prompt="the same") for n in range(50)]
    with pytest.raises(TooSmall, match=r"1 distinct labelled prompts.*50 labels.*retrain.floor_labels = 10"):
        build(copies, OLDER, [], RULES)


def test_all_sessions_held_out_is_refused() -> None:
    with pytest.raises(TooSmall, match="holdout_share"):
        build([call(n, OUT[n % len(OUT)]) for n in range(30)], [], [], RULES)


def test_more_sessions_are_held_out_where_trusted_labels_are_scarce() -> None:
    triples = [(c.session, c.source, c.prompt) for c in FRESH]
    assert share_held_out(triples, RULES) == RULES.holdout_share
    wanting = dataclasses.replace(RULES, holdout_share=0.1, min_verified=7)
    share = share_held_out(triples, wanting)
    assert 0.1 < share <= 0.15
    assert share_held_out(triples, dataclasses.replace(wanting, min_verified=500)) == pytest.approx(0.15)


def test_count_agrees_with_the_data_set() -> None:
    made = build(FRESH, OLDER, [], RULES)
    fresh, verified = count([(c.session, c.source, c.prompt) for c in FRESH], RULES)
    assert (fresh, verified) == (made.counts["fresh_prompts"], made.counts["verified"])


def test_labels_without_words_are_left_out_and_do_not_count_for_the_floor() -> None:
    blank = [call(5000 + n, SESSIONS[n], label=" \n", prompt=f"blank {n}") for n in range(20)]
    made = build([*FRESH, *blank], [*OLDER, call(1, IN[0], label="")], [], RULES)
    assert made.counts["empty_left_out"] == 20 and made.counts["golden_left_out"] == 0
    assert all(row.completion for row in (*made.train, *made.verified))
    with pytest.raises(TooSmall, match="0 distinct labelled prompts"):
        build(blank, OLDER, [], RULES)


def test_prompts_that_everybody_tells_otherwise_are_refused_as_disputed() -> None:
    told = [call(n, IN[0], source="user", tenant=tenant, label=tenant) for n in range(30) for tenant in "ab"]
    with pytest.raises(TooSmall, match=r"^0 fresh rows are left.*: 30 prompts have labels that differ, and no trusted"):
        build(told, [], [], RULES)
