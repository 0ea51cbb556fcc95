"""What is told together, told again, or held back: the threshold events of one partition in, notifications out. Pure.

A group holds the alarms that share the labels in ``group_by``; without ``group_by`` each alarm is a group of its own
that waits for nothing. Its first news waits ``wait``, later news until ``interval`` after the last; alarms that still
fire are told again ``repeat`` after the group's last notification. News of an alarm whose beginning is muted when the
group is due is held back until the mute ends; if the alarm ends meanwhile, it is never told of. The end of an alarm
that has been told of is held back likewise, and never left out. One notification holds one event of an alarm at most,
so a receiver hears of each beginning in a notification before that of its end. An alarm that is muted is not among the
others of a notification either: after a restart nobody knows whether it was told of, or ended unheard.

Time is the broker's (when a message arrived) while messages are read, and the caller's when the partition is read to
its end. Each group does what was due before it takes the next message, so its notifications, and their ids, follow from
the messages alone: not from when or how often ``advance`` was called (place.py says what a crash can change).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from consumers.alerts.body import labels_of
from tidemill.events import ThresholdEvent
from tidemill.ids import derived_id

Offset = int


@dataclass(frozen=True)
class Policy:
    """How one webhook is told. Times in ms; ``repeat_ms`` 0: never."""

    group_by: tuple[str, ...] = ()
    wait_ms: int = 0
    interval_ms: int = 0
    repeat_ms: int = 0
    send_resolved: bool = True
    muted_until: Callable[[Mapping[str, str], int], int | None] | None = None

    @property
    def remembers(self) -> bool:
        """Whether alarms must be known after they have been told of."""
        return bool(self.group_by or self.repeat_ms or self.muted_until)


@dataclass(frozen=True)
class Notification:
    """One delivery. ``id`` and events depend on the topic and the settings alone."""

    id: str
    key: str
    """Notifications of one key go out in order: the group, or the alarm."""
    due_ms: int
    labels: dict[str, str]
    """What the group's alarms share; empty for an alarm by itself."""
    events: tuple[ThresholdEvent, ...]
    """The news, then the group's other alarms that fire; one event of each."""
    news: tuple[Offset, ...]
    """Offsets of the events that this tells; empty: it tells them again."""


@dataclass(frozen=True)
class Muted:
    """A mute held an event back (``news`` empty) or out (the offsets that need not be told any more)."""

    event: ThresholdEvent
    news: tuple[Offset, ...] = ()


@dataclass
class _Alarm:
    begin: ThresholdEvent | None = None
    """None: it began before what is known here."""
    told: bool = False
    ended: bool = False
    held_back: bool = False
    pending: list[tuple[Offset, ThresholdEvent]] = field(default_factory=list)


@dataclass
class _Group:
    labels: dict[str, str]
    alarms: dict[str, _Alarm] = field(default_factory=dict)
    flush_ms: int | None = None
    last_ms: int | None = None
    repeat_ms: int | None = None


class Groups:
    """The groups of one partition. ``is_news(offset)``: whether the message there has not been dealt with yet."""

    def __init__(self, policy: Policy, is_news: Callable[[Offset], bool]) -> None:
        self._policy = policy
        self._is_news = is_news
        self._groups: dict[str, _Group] = {}
        self._homes: dict[str, str] = {}

    @property
    def idle(self) -> bool:
        """Whether nothing of what was read matters any more."""
        return not self._groups

    @property
    def muted(self) -> int:
        """Alarms held back now."""
        return sum(alarm.held_back for group in self._groups.values() for alarm in group.alarms.values())

    def add(self, offset: Offset, at_ms: int, event: ThresholdEvent) -> tuple[bool, list[Notification | Muted]]:
        """Take in a message that arrived at ``at_ms``: whether it is to be told of, and what has become due."""
        name, firing = event.data.alarm_id, event.data.state == "firing"
        labels = labels_of(event)
        shared = {label: labels.get(label, "") for label in self._policy.group_by}
        key = self._homes.get(name) or (derived_id(*shared.items()) if shared else name)
        out = self._advance(key, at_ms)
        group = self._groups.setdefault(key, _Group(shared))
        alarm = group.alarms.setdefault(name, _Alarm())
        self._homes[name] = key
        told_of = (firing or self._policy.send_resolved) and not alarm.ended and not (firing and alarm.begin)
        if firing:
            alarm.begin = alarm.begin or event
        else:
            alarm.ended = True
        if told_of:
            alarm.pending.append((offset, event))
            due = at_ms + self._policy.wait_ms
            if group.last_ms is not None:
                due = max(due, group.last_ms + self._policy.interval_ms)
            group.flush_ms = due if group.flush_ms is None else min(group.flush_ms, due)
        elif alarm.ended and not alarm.pending:
            self._forget(group, name)
        return told_of, out + self._advance(key, at_ms)

    def advance(self, now_ms: int) -> list[Notification | Muted]:
        """What has become due by ``now_ms``. Only when every message that arrived before is in."""
        return [each for key in list(self._groups) for each in self._advance(key, now_ms)]

    def _advance(self, key: str, to_ms: int) -> list[Notification | Muted]:
        group = self._groups.get(key)
        out: list[Notification | Muted] = []
        while group is not None:
            flush, repeat = group.flush_ms, group.repeat_ms
            if flush is not None and flush <= to_ms and (repeat is None or flush <= repeat):
                out += self._flush(key, group, flush)
            elif repeat is not None and repeat <= to_ms:
                out += self._repeat(key, group, repeat)
            else:
                break
        over_ms = to_ms if group is None or group.last_ms is None else group.last_ms + self._policy.interval_ms
        if group is not None and not group.alarms and over_ms <= to_ms:
            del self._groups[key]
        return out

    def _flush(self, key: str, group: _Group, now_ms: int) -> list[Notification | Muted]:
        out: list[Notification | Muted] = []
        news: list[tuple[Offset, ThresholdEvent]] = []
        group.flush_ms = None
        for name, alarm in list(group.alarms.items()):
            if not alarm.pending:
                continue
            offset, event = alarm.pending[0]
            end = self._muted_until(event, now_ms) if self._is_news(offset) else None
            if end is None:
                alarm.pending.pop(0)
                alarm.held_back = False
                alarm.told = True
                news.append((offset, event))
            elif event.data.state == "firing" and alarm.ended:
                out.append(Muted(event, tuple(each for each, _ in alarm.pending)))
                self._forget(group, name)
                continue
            elif not alarm.held_back:
                out.append(Muted(event))
                alarm.held_back = True
            if alarm.pending:
                due = now_ms if end is None else end
                group.flush_ms = due if group.flush_ms is None else min(group.flush_ms, due)
            elif alarm.ended or not self._policy.remembers:
                self._forget(group, name)
        if news:
            group.last_ms = now_ms
            told = [(offset, event) for offset, event in news if self._is_news(offset)]
            if told:
                out.append(self._news(key, group, now_ms, told))
            still = any(alarm.told and not alarm.ended for alarm in group.alarms.values())
            group.repeat_ms = now_ms + self._policy.repeat_ms if self._policy.repeat_ms and still else None
        return out

    def _news(self, key: str, group: _Group, now_ms: int, told: list[tuple[Offset, ThresholdEvent]]) -> Notification:
        offsets, news = tuple(offset for offset, _ in told), tuple(event for _, event in told)
        if not group.labels:
            return Notification(news[0].id, key, now_ms, {}, news, offsets)
        named = {event.data.alarm_id for event in news}
        firing = (event for event in self._firing(group) if event.data.alarm_id not in named)
        others = tuple(event for event in firing if self._muted_until(event, now_ms) is None)
        name = derived_id(key, now_ms, *(event.id for event in news + others))
        return Notification(name, key, now_ms, group.labels, news + others, offsets)

    def _repeat(self, key: str, group: _Group, now_ms: int) -> list[Notification | Muted]:
        firing = self._firing(group)
        ends = [self._muted_until(event, now_ms) for event in firing]
        heard = tuple(event for event, end in zip(firing, ends, strict=True) if end is None)
        group.repeat_ms = min((end for end in ends if end is not None), default=None)
        if not heard:
            return []
        group.repeat_ms = now_ms + self._policy.repeat_ms
        name = derived_id("repeat", key, now_ms, *(event.id for event in heard))
        return [Notification(name, key, now_ms, group.labels, heard, ())]

    def _forget(self, group: _Group, name: str) -> None:
        del group.alarms[name]
        del self._homes[name]

    def _firing(self, group: _Group) -> list[ThresholdEvent]:
        """The beginnings of alarms that have been told of and have not ended."""
        return [each.begin for each in group.alarms.values() if each.begin is not None and each.told and not each.ended]

    def _muted_until(self, event: ThresholdEvent, now_ms: int) -> int | None:
        end = self._policy.muted_until and self._policy.muted_until(labels_of(event), now_ms)
        return None if end is None else max(end, now_ms + 1)
