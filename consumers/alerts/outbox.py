"""The threshold events that one webhook still has to be sent, and which of them comes next. Pure: time is handed in.

What order is promised: events are delivered in the topic's order. One that has been tried in vain for ``PATIENCE_S`` is
set aside: newer events go first from then on, and it is tried again between them. Only events of the same alarm wait
behind it, so that a receiver never hears of an alarm's end before its beginning. Nothing is forgotten over a restart:
the place in the topic stays below the oldest event not settled, so events delivered after it are sent once more then,
under the same ``webhook-id``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tidemill.events import ThresholdEvent

PATIENCE_S = 600.0
"""How long an event that is not taken holds up newer ones, seconds since its first try."""
MOST_HELD = 500
"""With so many events in hand no more are read until some are settled."""


@dataclass(eq=False)
class Pending:
    """One event not settled yet. Times are monotonic seconds."""

    partition: int
    offset: int
    event: ThresholdEvent
    attempts: int = 0
    first_s: float | None = None
    due_s: float = 0.0

    def is_aside(self, now_s: float) -> bool:
        """Whether newer events go first."""
        return self.first_s is not None and now_s - self.first_s >= PATIENCE_S


class Outbox:
    """Add events in the topic's order; take ``next``, then ``settle`` or ``postpone`` it."""

    def __init__(self) -> None:
        self._pending: list[Pending] = []
        self._next_offset: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def is_full(self) -> bool:
        """Whether no more should be read."""
        return len(self._pending) >= MOST_HELD

    @property
    def failing(self) -> list[Pending]:
        """Events that were tried in vain."""
        return [one for one in self._pending if one.attempts]

    def clear(self) -> None:
        """Forget all: the topic's partitions are another member's now."""
        self._pending.clear()
        self._next_offset.clear()

    def add(self, partition: int, offset: int, event: ThresholdEvent | None) -> None:
        """Take in the message at that place; None: it holds nothing to be sent."""
        self._next_offset[partition] = offset + 1
        if event is not None:
            self._pending.append(Pending(partition, offset, event))

    def next(self, now_s: float) -> Pending | None:
        """What to send now: the oldest event not set aside when it is due, else one set aside that is."""
        aside: Pending | None = None
        for one in self._heads():
            if not one.is_aside(now_s):
                return one if one.due_s <= now_s else aside
            if one.due_s <= now_s and (aside is None or one.due_s < aside.due_s):
                aside = one
        return aside

    def postpone(self, pending: Pending, now_s: float, after_s: float) -> None:
        """It was tried at ``now_s`` and not taken: again in ``after_s`` seconds."""
        pending.attempts += 1
        pending.due_s = now_s + after_s
        if pending.first_s is None:
            pending.first_s = now_s

    def settle(self, pending: Pending) -> None:
        """It is delivered, refused or given up. Safe to repeat, and after ``clear``."""
        if pending in self._pending:
            self._pending.remove(pending)

    def positions(self) -> dict[int, int]:
        """By partition, the offset below which everything is settled."""
        found = dict(self._next_offset)
        for one in self._pending:
            found[one.partition] = min(found[one.partition], one.offset)
        return found

    def _heads(self) -> Iterator[Pending]:
        """The oldest event of each alarm, oldest first."""
        seen: set[str] = set()
        for one in self._pending:
            if one.event.data.alarm_id not in seen:
                seen.add(one.event.data.alarm_id)
                yield one
