"""Error budgets: which burn rates raise an alarm, when it ends, and what the state takes."""

from __future__ import annotations

import msgspec
import pytest

from streams import thresholds
from streams.alarms import Alarm
from streams.budgets import Spend
from streams.levels import Levels
from streams.objectives import DAY_S, PAIRS, RINGS, STATE_BYTES, Burning, Counts, ObjectiveState, counts_of
from streams.windows.figures import figures
from streams.windows.tally import Tally
from tests.unit.streams.drawing import START_MS, Meter, Reader, answers, deployment
from tidemill import sketch
from tidemill.settings import ObjectiveSettings, PipelineSettings

WINDOW_MS = 60_000
HOUR = 60
AVAILABLE = ObjectiveSettings(name="available", metric="error_rate", target=0.99)
MIDNIGHT_MS = START_MS - START_MS % 86_400_000


class Told:
    """An objective that hears a window a minute, from a midnight on."""

    def __init__(self, objective: ObjectiveSettings = AVAILABLE) -> None:
        self.objective = objective
        self.state = ObjectiveState()
        self.at_ms = MIDNIGHT_MS

    def hear(self, minutes: int, n: int, bad: int) -> list[tuple[int, str, str]]:
        """(minute from here, state, severity) of what is said while each minute has ``n`` answers, ``bad`` of them."""
        said: list[tuple[int, str, str]] = []
        for minute in range(1, minutes + 1):
            start_ms, self.at_ms = self.at_ms, self.at_ms + WINDOW_MS
            for transition, pair in self.state.judge("p", self.objective, Counts(n, bad), start_ms, self.at_ms):
                said.append((minute, transition.state, pair.severity))
        return said


def test_a_rate_above_14_is_a_page_within_minutes_and_ends_five_minutes_after_the_last_of_it() -> None:
    told = Told()
    assert told.hear(24 * HOUR, 1000, 1) == []
    assert told.hear(HOUR, 1000, 200) == [(44, "firing", "page")]
    # Of an hour's 60,000 answers 8,640 bad ones are 14.4 %: 58.9 of its minutes have 1 in them, the last 44 have 200.
    assert told.hear(3 * HOUR, 1000, 1) == [(6, "resolved", "page")], "after one more minute above 14.4 in five"


def test_the_slow_burn_is_a_ticket_and_no_page() -> None:
    told = Told()
    said = told.hear(4 * 24 * HOUR, 1000, 20)
    assert {each[1:] for each in said} == {("firing", "ticket")}


def test_below_the_budget_nothing_is_said() -> None:
    assert Told().hear(4 * 24 * HOUR, 1000, 9) == []


def test_a_short_burst_that_is_over_is_no_page() -> None:
    told = Told()
    told.hear(24 * HOUR, 1000, 0)
    assert told.hear(5, 1000, 1000) == [], "8 % of the hour"
    assert told.hear(6 * HOUR, 1000, 0) == []


def test_a_bad_beginning_is_a_page_after_five_minutes_and_a_ticket_after_six_hours() -> None:
    assert Told().hear(7 * HOUR, 1000, 1000) == [(5, "firing", "page"), (6 * HOUR, "firing", "ticket")]


def test_after_three_silent_days_it_begins_anew() -> None:
    told = Told()
    told.hear(HOUR, 1000, 0)
    assert told.hear(73 * HOUR, 0, 0) == []
    assert told.hear(HOUR, 1000, 20) == [], "2 % of an hour's answers are not 2 % of three days'"


def test_few_answers_say_nothing() -> None:
    assert Told().hear(HOUR, 1, 1) == []
    assert Told(AVAILABLE.model_copy(update={"min_count": 10})).hear(HOUR, 1, 1)[0] == (10, "firing", "page")


def test_where_nobody_answers_the_page_stays() -> None:
    told = Told()
    assert told.hear(HOUR, 1000, 1000)[0][1:] == ("firing", "page")
    assert told.hear(3 * HOUR, 0, 0) == []
    said = told.hear(HOUR, 1000, 0)
    assert ("resolved", "page") in {each[1:] for each in said}


def test_an_alarm_says_how_fast_and_how_much_is_spent() -> None:
    pipeline = PipelineSettings(engine="e", champion="p-v1", objectives=(AVAILABLE,))
    levels = Levels("p", pipeline, {}, {}, Spend())
    known = figures(Tally(answers=500, outcomes={"ok": 400, "error": 100}))
    times = [START_MS + minute * WINDOW_MS for minute in range(5)]
    found = [each for at_ms in times for each in levels.judge(known, at_ms, at_ms + WINDOW_MS)]
    assert [each.cause.severity for each in found] == ["page"]
    said = thresholds.event("d", "p", found[0].cause, found[0].transition, START_MS).data
    assert (said.rule, said.kind, said.metric, said.threshold) == ("available_page", "errors", "error_rate", 14.4)
    assert said.value == pytest.approx(20)
    assert said.summary == "p: burn rate of available over 1 h and 5 min is 20.0, above 14.4"
    assert said.reason == "2000% of the error budget spent in the last 30 days"
    assert levels.firing() == {"available_page"}


@pytest.mark.parametrize(
    ("hours", "bad", "severity", "step_s"),
    [(1, 200, "page", 60), (6, 100, "page", 300), (72, 20, "ticket", 3600)],
)
def test_an_alarm_knows_where_the_burning_began(hours: int, bad: int, severity: str, step_s: int) -> None:
    told = Told()
    told.hear(72 * HOUR, 1000, 1)
    changed_ms = told.at_ms
    told.hear(hours * HOUR, 1000, bad)
    alarm = told.state.firing[severity].alarm
    assert (alarm.change_time_ms, alarm.change_from_ms) == (changed_ms, changed_ms - step_s * 1000)
    assert alarm.change_until_ms == changed_ms + step_s * 1000
    assert alarm.started_ms > changed_ms


def test_a_burst_in_the_short_window_is_where_the_burning_began() -> None:
    told = Told()
    told.hear(3, 1000, 0)
    changed_ms = told.at_ms
    assert told.hear(2, 1000, 1000) == [(2, "firing", "page")]
    alarm = told.state.firing["page"].alarm
    assert (alarm.change_time_ms, alarm.change_until_ms) == (changed_ms, changed_ms + 60_000)


def test_slow_answers_are_counted_in_the_histogram() -> None:
    objective = ObjectiveSettings(name="fast", metric="e2e_ms", slower_than_ms=1000, target=0.95)
    histogram = {sketch.bucket(v): n for v, n in ((10.0, 7), (1000.0, 5), (1025.0, 3), (60_000.0, 2))}
    tally = Tally(answers=20, histograms={"e2e_ms": histogram})
    tally.add(Tally())
    known = figures(tally)
    assert counts_of(objective, known.get("e2e_ms")) == (0, 0), "no sums, no figure"
    (cell,) = (answers(1, [10.0] * 7 + [1000.0] * 5 + [1025.0] * 3 + [60_000.0] * 2),)
    whole = Tally()
    whole.add(cell)
    assert counts_of(objective, figures(whole)["e2e_ms"]) == (17, 5)


def test_incomplete_windows_count_for_nothing() -> None:
    settings = deployment(size_s=600, objectives=[AVAILABLE.model_dump()])
    meter, reader = Meter(), Reader(settings)
    bad = meter.partial([answers(1, [5.0] * 200, errors=200)])
    out = reader.take(bad, meter.progress(2, of=2), meter.progress(695, of=2))
    assert [row.complete for row in out.windows if row.metric == "error_rate"] == [False]
    assert out.events == []
    out = reader.take(meter.partial([answers(696, [5.0] * 200, errors=200)]), meter.progress(1811))
    assert [event.data.rule for event in out.events] == ["available_page"]


def test_an_objective_about_something_else_begins_anew() -> None:
    bad = answers(1, [5.0] * 200, errors=200)
    meter, reader = Meter(), Reader(deployment(size_s=600, objectives=[AVAILABLE.model_dump()]))
    assert len(reader.take(meter.partial([bad]), meter.progress(611)).events) == 1
    other = deployment(size_s=600, objectives=[{"name": "available", "metric": "cancel_rate", "target": 0.99}])
    again = Reader(other, dict(reader.fold.changed()), reader.offset)
    (ended,) = again.take(meter.progress(1211)).events
    assert (ended.data.rule, ended.data.state) == ("available_page", "resolved")
    assert "no longer in the settings" in ended.data.summary


def test_the_state_of_an_objective_is_bounded() -> None:
    most = Counts(2**62, 2**62)
    days = {DAY_S: 90}
    rings = {step: dict.fromkeys(range(2**31, 2**31 + count), most) for step, count in (RINGS | days).items()}
    alarm = Alarm("f" * 32, 2**42, 1 / 3, 1 / 3)
    firing: dict[str, Burning] = {pair.severity: Burning(alarm, 2, 2**42) for pair in PAIRS}
    full = ObjectiveState("error_rate>12345.6", rings, firing)
    assert STATE_BYTES * 0.85 < len(msgspec.msgpack.encode(full)) < STATE_BYTES
    told = Told(AVAILABLE.model_copy(update={"window_days": 90}))
    for _ in range(100):
        told.hear(1, 10**6, 10**5)
        told.at_ms += 86_400_000 - WINDOW_MS
    told.hear(4 * HOUR, 10**6, 10**5)
    kept = {step: len(ring) for step, ring in told.state.rings.items()}
    assert all(kept[step] <= count for step, count in (RINGS | days).items())
    assert kept[DAY_S] == 90
    assert len(msgspec.msgpack.encode(told.state)) < STATE_BYTES


def test_after_a_clock_that_was_ahead_nothing_stays_of_the_time_to_come() -> None:
    told = Told()
    told.hear(10 * HOUR, 1000, 1)
    right_ms, told.at_ms = told.at_ms, told.at_ms + 30 * 24 * HOUR * WINDOW_MS
    assert [each[1:] for each in told.hear(10, 1000, 500)] == [("firing", "page")]
    told.at_ms = right_ms
    assert [each[1:] for each in told.hear(10, 1000, 1)] == [("resolved", "page")]
    told.hear(2 * 24 * HOUR, 1000, 1)
    assert {step_s: len(ring) for step_s, ring in told.state.rings.items()}[60] == RINGS[60]
    assert told.hear(HOUR, 1000, 200) == [(44, "firing", "page")], "it goes on as if there had been no step"


def test_what_is_left_of_an_error_budget_is_shown_and_may_be_below_zero() -> None:
    settings = deployment(objectives=[{"name": "answered", "metric": "error_rate", "target": 0.98}])
    meter, reader = Meter(), Reader(settings)
    reader.take(meter.partial([answers(1, [1.0] * 100, errors=1)]))
    (pipeline,) = reader.fold
    assert pipeline.error_budgets == {}, "no window has closed"
    reader.take(meter.progress(12))
    assert pipeline.error_budgets == {"answered": pytest.approx(0.5)}
    reader.take(meter.partial([answers(13, [1.0] * 100, errors=7)]), meter.progress(22))
    assert pipeline.error_budgets == {"answered": pytest.approx(-1.0)}
