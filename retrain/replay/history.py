"""What is known of one pipeline's past: the signals that a trigger policy looks at, in the order in which they came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tidemill.events import ScorePoint, ThresholdEvent


class Label(NamedTuple):
    """One label or correction of a call whose text is kept."""

    time_ms: int
    """When it was given."""
    call_time_ms: int
    session: str
    source: str
    prompt: str
    """Names the text; equal texts have equal names."""


class Estimate(NamedTuple):
    """The upper end of one estimate of quality without labels."""

    time_ms: int
    """When it was said."""
    start_ms: int
    end_ms: int
    """Answers of start..end are what it is about."""
    high: float


class Training(NamedTuple):
    """One training that really ran."""

    start_ms: int
    end_ms: int | None
    """When its candidate had passed the gate, or not; None: it had not ended by then."""
    champion_ms: int | None = None
    """When its candidate served everybody; None: it never did, or not by then."""
    drift: bool = False
    """A notice of drift of this history opened it."""


class Calls:
    """How many answers clients got, by time; within a window they are taken to be spread evenly."""

    def __init__(self, windows: Sequence[tuple[int, int, int]]) -> None:
        """``windows``: (start, end, answers), in order, without overlap."""
        self.windows = windows
        edges: list[int] = []
        counted: list[int] = []
        total = 0
        for start, end, answers in windows:
            edges += [start, end]
            counted += [total, total + answers]
            total += answers
        self._edges: Any = np.array(edges, dtype=np.int64)
        self._counted: Any = np.array(counted, dtype=np.float64)

    def between(self, since_ms: int, until_ms: int) -> float:
        """Answers in since..until; 0 where until is not after since."""
        if until_ms <= since_ms or not self.windows:
            return 0.0
        low, high = np.interp([since_ms, until_ms], self._edges, self._counted)
        return float(high - low)


@dataclass(frozen=True, kw_only=True)
class History:
    """One pipeline's past, from ``since_ms`` to ``until_ms`` (exclusive). Sequences are in the order of their times."""

    pipeline: str
    since_ms: int
    until_ms: int
    scores: Sequence[ScorePoint]
    """Scores of clients' answers under the pipeline's quality metric, by ``time_ms``; each once."""
    labels: Sequence[Label] = ()
    alarms: Sequence[ThresholdEvent] = ()
    """Alarms on quality and notices of drift as they were said, beginnings and ends."""
    estimates: Sequence[Estimate] = ()
    calls: Calls = field(default_factory=lambda: Calls(()))
    trainings: Sequence[Training] = ()
