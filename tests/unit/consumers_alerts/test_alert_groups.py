"""What is told together, again and later; what a restart with other settings knows; when nothing is told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from consumers.alerts.delivery import policy
from consumers.alerts.outbox import SETTLE_MS, Outbox
from consumers.alerts.place import MOST_NOTED, Place
from tests.unit.consumers_alerts.test_alert_delivery import NOW
from tests.unit.consumers_alerts.test_alert_delivery import event as sample
from tidemill.events import ThresholdEvent
from tidemill.settings.alerting import AlertSettings, WebhookSettings
from tidemill.silences import Mutes

S = 1000


def event(alarm: str, state: str = "firing", **data: Any) -> ThresholdEvent:
    made = sample(state)
    return msgspec.structs.replace(
        made, id=f"{alarm} {state}", data=msgspec.structs.replace(made.data, alarm_id=alarm, **data)
    )


def outbox(alerts: dict[str, Any] | None = None, place: tuple[int, str] = (0, ""), **webhook: Any) -> Outbox:
    hook = WebhookSettings(name="demo", url="http://127.0.0.1/x", **webhook)
    made = Outbox(policy(hook))
    made.remute(Mutes(AlertSettings.model_validate(alerts or {})).until, 0)
    made.open(0, *place)
    return made


def told(box: Outbox, at_ms: int) -> list[list[str]]:
    """The events of each notification that a reader at the end of the topic sends by then."""
    box.advance(0, at_ms + SETTLE_MS)
    found = []
    while (pending := box.next(at_ms / S)) is not None:
        box.trying(pending)
        found.append([one.id for one in pending.notification.events])
        box.settle(pending)
    return found


def silence(start_ms: int, end_ms: int, **match: str) -> dict[str, Any]:
    start, end = (datetime.fromtimestamp(ms / S, UTC) for ms in (start_ms, end_ms))
    return {"silences": [{"name": "works", "match": match, "start": start, "end": end}]}


def test_alarms_of_a_group_go_out_together_and_news_waits_for_the_interval() -> None:
    box = outbox(group_by=["pipeline"], group_wait_s=10, group_interval_s=60)
    box.add(0, 0, event("a"), NOW)
    box.add(0, 1, event("b"), NOW + 5 * S)
    box.add(0, 2, event("c", pipeline="other"), NOW + 6 * S)
    assert told(box, NOW + 9 * S) == []
    assert told(box, NOW + 10 * S) == [["a firing", "b firing"]]
    assert told(box, NOW + 16 * S) == [["c firing"]]
    box.add(0, 3, event("a", "resolved"), NOW + 20 * S)
    assert told(box, NOW + 69 * S) == []
    assert told(box, NOW + 70 * S) == [["a resolved", "b firing"]], "with what else fires"


def test_an_alarm_that_ends_while_its_group_waits_is_told_of_twice_in_order() -> None:
    box = outbox(group_by=["pipeline"], group_wait_s=10)
    box.add(0, 0, event("a"), NOW)
    box.add(0, 1, event("a", "resolved"), NOW + S)
    assert told(box, NOW + 10 * S) == [["a firing"], ["a resolved"]]


def test_an_alarms_end_joins_its_beginning_though_its_labels_have_changed() -> None:
    box = outbox(group_by=["pipeline", "version"], group_wait_s=0, repeat_interval_s=60)
    box.add(0, 0, event("a"), NOW)
    box.add(0, 1, event("a", "resolved", model_version="schedule-v2"), NOW + S)
    assert told(box, NOW + 1000 * S) == [["a firing"], ["a resolved"]], "and no reminder"


def test_what_a_silence_holds_back_is_told_at_its_end_if_it_still_fires() -> None:
    box = outbox(silence(NOW, NOW + 100 * S))
    muted = [box.add(0, 0, event("a"), NOW), box.add(0, 1, event("b"), NOW + S)]
    assert [[one.event.id for one in each] for each in muted] == [["a firing"], ["b firing"]] and box.muted == 2
    box.add(0, 2, event("b", "resolved"), NOW + 2 * S)
    assert told(box, NOW + 99 * S) == []
    assert told(box, NOW + 100 * S) == [["a firing"]] and box.muted == 0
    box.add(0, 3, event("a", "resolved"), NOW + 101 * S)
    assert told(box, NOW + 101 * S) == [["a resolved"]]


def test_a_silence_is_about_what_it_matches() -> None:
    box = outbox(silence(NOW, NOW + 100 * S, pipeline="sched.*", alertname="quality"))
    box.add(0, 0, event("a"), NOW)
    box.add(0, 1, event("b", rule="latency"), NOW)
    box.add(0, 2, event("c", pipeline="my-schedule"), NOW)
    assert told(box, NOW) == [["b firing"], ["c firing"]]


def test_the_end_of_an_alarm_told_before_is_told_after_a_silence_that_was_set_meanwhile() -> None:
    before = outbox()
    before.add(0, 7, event("a"), NOW)
    assert told(before, NOW) == [["a firing"]]
    for place in (before.positions()[0], (7, before.positions()[0][1])):
        after = outbox(silence(NOW - S, NOW + 100 * S), place)
        if place[0] == 7:
            after.add(0, 7, event("a"), NOW)
        after.add(0, 8, event("a", "resolved"), NOW + 50 * S)
        assert told(after, NOW + 99 * S) == []
        assert told(after, NOW + 100 * S) == [["a resolved"]]


def test_a_restart_sends_again_only_what_was_not_settled() -> None:
    box = outbox(silence(NOW, NOW + 100 * S, alertname="quality"))
    box.add(0, 5, event("muted"), NOW)
    box.add(0, 6, event("loud", rule="latency"), NOW)
    assert told(box, NOW) == [["loud firing"]]
    place = box.positions()[0]
    assert place[0] == 5
    again = outbox(silence(NOW, NOW + 100 * S, alertname="quality"), place)
    again.add(0, 5, event("muted"), NOW)
    again.add(0, 6, event("loud", rule="latency"), NOW)
    assert told(again, NOW + 100 * S) == [["muted firing"]]


def test_after_a_restart_an_alarm_that_was_muted_from_beginning_to_end_is_not_told_beside_others() -> None:
    alerts = silence(NOW - S, NOW + 60 * S, severity="page")
    grouped: dict[str, Any] = {"group_by": ["pipeline"], "group_wait_s": 0, "group_interval_s": 0}
    box = outbox(alerts, **grouped)
    events = [event("a"), event("b", severity="ticket"), event("a", "resolved")]
    for offset, one in enumerate(events):
        box.add(0, offset, one, NOW + offset * 5 * S)
    box.advance(0, NOW + 90 * S)
    again = outbox(alerts, box.positions()[0], **grouped)
    for offset, one in enumerate(events):
        again.add(0, offset, one, NOW + offset * 5 * S)
    assert told(again, NOW + 90 * S) == told(box, NOW + 90 * S) == [["b firing"]]


def test_an_event_that_is_twice_in_the_topic_is_told_once() -> None:
    box = outbox(repeat_interval_s=600)
    box.add(0, 0, event("a"), NOW)
    box.add(0, 1, event("a"), NOW + S)
    assert told(box, NOW + S) == [["a firing"]]
    box.add(0, 2, event("a", "resolved"), NOW + 2 * S)
    assert told(box, NOW + 2 * S) == [["a resolved"]]
    assert box.positions()[0][0] == 3, "and nothing waits"


def test_a_reminder_is_not_told_again_after_a_restart() -> None:
    box = outbox(repeat_interval_s=60)
    box.add(0, 0, event("a"), NOW)
    assert told(box, NOW + 70 * S) == [["a firing"], ["a firing"]]
    again = outbox(None, box.positions()[0], repeat_interval_s=60)
    again.add(0, 0, event("a"), NOW)
    assert told(again, NOW + 80 * S) == []
    assert told(again, NOW + 120 * S) == [["a firing"]]


def test_a_reminder_that_a_silence_meets_is_told_at_its_end() -> None:
    box = outbox(silence(NOW + 30 * S, NOW + 100 * S), repeat_interval_s=60)
    box.add(0, 0, event("a"), NOW)
    assert told(box, NOW + 99 * S) == [["a firing"]]
    assert told(box, NOW + 100 * S) == [["a firing"]]


def test_a_receiver_that_wants_no_ends_hears_of_beginnings_alone() -> None:
    box = outbox(group_by=["pipeline"], group_wait_s=10, send_resolved=False, repeat_interval_s=60)
    box.add(0, 0, event("a"), NOW)
    box.add(0, 1, event("a", "resolved"), NOW + S)
    assert told(box, NOW + 1000 * S) == [["a firing"]]
    assert box.positions()[0][0] == 2


def test_a_receiver_that_wants_no_ends_hears_nothing_of_what_a_silence_covers() -> None:
    box = outbox(silence(NOW, NOW + 100 * S), send_resolved=False)
    box.add(0, 0, event("a"), NOW)
    box.add(0, 1, event("a", "resolved"), NOW + S)
    assert told(box, NOW + 1000 * S) == [] and box.muted == 0
    assert box.positions()[0][0] == 2


def test_a_place_without_a_note_or_with_anothers_settles_nothing() -> None:
    for note in ("", None, "{", '{"done": "x"}', "[]"):
        assert Place(3, note).is_news(3)
    place = Place(3, '{"done":9,"open":[5]}')
    assert [offset for offset in range(3, 11) if place.is_news(offset)] == [5, 9, 10]
    place.read(0)
    assert place.is_news(3), "the topic was made anew: the note is about another"


def test_a_note_fits_the_brokers_limit_and_loses_nothing() -> None:
    place, begin = Place(), 10**12
    for offset in range(begin, begin + 3 * MOST_NOTED):
        place.read(offset)
        place.open(offset)
    place.settle(tuple(range(begin + 1, begin + 3 * MOST_NOTED, 3)))
    committed = place.commit(idle=True, remembers=False)
    assert committed is not None and committed[0] == begin and len(committed[1]) < 4096
    after = Place(*committed)
    open_ = [offset for offset in range(begin, begin + 3 * MOST_NOTED) if (offset - begin) % 3 != 1]
    assert all(after.is_news(offset) for offset in open_)
    assert not after.is_news(begin + 1)


def test_a_note_is_kept_while_it_is_read_again() -> None:
    place = Place(3, '{"done":9,"open":[5,7]}')
    place.read(5)
    place.open(5)
    committed = place.commit(idle=False, remembers=True)
    assert committed is not None
    again = Place(*committed)
    assert [offset for offset in range(3, 11) if again.is_news(offset)] == [5, 7, 9, 10]


def weekly(**more: Any) -> Mutes:
    made = {"name": "nights", "days": ["sat"], "at": "22:00", "lasts_s": 8 * 3600, "zone": "Europe/Berlin"} | more
    return Mutes(AlertSettings.model_validate({"maintenance": [made]}))


@pytest.mark.parametrize(
    ("local", "hours_left"),
    [
        ((2026, 1, 10, 21, 59), None),
        ((2026, 1, 10, 22, 0), 8),
        ((2026, 1, 11, 5, 0), 1),
        ((2026, 1, 11, 6, 0), None),
        ((2026, 1, 9, 23, 0), None),
        ((2026, 3, 29, 6, 59), 1 / 60),  # the clocks went forward at night: it still lasts eight hours
    ],
)
def test_maintenance_begins_by_the_clocks_of_its_zone(
    local: tuple[int, int, int, int, int], hours_left: float | None
) -> None:
    at_ms = round(datetime(*local, tzinfo=ZoneInfo("Europe/Berlin")).timestamp() * S)
    end = weekly().until({}, at_ms)
    assert end == (None if hours_left is None else at_ms + round(hours_left * 3600 * S))


def test_of_several_mutes_the_longest_counts() -> None:
    both = {**silence(NOW, NOW + 10 * S), "maintenance": [{"name": "all", "at": "00:00", "lasts_s": 604_800}]}
    end = Mutes(AlertSettings.model_validate(both)).until({}, NOW)
    assert end is not None and end > NOW + 6 * 86_400 * S


def commanded(*spans: tuple[int, int]) -> Any:
    """What mutes everything in these spans, which may change."""
    return lambda _, at_ms: max((end for start, end in spans if start <= at_ms < end), default=None)


def test_what_is_held_back_is_told_when_its_silence_is_expired() -> None:
    box = outbox()
    box.remute(commanded((NOW, NOW + 1000 * S)), NOW)
    box.add(0, 0, event("a"), NOW + S)
    assert told(box, NOW + 20 * S) == [] and box.muted == 1
    expired = commanded((NOW, NOW + 21 * S))
    box.remute(expired, NOW + 20 * S)
    assert told(box, NOW + 20 * S) == []
    assert told(box, NOW + 21 * S) == [["a firing"]] and box.muted == 0


def test_a_restart_between_expiry_and_delivery_tells_it_under_the_same_id() -> None:
    def told_id(box: Outbox) -> str:
        box.advance(0, NOW + 30 * S + SETTLE_MS)
        pending = box.next(0)
        assert pending is not None and pending.notification.due_ms == NOW + 21 * S
        return pending.notification.id

    live = outbox(group_by=["pipeline"], group_wait_s=0)
    live.remute(commanded((NOW, NOW + 1000 * S)), NOW)
    live.add(0, 0, event("a"), NOW + S)
    live.add(0, 1, event("b"), NOW + 5 * S)
    held = live.positions()[0]
    expired = commanded((NOW, NOW + 21 * S))
    live.remute(expired, NOW + 20 * S)
    again = outbox(place=held, group_by=["pipeline"], group_wait_s=0)
    again.remute(expired, NOW + 25 * S)
    again.add(0, 0, event("a"), NOW + S)
    again.add(0, 1, event("b"), NOW + 5 * S)
    assert told_id(live) == told_id(again)


def test_a_silence_that_came_after_an_alarm_was_told_holds_its_end_back_and_loses_nothing_over_a_restart() -> None:
    box = outbox()
    box.add(0, 0, event("a"), NOW)
    assert told(box, NOW) == [["a firing"]]
    added = commanded((NOW + 10 * S, NOW + 100 * S))
    box.remute(added, NOW + 9 * S)
    box.add(0, 1, event("a", "resolved"), NOW + 20 * S)
    box.add(0, 2, event("b"), NOW + 21 * S)
    box.add(0, 3, event("b", "resolved"), NOW + 22 * S)
    assert told(box, NOW + 99 * S) == []
    again = outbox(place=box.positions()[0])
    again.remute(added, NOW + 99 * S)
    again.add(0, 1, event("a", "resolved"), NOW + 20 * S)
    for each in (box, again):
        assert told(each, NOW + 200 * S) == [["a resolved"]], "b began and ended in the silence"


def test_a_reminder_that_was_put_off_comes_when_the_silence_is_expired_and_no_other_sooner() -> None:
    box = outbox(repeat_interval_s=60)
    box.add(0, 0, event("a"), NOW)
    assert told(box, NOW) == [["a firing"]]
    box.remute(commanded((NOW + 30 * S, NOW + 1000 * S)), NOW + 29 * S)
    assert told(box, NOW + 70 * S) == []
    expired = commanded((NOW + 30 * S, NOW + 81 * S))
    box.remute(expired, NOW + 80 * S)
    assert told(box, NOW + 80 * S) == []
    assert told(box, NOW + 81 * S) == [["a firing"]]
    box.remute(commanded(), NOW + 90 * S)
    assert told(box, NOW + 140 * S) == []
    assert told(box, NOW + 141 * S) == [["a firing"]]


def test_knowledge_that_comes_late_makes_nothing_too_old_to_be_told() -> None:
    box = outbox()
    box.remute(commanded((NOW, NOW + 100_000 * S)), NOW)
    box.add(0, 0, event("a"), NOW)
    box.advance(0, NOW + 90_000 * S)
    box.remute(commanded(), NOW + 90_000 * S)
    box.advance(0, NOW + 90_001 * S)
    pending = box.next(0)
    assert pending is not None and pending.notification.due_ms == NOW + 90_000 * S - SETTLE_MS
