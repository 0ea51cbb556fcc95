"""Falls of quality as hindsight sees them: what a trigger policy ought to have answered.

Levels are the optimal partition of the scores in call time (least squares, a penalty for each change). Source:
Jackson et al., An algorithm for optimal partitioning of data on an interval (2005).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from retrain.replay.history import History
from tidemill.errors import Stop

LEAST_SCORES = 30
"""A level rests on at least so many scores: shorter falls are not seen."""
MOST_GROUPS = 3_000
"""Longer histories are looked at in groups of neighbouring scores."""
PENALTY = 4.0
"""Of one change, in variances of a score times the logarithm of their number: about one change too many in n²."""
LEAST_VARIANCE = 0.02
BEFORE_MS = 3_600_000
"""A fall that a person names is compared with the scores of so long before it."""


class Level(NamedTuple):
    """A stretch of call time in which the mean score stood still."""

    start_ms: int
    mean: float
    n: int
    version: str
    """The version that most of its answers came from."""


class Fall(Struct, frozen=True, kw_only=True):
    """A stretch in which quality lay at least ``min_drop`` below its reference; in call time."""

    start_ms: int
    end_ms: int | None
    """When quality was back; None: not within the history."""
    reference: float
    levels: tuple[tuple[int, float], ...]
    """(since when, mean score), the first at ``start_ms``."""
    healed_ms: int | None = None
    """When a new champion ended it: what would have been without, nobody measured. None: it ended by itself, or not."""
    back: float
    """Mean score afterwards; where that was not measured, the reference."""
    until_ms: int
    """How long it lasts where nobody retrains: to its end, or where a champion ended it (or nothing did) to the next
    fall or the end of the history."""


class Said(NamedTuple):
    """A fall as a person names it."""

    start_ms: int
    end_ms: int | None


def levels(history: History) -> list[Level]:
    """The levels of the champion's scores. Empty where there are fewer than LEAST_SCORES."""
    points = sorted(
        (p for p in history.scores if p.variant == "champion"), key=lambda p: (p.call_time_ms, p.feedback_id)
    )
    if len(points) < LEAST_SCORES:
        return []
    scores = np.array([p.score for p in points], dtype=np.float64)
    starts = partition(scores)
    found = []
    for at, start in enumerate(starts):
        end = starts[at + 1] if at + 1 < len(starts) else len(points)
        versions = Counter(p.model_version for p in points[start:end])
        version = max(sorted(versions), key=lambda name: versions[name])
        found.append(Level(points[start].call_time_ms, float(scores[start:end].mean()), end - start, version))
    return found


def partition(scores: Any) -> list[int]:
    """Where levels begin, the first at 0: the partition of least squared error plus penalties."""
    n = len(scores)
    size = math.ceil(n / MOST_GROUPS)
    starts = np.arange(0, n, size)
    weights = np.diff(np.append(starts, n)).astype(np.float64)
    means = np.add.reduceat(scores, starts) / weights
    variance = max(float(np.mean(np.diff(means) ** 2)) / 2 * size if len(means) > 1 else 0.0, LEAST_VARIANCE)
    penalty = PENALTY * variance * math.log(max(n, 2))
    weight, total, squares = (
        np.concatenate([[0.0], np.cumsum(each)]) for each in (weights, weights * means, weights * means**2)
    )
    best, back = np.full(len(means) + 1, np.inf), np.zeros(len(means) + 1, dtype=np.int64)
    best[0] = -penalty
    for at in range(1, len(means) + 1):
        ahead = int(np.searchsorted(weight, weight[at] - LEAST_SCORES, side="right"))
        if ahead == 0:
            continue
        error = squares[at] - squares[:ahead] - (total[at] - total[:ahead]) ** 2 / (weight[at] - weight[:ahead])
        cost = best[:ahead] + error + penalty
        back[at] = int(np.argmin(cost))
        best[at] = cost[back[at]]
    found, at = [], len(means)
    while at > 0:
        at = int(back[at])
        found.append(int(starts[at]))
    return found[::-1]


def measured(history: History, min_drop: float) -> list[Fall]:
    """The falls in the measured quality. The reference of one is the highest level since the fall before it."""
    known = levels(history)
    found: list[Fall] = []
    reference: float | None = None
    fallen: list[Level] = []
    for level in known:
        if reference is not None and level.mean <= reference - min_drop:
            fallen.append(level)
            continue
        if reference is not None and fallen:
            found.append(_fall(history, reference, fallen, level))
            fallen, reference = [], None
        reference = level.mean if reference is None else max(reference, level.mean)
    if reference is not None and fallen:
        found.append(_fall(history, reference, fallen, None))
    return _lasting(found, history.until_ms)


def told(history: History, said: Sequence[Said]) -> list[Fall]:
    """Falls that a person names, with the measured scores in and before them. Raises Stop where there are none."""
    points = sorted((p for p in history.scores if p.variant == "champion"), key=lambda p: p.call_time_ms)
    found = []
    for one in sorted(said):
        end = history.until_ms if one.end_ms is None else one.end_ms
        before = [p.score for p in points if one.start_ms - BEFORE_MS <= p.call_time_ms < one.start_ms]
        inside = [p for p in points if one.start_ms <= p.call_time_ms < end]
        if not before or not inside:
            where = "within the hour before" if not before else "in"
            raise Stop(
                f"truth: there are no scores of {history.pipeline} {where} the fall from {one.start_ms} (epoch "
                "milliseconds); choose another --from, or leave that fall out"
            )
        fallen = [Level(one.start_ms, _mean([p.score for p in inside]), len(inside), inside[0].model_version)]
        after = [p for p in points if p.call_time_ms >= end]
        back = None
        if one.end_ms is not None:
            later = [p.score for p in after if p.call_time_ms < end + BEFORE_MS] or before
            back = Level(one.end_ms, _mean(later), len(later), after[0].model_version if after else fallen[0].version)
        found.append(_fall(history, _mean(before), fallen, back))
    return _lasting(found, history.until_ms)


def _fall(history: History, reference: float, fallen: Sequence[Level], after: Level | None) -> Fall:
    healed = after is not None and after.version != fallen[-1].version
    end = None if after is None else after.start_ms
    return Fall(
        start_ms=fallen[0].start_ms,
        end_ms=end,
        reference=reference,
        levels=tuple((level.start_ms, level.mean) for level in fallen),
        healed_ms=end if healed else None,
        back=reference if after is None else after.mean,
        until_ms=history.until_ms if end is None or healed else end,
    )


def _lasting(found: list[Fall], until_ms: int) -> list[Fall]:
    """The same with ``until_ms`` no later than the next fall."""
    nexts = [*(fall.start_ms for fall in found), until_ms][1:]
    return [replace(fall, until_ms=min(fall.until_ms, ends)) for fall, ends in zip(found, nexts, strict=True)]


def _mean(scores: Sequence[float]) -> float:
    return sum(scores) / len(scores)
