"""A policy over a past: when it would have trained, and what that comes to."""

from __future__ import annotations

from typing import Any

import pytest

from retrain.replay import report
from retrain.replay.falls import Fall, measured
from retrain.replay.history import History, Training
from retrain.replay.report import Result
from retrain.replay.run import run
from tests.unit.retrain.made import alarm
from tests.unit.retrain_replay.made import SECOND, START, TURN, detector, falling, past, policy, seconds_of, steady
from tidemill.events import ThresholdEvent
from tidemill.settings import PipelineSettings

DROP = 0.1
PRICE = 2.0


def replayed(history: History, settings: PipelineSettings, falls: list[Fall] | None = None) -> Result:
    known = measured(history, DROP) if falls is None else falls
    done, world = run(history, settings, known, TURN, detector(settings))
    return report.replayed("p", history, done, world, TURN, PRICE)


def test_nothing_falls_and_nothing_is_trained() -> None:
    found = replayed(past(steady), policy())
    assert (found.triggers, found.falls, found.missed, found.loss, found.loss_avoided) == (0, 0, 0, 0, 0)
    assert (found.alarm_delay_s, found.gpu_cost_usd) == (None, 0)


def test_a_fall_is_answered_once() -> None:
    found = replayed(past(falling(1000)), policy())
    (answer,) = found.answers
    assert (found.alarms, found.false_alarms, found.triggers, found.false_triggers, found.missed) == (1, 0, 1, 0, 0)
    assert answer.alarm_ms is not None and answer.trigger_ms is not None and answer.takeover_ms is not None
    (alarmed, triggered, taken) = seconds_of([answer.alarm_ms, answer.trigger_ms, answer.takeover_ms])
    assert 1000 < alarmed < 1040
    assert 1100 <= triggered <= 1105, "a label a second, 100 needed since the change"
    assert taken == triggered + 90
    assert found.gpu_hours == pytest.approx(60 / 3600) and found.gpu_cost_usd == pytest.approx(PRICE * 60 / 3600)
    assert found.loss == pytest.approx(0.75 * 192 * 10, rel=0.1)
    assert found.loss_avoided == pytest.approx(0.75 * (2000 - 192) * 10, rel=0.1)


def test_a_policy_that_waits_for_more_labels_loses_more() -> None:
    history = past(falling(1000))
    quick, slow = replayed(history, policy()), replayed(history, policy(min_fresh_labels=400))
    assert quick.trigger_delay_s is not None and slow.trigger_delay_s is not None
    assert slow.trigger_delay_s - quick.trigger_delay_s == pytest.approx(300, abs=10)
    assert quick.loss is not None and slow.loss is not None
    assert quick.loss_avoided is not None and slow.loss_avoided is not None
    assert slow.loss - quick.loss == pytest.approx(0.75 * 300 * 10, rel=0.1)
    assert quick.loss + quick.loss_avoided == pytest.approx(slow.loss + slow.loss_avoided)


def test_a_policy_slower_than_what_happened_pays_beyond_what_was_measured() -> None:
    history = past(falling(1000, 1300, healed=True))
    slow = replayed(history, policy(min_fresh_labels=400))
    assert slow.answers[0].takeover_ms is not None and slow.answers[0].takeover_ms > START + 1400 * SECOND
    assert slow.loss_assumed == pytest.approx(0.75 * (490 - 300) * 10, rel=0.15)
    quick = replayed(history, policy(min_fresh_labels=60, floor_labels=60))
    assert quick.loss_assumed == 0


def test_without_labels_the_policy_gives_up_and_the_fall_is_missed() -> None:
    found = replayed(past(falling(1000), labels_from=5_000), policy())
    assert (found.triggers, found.missed, found.given_up) == (0, 1, 2), "once more after the cool-down"
    assert found.loss_avoided == 0 and found.trigger_delay_s is None and found.alarm_delay_s is not None


def test_at_the_deadline_fewer_labels_are_enough() -> None:
    found = replayed(past(falling(1000)), policy(min_fresh_labels=1000))
    assert found.trigger_delay_s is not None and 600 < found.trigger_delay_s < 640


def test_quality_that_comes_back_by_itself_ends_the_collection() -> None:
    history = past(falling(1000, 1080))
    done, _ = run(history, policy(min_fresh_labels=1000), measured(history, DROP), TURN, detector(policy()))
    assert (len(done.alarms), done.triggered, done.cancelled) == (1, [], 1)


def test_where_there_was_no_fall_the_training_is_false_and_tried_again_a_cool_down_later() -> None:
    found = replayed(past(falling(1000)), policy(max_attempts=2), falls=[])
    assert (found.false_alarms, found.triggers, found.false_triggers) == (1, 2, 2)
    first, second = seconds_of(found.trigger_times_ms)
    assert second - first >= 60 + 300
    assert (found.loss, found.loss_avoided, found.missed) == (0, 0, 0)


def test_a_cool_down_holds_back_the_answer_to_the_next_fall() -> None:
    def twice(second: int) -> tuple[float, str]:
        return (0.2 if 500 <= second < 900 or second >= 1000 else 0.95), "v1"

    history = past(twice, 4000)
    soon, late = replayed(history, policy(cooldown_s=10)), replayed(history, policy(cooldown_s=1500))
    assert (soon.falls, soon.triggers, late.triggers) == (2, 2, 2)
    assert late.answers[1].trigger_ms is not None and soon.answers[1].trigger_ms is not None
    assert late.answers[1].trigger_ms >= START + (600 + 90 + 1500) * SECOND > soon.answers[1].trigger_ms


def drifted(second: int) -> ThresholdEvent:
    return alarm("drift", alarm_id=f"drift-{second}", time_ms=START + second * SECOND)


def test_a_notice_of_drift_triggers_only_with_loss_and_labels() -> None:
    settings = policy(min_fresh_labels=50).model_copy(
        update={"quality": policy().quality.model_copy(update={"min_drop": 1.0})}
    )
    early = replayed(past(falling(1000), alarms=[drifted(1005)]), settings)
    assert (early.alarms, early.notices, early.triggers) == (0, 1, 0)
    told = replayed(past(falling(1000), alarms=[drifted(1100)]), settings)
    assert told.triggers == 0, "labels since the change of the notice (ten seconds before it) are too few"
    later = replayed(past(falling(1000), alarms=[_since(drifted(1200), 1000)]), settings)
    assert (later.triggers, later.false_triggers) == (1, 0)
    steady_ = replayed(past(steady, alarms=[_since(drifted(1200), 1000)]), settings)
    assert steady_.triggers == 0, "no loss"


def _since(event: ThresholdEvent, second: int) -> ThresholdEvent:
    import msgspec

    data = msgspec.structs.replace(event.data, change_time_ms=START + second * SECOND)
    return msgspec.structs.replace(event, data=data)


def test_disabled_means_never() -> None:
    assert replayed(past(falling(1000)), policy(enabled=False)).triggers == 0


def test_what_really_happened_is_judged_alike() -> None:
    began = START + 1150 * SECOND
    more: dict[str, Any] = {
        "alarms": [alarm(time_ms=START + 1010 * SECOND), drifted(1020)],
        "trainings": [Training(began, began + 40 * SECOND, began + 110 * SECOND), Training(START + 50 * SECOND, None)],
    }
    history = past(falling(1000, 1250, healed=True), **more)
    falls = measured(history, DROP)
    found = report.recorded(history, falls, TURN, None)
    assert (found.alarms, found.notices, found.triggers, found.false_triggers, found.missed) == (1, 1, 2, 1, 0)
    assert found.trigger_delay_s == pytest.approx(150, abs=6)
    assert found.gpu_hours == pytest.approx((40 + 60) / 3600) and found.gpu_cost_usd is None
    assert found.answers[0].takeover_ms == falls[0].healed_ms
    assert found.loss_assumed == 0
    assert report.usual_turn([history]) == (40 * SECOND, 70 * SECOND)
    assert report.usual_turn([past(steady)]) == (None, None)


def test_progress_is_told() -> None:
    told: list[int] = []
    run(past(steady), policy(), [], TURN, detector(policy()), told.append)
    assert told == [1000, 2000, 3000]
