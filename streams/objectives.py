"""Error budgets: how fast the bad answers of an objective use up what may be bad, over several windows at once.

The burn rate is the share of bad answers over the share that may be bad: at 1 the budget lasts just its period. An
alarm begins where a long and a short window both burn faster than its factor (the long one makes it certain, the short
one says that it goes on), and ends once that has not been so for as long as the short window. Until answers have come
for as long as the short window the pair says nothing: a bad first minute is not three bad days. Its change time is
where the burning began, to a bucket: so exactly are times kept.
Source: Google, The Site Reliability Workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts".

Only complete windows count, at revision 0 and at their end. Counts are kept in buckets of event time, coarser for
longer windows: a window is the newest buckets that make up its length, the last of them still being filled.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from typing import NamedTuple

from msgspec import Struct, field

from streams.alarms import Alarm, Transition
from streams.windows.figures import Figure
from tidemill import sketch
from tidemill.ids import derived_id
from tidemill.settings import ObjectiveSettings
from tidemill.settings.levels import FASTEST_BURN, Severity

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
RINGS = {MINUTE_S: 60, 5 * MINUTE_S: 72, HOUR_S: 72}
"""Buckets kept, by their length in seconds; and one a day of the budget's period."""
STATE_BYTES = 8 * 1024
"""At most what the state of one objective takes in MessagePack: 294 buckets (90 of them days) of 24 bytes (number 5,
counts 9 each, their frame), what it is of, and two alarms."""


class Span(NamedTuple):
    """A window of so many buckets, ``step_s`` seconds each."""

    step_s: int
    buckets: int
    shown: str

    @property
    def length_ms(self) -> int:
        return self.step_s * self.buckets * 1000


class Pair(NamedTuple):
    """An alarm's two windows and the burn rate that both must exceed."""

    factor: float
    long: Span
    short: Span
    severity: Severity

    @property
    def shown(self) -> str:
        return f"{self.long.shown} and {self.short.shown}"


PAIRS = (
    Pair(FASTEST_BURN, Span(MINUTE_S, 60, "1 h"), Span(MINUTE_S, 5, "5 min"), "page"),
    Pair(6.0, Span(5 * MINUTE_S, 72, "6 h"), Span(5 * MINUTE_S, 6, "30 min"), "page"),
    Pair(1.0, Span(HOUR_S, 72, "3 d"), Span(HOUR_S, 6, "6 h"), "ticket"),
)
"""Of a budget of 30 days they begin when 2 % went in an hour, 5 % in six hours, 10 % in three days."""


class Counts(NamedTuple):
    """Answers, and the bad ones among them."""

    n: int
    bad: int


NOTHING = Counts(0, 0)
Ring = dict[int, Counts]
"""Counts by bucket (its number since the epoch), oldest first."""


class Burning(Struct, array_like=True):
    """An alarm that fires: its pair, and how long it stays at least."""

    alarm: Alarm
    pair: int
    until_ms: int


class ObjectiveState(Struct, array_like=True):
    """What an objective remembers: at most STATE_BYTES encoded."""

    of: str = ""
    """What the counts are of; others under the same name begin anew."""
    rings: dict[int, Ring] = field(default_factory=dict)
    """By length of a bucket, seconds."""
    firing: dict[str, Burning] = field(default_factory=dict)
    """By severity."""
    since_ms: int = 0
    """Where answers began, after three days without any."""

    def judge(
        self, pipeline: str, objective: ObjectiveSettings, counts: Counts, start_ms: int, end_ms: int
    ) -> Iterator[tuple[Transition, Pair]]:
        """Take in the counts of one complete window; the alarms that begin or end with it, by severity."""
        for step_s, kept in (RINGS | {DAY_S: objective.window_days}).items():
            was_empty = _add(self.rings.setdefault(step_s, {}), _bucket(step_s, end_ms), kept, counts)
            if step_s == HOUR_S and (was_empty or start_ms < self.since_ms):
                self.since_ms = start_ms
        seen_ms = end_ms - self.since_ms
        burning: dict[str, tuple[int, float]] = {}
        for index, pair in enumerate(PAIRS):
            if seen_ms < pair.short.length_ms:
                continue
            long = self._burn(objective, pair.long, end_ms, objective.min_count)
            short = self._burn(objective, pair.short, end_ms)
            if long is not None and short is not None and long > pair.factor and short > pair.factor:
                burning.setdefault(pair.severity, (index, long))
        for severity in sorted({*burning, *self.firing}):
            if severity in burning:
                found = self._burns(pipeline, objective, severity, *burning[severity], start_ms, end_ms)
            else:
                found = self._rests(objective, severity, start_ms, end_ms)
            if found is not None:
                yield found

    def _burns(
        self,
        pipeline: str,
        objective: ObjectiveSettings,
        severity: str,
        index: int,
        rate: float,
        start_ms: int,
        end_ms: int,
    ) -> tuple[Transition, Pair] | None:
        pair, firing = PAIRS[index], self.firing.get(severity)
        until_ms = end_ms + pair.short.length_ms
        if firing is not None:
            firing.until_ms = max(firing.until_ms, until_ms)
            return None
        first, step_ms = self._began(objective, pair, end_ms), pair.short.step_s * 1000
        alarm = Alarm(
            alarm_id=derived_id(f"{objective.name}_{severity}", f"{pipeline}//{objective.metric}", start_ms),
            started_ms=end_ms,
            value=rate,
            threshold=pair.factor,
            change_time_ms=first * step_ms,
            change_from_ms=first * step_ms - max(step_ms, end_ms - start_ms),
            change_until_ms=min((first + 1) * step_ms, end_ms),
        )
        self.firing[severity] = Burning(alarm, index, until_ms)
        return Transition("firing", alarm, start_ms, end_ms, rate, self._spent(objective, end_ms)), pair

    def _began(self, objective: ObjectiveSettings, pair: Pair, end_ms: int) -> int:
        """The bucket where the burning began: the short window's first that burns, or the oldest of an unbroken run of
        burning ones that leads into that window.
        """
        ring = self.rings.get(pair.short.step_s, {})
        may = pair.factor * (1 - objective.target)
        burns = {bucket for bucket, counts in ring.items() if counts.bad > may * counts.n}
        newest = _bucket(pair.short.step_s, end_ms)
        first = newest - pair.short.buckets + 1
        while first not in burns and first < newest:
            first += 1
        while first - 1 in burns and first - 1 > newest - pair.long.buckets:
            first -= 1
        return first

    def _rests(
        self, objective: ObjectiveSettings, severity: str, start_ms: int, end_ms: int
    ) -> tuple[Transition, Pair] | None:
        firing = self.firing[severity]
        pair = PAIRS[firing.pair]
        firing.until_ms = min(firing.until_ms, end_ms + pair.short.length_ms)
        now = self._burn(objective, pair.short, end_ms)
        if now is None or end_ms < firing.until_ms:  # where nobody answers, nothing is known to be good again
            return None
        del self.firing[severity]
        return Transition("resolved", firing.alarm, start_ms, end_ms, now, self._spent(objective, end_ms)), pair

    def _burn(self, objective: ObjectiveSettings, span: Span, end_ms: int, least: int = 1) -> float | None:
        """The burn rate over a span that ends at ``end_ms``; None with fewer answers than ``least``."""
        n, bad = self.counts(span, end_ms)
        return bad / n / (1 - objective.target) if n >= least else None

    def counts(self, span: Span, end_ms: int) -> Counts:
        """What was counted over a span that ends at ``end_ms``, the end of the last window taken in."""
        first = _bucket(span.step_s, end_ms) - span.buckets
        ring = self.rings.get(span.step_s, {})
        newest = takewhile(lambda item: item[0] > first, reversed(ring.items()))
        found = [counts for _, counts in newest]
        return Counts(sum(c.n for c in found), sum(c.bad for c in found))

    def spent(self, objective: ObjectiveSettings, end_ms: int) -> float | None:
        """Share of the error budget that went in the last ``window_days``; None where nobody answered."""
        return self._burn(objective, Span(DAY_S, objective.window_days, ""), end_ms)

    def _spent(self, objective: ObjectiveSettings, end_ms: int) -> str:
        share = self.spent(objective, end_ms) or 0.0
        return f"{share:.0%} of the error budget spent in the last {objective.window_days} days"


def counts_of(objective: ObjectiveSettings, figure: Figure | None) -> Counts:
    """The answers of a window, and the bad ones among them."""
    if figure is None:
        return NOTHING
    if objective.slower_than_ms is None:
        return Counts(figure.n, round(figure.total))
    histogram, limit = figure.histogram or {}, sketch.bucket(objective.slower_than_ms)
    return Counts(sum(histogram.values()), sum(n for bucket, n in histogram.items() if bucket > limit))


def about(objective: ObjectiveSettings) -> str:
    """What the counts of an objective are of (``ObjectiveState.of``)."""
    slower = objective.slower_than_ms
    return objective.metric if slower is None else f"{objective.metric}>{slower:g}"


def _bucket(step_s: int, end_ms: int) -> int:
    """The bucket in which a window counts that ends at ``end_ms``."""
    return (end_ms - 1) // (step_s * 1000)


def _add(ring: Ring, bucket: int, kept: int, counts: Counts) -> bool:
    """Count in the newest bucket, and let those go that are too old, or later: the clock was ahead; whether that left
    none.
    """
    while ring and next(reversed(ring)) > bucket:
        ring.popitem()
    while ring and (oldest := next(iter(ring))) <= bucket - kept:
        del ring[oldest]
    was_empty = not ring
    if counts.n:
        known = ring.get(bucket, NOTHING)
        ring[bucket] = Counts(known.n + counts.n, known.bad + counts.bad)
    return was_empty
