"""One partition's way from messages to frozen ranges: pure bookkeeping, no Kafka.

collecting (messages gather) → frozen (hi is fixed; it stays fixed whatever a commit answers) → open (the commit with
the intent was acknowledged, the caller works on the range) → done (``pos`` moves past hi) → collecting.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tidemill.io.ranges.range import Intent

M = TypeVar("M")
MAX_BYTES = 8_388_608
CROWD = 2
"""So many ranges' bytes may wait in all partitions together before those where something waits take in no more."""


@dataclass(frozen=True)
class Limits:
    """When a range is frozen: at so many messages, so many bytes, or when its first message has waited so long."""

    max_messages: int
    max_wait_s: float
    max_bytes: int = MAX_BYTES


class PartitionState(Generic[M]):
    """State of one assigned partition. A new assignment is a new object: its identity is the ownership."""

    def __init__(self, topic: str, partition: int, topic_id: str, pos: int, *, epoch: int = 0) -> None:
        self.topic = topic
        self.partition = partition
        self.topic_id = topic_id
        self.epoch = epoch
        self.range_epoch = epoch
        """Epoch of the frozen range: one taken over keeps its own, since its token must not change."""
        self.pos = pos
        """Offset of the next range's lo: what is committed, or will be with the next commit."""
        self.committed: int | None = None
        """The offset last acknowledged as committed by this owner, without an intent left over."""
        self.seen = pos
        """Everything below was delivered or does not exist."""
        self.leader_epoch = -1
        """Of the last message up to ``hi``, or below ``pos`` where nothing is frozen; -1: not known."""
        self.compare_below = 0
        """Ranges that begin below may have had their effect before."""
        self.hi: int | None = None
        self.replayed = False
        self.open = False
        self.opened_s = 0.0
        self.acknowledged_s = 0.0
        """When the intent was last acknowledged: renewed while the range is open."""
        self.since_s: float | None = None
        """When the oldest buffered message came (monotonic seconds)."""
        self.last_s = 0.0
        """When the last message came, the last range was done, or the partition was taken over."""
        self.taken: M | None = None
        """The last message handed out."""
        self.paused = False
        self._offsets: list[int] = []
        self._messages: list[M] = []
        self._sizes: list[int] = []
        self.bytes = 0

    @property
    def place(self) -> tuple[str, int]:
        """Topic and partition."""
        return self.topic, self.partition

    def replay(self, hi: int, epoch: int) -> None:
        """Take over a range that an earlier owner froze."""
        self.hi = hi
        self.range_epoch = epoch
        self.replayed = True

    def add(self, offset: int, size: int, message: M, now_s: float) -> None:
        """Note a delivered message.

        A step back means that Kafka delivers again from there: what was buffered from that offset on is forgotten.
        """
        if offset < self.seen:
            self._forget_from(offset)
        self.seen = offset + 1
        if offset < self.pos or (self.open and self.hi is not None and offset <= self.hi):
            return
        if not self._offsets:
            self.since_s = now_s
        self.last_s = now_s
        self._offsets.append(offset)
        self._messages.append(message)
        self._sizes.append(size)
        self.bytes += size

    def reached_end(self, offset: int, now_s: float) -> None:
        """Note that the partition ends at ``offset`` for now: moves ``pos`` past trailing markers when idle."""
        self.seen = max(self.seen, offset)
        if self.hi is None and not self._offsets and self.seen > self.pos:
            self.pos = self.seen
            self.last_s = now_s

    @property
    def waiting(self) -> Sequence[M]:
        """Messages that wait, in order of their offsets."""
        return self._messages

    @property
    def complete(self) -> bool:
        """Whether a frozen range has all its messages here."""
        return self.hi is not None and self.seen > self.hi

    def ready(self, limits: Limits, now_s: float, most: int | None = None, *, crowded: bool = False) -> bool:
        """Whether a range can be frozen now, of the first ``most`` messages that wait (None: of all).

        Where only some of them may be taken, or no more may come (``crowded``), there is no use in waiting for more.
        """
        most = len(self._offsets) if most is None else most
        if self.hi is not None or not most:
            return False
        waited = now_s - (self.since_s if self.since_s is not None else now_s)
        return (
            crowded
            or most < len(self._offsets)
            or most >= limits.max_messages
            or self.bytes >= limits.max_bytes
            or waited >= limits.max_wait_s
        )

    def full(self, limits: Limits, *, crowded: bool = False) -> bool:
        """Whether no more should be fetched until something was done; never while a frozen range is incomplete.

        Where all partitions together hold too much (``crowded``) only one where nothing waits takes in more.
        """
        if self.hi is not None and not self.complete:
            return False
        if crowded and self._offsets:
            return True
        return len(self._offsets) >= 2 * limits.max_messages or self.bytes >= 2 * limits.max_bytes

    def freeze(self, limits: Limits, most: int | None = None) -> M:
        """Fix hi: the last message within the limits, of the first ``most`` that wait (at least 1; None: of all).

        Gives back that message, whose leader epoch belongs in ``leader_epoch``.

        Call before the first commit attempt.
        """
        count = size = 0
        for size_here in self._sizes[:most][: limits.max_messages]:
            size += size_here
            if count and size > limits.max_bytes:
                break
            count += 1
        self.hi = self._offsets[count - 1]
        self.range_epoch = self.epoch
        self.replayed = False
        return self._messages[count - 1]

    @property
    def again(self) -> bool:
        """Whether the next range may have had its effect before."""
        return self.pos < self.compare_below

    def note(self) -> Intent:
        """What is to be committed with ``pos``."""
        epoch = self.epoch if self.hi is None else self.range_epoch
        later = self.epoch if self.epoch != epoch else 0
        below = self.compare_below if self.again else 0
        return Intent(self.hi, self.topic_id, epoch, later, self.leader_epoch, below)

    def another(self, offset: int, leader_epoch: int) -> bool:
        """Whether a message takes the place of one that was handed out or frozen: the log lost its tail.

        Leader epochs never fall along a log. Kafka may as well deliver the very same message again.
        """
        behind = self.pos if self.hi is None else self.hi + 1
        return offset < behind and 0 <= self.leader_epoch < leader_epoch

    def take(self, now_s: float) -> list[M]:
        """Open the frozen range, whose intent was just acknowledged; give back its messages."""
        assert self.hi is not None and not self.open
        cut = bisect_right(self._offsets, self.hi)
        taken = self._messages[:cut]
        self.bytes -= sum(self._sizes[:cut])
        del self._offsets[:cut], self._messages[:cut], self._sizes[:cut]
        self.taken = taken[-1] if taken else self.taken
        self.since_s = now_s if self._offsets else None
        self.open = True
        self.opened_s = self.acknowledged_s = now_s
        self.committed = None
        return taken

    def finish(self, now_s: float) -> None:
        """The open range's effect has happened: its offsets are behind us."""
        assert self.hi is not None and self.open
        self.pos = self.hi + 1 if self._offsets else max(self.hi + 1, self.seen)
        self.hi = None
        self.open = False
        self.replayed = False
        self.last_s = now_s

    def wants_idle_commit(self, now_s: float, idle_s: float) -> bool:
        """Whether ``pos`` should be committed without an intent, so that the lag shows zero."""
        idle = self.hi is None and not self._offsets
        return idle and self.committed != self.pos and now_s - self.last_s >= idle_s

    def _forget_from(self, offset: int) -> None:
        keep = bisect_right(self._offsets, offset - 1)
        self.bytes -= sum(self._sizes[keep:])
        del self._offsets[keep:], self._messages[keep:], self._sizes[keep:]


def crowded(states: Iterable[PartitionState[M]], limits: Limits) -> bool:
    """Whether as much waits in all partitions together as may."""
    return sum(state.bytes for state in states) >= CROWD * limits.max_bytes
