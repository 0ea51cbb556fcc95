"""How far one partition's events are settled for one webhook, and where to read on after a restart. Pure.

Settled means: delivered, refused, given up, not to be told, or muted from beginning to end. The committed offset is
where a restart begins to read; the note beside it (commit metadata) says which of the messages from there on are
settled. So all state follows from the topic and this note, and

- **no alarm is lost**: an event counts as settled only in a commit after it was, and whatever is not settled is told
  when it is read again, whatever became of groups, mutes and settings meanwhile;
- **none is told twice but under the same id**: what was settled and committed is not told again; a notification is in
  the note before it is sent the first time, and what a crash leaves of those unsettled is told again as the note says,
  under the same id, with the same alarms (tried.py). So neither clocks nor settings nor silences that changed in
  between matter.

A note has room for some hundred alarms that are being tried; the oldest tries are left out first. What is not in the
note comes again by the same fold over the same messages, begun at a place where nothing was under way, which gives the
same id unless the broker's clock is more than a second off, settings were changed, or Kafka keeps a beginning no longer
(7 days). A reminder (repeat) is noted as told before it is sent: one that a crash meets may be left out; the next comes
an interval later.
"""

from __future__ import annotations

import msgspec

from consumers.alerts.groups import Notification
from consumers.alerts.tried import Tried, noted

MOST_NOTED = 250
"""Unsettled offsets that a note holds."""
NOTE_BYTES = 4096
"""What the broker takes."""


class _Note(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=False):
    done: int = 0
    open: tuple[int, ...] = ()
    repeated_ms: int = 0
    retired: str = ""
    tried: tuple[Tried, ...] = ()


class Place:
    """Of one partition. ``committed`` and ``note`` are offset and metadata of the last commit, as they were read."""

    def __init__(self, committed: int = 0, note: str | None = "") -> None:
        self._restored = _read(note)
        self._committed = committed
        self._next = self._begin = 0
        self._open: set[int] = set()
        self._tried = {each.id: each for each in self._restored.tried}
        self.repeated_ms = self._restored.repeated_ms
        """Up to when reminders have been sent, or were about to be."""
        self.retired = self._restored.retired
        """The address that does not want to be called any more, by its digest."""

    def is_news(self, offset: int) -> bool:
        """Whether the message was not settled by the last commit before this start."""
        return offset >= self._restored.done or offset in self._restored.open

    @property
    def unsettled(self) -> tuple[Tried, ...]:
        """What was being tried at the last commit before this start."""
        return self._restored.tried

    def is_untried(self, offset: int) -> bool:
        """Whether it is news, and of no notification that was being tried by then."""
        return self.is_news(offset) and not any(offset in each.news for each in self._restored.tried)

    def trying(self, told: Notification) -> bool:
        """Note that this is about to be sent; whether that is new, and to be committed before."""
        if not told.news:
            known, self.repeated_ms = self.repeated_ms, max(self.repeated_ms, told.due_ms)
            return self.repeated_ms != known
        if told.id in self._tried:
            return False
        self._tried[told.id] = noted(told)
        return True

    def read(self, offset: int) -> None:
        """The message there was read. One below the commit is of a topic made anew: the note is not about it."""
        if self._next == 0:
            self._begin = offset
        if offset < self._committed and self._restored != _Note():
            self._restored = _Note()
            self._tried.clear()
        self._next = offset + 1

    def open(self, offset: int) -> None:
        """The message there is to be told."""
        self._open.add(offset)

    def settle(self, offsets: tuple[int, ...]) -> None:
        """Done with these. Safe to repeat."""
        self._open.difference_update(offsets)

    def commit(self, *, idle: bool, remembers: bool) -> tuple[int, str] | None:
        """The offset to commit, and the note; None: nothing was read yet.

        ``idle``: no group is under way. ``remembers``: what is told depends on alarms told of before; then the
        offset moves only when nothing is under way.
        """
        if self._next == 0:
            return None
        if idle and not self._open:
            self._begin = self._next
        elif not remembers:
            self._begin = min(self._open, default=self._next)
        waiting = sorted(self._open)
        done = max(self._next, self._restored.done)
        if self._next < self._restored.done:
            waiting += [offset for offset in self._restored.open if offset >= self._next]
        if len(waiting) > MOST_NOTED:
            done = waiting[MOST_NOTED]
        self._tried = {name: each for name, each in self._tried.items() if any(map(self._is_unsettled, each.news))}
        tried = tuple(self._tried.values())
        while True:
            note = msgspec.json.encode(_Note(done, tuple(waiting[:MOST_NOTED]), self.repeated_ms, self.retired, tried))
            if len(note) <= NOTE_BYTES or not tried:
                return self._begin, note.decode()
            tried = tried[1:]

    def _is_unsettled(self, offset: int) -> bool:
        return offset in self._open or offset >= self._next


def _read(note: str | None) -> _Note:
    """A note that is empty or not ours (a tool moved the offset) says that nothing is settled."""
    try:
        return msgspec.json.decode(note or "{}", type=_Note)
    except msgspec.MsgspecError:
        return _Note()
