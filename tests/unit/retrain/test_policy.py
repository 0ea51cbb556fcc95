"""The policy as a table: what is known → what is done."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from retrain.policy import ESTIMATE_MS, Collected, Known, job_id_of, on_alarm, on_order, while_collecting
from tests.unit.retrain.made import NOW, alarm, collecting, pipeline
from tidemill.settings.pipeline import QualitySettings


@pytest.mark.parametrize(
    ("kind", "known", "settings", "act", "words"),
    [
        ("quality", {}, {}, "open", "quality fell from 0.90 to 0.20"),
        ("latency", {}, {}, "ignore", "not about the model"),
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


def test_a_resolved_event_opens_nothing() -> None:
    assert on_alarm(alarm(state="resolved"), pipeline(), Known(now_ms=NOW)).act == "ignore"


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
