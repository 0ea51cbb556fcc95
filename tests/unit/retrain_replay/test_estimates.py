"""Estimates without labels in a replay: a notice of drift starts a training by them, at the time they were said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.controller.labels import BEFORE_MS
from retrain.datasets import dataset
from retrain.datasets.rules import rules_of
from retrain.replay import report
from retrain.replay.falls import measured
from retrain.replay.heard import Heard
from retrain.replay.history import Estimate, History, Label, Training
from retrain.replay.report import Result
from retrain.replay.run import run
from tests.unit.retrain.made import alarm, pipeline
from tests.unit.retrain_replay.made import SECOND, START, TURN, detector, falling, past, policy, seconds_of, steady
from tidemill.events import ThresholdEvent
from tidemill.settings import PipelineSettings, QualitySettings

DROP, FALL, NOTICE = 0.1, 1_000, 1_005
SAID = 1_056
"""The first estimate that is about answers since the fall alone begins at 1,020 and is said then."""


def estimates(high: Callable[[int], float], seconds: int = 3_000) -> list[Estimate]:
    """One each half minute, said six seconds after its end."""
    begins = ((begin, START + begin * SECOND) for begin in range(0, seconds - 36, 30))
    return [Estimate(start + 36 * SECOND, start, start + 30 * SECOND, high(begin)) for begin, start in begins]


def low_since_the_fall(begin: int) -> float:
    return 0.97 if begin < FALL - 30 else 0.5


def notice(second: int = NOTICE, change: int = FALL) -> ThresholdEvent:
    event = alarm("drift", alarm_id=f"drift-{second}", time_ms=START + second * SECOND)
    data = msgspec.structs.replace(event.data, change_time_ms=START + change * SECOND)
    return msgspec.structs.replace(event, data=data)


def settings(estimate: bool = True, **retrain: Any) -> PipelineSettings:
    """Alarms on quality are out of the way: what starts a training is drift alone."""
    given = {"min_fresh_labels": 20, "floor_labels": 20, "cooldown_s": 0} | retrain
    return policy(**given).model_copy(update={"quality": QualitySettings(min_drop=1, estimate=estimate)})


def unscored(history: History, since: int = FALL) -> History:
    """Labels come, but nobody has scored them."""
    return replace(history, scores=[p for p in history.scores if p.call_time_ms < START + since * SECOND])


def replayed(history: History, chosen: PipelineSettings) -> Result:
    falls = measured(past(falling(FALL)), DROP)
    done, world = run(history, chosen, falls, TURN, detector(chosen))
    return report.replayed("p", history, done, world, TURN)


def test_a_notice_starts_a_training_when_the_first_sure_estimate_since_its_change_is_said() -> None:
    history = unscored(past(falling(FALL), alarms=[notice()], estimates=estimates(low_since_the_fall)))
    found = replayed(history, settings())
    assert seconds_of(found.trigger_times_ms) == [SAID]
    assert (found.alarms, found.triggers, found.drift_triggers, found.false_triggers, found.missed) == (0, 1, 1, 0, 0)


@pytest.mark.parametrize("high", [0.97, 0.9])
def test_an_interval_that_allows_the_quality_of_before_starts_nothing(high: float) -> None:
    history = unscored(past(falling(FALL), exact=True, alarms=[notice()], estimates=estimates(lambda _: high)))
    assert replayed(history, settings()).triggers == 0
    assert replayed(history, settings(max_drift_loss=0.04)).triggers == (high == 0.9)


def test_without_estimates_or_with_the_setting_off_drift_alone_waits_for_scores() -> None:
    bare = unscored(past(falling(FALL), alarms=[notice()]))
    told = replace(bare, estimates=estimates(low_since_the_fall))
    expected = replayed(bare, settings(estimate=False))
    assert expected.triggers == 0
    assert replayed(bare, settings()) == replayed(told, settings(estimate=False)) == expected


def test_where_the_estimate_is_unsure_the_notice_is_judged_anew_as_scores_come() -> None:
    late = 600 * SECOND
    made = past(falling(FALL), alarms=[notice()], estimates=estimates(lambda _: 0.97, 1_100))
    since = START + FALL * SECOND
    history = replace(
        made,
        scores=[
            msgspec.structs.replace(p, time_ms=p.time_ms + late) if p.call_time_ms >= since else p for p in made.scores
        ],
        labels=[
            label._replace(time_ms=label.time_ms + late) if label.call_time_ms >= since else label
            for label in made.labels
        ],
    )
    (second,) = seconds_of(replayed(history, settings(min_fresh_labels=100)).trigger_times_ms)
    there = FALL + 600 + 2 + 99
    assert there <= second <= there + 10, "the controller looks each ten seconds"


def test_labels_that_speak_against_it_keep_the_training_back() -> None:
    history = past(steady, alarms=[notice()], estimates=estimates(low_since_the_fall))
    assert replayed(history, settings()).triggers == 0


def test_estimates_of_a_champion_that_the_policy_has_replaced_say_nothing() -> None:
    history = unscored(past(falling(FALL), alarms=[notice(), notice(1_300, 1_250)]))
    history = replace(history, estimates=estimates(low_since_the_fall))
    assert replayed(history, settings()).triggers == 1, "the second notice is about answers that were not given"


def test_an_estimate_that_was_wrong_starts_false_trainings() -> None:
    history = unscored(past(steady, alarms=[notice()], estimates=estimates(low_since_the_fall)))
    chosen = settings(max_attempts=2)
    done, world = run(history, chosen, [], TURN, detector(chosen))
    found = report.replayed("p", history, done, world, TURN)
    assert (found.triggers, found.drift_triggers, found.false_triggers) == (2, 2, 2)


def test_what_really_began_from_drift_is_counted_alike() -> None:
    ran = [Training(START + 1_060 * SECOND, None, drift=True), Training(START + 2_000 * SECOND, None)]
    found = report.recorded(past(falling(FALL), trainings=ran), [], TURN, None)
    assert (found.triggers, found.drift_triggers) == (2, 1)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 5)), max_size=30),
    st.lists(st.tuples(st.integers(-BEFORE_MS, 9), st.floats(0, 1)), max_size=30),
    st.lists(st.integers(0, 9), max_size=5),
)
def test_what_is_known_of_a_change_grows_to_what_a_look_at_everything_says(
    labels: list[tuple[int, int, int]], scores: list[tuple[int, float]], looks: list[int]
) -> None:
    since = 4
    told = [Label(at, called, f"s{prompt}", "user", f"p{prompt}") for at, called, prompt in sorted(labels)]
    heard = Heard(replace(past(seconds=1), labels=told), pipeline())
    for number, (called, score) in enumerate(scores):
        heard.score(called, score)
        if number < len(looks):
            heard.since(since, sorted(looks)[number])
    found = heard.since(since, 9)
    fresh = [label[2:] for label in told if label.call_time_ms >= since]
    assert found.fresh == dataset.count(fresh, rules_of(pipeline()))[0]
    before = [score for called, score in scores if since - BEFORE_MS <= called < since]
    after = [score for called, score in scores if called >= since]
    if before and after:
        assert found.estimated_loss == pytest.approx(sum(before) / len(before) - sum(after) / len(after))
    else:
        assert found.estimated_loss is None
