"""What would have been: the scores and losses where another policy had retrained earlier, later or never.

Assumed, and nothing more: a retraining that begins during a fall ends it when its candidate takes over, and quality is
then what was measured after the fall (or its reference); one that begins at another time changes nothing. Where a
champion ended a fall that this policy has not answered, quality stays at the fall's last level.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from retrain.replay.falls import Fall
from retrain.replay.history import Calls
from tidemill.events import ScorePoint


class World:
    """Falls, and which of them the policy has ended. ``ended`` grows by ``end`` alone."""

    def __init__(self, falls: Sequence[Fall]) -> None:
        self.falls = falls
        self.ended: dict[int, int] = {}
        """By index of the fall: when the policy's champion took over."""
        self._starts = [fall.start_ms for fall in falls]

    def fall_at(self, time_ms: int) -> int | None:
        """The fall that lasts at this time, ended by the policy or not."""
        at = bisect_right(self._starts, time_ms) - 1
        return at if at >= 0 and time_ms < self.falls[at].until_ms else None

    def fallen(self, time_ms: int) -> int | None:
        """The fall that the policy has not ended by then."""
        at = self.fall_at(time_ms)
        return None if at is None or (at in self.ended and self.ended[at] <= time_ms) else at

    def end(self, at: int, time_ms: int) -> None:
        """The policy's champion has taken over; a later one changes nothing."""
        self.ended.setdefault(at, time_ms)

    def score(self, point: ScorePoint) -> float:
        """The score that this call would have had."""
        at = self.fall_at(point.call_time_ms)
        if at is None or self.as_measured(point.call_time_ms):
            return point.score
        fall = self.falls[at]
        return fall.back if self.fallen(point.call_time_ms) is None else fall.levels[-1][1]

    def as_measured(self, time_ms: int) -> bool:
        """Whether the champion of then would have been as good as the real one: no fall, or one as far as the real."""
        at = self.fall_at(time_ms)
        if at is None:
            return True
        healed_ms = self.falls[at].healed_ms
        return (self.fallen(time_ms) is None) == (healed_ms is not None and time_ms >= healed_ms)

    def loss(self, calls: Calls) -> tuple[float, float]:
        """(loss, the part of it that is not measured): points of score below the reference, summed over calls.

        Not measured is what a champion spared the real calls and this policy did not.
        """
        total = beyond = 0.0
        for at, fall in enumerate(self.falls):
            taken = min(self.ended.get(at, fall.until_ms), fall.until_ms)
            total += _below(fall, calls, fall.start_ms, taken)
            if fall.healed_ms is not None:
                beyond += _below(fall, calls, max(fall.healed_ms, fall.start_ms), taken)
            total += max(0.0, fall.reference - fall.back) * calls.between(taken, fall.until_ms)
        return total, beyond


def _below(fall: Fall, calls: Calls, since_ms: int, until_ms: int) -> float:
    ends = [start for start, _ in fall.levels[1:]] + [fall.until_ms]
    return sum(
        (fall.reference - mean) * calls.between(max(start, since_ms), min(end, until_ms))
        for (start, mean), end in zip(fall.levels, ends, strict=True)
    )
