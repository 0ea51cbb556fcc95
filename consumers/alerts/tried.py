"""What was noted of notifications before they were sent, and those that a restart finds unsettled. Pure.

Such a one may have been delivered. So it is told again as it was, under the same id, with the same alarms: whatever
became meanwhile of the broker's clock, of the settings, or of what Kafka keeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from consumers.alerts.groups import Notification, Offset, key_of, shared
from tidemill.events import ThresholdEvent


class Tried(msgspec.Struct, array_like=True, frozen=True):
    """A notification in a note: offsets instead of events."""

    id: str
    due_ms: int
    news: tuple[Offset, ...]
    others: tuple[Offset, ...]


def noted(told: Notification) -> Tried:
    """What a note says of it."""
    return Tried(told.id, told.due_ms, told.news, told.others)


class Resumed:
    """Gathers the events of those that were unsettled; ``read`` each message of the partition from its place on."""

    def __init__(self, tried: Iterable[Tried]) -> None:
        self._tried = tuple(tried)
        self._events: dict[Offset, ThresholdEvent | None] = {
            offset: None for each in self._tried for offset in (*each.news, *each.others)
        }

    def read(self, offset: Offset, event: ThresholdEvent | None) -> bool:
        """Take in the message there; whether there is nothing more to wait for."""
        if offset in self._events:
            self._events[offset] = event
        return offset >= max(self._events)

    def notifications(self, group_by: Sequence[str]) -> list[Notification]:
        """They as they were, without the events that Kafka has no more."""
        return [found for each in self._tried if (found := self._made(each, group_by)) is not None]

    def _made(self, each: Tried, group_by: Sequence[str]) -> Notification | None:
        news, others = self._found(each.news), self._found(each.others)
        if not news:
            return None
        events = (*news.values(), *others.values())
        key = key_of(events[0], group_by)
        return Notification(each.id, key, each.due_ms, shared(events, group_by), events, tuple(news), tuple(others))

    def _found(self, offsets: Sequence[Offset]) -> dict[Offset, ThresholdEvent]:
        return {offset: event for offset in offsets if (event := self._events[offset]) is not None}
