"""Draws what a meter would say: partials and progress for one pipeline, in seconds from a round start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from streams.partition import PartitionFold
from streams.pipeline import Outputs
from tidemill import sketch
from tidemill.events import Cell, Moments, Partial, Partials, PartitionProgress, Progress, ScorePoint, SliceCell
from tidemill.settings import Settings

START_S = 1_700_000_000
START_MS = START_S * 1000
VERSION = "schedule-v1"
SOURCE = "inference.responses"
SLICED = (
    *("second", "requests", "answers", "outcomes", "input_tokens", "cached_tokens", "output_tokens"),
    *("cost_micros", "priced", "moments", "sampled", "sampled_answers"),
)
"""Fields of a cell that a slice's has, too."""


def deployment(*, size_s: int = 10, lateness_s: int = 30, silent_s: int = 60, **pipeline: Any) -> Settings:
    """Settings with one pipeline ``schedule``; ``pipeline`` overrides its parts."""
    return Settings.model_validate(
        {
            "deployment": "drawn",
            "engines": {"e": {}},
            "windows": {"size_s": size_s, "lateness_s": lateness_s, "silent_source_s": silent_s},
            "pipelines": {"schedule": {"engine": "e", "champion": VERSION} | pipeline},
        }
    )


def moments(values: Sequence[float]) -> Moments:
    return Moments(n=len(values), total=sum(values), total_sq=sum(v * v for v in values))


def answers(
    at_s: int,
    durations: Sequence[float],
    *,
    errors: int = 0,
    version: str = VERSION,
    variant: Literal["champion", "canary", "shadow", "cache"] = "champion",
    cost_micros: int = 0,
    priced: int = 0,
    quality: Sequence[float] = (),
) -> Cell:
    """A cell of answers that took ``durations`` ms each, the last ``errors`` of them failed."""
    n = len(durations)
    found = {"e2e_ms": moments(durations)} if n else {}
    if quality:
        found["quality"] = moments(quality)
    histogram: dict[int, int] = {}
    for duration in durations:
        histogram[sketch.bucket(duration)] = histogram.get(sketch.bucket(duration), 0) + 1
    return Cell(
        second=START_S + at_s,
        model_version=version,
        variant=variant,
        role="shadow" if variant == "shadow" else "client",
        answers=n,
        outcomes={status: count for status, count in (("ok", n - errors), ("error", errors)) if count},
        cost_micros=cost_micros,
        priced=priced,
        moments=found,
        histograms={"e2e_ms": histogram} if histogram else {},
    )


def requests(
    at_s: int,
    n: int,
    *,
    chars: Sequence[float] = (),
    words: Mapping[int, int] | None = None,
    languages: Mapping[str, int] | None = None,
    word_sets: Mapping[str, int] | None = None,
) -> Cell:
    """A cell of calls that arrived, with the text features of some."""
    return Cell(
        second=START_S + at_s,
        requests=n,
        sampled=len(chars),
        moments={"input_chars": moments(chars)} if chars else {},
        words=dict(words or {}),
        languages=dict(languages or {}),
        word_sets=dict(word_sets or {}),
    )


def of_slice(name: str, cell: Cell) -> SliceCell:
    """What the meter says of a client's cell once more, by slice."""
    fields = {field: getattr(cell, field) for field in SLICED}
    return SliceCell(slice=name, **fields)


def score(at_s: float, value: float, *, call_s: float | None = None, **fields: Any) -> ScorePoint:
    at_ms = START_MS + round(at_s * 1000)
    call_ms = at_ms if call_s is None else START_MS + round(call_s * 1000)
    given: dict[str, Any] = {
        "time_ms": at_ms,
        "call_time_ms": call_ms,
        "feedback_id": f"f{at_s}",
        "metric": "exact_match",
        "score": value,
        "model_version": VERSION,
        "variant": "champion",
        "source": "scorer",
    } | fields
    return ScorePoint(**given)


class Meter:
    """One meter with one source partition (more by name); offsets go up by themselves."""

    def __init__(self, pipeline: str = "schedule") -> None:
        self.pipeline = pipeline
        self.positions: dict[int, int] = {}

    def partial(
        self,
        cells: Iterable[Cell] = (),
        scores: Iterable[ScorePoint] = (),
        partition: int = 0,
        slices: Iterable[SliceCell] = (),
    ) -> Partial:
        """The next range of a partition, with an offset for each cell and score."""
        cells, scores = tuple(cells), tuple(scores)
        lo = self.positions.get(partition, 0)
        self.positions[partition] = lo + max(1, len(cells) + len(scores))
        hi = self.positions[partition] - 1
        return Partial(
            topic=SOURCE,
            partition=partition,
            lo=lo,
            hi=hi,
            pipeline=self.pipeline,
            cells=cells,
            scores=scores,
            slices=tuple(slices),
        )

    def progress(
        self,
        at_s: float,
        *,
        partitions: Sequence[int] = (0,),
        of: int | None = None,
        behind: Sequence[int] = (),
        newest_s: float | None = None,
        name: str = "meter-1",
    ) -> Progress:
        """All ``partitions`` are idle but those ``behind``, whose newest event is ``newest_s``."""
        newest_ms = None if newest_s is None else START_MS + round(newest_s * 1000)
        return Progress(
            meter=name,
            time_ms=START_MS + round(at_s * 1000),
            source_partitions=len(partitions) if of is None else of,
            partitions=tuple(
                PartitionProgress(
                    topic=SOURCE,
                    partition=p,
                    position=self.positions.get(p, 0),
                    end=self.positions.get(p, 0) + (100 if p in behind else 0),
                    max_event_ms=newest_ms,
                )
                for p in partitions
            ),
        )


Message = Partial | Partials | Progress


class Reader:
    """Reads messages into a partition's fold as the worker does: each with its offset and the broker's time stamp."""

    def __init__(self, settings: Settings, states: Mapping[str, bytes] | None = None, offset: int = 0) -> None:
        self.fold = PartitionFold(settings, states or {})
        self.offset = offset

    def take(self, *messages: Message) -> Outputs:
        """What goes out because of these messages, the next ones in the log."""
        out = Outputs([], [])
        for message in messages:
            found = self.read(message, self.offset, arrival_ms(message))
            out.windows.extend(found.windows)
            out.events.extend(found.events)
            self.offset += 1
        return out

    def read(self, message: Message, offset: int, arrived_ms: int) -> Outputs:
        """What goes out because of one message of a real log."""
        out = Outputs([], [])
        for found in self.fold.take(message, offset, arrived_ms):
            out.windows.extend(found.windows)
            out.events.extend(found.events)
        return out


def arrival_ms(message: Message) -> int:
    """When the broker has it: progress at once; partials at a time that nothing depends on."""
    return message.time_ms if isinstance(message, Progress) else 0
