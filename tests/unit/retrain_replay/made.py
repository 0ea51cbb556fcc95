"""A past of one pipeline, drawn with a seed: quality by time, labels, calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from retrain.replay.history import Calls, History, Label
from retrain.replay.turns import Turn
from streams.detectors.replayed import ReplayedQuality
from tests.unit.retrain.made import pipeline
from tidemill.events import ScorePoint
from tidemill.settings import PipelineSettings

START = 1_800_000_000_000
SECOND = 1_000
TURN = Turn(train_ms=60 * SECOND, takeover_ms=30 * SECOND)
Quality = Callable[[int], tuple[float, str]]
"""Second → (chance of a right answer, the version that serves)."""


def policy(**retrain: Any) -> PipelineSettings:
    """Small numbers: 100 labels, a deadline of ten minutes, a cool-down of five."""
    given = {"min_fresh_labels": 100, "floor_labels": 50, "collect_deadline_s": 600, "cooldown_s": 300} | retrain
    return pipeline(retrain=given, gate={"min_verified": 3})


def falling(start: int, end: int | None = None, healed: bool = False, to: float = 0.2) -> Quality:
    """0.95, and ``to`` from second ``start`` to ``end``; ``healed``: a second version ended it."""

    def at(second: int) -> tuple[float, str]:
        after = end is not None and second >= end
        return (to if second >= start and not after else 0.95), ("v2" if healed and after else "v1")

    return at


def steady(_: int) -> tuple[float, str]:
    """0.95 throughout."""
    return 0.95, "v1"


def past(
    quality: Quality = steady,
    seconds: int = 3_000,
    *,
    seed: int = 0,
    labels_from: int = 0,
    calls_per_s: int = 10,
    exact: bool = False,
    **more: Any,
) -> History:
    """A score a second, each from a label that came two seconds after its call; every third label is trusted.

    ``exact``: the scores are the chances themselves.
    """
    chance, scores, labels = Random(seed), [], []
    for second in range(seconds):
        called = START + second * SECOND
        right, version = quality(second)
        scores.append(
            ScorePoint(
                time_ms=called + 2 * SECOND,
                call_time_ms=called,
                feedback_id=f"f{second:06}",
                metric="exact_match",
                score=right if exact else float(chance.random() < right),
                model_version=version,
                variant="champion",
                source="scorer",
            )
        )
        if second >= labels_from:
            source = "audit" if second % 3 == 0 else "user"
            labels.append(Label(called + 2 * SECOND, called, f"s{second}", source, f"p{second}"))
    windows = [(START + at * SECOND, START + (at + 10) * SECOND, 10 * calls_per_s) for at in range(0, seconds, 10)]
    return History(
        pipeline="schedule",
        since_ms=START,
        until_ms=START + (seconds + 2) * SECOND,
        scores=scores,
        labels=labels,
        calls=Calls(windows),
        **more,
    )


def detector(settings: PipelineSettings) -> ReplayedQuality:
    """The stream's."""
    return ReplayedQuality("schedule", settings.quality)


def seconds_of(times_ms: Sequence[int]) -> list[int]:
    """Times as seconds of the past."""
    return [(time_ms - START) // SECOND for time_ms in times_ms]
