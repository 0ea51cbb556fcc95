"""Where a partition that was taken over goes on, from what was committed and what the broker has of its log. Pure.

- Nothing happened since: a pending range is replayed, or reading goes on.
- The log lost its tail (a power cut, an unclean election): offsets below the committed one are given out again. Reading
  goes on at the cut under the next epoch, so that tokens differ from those of the lost messages.
- Retention was faster than we: what is gone is counted.
- The group's offsets were forgotten, or set by a tool: from the beginning, or from there; what the log holds now may
  have had its effect before.
"""

from __future__ import annotations

from typing import NamedTuple

from tidemill.io.ranges.range import Intent


class Found(NamedTuple):
    """What Kafka says of one partition."""

    topic_id: str
    committed: int
    """Negative: nothing is."""
    note: Intent | None
    """None: there is none, or it is not ours."""
    low: int = 0
    end: int = 0
    """Asked again where it is below ``past``."""
    cut: int | None = None
    """Offset of the first message below ``past`` that is newer than what was read there; None: none is known."""

    @property
    def anew(self) -> bool:
        """Whether the topic was deleted and made again since."""
        return self.note is not None and self.note.t not in ("", self.topic_id)

    @property
    def past(self) -> int:
        """The offset after all that was read for good: the committed one, or the one after a pending range."""
        return max(self.committed, self.note.h + 1 if self.note is not None and self.note.h is not None else 0)


class Beginning(NamedTuple):
    """Where to go on."""

    pos: int
    epoch: int
    """Of the ranges to come."""
    hi: int | None = None
    """Replay ``pos``..hi first."""
    hi_epoch: int = 0
    compare_below: int = 0
    """Ranges that begin below may have had their effect before."""
    leader_epoch: int = -1
    cut: int = 0
    """So many offsets that were read are given out again by a log that lost its tail."""
    gone: int = 0
    """So many offsets were deleted before they were read."""


def beginning(found: Found, epoch: int) -> Beginning:
    """Where to go on; ``epoch``: the least there may be."""
    note = found.note or Intent()
    if found.committed < 0 or found.anew:
        return Beginning(found.low, epoch, compare_below=0 if found.anew else found.end)
    pos, past = found.committed, found.past
    epoch = max(epoch, note.e, note.n)
    below = note.u if found.note is not None else max(found.end, past)
    hi = past - 1 if past > pos else None
    cut = found.cut if found.cut is not None else min(found.end, past)
    if cut < past:
        epoch, below = epoch + 1, max(below, past)
        hi = cut - 1 if hi is not None and cut > pos else None
        pos = min(pos, cut)
    gone = max(0, found.low - pos)
    if hi is None:
        pos = max(pos, found.low)
    return Beginning(pos, epoch, hi, note.e, below, note.le, past - cut, gone)
