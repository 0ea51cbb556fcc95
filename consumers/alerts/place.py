"""How far one partition's events are settled for one webhook, and where to read on after a restart. Pure.

Settled means: delivered, refused, given up, not to be told, or muted from beginning to end. The committed offset is
where a restart begins to read; the note beside it (commit metadata) says which of the messages from there on are
settled. So all state follows from the topic and this note, and

- **no alarm is lost**: an event counts as settled only in a commit after it was, and whatever is not settled is told
  when it is read again, whatever became of groups, mutes and settings meanwhile;
- **none is told twice but under the same id**: what was settled and committed is not told again; what was delivered and
  not committed yet is told again by the same fold over the same messages, begun at a place where nothing was under
  way, so under the same id, with the same alarms.

Three things can change a group's composition, and thereby its id, for what a crash left between delivery and commit: a
message (an event, or a silence by command) that reached the broker more than a second (by its clock) before a reader at
its end saw it; settings that were changed in between; and a beginning that Kafka keeps no longer (7 days). The events
are told all the same. Silences that were added or expired in between change nothing (tidemill.silences). A reminder
(repeat) that a crash meets may be left out; the next one comes an interval later.
"""

from __future__ import annotations

import msgspec

MOST_NOTED = 250
"""Offsets that a note holds: the broker takes 4096 bytes."""


class _Note(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=False):
    done: int = 0
    open: tuple[int, ...] = ()
    repeated_ms: int = 0
    retired: str = ""


class Place:
    """Of one partition. ``committed`` and ``note`` are offset and metadata of the last commit, as they were read."""

    def __init__(self, committed: int = 0, note: str | None = "") -> None:
        self._restored = _read(note)
        self._committed = committed
        self._next = self._begin = 0
        self._open: set[int] = set()
        self.repeated_ms = self._restored.repeated_ms
        """Up to when reminders have been delivered."""
        self.retired = self._restored.retired
        """The address that does not want to be called any more, by its digest."""

    def is_news(self, offset: int) -> bool:
        """Whether the message was not settled by the last commit before this start."""
        return offset >= self._restored.done or offset in self._restored.open

    def read(self, offset: int) -> None:
        """The message there was read. One below the commit is of a topic made anew: the note is not about it."""
        if self._next == 0:
            self._begin = offset
        if offset < self._committed:
            self._restored = _Note()
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
        noted = _Note(done, tuple(waiting[:MOST_NOTED]), self.repeated_ms, self.retired)
        return self._begin, msgspec.json.encode(noted).decode()


def _read(note: str | None) -> _Note:
    """A note that is empty or not ours (a tool moved the offset) says that nothing is settled."""
    try:
        return msgspec.json.decode(note or "{}", type=_Note)
    except msgspec.MsgspecError:
        return _Note()
