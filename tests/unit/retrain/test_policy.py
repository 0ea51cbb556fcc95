"""The policy as a table: what is known → what is done."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from retrain.policy import (
    ESTIMATE_MS,
    Collected,
    Decision,
    Funds,
    Known,
    Trigger,
    by_age,
    by_alarm,
    by_order,
    by_schedule,
    decide,
    job_id_of,
    while_collecting,
)
from tests.unit.retrain.made import NOW, alarm, collecting, pipeline
from tidemill.events import ThresholdEvent
from tidemill.settings import PipelineSettings, QualitySettings, TriggerSettings

DAY_MS = 86_400_000


def on_alarm(event: ThresholdEvent, settings: PipelineSettings, known: Known) -> Decision:
    trigger = by_alarm(event)
    assert trigger is not None
    return decide(trigger, settings, known)


def on_order(settings: PipelineSettings, known: Known) -> Decision:
    return decide(by_order("order-1", "schedule", NOW, NOW - 1_000), settings, known)


@pytest.mark.parametrize(
    ("kind", "known", "settings", "act", "words"),
    [
        ("quality", {}, {}, "open", "quality fell from 0.90 to 0.20"),
        ("quality", {"busy": "job abc (training)"}, {}, "decline", "job abc (training) is under way"),
        ("quality", {"last_end_ms": NOW - 20_000}, {}, "decline", "cooling down for another 40 s"),
        ("quality", {"last_end_ms": NOW - 60_000}, {}, "open", "collecting"),
        ("quality", {"resolved": True}, {}, "decline", "resolved before"),
        ("quality", {"trains_here": False}, {}, "decline", "provider"),
        ("quality", {}, {"retrain": {"enabled": False}}, "decline", "retrain.enabled is false"),
        ("drift", {}, {}, "wait", "store"),
        ("drift", {"fresh_labels": 500}, {}, "decline", "no scores"),
        ("drift", {"fresh_labels": 500, "estimated_loss": 0.02}, {}, "decline", "estimated loss 0.02"),
        ("drift", {"fresh_labels": 200, "estimated_loss": 0.5}, {}, "decline", "200 fresh labels are fewer"),
        ("drift", {"fresh_labels": 300, "estimated_loss": 0.1}, {}, "open", "drifted"),
        ("drift", {"fresh_labels": 9, "sure_loss": 0.2}, {}, "open", "drifted"),
        ("drift", {"fresh_labels": 9, "sure_loss": 0.04}, {}, "decline", "without labels only of 0.04"),
        ("drift", {"fresh_labels": 9, "sure_loss": 0.2, "estimated_loss": 0.02}, {}, "decline", "estimated loss 0.02"),
        ("drift", {"fresh_labels": 300, "estimated_loss": 0.5, "busy": "a job"}, {}, "decline", "under way"),
    ],
)
def test_alarm(kind: Any, known: dict[str, Any], settings: dict[str, Any], act: str, words: str) -> None:
    decision = on_alarm(alarm(kind), pipeline(**settings), Known(now_ms=NOW, **known))
    assert decision.act == act
    assert words in decision.reason


def test_only_firing_alarms_about_the_model_are_triggers() -> None:
    assert by_alarm(alarm("latency")) is None
    assert by_alarm(alarm(state="resolved")) is None


def test_an_alarm_on_a_slice_alone_opens_nothing_and_leaves_no_record() -> None:
    of_slice = alarm()
    of_slice = replace(of_slice, data=replace(of_slice.data, slice="tenant=acme"))
    decision = on_alarm(of_slice, pipeline(), Known(now_ms=NOW))
    assert (decision.act, "tenant=acme alone" in decision.reason) == ("ignore", True)
    drift = alarm("drift")
    drift = replace(drift, data=replace(drift.data, slice="tenant=acme"))
    known = Known(now_ms=NOW, fresh_labels=300, estimated_loss=0.3)
    assert on_alarm(drift, pipeline(), known).act == "open", "a notice is judged by the scores of all"


def test_declines_that_pass_say_when_to_look_again() -> None:
    cooling = on_alarm(alarm(), pipeline(), Known(now_ms=NOW, last_end_ms=NOW - 20_000))
    assert cooling.again_ms == NOW + 40_000
    assert on_alarm(alarm("drift"), pipeline(), Known(now_ms=NOW, fresh_labels=9, estimated_loss=0)).again_ms is None


def test_where_quality_is_estimated_a_drift_alarm_is_looked_at_again() -> None:
    estimated = pipeline(quality=QualitySettings(estimate=True))
    declined = on_alarm(alarm("drift"), estimated, Known(now_ms=NOW, fresh_labels=9))
    assert (declined.act, declined.again_ms) == ("decline", NOW + ESTIMATE_MS)


def test_the_same_alarm_means_the_same_job() -> None:
    assert job_id_of("alarm-1") == job_id_of("alarm-1") != job_id_of("alarm-2")


def test_an_order_skips_the_cooldown_but_not_the_queue() -> None:
    assert on_order(pipeline(), Known(now_ms=NOW, last_end_ms=NOW)).act == "open"
    assert on_order(pipeline(), Known(now_ms=NOW, busy="job abc (gating)")).act == "decline"
    assert on_order(pipeline(), Known(now_ms=NOW, trains_here=False)).act == "decline"
    thumbs = pipeline(quality=QualitySettings(metric="thumb"), retrain={"enabled": False})
    assert on_order(thumbs, Known(now_ms=NOW)).act == "decline"


@pytest.mark.parametrize(
    ("champion", "words"),
    [
        ("schedule-v2", ""),
        ("schedule-v50", ""),
        ("schedule-v51", "schedule-v51 serves, and versions.schedule-v51 is 'model' on the engine 'green'"),
        ("schedule-v52", ""),
        ("schedule-v53", "schedule-v53 with the model of schedule-v51 serves"),
    ],
)
def test_no_job_begins_where_no_adapter_of_the_engine_serves(champion: str, words: str) -> None:
    declared = {
        "schedule-v50": {"kind": "adapter", "adapter": "a"},
        "schedule-v51": {"kind": "model", "engine": "green"},
        "schedule-v52": {"kind": "prompt", "prompt_version": "2"},
        "schedule-v53": {"kind": "prompt", "of": "schedule-v51", "prompt_version": "2"},
    }
    decision = on_order(pipeline(versions=declared), Known(now_ms=NOW, champion=champion))
    assert decision.act == ("decline" if words else "open")
    assert words in decision.reason and decision.cause == ("champion" if words else "open")


def trigger_of(kind: str) -> Trigger:
    made = {
        "schedule": by_schedule("schedule", NOW - 1_000, NOW - 500_000, slack_s=60),
        "age": by_age("schedule", "schedule-v1", NOW - 8 * DAY_MS, days=7),
        "order": by_order("order-1", "schedule", NOW, NOW - 1_000),
        "quality": by_alarm(alarm()),
        "drift": by_alarm(alarm("drift")),
    }[kind]
    assert made is not None and made.kind == kind
    return made


@pytest.mark.parametrize("kind", ["schedule", "age"])
@pytest.mark.parametrize(
    ("known", "act", "cause"),
    [
        ({}, "wait", "unknown"),
        ({"fresh_labels": 299}, "decline", "few_labels"),
        ({"fresh_labels": 300}, "open", "open"),
        ({"fresh_labels": 300, "busy": "a job"}, "decline", "busy"),
        ({"fresh_labels": 300, "last_end_ms": NOW - 1}, "decline", "cooldown"),
        ({"fresh_labels": 300, "trains_here": False}, "decline", "provider"),
        ({"fresh_labels": 300, "funds": Funds(expected_s=60, spent_s=1, budget_s=60)}, "decline", "pipeline_budget"),
        ({"fresh_labels": 300, "funds": Funds(expected_s=60, spent_all_s=1, budget_all_s=60)}, "decline", "budget"),
        ({"fresh_labels": 300, "funds": Funds(expected_s=60, spent_s=0, budget_s=60)}, "open", "open"),
    ],
)
def test_schedule_and_age(kind: str, known: dict[str, Any], act: str, cause: str) -> None:
    decision = decide(trigger_of(kind), pipeline(), Known(now_ms=NOW, **known))
    assert (decision.act, decision.cause) == (act, cause), decision.reason


def test_an_occurrence_that_could_not_begin_in_time_is_passed_over() -> None:
    trigger = trigger_of("schedule")
    assert decide(trigger, pipeline(), Known(now_ms=NOW + 59_000, fresh_labels=300)).act == "open"
    late = decide(trigger, pipeline(), Known(now_ms=NOW + 59_001, fresh_labels=300))
    assert (late.act, late.cause, late.again_ms) == ("decline", "passed_over", None)


def test_the_same_cause_has_the_same_id() -> None:
    def ids(pipeline: str, at: int) -> set[str]:
        return {by_schedule(pipeline, at, 1, 2.0).trigger_id, by_age(pipeline, f"{pipeline}-v{at}", 1, 2.0).trigger_id}

    assert ids("a", 5) == ids("a", 5) and len(ids("a", 5) | ids("a", 6) | ids("b", 5)) == 6


WORTH: dict[str, Any] = {
    "usd_per_point": 0.01,
    "gain_horizon_days": 10,
    "expected_recovery": 0.5,
    "min_gain_ratio": 2.0,
}
PRICE = Funds(expected_s=1_800, usd_per_hour=100.0)
"""A job costs 50 USD. Of a fall of 0.7 half is expected back: 0.035 USD for each call a day."""


@pytest.mark.parametrize(
    ("kind", "known", "act", "cause"),
    [
        ("quality", {}, "wait", "unknown"),
        ("quality", {"fresh_labels": 0, "calls_per_day": 2_857}, "decline", "gain"),
        ("quality", {"fresh_labels": 0, "calls_per_day": 2_858}, "open", "open"),
        ("quality", {"fresh_labels": 9, "calls_per_day": 2_858, "estimated_loss": 0.6}, "decline", "gain"),
        ("quality", {"fresh_labels": 9, "calls_per_day": 0, "estimated_loss": -0.2}, "decline", "gain"),
        ("quality", {"fresh_labels": 0, "calls_per_day": None}, "open", "open"),
        ("drift", {"fresh_labels": 9, "calls_per_day": 2_858, "sure_loss": 0.7}, "open", "open"),
        ("drift", {"fresh_labels": 9, "calls_per_day": 2_858, "sure_loss": 0.3}, "decline", "gain"),
        ("order", {}, "open", "open"),
        ("schedule", {"fresh_labels": 300, "calls_per_day": 1}, "open", "open"),
        ("age", {"fresh_labels": 300, "calls_per_day": 1}, "open", "open"),
    ],
)
def test_an_alarm_must_pay(kind: str, known: dict[str, Any], act: str, cause: str) -> None:
    settings = pipeline(trigger=TriggerSettings(**WORTH))
    decision = decide(trigger_of(kind), settings, Known(now_ms=NOW, funds=PRICE, **known))
    assert (decision.act, decision.cause) == (act, cause), decision.reason
    assert decision.signals["cost_usd"] == 50
    if act == "open" and kind == "quality":
        weighed = known["calls_per_day"] is not None
        assert any("against 50.00 USD of GPU" in reason for reason in decision.reasons) is weighed
        assert ("gain not weighed: loss or traffic is not known" in decision.reasons) is not weighed


def test_all_that_stands_in_the_way_is_said_and_the_first_decides() -> None:
    funds = Funds(expected_s=3_600, spent_s=3_600, budget_s=5_400)
    decision = decide(trigger_of("quality"), pipeline(), Known(now_ms=NOW, busy="a job", last_end_ms=NOW, funds=funds))
    assert (decision.act, decision.cause, len(decision.reasons)) == ("decline", "busy", 3)
    assert "gpu_budget_hours 1.5: 1.00 h are spent or promised" in decision.reasons[2]
    assert decision.signals["fresh_labels"] is None, "what is not known is not zero"


def test_an_order_is_bound_by_the_budget_and_by_nothing_but_it_and_the_queue() -> None:
    funds = Funds(expected_s=60, spent_s=1, budget_s=60)
    decision = on_order(pipeline(), Known(now_ms=NOW, funds=funds))
    assert (decision.act, decision.cause, decision.again_ms) == ("decline", "pipeline_budget", None)


LATE = NOW + 240_000


@pytest.mark.parametrize(
    ("now", "fresh", "verified", "resolved", "act", "words"),
    [
        (NOW, 299, 50, False, "wait", "299 of 300"),
        (NOW, 300, 50, False, "start", "300 fresh labels"),
        (NOW, 300, 19, False, "wait", "19 of 20 verified"),
        (NOW, None, None, False, "wait", "store"),
        (LATE, None, None, False, "wait", "store"),
        (LATE, 100, 20, False, "start", "deadline: 100 of 300"),
        (LATE, 99, 20, False, "give_up", "only 99 fresh labels"),
        (LATE, 200, 19, False, "give_up", "only 19 verified"),
        (NOW, 500, 50, True, "cancel", "came back by itself"),
    ],
)
def test_collecting(now: int, fresh: Any, verified: Any, resolved: bool, act: str, words: str) -> None:
    seen = Collected(now_ms=now, resolved=resolved, fresh=fresh, verified=verified)
    did, reason = while_collecting(collecting(), pipeline(), seen)
    assert (did, words in reason) == (act, True), reason
