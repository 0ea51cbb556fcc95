"""How far each source partition has been read, and the watermark that follows from it.

Progress is said by the meters, not guessed from silence: a source whose position equals its end is idle, and its
contribution to the watermark follows the meter's clock. The watermark is the minimum over all source partitions.

Two clocks are heard: the meter's, and the broker's on the message that says so (``arrived_ms``). The meter's is
believed only up to the broker's, so a meter whose clock runs ahead moves nobody's watermark; silence is measured on
the broker's alone, so a meter whose clock is behind is slow, not silent.

The broker's clock is taken to go forward, so an arrival before the latest counts as the latest. Where arrivals stay
earlier by as much as makes a source silent, for BACK_MS and BACK_WORDS in a row, it is the latest that was wrong: the
clock is set back to theirs, and what was heard by the wrong one is forgotten.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

from tidemill.events import PartitionProgress, Progress

DELAY_MS = 500
"""What an event may take from its time stamp to its topic without being late."""
BACK_MS = 5_000
"""For how long arrivals must stay far before the latest until the clock is set back."""
BACK_WORDS = 8
"""How many of them there must be, too."""


class Source(Struct, frozen=True, array_like=True):
    """The last word on one source partition."""

    position: int
    end: int
    max_event_ms: int | None
    heard_ms: int
    """The meter's clock when it said so, no later than the broker's when it arrived."""
    arrived_ms: int
    """The broker's clock when the word arrived."""


class Watermark(NamedTuple):
    """No event before ``ms`` is expected any more; ``complete`` unless a source was left out as silent."""

    ms: int
    complete: bool


class Sources(Struct, frozen=True, array_like=True):
    """All source partitions as last heard of. A value: ``heard`` gives back a new one."""

    expected: int = 0
    clock_ms: int = 0
    """The latest arrival; deterministic under replay, unlike our own clock. It goes back only where it was wrong."""
    first_ms: int = 0
    """The first one."""
    by_name: dict[str, Source] = {}
    back_words: int = 0
    """How many arrivals in a row were far before the latest."""
    back_ms: int = 0
    """The first of them."""

    def heard(self, progress: Progress, arrived_ms: int, silent_ms: int) -> Sources:
        """These sources after one progress message, in log order: the last word counts. ``clock_ms`` is smaller
        afterwards only where the clock was set back: arrivals have stayed ``silent_ms`` or more before it.
        """
        by_name = dict(self.by_name)
        heard_ms = min(progress.time_ms, arrived_ms)
        for said in progress.partitions:
            by_name[f"{said.topic}/{said.partition}"] = _source(said, heard_ms, arrived_ms)
        back_words, back_ms = self._back(arrived_ms, silent_ms)
        if back_words >= BACK_WORDS and arrived_ms - back_ms >= BACK_MS:
            kept = {name: source for name, source in by_name.items() if source.arrived_ms <= arrived_ms}
            return Sources(progress.source_partitions, arrived_ms, back_ms, kept)
        return Sources(
            expected=progress.source_partitions,
            clock_ms=max(self.clock_ms, arrived_ms),
            first_ms=self.first_ms or arrived_ms,
            by_name=by_name,
            back_words=back_words,
            back_ms=back_ms,
        )

    def watermark(self, silent_ms: int) -> Watermark | None:
        """The watermark, or None while it cannot be known: a source is unheard of, or behind with nothing read, or the
        latest arrival is in doubt.

        A source that has been silent for ``silent_ms`` (by the broker's clock) is left out; so is one never heard of
        that long after the first word of any. What is left out makes the watermark incomplete, unless all expected
        sources are heard (then the silent one is no source any more).
        """
        if not self.by_name or self.back_words:
            return None
        spoken = [source for source in self.by_name.values() if self.clock_ms - source.arrived_ms < silent_ms]
        missing = self.expected - len(spoken)
        unheard = self.expected - len(self.by_name)
        if unheard > 0 and self.clock_ms - self.first_ms < silent_ms:
            return None
        lowest: int | None = None
        for source in spoken:
            reached = _reached(source)
            if reached is None:
                return None
            lowest = reached if lowest is None else min(lowest, reached)
        return None if lowest is None else Watermark(lowest, complete=missing <= 0)

    def _back(self, arrived_ms: int, silent_ms: int) -> tuple[int, int]:
        """How many arrivals in a row are far before the latest, this one included, and the first of them."""
        if self.clock_ms - arrived_ms < silent_ms:
            return 0, 0
        if not self.back_words or arrived_ms < self.back_ms:
            return 1, arrived_ms
        return self.back_words + 1, self.back_ms


def _source(said: PartitionProgress, heard_ms: int, arrived_ms: int) -> Source:
    # An event stamped by a clock that runs ahead must not push the watermark past the meter's own clock.
    newest = None if said.max_event_ms is None else min(said.max_event_ms, heard_ms)
    return Source(said.position, said.end, newest, heard_ms, arrived_ms)


def _reached(source: Source) -> int | None:
    if source.position >= source.end:
        return source.heard_ms - DELAY_MS
    return None if source.max_event_ms is None else source.max_event_ms - DELAY_MS
