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
the messages alone: not from when or how often ``advance`` was called (place.py says what a crash can change). Mutes may
change meanwhile: ``remute`` asks again, as of the time when an alarm was held back, until when it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tidemill.events import ThresholdEvent
from tidemill.ids import derived_id
from tidemill.silences import labels_of

Offset = int
MutedUntil = Callable[[Mapping[str, str], int], int | None]
"""When the mute ends that holds for these labels at that time; None: none does."""


@dataclass(frozen=True)
class Policy:
    """How one webhook is told. Times in ms; ``repeat_ms`` 0: never."""

    group_by: tuple[str, ...] = ()
    wait_ms: int = 0
    interval_ms: int = 0
    repeat_ms: int = 0
    send_resolved: bool = True
    muted_until: MutedUntil | None = None

    @property
    def remembers(self) -> bool:
        """Whether alarms must be known after they have been told of."""
        return bool(self.group_by or self.repeat_ms)


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
    others: tuple[Offset, ...] = ()
    """Offsets of the others, where there are news."""


@dataclass(frozen=True)
class Muted:
    """A mute held an event back (``news`` empty) or out (the offsets that need not be told any more)."""

    event: ThresholdEvent
    news: tuple[Offset, ...] = ()


def shared(events: Sequence[ThresholdEvent], group_by: Sequence[str]) -> dict[str, str]:
    """The labels in ``group_by`` that are the same for all of these."""
    labels = [labels_of(event.data) for event in events]
    values = {label: {each.get(label, "") for each in labels} for label in group_by}
    return {label: found.pop() for label, found in values.items() if len(found) == 1}


def key_of(event: ThresholdEvent, group_by: Sequence[str]) -> str:
    """The key of notifications of that event."""
    return derived_id(*shared((event,), group_by).items()) if group_by else event.data.alarm_id


@dataclass
class _Alarm:
    begin: tuple[Offset, ThresholdEvent] | None = None
    """None: it began before what is known here."""
    told: bool = False
    ended: bool = False
    held_ms: int | None = None
    """When it was last held back; None: it is not."""
    until_ms: int = 0
    """Until when it is held back then."""
    pending: list[tuple[Offset, ThresholdEvent]] = field(default_factory=list)


@dataclass
class _Group:
    labels: dict[str, str]
    alarms: dict[str, _Alarm] = field(default_factory=dict)
    news_ms: int | None = None
    """When its news is due; what is held back (``until_ms``) is due by itself."""
    last_ms: int | None = None
    repeat_ms: int | None = None
    muted_repeat: tuple[int, tuple[ThresholdEvent, ...]] | None = None
    """When a reminder was due that a mute put off, and of what; None: the next one is due by the clock."""

    @property
    def flush_ms(self) -> int | None:
        """When there is something to tell."""
        ends = [alarm.until_ms for alarm in self.alarms.values() if alarm.held_ms is not None]
        return min(ends if self.news_ms is None else [*ends, self.news_ms], default=None)


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
        return sum(each.held_ms is not None for group in self._groups.values() for each in group.alarms.values())

    def add(self, offset: Offset, at_ms: int, event: ThresholdEvent) -> tuple[bool, list[Notification | Muted]]:
        """Take in a message that arrived at ``at_ms``: whether it is to be told of, and what has become due."""
        name, firing = event.data.alarm_id, event.data.state == "firing"
        key = self._homes.get(name) or key_of(event, self._policy.group_by)
        out = self._advance(key, at_ms)
        group = self._groups.setdefault(key, _Group(shared((event,), self._policy.group_by)))
        alarm = group.alarms.setdefault(name, _Alarm())
        self._homes[name] = key
        told_of = (firing or self._policy.send_resolved) and not alarm.ended and not (firing and alarm.begin)
        if firing:
            alarm.begin = alarm.begin or (offset, event)
        else:
            alarm.ended = True
        if told_of:
            alarm.pending.append((offset, event))
        if told_of or (alarm.ended and alarm.held_ms is not None):
            due = at_ms + self._policy.wait_ms
            if group.last_ms is not None:
                due = max(due, group.last_ms + self._policy.interval_ms)
            group.news_ms = due if group.news_ms is None else min(group.news_ms, due)
        elif alarm.ended and not alarm.pending:
            self._forget(group, name)
        return told_of, out + self._advance(key, at_ms)

    def advance(self, now_ms: int) -> list[Notification | Muted]:
        """What has become due by ``now_ms``. Only when every message that arrived before is in."""
        return [each for key in list(self._groups) for each in self._advance(key, now_ms)]

    def remute(self, muted_until: MutedUntil, now_ms: int) -> None:
        """From now on these mutes count; what is held back is held back until they say, and at least until now."""
        self._policy = replace(self._policy, muted_until=muted_until)
        for group in self._groups.values():
            for alarm in group.alarms.values():
                if alarm.held_ms is not None:
                    alarm.until_ms = self._later(alarm.until_ms, alarm.held_ms, [alarm.pending[0][1]], now_ms)
            if group.muted_repeat is not None and group.repeat_ms is not None:
                group.repeat_ms = self._later(group.repeat_ms, *group.muted_repeat, now_ms)

    def _later(self, until_ms: int, at_ms: int, events: Sequence[ThresholdEvent], now_ms: int) -> int:
        """When the first of ``events``, which were muted at ``at_ms``, is no more; it was to be at ``until_ms``."""
        ends = (self._muted_until(event, at_ms) for event in events)
        return max(min(at_ms + 1 if end is None else end for end in ends), min(until_ms, now_ms))

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
        group.news_ms = None
        for name, alarm in list(group.alarms.items()):
            if not alarm.pending:
                continue
            offset, event = alarm.pending[0]
            over = event.data.state == "firing" and alarm.ended
            end = None if over and self._was_told(alarm) else self._muted_until(event, now_ms)
            if end is not None and over:
                out.append(Muted(event, tuple(each for each, _ in alarm.pending if self._is_news(each))))
                self._forget(group, name)
            elif end is not None:
                if alarm.held_ms is None:
                    out.append(Muted(event))
                alarm.held_ms, alarm.until_ms = now_ms, end
            else:
                alarm.pending.pop(0)
                alarm.held_ms = None
                alarm.told = True
                news.append((offset, event))
                if alarm.pending:
                    group.news_ms = now_ms
                elif alarm.ended or not self._policy.remembers:
                    self._forget(group, name)
        if news:
            group.last_ms = now_ms
            told = [(offset, event) for offset, event in news if self._is_news(offset)]
            if told:
                out.append(self._news(key, group, now_ms, told))
            still = any(alarm.told and not alarm.ended for alarm in group.alarms.values())
            group.repeat_ms = now_ms + self._policy.repeat_ms if self._policy.repeat_ms and still else None
            group.muted_repeat = None
        return out

    def _news(self, key: str, group: _Group, now_ms: int, told: list[tuple[Offset, ThresholdEvent]]) -> Notification:
        offsets, news = tuple(offset for offset, _ in told), tuple(event for _, event in told)
        if not group.labels:
            return Notification(news[0].id, key, now_ms, {}, news, offsets)
        named = {event.data.alarm_id for event in news}
        firing = ((at, event) for at, event in self._firing(group) if event.data.alarm_id not in named)
        beside = [(at, event) for at, event in firing if self._muted_until(event, now_ms) is None]
        events = news + tuple(event for _, event in beside)
        name = derived_id(key, now_ms, *(event.id for event in events))
        return Notification(name, key, now_ms, group.labels, events, offsets, tuple(at for at, _ in beside))

    def _repeat(self, key: str, group: _Group, now_ms: int) -> list[Notification | Muted]:
        firing = tuple(event for _, event in self._firing(group))
        ends = [self._muted_until(event, now_ms) for event in firing]
        heard = tuple(event for event, end in zip(firing, ends, strict=True) if end is None)
        group.repeat_ms = min((end for end in ends if end is not None), default=None)
        group.muted_repeat = None if heard or not firing else (now_ms, firing)
        if not heard:
            return []
        group.repeat_ms = now_ms + self._policy.repeat_ms
        name = derived_id("repeat", key, now_ms, *(event.id for event in heard))
        return [Notification(name, key, now_ms, group.labels, heard, ())]

    def _was_told(self, alarm: _Alarm) -> bool:
        """Before a restart, whatever the mutes are now: its beginning has been dealt with, and its end has not."""
        settled = [not self._is_news(offset) for offset, _ in alarm.pending]
        return settled[0] and not all(settled)

    def _forget(self, group: _Group, name: str) -> None:
        del group.alarms[name]
        del self._homes[name]

    def _firing(self, group: _Group) -> list[tuple[Offset, ThresholdEvent]]:
        """The beginnings of alarms that have been told of and have not ended."""
        return [each.begin for each in group.alarms.values() if each.begin is not None and each.told and not each.ended]

    def _muted_until(self, event: ThresholdEvent, now_ms: int) -> int | None:
        end = self._policy.muted_until and self._policy.muted_until(labels_of(event.data), now_ms)
        return None if end is None else max(end, now_ms + 1)
