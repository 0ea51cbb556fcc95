"""Alarms of the deployment itself: how they end, and what is left as it is."""

from __future__ import annotations

from tidemill.events import ThresholdEvent
from tidemill.troubles import Key, Trouble, events, firing, follow

SPEAKER = "tidemill/test/host/node-1"
NOW_MS = 1_763_800_000_000


def trouble(metric: str, rule: str = "probe") -> Trouble:
    return Trouble(rule, metric, 0.5, 0.9, NOW_MS - 1, "x", "it changed", severity="ticket", reference=0.95)


def said(*troubles: Trouble) -> dict[Key, ThresholdEvent]:
    found: dict[Key, ThresholdEvent] = {}
    for event in events({}, troubles, [], SPEAKER, NOW_MS):
        follow(found, event, SPEAKER)
    return found


def test_an_event_says_who_found_it_and_what_was_before() -> None:
    (event,) = said(trouble("agreement/a")).values()
    assert event.source == SPEAKER and event.data.detector == "host" and event.data.pipeline == "tidemill"
    assert (event.data.severity, event.data.reference, event.data.window_start_ms) == ("ticket", 0.95, NOW_MS - 1)


def test_the_words_of_an_ending_are_the_rules() -> None:
    open_now = said(trouble("agreement/a"), trouble("disk", "host_disk"))
    ended = events(open_now, [], ["probe", "host_disk"], SPEAKER, NOW_MS, endings={"probe": "is learned"})
    assert [event.data.summary.partition(" (")[0] for event in ended] == [
        "disk is in order again",
        "agreement/a is learned",
    ]


def test_since_when_an_alarm_was_is_told_with_the_day_where_it_was_another() -> None:
    def ended_at(time_ms: int) -> str:
        (event,) = events(said(trouble("disk")), [], ["probe"], SPEAKER, time_ms)
        return event.data.summary

    assert ended_at(NOW_MS + 60_000) == "disk is in order again (alarm since 08:26:40 UTC)"
    assert ended_at(NOW_MS + 86_400_000) == "disk is in order again (alarm since 2025-11-22 08:26:40 UTC)"


def test_what_is_undecided_is_named_whole_or_up_to_a_slash() -> None:
    open_now = said(trouble("agreement/a"), trouble("agreement/ab"), trouble("windows/a"))

    def left(*undecided: str) -> set[str]:
        ended = {event.data.metric for event in events(open_now, [], ["probe"], SPEAKER, NOW_MS, undecided)}
        return {alarm.data.metric for alarm in firing(open_now).values()} - ended

    assert left("agreement/a") == {"agreement/a"}
    assert left("agreement/") == {"agreement/a", "agreement/ab"}
    assert left("windows") == set()
