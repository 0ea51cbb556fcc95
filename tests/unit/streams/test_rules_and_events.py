"""Service-level rules with hysteresis, and the sentences of threshold events."""

from __future__ import annotations

import pytest

from streams import thresholds
from streams.alarms import Alarm, Transition
from streams.budgets import Spend
from streams.levels import Levels
from streams.rules import RuleState
from streams.thresholds import Cause
from streams.windows.figures import Figure
from tests.unit.streams.drawing import START_MS
from tidemill.settings import PipelineSettings, RuleSettings

ERRORS = RuleSettings(name="errors", metric="error_rate", above=0.2, leave=0.05, for_windows=2, min_count=10)


def share(value: float, n: int = 50) -> Figure:
    return Figure(n, value * n, 0.0, value)


def judge(rule: RuleSettings, *window: Figure | None) -> list[str]:
    """What the rule says after each window: firing, resolved or nothing."""
    state = RuleState(metric=rule.metric)
    told: list[str] = []
    for index, figure in enumerate(window):
        start_ms = START_MS + index * 5_000
        found = state.judge("p", rule, figure, start_ms, start_ms + 5_000)
        told.append(found.state if found else "")
    return told


def test_it_fires_after_enough_windows_in_a_row() -> None:
    assert judge(ERRORS, share(0.5), share(0.1), share(0.5), share(0.5), share(0.5)) == ["", "", "", "firing", ""]


def test_it_resolves_only_past_leave_and_as_long() -> None:
    told = judge(ERRORS, share(0.5), share(0.5), share(0.1), share(0.04), share(0.1), share(0.01), share(0.02))
    assert told == ["", "firing", "", "", "", "", "resolved"]


def test_windows_that_say_nothing_change_nothing() -> None:
    told = judge(ERRORS, share(0.5), None, share(0.0, n=9), share(0.5), None, share(0.0), share(0.9, n=3), share(0.0))
    assert told == ["", "", "", "firing", "", "", "", "resolved"]


def test_exactly_the_limit_is_no_breach() -> None:
    assert judge(ERRORS, share(0.2), share(0.2), share(0.2)) == ["", "", ""]


def test_below_and_counts_need_no_min_count() -> None:
    rule = RuleSettings(name="quiet", metric="requests", below=1, for_windows=2, min_count=10)
    nothing = Figure(0, 0.0, 0.0, 0.0)
    assert judge(rule, nothing, nothing, share(4), share(4)) == ["", "firing", "", "resolved"]


def test_quantiles() -> None:
    rule = RuleSettings(name="latency", metric="e2e_ms", statistic="p95", above=1000, for_windows=1, min_count=1)
    assert judge(rule, Figure(5, 0.0, 0.0, 5000.0, p95=900.0)) == [""]
    assert judge(rule, Figure(5, 0.0, 0.0, 5.0, p95=1900.0)) == ["firing"]
    assert judge(rule, Figure(5, 0.0, 0.0, 5000.0)) == [""], "no quantile says nothing"


def test_the_alarm_knows_since_when_and_what_was_before() -> None:
    state = RuleState(metric="error_rate")
    state.judge("p", ERRORS, share(0.01), START_MS, START_MS + 5_000)
    state.judge("p", ERRORS, share(0.5), START_MS + 5_000, START_MS + 10_000)
    found = state.judge("p", ERRORS, share(0.6), START_MS + 10_000, START_MS + 15_000)
    assert found is not None
    assert (found.alarm.change_time_ms, found.alarm.reference) == (START_MS + 5_000, 0.01)
    assert (found.alarm.change_from_ms, found.alarm.change_until_ms) == (START_MS + 5_000, START_MS + 10_000)


QUALITY = thresholds.of_quality("exact_match")
ALARM = Alarm("a1", START_MS, 0.12, 0.87, reference=0.97, change_time_ms=START_MS - 10_000)

IN_SEASON = Alarm("a1", START_MS, 0.12, 0.87, reference=0.97, season="week")
BETWEEN = Alarm(
    "a1",
    START_MS,
    0.12,
    0.87,
    reference=0.97,
    change_time_ms=START_MS - 10_000,
    change_from_ms=START_MS - 20_000,
    change_until_ms=START_MS - 5_000,
)


@pytest.mark.parametrize(
    ("cause", "transition", "summary"),
    [
        (
            QUALITY,
            Transition("firing", ALARM, START_MS, START_MS, 0.12),
            "schedule: quality (exact_match) fell from 0.97 to 0.12 since 22:13:10 UTC",
        ),
        (
            QUALITY,
            Transition("resolved", ALARM, START_MS, START_MS, 0.95),
            "schedule: quality (exact_match) is back at 0.95 (alarm since 22:13:20 UTC)",
        ),
        (
            Cause("latency", "latency", "page", "e2e_ms", "e2e_ms p95", "rule", above=True),
            Transition("firing", Alarm("a2", START_MS, 7200.4, 5000, 900.0, START_MS), START_MS, START_MS, 7200.4),
            "schedule: e2e_ms p95 is 7,200, above 5,000 since 22:13:20 UTC (before: 900)",
        ),
        (
            thresholds.of_drift("input_chars", "drift_input_chars"),
            Transition("resolved", ALARM, START_MS, START_MS, None, "schedule-v2 became champion"),
            "schedule: input_chars: notice closed, schedule-v2 became champion",
        ),
        (
            thresholds.of_drift("cost", "drift_cost"),
            Transition("firing", BETWEEN, START_MS, START_MS, 0.12),
            "schedule: cost per answer fell from 0.97 to 0.12 since 22:13:10 UTC (between 22:13:00 and 22:13:15)",
        ),
        (
            QUALITY,
            Transition("firing", IN_SEASON, START_MS, START_MS, 0.12),
            "schedule: quality (exact_match) fell from 0.97 (usual for this hour of the week) to 0.12",
        ),
        (
            thresholds.of_dependence("quality"),
            Transition("firing", Alarm("a3", START_MS, 0.4, 0.15, warning="values depend"), START_MS, START_MS, 0.4),
            "schedule: quality: values depend",
        ),
        (
            thresholds.of_dependence("quality"),
            Transition("resolved", Alarm("a3", START_MS, 0.4, 0.15), START_MS, START_MS, None, "the metric is gone"),
            "schedule: quality: notice closed, the metric is gone",
        ),
    ],
)
def test_summaries(cause: Cause, transition: Transition, summary: str) -> None:
    assert thresholds.event("demo", "schedule", cause, transition, START_MS).data.summary == summary


def test_an_event_carries_the_evidence() -> None:
    alarm = Alarm("a1", START_MS, 0.1, 0.8, statistic=2e5, statistic_limit=1e5, warning="w")
    cause = QUALITY._replace(slice="tenant=a")
    data = thresholds.event("d", "p", cause, Transition("firing", alarm, START_MS, START_MS, 0.1), START_MS).data
    assert (data.statistic, data.statistic_limit, data.warning, data.slice) == (2e5, 1e5, "w", "tenant=a")
    assert (data.detector, data.change_from_ms, data.change_until_ms) == ("conformal", None, None)


def test_an_alarm_says_that_it_was_conditioned_on_a_season_and_its_end_does_not() -> None:
    said = [Transition(state, IN_SEASON, START_MS, START_MS, 0.1) for state in ("firing", "resolved")]
    reasons = [thresholds.event("d", "p", QUALITY, each, START_MS).data.reason for each in said]
    assert reasons == ["compared with what its hour of the week is usually like", ""]


def test_events_are_cloudevents_with_ids_from_their_cause() -> None:
    firing = thresholds.event(
        "demo", "schedule", QUALITY, Transition("firing", ALARM, START_MS, START_MS, 0.12), START_MS
    )
    resolved = thresholds.event(
        "demo", "schedule", QUALITY, Transition("resolved", ALARM, START_MS + 9, START_MS + 9, 0.9), START_MS + 9
    )
    assert firing.id == firing.data.alarm_id == resolved.data.alarm_id != resolved.id
    assert (firing.type, resolved.type) == ("tidemill.threshold.breached", "tidemill.threshold.resolved")
    assert (firing.source, firing.subject) == ("tidemill/demo/streams", "schedule//quality")
    assert firing.time == "2023-11-14T22:13:20.000Z"


def test_keep_firing_is_a_number_of_its_own() -> None:
    rule = ERRORS.model_copy(update={"keep_firing_windows": 4})
    told = judge(rule, share(0.5), share(0.5), *[share(0.0)] * 3, share(0.06), *[share(0.0)] * 4)
    assert told == ["", "firing", *[""] * 7, "resolved"], "0.06 is a breach of leave: the count begins anew"


NO_DATA: list[Figure | None] = [None, share(0.9, n=9)]


@pytest.mark.parametrize("nothing", NO_DATA)
def test_windows_that_say_nothing_can_count_as_good(nothing: Figure | None) -> None:
    rule = ERRORS.model_copy(update={"no_data": "ok"})
    assert judge(rule, nothing, nothing, share(0.5), nothing, share(0.5)) == [""] * 5
    assert judge(rule, share(0.5), share(0.5), nothing, nothing) == ["", "firing", "", "resolved"]


@pytest.mark.parametrize("nothing", NO_DATA)
def test_windows_that_say_nothing_can_be_an_alarm(nothing: Figure | None) -> None:
    rule = ERRORS.model_copy(update={"no_data": "alert"})
    assert judge(rule, share(0.0), nothing, share(0.0), nothing, nothing) == ["", "", "", "", "firing"]
    assert judge(rule, nothing, nothing, nothing, share(0.0), share(0.0)) == ["", "firing", "", "", "resolved"]


def test_silence_is_told_as_silence_and_starts_no_retraining() -> None:
    rule = RuleSettings(name="labels", metric="quality", below=0.8, for_windows=1, no_data="alert")
    states: dict[str, RuleState] = {}
    pipeline = PipelineSettings(engine="e", champion="p-v1", rules=(rule,))
    levels = Levels("p", pipeline, states, {}, Spend())
    (found,) = levels.judge({}, START_MS, START_MS + 5_000)
    said = thresholds.event("d", "p", found.cause, found.transition, START_MS).data
    assert (said.kind, said.value, said.reason) == ("traffic", None, "no data")
    assert said.summary == "p: quality has no data since 22:13:20 UTC"
    (ended,) = levels.judge({"quality": share(0.9)}, START_MS + 5_000, START_MS + 10_000)
    assert (ended.cause.kind, ended.transition.alarm) == ("traffic", found.transition.alarm)
    (again,) = levels.judge({"quality": share(0.1)}, START_MS + 10_000, START_MS + 15_000)
    assert again.cause.kind == "quality"


def test_an_alarm_that_silence_ended_is_no_notice() -> None:
    cause = Cause("errors", "errors", "page", "error_rate", "error_rate", "rule", above=True)
    ended = Transition("resolved", ALARM, START_MS, START_MS, None, "no data")
    assert thresholds.event("d", "p", cause, ended, START_MS).data.summary == "p: error_rate: alarm closed, no data"
