"""One partition of monitoring.partials, folded: the pipelines whose partials it carries, and the progress for all.

Every state says up to which offset of the partition it goes. A message below that offset is known to it and passes
by, so any mixture of states, each at least as new as the place where reading begins, goes on to the same outputs.

A position is an offset in one log of the topic. Where the topic was made anew, or its end was lost, offsets come a
second time: positions go on at the next multiple of LOG, so those of a later log are above all earlier ones.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec
from msgspec import Struct, field

from streams.pipeline import Outputs, PipelineFold
from streams.windows.sources import Sources, Watermark
from tidemill.events import Partial, Partials, Progress
from tidemill.settings import Settings
from tidemill.topics import PARTIALS

log = logging.getLogger(__name__)
HEAD = ""
"""Where among the states the partition's own is kept."""
_POSITION_BYTES = 8
LOG = 1 << 48
"""Positions in one log."""


class Log(NamedTuple):
    """The partition as the broker has it."""

    topic_ids: Mapping[str, str]
    """Kafka's own ids of the partials' topic and of the sources': a topic made anew has another."""
    low: int
    end: int
    committed: int = -1
    """Where the group goes on; negative where it never said so."""


class Head(Struct, array_like=True):
    """What all pipelines of the partition share."""

    sources: Sources = field(default_factory=Sources)
    watermark_ms: int = 0
    """It goes back only where the broker's clock was wrong (``Sources``)."""
    topic_ids: dict[str, str] = {}
    """Of the topics whose offsets the states hold."""


class PartitionFold:
    """Folds messages in log order; collects which states have to be written. Not thread-safe; never blocks."""

    def __init__(self, settings: Settings, states: Mapping[str, bytes]) -> None:
        """``states``: what ``changed`` gave earlier, by pipeline."""
        self._settings = settings
        self._positions = {name: position_of(raw) for name, raw in states.items()}
        self._first = self._positions.get(HEAD, 0) // LOG * LOG
        self._head = Head()
        if HEAD in states:
            self._head = _head_decoder.decode(memoryview(states[HEAD])[_POSITION_BYTES:])
        self._folds = {
            name: PipelineFold(name, settings, raw[_POSITION_BYTES:])
            for name, raw in sorted(states.items())
            if name != HEAD
        }
        self._unknown = sum(name not in settings.pipelines for name in self._folds)
        self._changed: set[str] = set()
        self._released: set[str] = set()
        self._end = self._positions.get(HEAD, 0)
        self.outcomes: Counter[str] = Counter()
        """Partials by outcome: applied, repeated, overlap, refused."""
        self.misplaced: Counter[str] = Counter()
        """Requests and answers outside their window: late ones changed nothing, those ahead moved to the newest."""

    def __iter__(self) -> Iterator[PipelineFold]:
        return iter(self._folds.values())

    @property
    def watermark_ms(self) -> int:
        """0 while it is not known."""
        return self._head.watermark_ms

    def begin(self, there: Log) -> int:
        """The offset from which to read. Write ``changed`` before the first message is taken.

        In another log than the states know it is the first one there is; what was applied of the sources still
        counts only once, for it is known by their offsets. Sources that were made anew are applied from their
        beginning.
        """
        head = self._head
        anew = {name for name, known in head.topic_ids.items() if there.topic_ids.get(name, known) != known}
        self._changed.update([name for name, fold in self._folds.items() if fold.windows.forget(anew)])
        head.topic_ids = dict(there.topic_ids)
        newest = max(self._positions.values(), default=0) - self._first
        if PARTIALS.name in anew or newest > there.end:
            log.warning(
                "another log of %s (its end: %d, known: %d): from %d on", PARTIALS.name, there.end, newest, there.low
            )
            self._first += LOG
            self._changed.update(self._folds)
            head.sources = Sources(clock_ms=head.sources.clock_ms)
            offset = there.low
        elif HEAD in self._positions:
            offset = self._positions[HEAD] - self._first
        else:
            offset = there.committed if there.low <= there.committed <= there.end else there.low
        self._end = self._first + offset
        return offset

    def take(self, message: Partial | Partials | Progress, offset: int, arrived_ms: int) -> Iterator[Outputs]:
        """Fold one message in; what goes out because of it, pipeline by pipeline. Use it up before the next message.

        ``offset``: the message's own in the partition; ``arrived_ms``: the broker's time stamp on it.
        """
        position = self._first + offset
        self._end = position + 1
        if isinstance(message, Progress):
            yield from self._follow(message, position, arrived_ms)
            return
        for partial in message.partials if isinstance(message, Partials) else (message,):
            if position >= self._positions.get(partial.pipeline, 0):
                out = self._apply(partial)
                if out.windows or out.events:
                    yield out

    def changed(self) -> Iterator[tuple[str, bytes]]:
        """The states that differ from what was last given, encoded, the partition's own last.

        Write the last one after the others are there: it vouches that they are. Take no message in between.
        """
        while self._changed:
            name = self._changed.pop()
            encoded = bytearray(_bytes_of(max(self._end, self._positions.get(name, 0))))
            self._folds[name].snapshot(encoded)
            yield name, bytes(encoded)
        yield HEAD, _bytes_of(self._end) + msgspec.msgpack.encode(self._head)

    def released(self) -> list[str]:
        """The pipelines whose states are needed no more. Remove them after all of ``changed`` is there: one that a kill
        leaves behind is idle, and released again.
        """
        names, self._released = sorted(self._released - self._folds.keys()), set()
        return names

    def _apply(self, partial: Partial) -> Outputs:
        out = Outputs([], [])
        fold = self._folds.get(partial.pipeline) or self._admit(partial.pipeline)
        if fold is None:
            self.outcomes["refused"] += 1
            return out
        windows = fold.windows
        late, ahead = windows.too_late, windows.ahead
        outcome = fold.apply(partial, self._head.sources.clock_ms, self._head.watermark_ms, out)
        self.outcomes[outcome] += 1
        self.misplaced.update(late=windows.too_late - late, ahead=windows.ahead - ahead)
        if outcome != "repeated":
            self._changed.add(partial.pipeline)
        return out

    def _admit(self, name: str) -> PipelineFold | None:
        """A fold for a pipeline that is new here; None where there are enough that nobody announced."""
        if name not in self._settings.pipelines:
            while self._unknown >= self._settings.windows.max_unknown_pipelines:
                if not self._release():
                    return None
            self._unknown += 1
        fold = self._folds[name] = PipelineFold(name, self._settings)
        return fold

    def _release(self) -> bool:
        """Forget the pipeline that nobody announced and that has been idle longest; whether there was one."""
        strangers = (name for name in self._folds if name not in self._settings.pipelines)
        since = {name: self._folds[name].idle_since(self._head.watermark_ms) for name in strangers}
        idle = sorted((since_ms, name) for name, since_ms in since.items() if since_ms is not None)
        if not idle:
            return False
        name = idle[0][1]
        del self._folds[name]
        self._positions.pop(name, None)
        self._changed.discard(name)
        self._released.add(name)
        self._unknown -= 1
        return True

    def _follow(self, progress: Progress, position: int, arrived_ms: int) -> Iterator[Outputs]:
        head = self._head
        if position < self._positions.get(HEAD, 0):
            return
        silent_ms, before_ms = self._settings.windows.silent_source_s * 1000, head.sources.clock_ms
        head.sources = head.sources.heard(progress, arrived_ms, silent_ms)
        if head.sources.clock_ms < before_ms:
            self._set_back(before_ms, position)
        found = head.sources.watermark(silent_ms)
        if found is None:
            return
        head.watermark_ms = max(head.watermark_ms, found.ms)
        watermark = Watermark(head.watermark_ms, found.complete)
        for name, fold in self._folds.items():
            if position < self._positions.get(name, 0):
                continue
            out = Outputs([], [])
            if fold.follow(watermark, head.sources.clock_ms, out):
                self._changed.add(name)
            if out.windows or out.events:
                yield out

    def _set_back(self, before_ms: int, position: int) -> None:
        """The broker's clock was ahead and is right again: so are the watermark and the windows."""
        head = self._head
        log.warning(
            "the broker's clock was ahead (%d, now %d): windows go on from now, and what came for those in between "
            "may be left out: see `tidemill backfill`",
            before_ms,
            head.sources.clock_ms,
        )
        wrong_ms = head.watermark_ms
        head.watermark_ms = min(wrong_ms, head.sources.clock_ms)
        for name, fold in self._folds.items():
            if position >= self._positions.get(name, 0):
                fold.set_back(wrong_ms, head.watermark_ms)
                self._changed.add(name)


def position_of(state: bytes) -> int:
    """The position after the last message that a state knows."""
    return int.from_bytes(state[:_POSITION_BYTES], "big")


def _bytes_of(position: int) -> bytes:
    return position.to_bytes(_POSITION_BYTES, "big")


_head_decoder = msgspec.msgpack.Decoder(Head)
