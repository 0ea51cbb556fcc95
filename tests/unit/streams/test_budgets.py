"""Budgets of money: the day's spend, by event time and UTC, from partials."""

from __future__ import annotations

from typing import Any

from tests.unit.streams.drawing import START_MS, Meter, Reader, answers, deployment
from tidemill.events import ThresholdEvent

MIDNIGHT_S = (86_400_000 - START_MS % 86_400_000) // 1000
DAY = [{"name": "day", "max_usd_per_day": 10}]


def paid(at_s: int, usd: float, **fields: Any) -> Any:
    return answers(at_s, [5.0], cost_micros=round(usd * 1_000_000), priced=1, **fields)


def told(events: list[ThresholdEvent]) -> list[tuple[str, str, str]]:
    return [(event.data.rule, event.data.state, event.data.severity) for event in events]


def test_each_share_is_an_alarm_once_a_day_and_ends_with_it() -> None:
    meter, reader = Meter(), Reader(deployment(budgets=DAY))
    assert reader.take(meter.partial([paid(1, 8.0)]), meter.progress(3)).events == []
    (ticket,) = reader.take(meter.partial([paid(4, 0.1)]), meter.progress(5)).events
    assert told([ticket]) == [("day_80", "firing", "ticket")]
    assert ticket.data.summary == "schedule: spend of the day is 8.10, above 8.00"
    assert ticket.data.reason == "81% of the day's budget day is spent"
    assert (ticket.data.kind, ticket.data.metric) == ("cost", "cost")
    assert (ticket.data.window_end_ms - ticket.data.window_start_ms, ticket.data.window_end_ms % 86_400_000) == (
        86_400_000,
        0,
    )
    midnight_ms = ticket.data.window_start_ms
    assert (ticket.data.change_time_ms, ticket.data.change_from_ms) == (midnight_ms, midnight_ms)
    assert ticket.data.change_until_ms == ticket.data.started_ms, "where the share was passed"
    (page,) = reader.take(meter.partial([paid(6, 5.0)]), meter.progress(7)).events
    assert told([page]) == [("day_100", "firing", "page")]
    assert reader.take(meter.partial([paid(8, 5.0)]), meter.progress(9)).events == []
    ended = reader.take(meter.progress(MIDNIGHT_S + 1)).events
    assert told(ended) == [("day_80", "resolved", "ticket"), ("day_100", "resolved", "page")]
    assert [event.data.alarm_id for event in ended] == [ticket.id, page.id]
    assert "the day is over" in ended[0].data.summary
    (next_day,) = reader.take(meter.partial([paid(MIDNIGHT_S + 2, 9.0)]), meter.progress(MIDNIGHT_S + 3)).events
    assert next_day.data.rule == "day_80"
    assert next_day.id != ticket.id


def test_a_cost_counts_on_the_day_of_its_answer() -> None:
    meter, reader = Meter(), Reader(deployment(budgets=DAY))
    reader.take(meter.partial([paid(MIDNIGHT_S - 1, 6.0), paid(MIDNIGHT_S, 6.0)]))
    assert reader.take(meter.progress(MIDNIGHT_S + 10)).events == [], "6 on each of two days"


def test_late_answers_and_shadows_cost_money_too() -> None:
    meter, reader = Meter(), Reader(deployment(budgets=DAY, lateness_s=0))
    reader.take(meter.partial([paid(1, 6.0)]), meter.progress(61))
    late = reader.take(meter.partial([paid(2, 3.0, variant="shadow", version="schedule-v2")]), meter.progress(62))
    assert told(late.events) == [("day_80", "firing", "ticket")]


def test_what_comes_for_a_day_that_is_over_changes_nothing() -> None:
    meter, reader = Meter(), Reader(deployment(budgets=DAY))
    reader.take(meter.partial([paid(1, 6.0)]), meter.progress(MIDNIGHT_S + 10))
    assert reader.take(meter.partial([paid(2, 60.0)]), meter.progress(MIDNIGHT_S + 11)).events == []


def test_a_clock_far_ahead_opens_no_day_of_its_own() -> None:
    meter, reader = Meter(), Reader(deployment(budgets=DAY))
    reader.take(meter.partial([paid(1, 6.0)]), meter.progress(3))
    reader.take(meter.partial([paid(400 * 86_400, 3.0)]))
    assert told(reader.take(meter.progress(4)).events) == [("day_80", "firing", "ticket")], "it is spent today"


def test_a_day_that_is_over_when_it_is_first_looked_at_is_still_told() -> None:
    meter, reader = Meter(), Reader(deployment(budgets=DAY))
    out = reader.take(meter.partial([paid(1, 9.0)]), meter.progress(MIDNIGHT_S + 10))
    assert told(out.events) == [("day_80", "firing", "ticket"), ("day_80", "resolved", "ticket")]


def test_a_budget_that_was_taken_out_ends_with_the_day() -> None:
    meter, reader = Meter(), Reader(deployment(budgets=DAY))
    reader.take(meter.partial([paid(1, 9.0)]), meter.progress(3))
    again = Reader(deployment(), dict(reader.fold.changed()), reader.offset)
    assert told(again.take(meter.progress(MIDNIGHT_S + 1)).events) == [("day_80", "resolved", "ticket")]
