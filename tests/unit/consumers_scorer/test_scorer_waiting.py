"""Waiting labels: when they are looked up, when they are dropped, which offset is committed."""

from __future__ import annotations

from dataclasses import replace

from consumers.scorer.scores import Answer, is_label, is_score, score_of
from consumers.scorer.waiting import GIVE_UP_S, LATE_SHADOW_S, Waiting
from tidemill.events import Feedback
from tidemill.ids import uuid7

NOW_MS = 1_700_000_000_000
CALL = uuid7(NOW_MS, bytes(10))


def label(value: str | None = "tue 15:30", *, call_id: str = CALL, call_ms: int = NOW_MS) -> Feedback:
    return Feedback(
        feedback_id=f"label-{call_id}",
        call_id=call_id,
        time_ms=call_ms + 500,
        call_time_ms=call_ms,
        pipeline="schedule",
        kind="label",
        source="client",
        value=value,
    )


def answer(role: str = "client", text: str = "tue 15:30") -> Answer:
    version = "schedule-v1" if role == "client" else "schedule-v2"
    return Answer(CALL, CALL if role == "client" else uuid7(NOW_MS, b"1" * 10), role, version, "champion", NOW_MS, text)


def test_score_depends_on_label_and_answer_alone() -> None:
    one, two = score_of(label(), answer(), "exact_match"), score_of(label(), answer(), "exact_match")
    assert one is not None and one == two
    assert (one.score, one.kind, one.source, one.label_source) == (1.0, "score", "scorer", "client")
    assert one.time_ms == label().time_ms and one.call_time_ms == NOW_MS
    assert is_score(one) and not is_label(one)


def test_shadow_answer_is_scored_as_shadow_under_its_own_id() -> None:
    shadow = score_of(label(), answer("shadow", "wrong"), "exact_match")
    client = score_of(label(), answer(), "exact_match")
    assert shadow is not None and client is not None
    assert (shadow.score, shadow.variant, shadow.model_version) == (0.0, "shadow", "schedule-v2")
    assert shadow.feedback_id != client.feedback_id


def test_label_the_metric_cannot_read_gives_no_score() -> None:
    assert score_of(label("{not json"), answer(), "json_equal") is None


def test_empty_or_judged_feedback_is_no_label() -> None:
    assert is_label(label())
    assert not is_label(label(None))
    assert not is_label(label(""))


def test_label_waits_for_its_answer_then_for_late_shadows_then_goes() -> None:
    waiting = Waiting()
    waiting.read(0, 8)
    waiting.add(0, 7, label(), 0.0, NOW_MS)
    (first,) = waiting.due(0.0, 10)
    waiting.looked(first, [], 0.0)
    assert not waiting.due(0.2, 10) and waiting.due(0.31, 10)
    waiting.looked(first, [answer()], 0.4)
    assert waiting.offsets() == {0: 7}, "still waits for a late shadow"
    waiting.looked(first, [answer(), answer("shadow")], LATE_SHADOW_S)
    assert len(waiting) == 0 and waiting.offsets() == {0: 8}


def test_backlog_is_not_held_for_shadows() -> None:
    waiting = Waiting()
    waiting.add(0, 7, label(call_ms=NOW_MS - 3_600_000), 0.0, NOW_MS)
    (first,) = waiting.due(0.0, 10)
    waiting.looked(first, [answer()], 2.0)
    assert len(waiting) == 0


def test_unanswered_label_is_overdue_and_only_then() -> None:
    waiting = Waiting()
    waiting.add(0, 7, label(), 0.0, NOW_MS)
    assert waiting.overdue(GIVE_UP_S) == []
    (late,) = waiting.overdue(GIVE_UP_S + 0.1)
    waiting.give_up(late)
    assert len(waiting) == 0


def test_commit_stays_at_the_first_waiting_label_of_each_partition() -> None:
    waiting = Waiting()
    for offset in (3, 5):
        waiting.add(1, offset, label(), 0.0, NOW_MS)
    waiting.read(1, 9)
    waiting.read(2, 4)
    assert waiting.offsets() == {1: 3, 2: 4}
    waiting.forget(1)
    assert waiting.offsets() == {2: 4} and len(waiting) == 0


def test_a_score_says_in_which_slices_its_answer_is() -> None:
    sliced = replace(answer(), tenant="acme", prompt_version="2", attributes={"language": "de", "team": "x"})
    dimensions = ("tenant", "attributes.language", "attributes.region")
    found = score_of(label(), sliced, "exact_match", dimensions)
    plain = score_of(label(), sliced, "exact_match")
    assert found is not None and plain is not None
    assert found.slices == {"tenant": "acme", "attributes.language": "de", "attributes.region": ""}
    assert (plain.slices, plain.feedback_id) == ({}, found.feedback_id), "the id depends on no setting"


def test_remembered_scores_are_bounded() -> None:
    waiting = Waiting()
    for number in range(50_010):
        waiting.remember(str(number))
    assert len(waiting.said) == 50_000 and "0" not in waiting.said
