"""The notifications that one webhook still has to be sent, and which of them comes next. Pure: time is handed in.

Events come in, groups.py makes notifications of them, place.py says what is settled. What order is promised:
notifications are delivered in the order in which they became due. One that has been tried in vain for ``PATIENCE_S`` is
set aside: newer ones go first from then on, and it is tried again between them. Only those of the same alarm (or group)
wait behind it, so that a receiver never hears of an alarm's end before its beginning. A reminder takes the place of an
older one that was not taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from consumers.alerts.groups import Groups, Muted, MutedUntil, Notification, Policy
from consumers.alerts.place import Place
from consumers.alerts.tried import Resumed
from tidemill.events import ThresholdEvent

PATIENCE_S = 600.0
"""How long a notification that is not taken holds up newer ones, seconds since its first try."""
MOST_HELD = 500
"""With so many notifications in hand no more are read until some are settled."""
SETTLE_MS = 1_000
"""A message may be this late at a reader that is at the end of its partition, against the broker's clock."""


@dataclass(eq=False)
class Pending:
    """One notification not settled yet. Times are monotonic seconds."""

    partition: int
    notification: Notification
    attempts: int = 0
    first_s: float | None = None
    due_s: float = 0.0

    def is_aside(self, now_s: float) -> bool:
        """Whether newer ones go first."""
        return self.first_s is not None and now_s - self.first_s >= PATIENCE_S


class Outbox:
    """Add messages in the topic's order; take ``next``, then ``settle`` or ``postpone`` it."""

    def __init__(self, policy: Policy | None = None) -> None:
        self._policy = policy or Policy()
        self._pending: list[Pending] = []
        self._places: dict[int, Place] = {}
        self._groups: dict[int, Groups] = {}
        self._resumed: dict[int, Resumed] = {}
        """By partition, what was being tried before the start and is to be read again; nothing is sent before."""

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def is_full(self) -> bool:
        """Whether no more should be read."""
        return len(self._pending) >= MOST_HELD and not self._resumed

    @property
    def failing(self) -> list[Pending]:
        """Notifications that were tried in vain."""
        return [one for one in self._pending if one.attempts]

    @property
    def muted(self) -> int:
        """Alarms that a mute holds back now."""
        return sum(groups.muted for groups in self._groups.values())

    def remute(self, muted_until: MutedUntil, now_ms: int) -> None:
        """From now on these mutes count, for what is held back, too. What is due already goes out all the same."""
        self._policy = replace(self._policy, muted_until=muted_until)
        for groups in self._groups.values():
            groups.remute(muted_until, now_ms - SETTLE_MS)

    def clear(self) -> None:
        """Forget all: the topic's partitions are another member's now."""
        self._pending.clear()
        self._places.clear()
        self._groups.clear()
        self._resumed.clear()

    def knows(self, partition: int) -> bool:
        """Whether the partition was ``open``ed."""
        return partition in self._places

    def open(self, partition: int, committed: int = 0, note: str | None = "") -> Place:
        """Begin with a partition where its last commit (offset and metadata) says."""
        place = self._places[partition] = Place(committed, note)
        self._groups[partition] = Groups(self._policy, place.is_untried)
        if place.unsettled:
            self._resumed[partition] = Resumed(place.unsettled)
        return place

    def add(self, partition: int, offset: int, event: ThresholdEvent | None, at_ms: int = 0) -> list[Muted]:
        """Take in the message there, which arrived at ``at_ms``; None: it is no event. What a mute held back or out."""
        if partition not in self._places:
            self.open(partition)
        place = self._places[partition]
        place.read(offset)
        if not place.unsettled:
            self._resumed.pop(partition, None)
        muted: list[Muted] = []
        if event is not None:
            if place.is_news(offset):
                place.open(offset)
            taken, out = self._groups[partition].add(offset, at_ms, event)
            if not taken and place.is_untried(offset):
                place.settle((offset,))
            muted = self._take(partition, out)
        if partition in self._resumed and self._resumed[partition].read(offset, event):
            self._resume(partition)
        return muted

    def advance(self, partition: int, now_ms: int) -> list[Muted]:
        """The partition is read to its end at ``now_ms``: what is due by then."""
        self._resume(partition)
        return self._take(partition, self._groups[partition].advance(now_ms - SETTLE_MS))

    def _take(self, partition: int, out: Iterable[Notification | Muted]) -> list[Muted]:
        muted = []
        for each in out:
            if isinstance(each, Muted):
                self._places[partition].settle(each.news)
                muted.append(each)
            elif each.news or each.due_ms > self._places[partition].repeated_ms:
                if not each.news:
                    self._pending = [one for one in self._pending if not _is_reminder(one, each.key)]
                self._pending.append(Pending(partition, each))
        return muted

    def _resume(self, partition: int) -> None:
        """What was being tried before the start goes first: it was due before all that is read from there on."""
        if resumed := self._resumed.pop(partition, None):
            found = resumed.notifications(self._policy.group_by)
            self._pending[:0] = [Pending(partition, each) for each in found]

    def trying(self, pending: Pending) -> bool:
        """It is about to be sent: note that; whether ``positions`` must be committed before."""
        return self._places[pending.partition].trying(pending.notification)

    def next(self, now_s: float) -> Pending | None:
        """What to send now: the oldest not set aside when it is due, else one set aside that is."""
        if self._resumed:
            return None
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
            self._places[pending.partition].settle(pending.notification.news)

    def retire(self, address: str) -> None:
        """Note that this address wants no more calls."""
        for place in self._places.values():
            place.retired = address

    def positions(self) -> dict[int, tuple[int, str]]:
        """By partition, the offset to commit and the note beside it (see place.py)."""
        found = {
            partition: place.commit(idle=self._groups[partition].idle, remembers=self._policy.remembers)
            for partition, place in self._places.items()
        }
        return {partition: at for partition, at in found.items() if at is not None}

    def _heads(self) -> Iterator[Pending]:
        """The oldest notification of each alarm or group, oldest first."""
        seen: set[str] = set()
        for one in self._pending:
            told = one.notification
            names = {told.key, *(event.data.alarm_id for event in told.events[: len(told.news)])}
            if not names & seen:
                yield one
            seen |= names


def _is_reminder(pending: Pending, key: str) -> bool:
    return pending.notification.key == key and not pending.notification.news
