"""Labels that wait for the answers of their call: pure, the time is handed in.

A label is looked up at once, again and again until an answer a client saw has landed, and a while longer for
shadow answers. It is given up when nothing came in ``GIVE_UP_S`` although the label itself has landed in the store
(so the sink was at work meanwhile).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from consumers.scorer.scores import Answer
from tidemill.events import Feedback

LATE_SHADOW_S = 15.0
"""How long after its arrival a label whose answer is scored still looks for a late shadow answer."""
OLD_CALL_S = 120.0
"""A call this old (a backlog after a restart) had its shadow long ago: LATE_OLD_S is enough."""
LATE_OLD_S = 2.0
GIVE_UP_S = 60.0
REMEMBERED = 50_000
"""Scores remembered by id, so that a label sent twice scores once."""


def next_look_s(age_s: float, answered: bool) -> float:
    """Seconds until a label of this age is looked up again: often while it is young and unanswered."""
    if age_s < 3.0 and not answered:
        return 0.3
    return 1.0 if age_s < LATE_SHADOW_S else 5.0


@dataclass
class Label:
    """One waiting label and where it stood in the topic."""

    event: Feedback
    partition: int
    offset: int
    since_s: float
    next_s: float
    answered: bool = False
    old: bool = False


@dataclass
class Waiting:
    """All waiting labels, by place in the topic, and the scores already said."""

    labels: OrderedDict[tuple[int, int], Label] = field(default_factory=OrderedDict)
    said: OrderedDict[str, None] = field(default_factory=OrderedDict)
    positions: dict[int, int] = field(default_factory=dict)
    """Next offset to read, by partition."""

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, partition: int, next_offset: int) -> None:
        """Everything below ``next_offset`` was read."""
        self.positions[partition] = max(next_offset, self.positions.get(partition, 0))

    def add(self, partition: int, offset: int, event: Feedback, now_s: float, now_ms: int) -> None:
        """A label arrived."""
        old = now_ms - event.call_time_ms > OLD_CALL_S * 1000
        self.labels[partition, offset] = Label(event, partition, offset, now_s, now_s, old=old)

    def remember(self, feedback_id: str) -> None:
        """This score is on the topic."""
        self.said[feedback_id] = None
        self.said.move_to_end(feedback_id)
        while len(self.said) > REMEMBERED:
            self.said.popitem(last=False)

    def forget(self, partition: int) -> None:
        """The partition belongs to somebody else now."""
        self.labels = OrderedDict((key, label) for key, label in self.labels.items() if label.partition != partition)
        self.positions.pop(partition, None)

    def due(self, now_s: float, limit: int) -> list[Label]:
        """Labels to look up now, the longest overdue first."""
        ready = [label for label in self.labels.values() if label.next_s <= now_s]
        return sorted(ready, key=lambda label: label.next_s)[:limit]

    def looked(self, label: Label, answers: list[Answer], now_s: float) -> None:
        """The store answered for this label: note what it had, drop the label when nothing more can come."""
        age = now_s - label.since_s
        label.answered = label.answered or any(answer.role != "shadow" for answer in answers)
        label.next_s = now_s + next_look_s(age, label.answered)
        if label.answered and age >= (LATE_OLD_S if label.old else LATE_SHADOW_S):
            self.labels.pop((label.partition, label.offset), None)

    def overdue(self, now_s: float) -> list[Label]:
        """Labels without a client's answer for longer than GIVE_UP_S."""
        return [label for label in self.labels.values() if not label.answered and now_s - label.since_s > GIVE_UP_S]

    def give_up(self, label: Label) -> None:
        """Drop a label whose answer never came."""
        self.labels.pop((label.partition, label.offset), None)

    def offsets(self) -> dict[int, int]:
        """The offset to commit by partition: the first label still waiting, else the next message."""
        first: dict[int, int] = dict(self.positions)
        for label in self.labels.values():
            first[label.partition] = min(first.get(label.partition, label.offset), label.offset)
        return first
