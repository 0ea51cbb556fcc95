"""What was noted before it was sent is told again as it was, whatever a restart finds changed."""

from __future__ import annotations

from typing import Any

import pytest

from consumers.alerts.groups import Notification
from consumers.alerts.outbox import SETTLE_MS, Outbox
from consumers.alerts.place import NOTE_BYTES, Place
from tests.unit.consumers_alerts.test_alert_delivery import NOW
from tests.unit.consumers_alerts.test_alert_groups import S, event, outbox

GROUPED: dict[str, Any] = {"group_by": ["pipeline"], "group_wait_s": 10, "group_interval_s": 60}
Sent = tuple[str, list[str]]


def sent(box: Outbox, at_ms: int) -> list[Sent]:
    """Ids and events of what a reader at the topic's end sends by then; all of it is taken."""
    box.advance(0, at_ms + SETTLE_MS)
    found = []
    while (pending := box.next(at_ms / S)) is not None:
        box.trying(pending)
        found.append((pending.notification.id, [one.id for one in pending.notification.events]))
        box.settle(pending)
    return found


def tried(box: Outbox, at_ms: int) -> tuple[Sent, tuple[int, str]]:
    """What is sent next, and the place that was committed before: whether it is taken, nobody notes any more."""
    box.advance(0, at_ms + SETTLE_MS)
    pending = box.next(at_ms / S)
    assert pending is not None and box.trying(pending) and not box.trying(pending), "to be committed once"
    return (pending.notification.id, [one.id for one in pending.notification.events]), box.positions()[0]


def test_a_message_that_came_late_is_told_by_itself() -> None:
    box = outbox(**GROUPED)
    box.add(0, 0, event("a"), NOW)
    first, place = tried(box, NOW + 10 * S)
    again = outbox(None, place, **GROUPED)
    again.add(0, 0, event("a"), NOW)
    again.add(0, 1, event("b"), NOW + 5 * S)  # it was here, says the broker, five seconds before "a" was told
    told = sent(again, NOW + 10 * S)
    assert told[0] == first and [events for _, events in told] == [["a firing"], ["b firing", "a firing"]]
    assert told[1][0] != first[0]


@pytest.mark.parametrize("changed", [{}, {"group_by": ["pipeline", "alertname"]}, GROUPED | {"group_wait_s": 1}])
def test_what_was_told_before_settings_changed_keeps_its_id_and_its_alarms(changed: dict[str, Any]) -> None:
    box = outbox(**GROUPED)
    alarms = [event("a", rule="latency"), event("b", rule="errors")]
    for offset, one in enumerate(alarms):
        box.add(0, offset, one, NOW + offset * 5 * S)
    first, place = tried(box, NOW + 10 * S)
    again = outbox(None, place, **changed)
    for offset, one in enumerate(alarms):
        again.add(0, offset, one, NOW + offset * 5 * S)
        assert offset == 1 or again.next(NOW / S) is None, "nothing is sent before all of it is read again"
    again.add(0, 2, event("b", "resolved", rule="errors"), NOW + 12 * S)
    told = sent(again, NOW + 90 * S)
    assert told[0] == first and told[1][1][0] == "b resolved"


def test_what_kafka_has_no_more_changes_no_id() -> None:
    box = outbox(**GROUPED)
    box.add(0, 0, event("a"), NOW)
    box.add(0, 1, event("b"), NOW)
    sent(box, NOW + 10 * S)
    box.add(0, 2, event("b", "resolved"), NOW + 20 * S)
    (name, events), place = tried(box, NOW + 70 * S)
    assert events == ["b resolved", "a firing"] and place[0] == 0
    again = outbox(None, place, **GROUPED)
    again.add(0, 2, event("b", "resolved"), NOW + 20 * S)
    assert sent(again, NOW + 70 * S) == [(name, ["b resolved"])]
    nothing_left = outbox(None, place, **GROUPED)
    assert sent(nothing_left, NOW + 70 * S) == []
    nothing_left.add(0, 9, event("c"), NOW + 80 * S)
    assert [events for _, events in sent(nothing_left, NOW + 90 * S)] == [["c firing"]]


def test_a_topic_made_anew_owes_nothing_to_the_note() -> None:
    box = outbox(**GROUPED)
    for offset in range(3):
        box.add(0, offset, event(f"x{offset}"), NOW)
        sent(box, NOW + (offset + 1) * 90 * S)
    box.add(0, 3, event("a"), NOW + 300 * S)
    _, (_, note) = tried(box, NOW + 400 * S)
    again = outbox(None, (3, note), **GROUPED)
    again.add(0, 0, event("b"), NOW)
    assert [events for _, events in sent(again, NOW + 10 * S)] == [["b firing"]]


def test_a_reminder_that_a_crash_meets_is_left_out() -> None:
    box = outbox(repeat_interval_s=60)
    box.add(0, 0, event("a"), NOW)
    assert len(sent(box, NOW)) == 1
    _, place = tried(box, NOW + 61 * S)
    again = outbox(None, place, repeat_interval_s=60)
    again.add(0, 0, event("a"), NOW)
    assert sent(again, NOW + 62 * S) == []
    assert len(sent(again, NOW + 121 * S)) == 1


def test_a_note_keeps_the_newest_tries_that_there_is_room_for() -> None:
    place, begin = Place(), 10**11
    for number in range(60):
        offsets = tuple(range(begin + 4 * number, begin + 4 * number + 4))
        for offset in offsets:
            place.read(offset)
            place.open(offset)
        assert place.trying(Notification(f"{number:032}", "key", NOW, {}, (), offsets))
    found = place.commit(idle=False, remembers=True)
    assert found is not None and len(found[1]) <= NOTE_BYTES
    kept = [each.id for each in Place(*found).unsettled]
    assert kept and kept == [f"{number:032}" for number in range(60 - len(kept), 60)]
    place.settle(tuple(range(begin, begin + 4 * 50)))
    found = place.commit(idle=False, remembers=True)
    assert found is not None
    assert [each.id for each in Place(*found).unsettled] == [f"{number:032}" for number in range(50, 60)]
