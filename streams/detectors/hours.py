"""The season of one metric, batch by batch: what batches of this hour are usually like, and how far off one is.

A batch belongs to the hour in which it began (event time, UTC).
"""

from __future__ import annotations

from zlib import crc32

import msgspec

from streams.detectors.baseline import Measured
from streams.detectors.season import Period, Season, SeasonState, Usual
from tidemill.metrics import LANGUAGE_MISMATCH, UNITS

SHARES_OF_CALLS = frozenset(
    {
        *("error_rate", "cancel_rate", "truncated_rate", "other_finish_rate", "unpriced"),
        *("output_empty", "output_refusal", "output_valid", LANGUAGE_MISMATCH),
    }
)
"""Metrics that count some of n calls: they move in steps of 1 / n."""
PART = 0.03
"""A deviation below this part of the level says nothing: nobody would call it a change."""


class Hours:
    """One series' season, made from what ``raw`` gave and asked for it again."""

    def __init__(self, metric: str, subject: str, period: Period, kept: bytes = b"") -> None:
        self._metric = metric
        self._season = Season(period, seed_of(subject))
        if kept:
            self._season.restore(_decoder.decode(kept))

    @property
    def raw(self) -> bytes:
        """The state, encoded."""
        return _encoder.encode(self._season.snapshot())

    def usual(self, found: Measured) -> Usual | None:
        """What batches of its hour are like, the deviation never too small; None where too few are known."""
        usual = self._season.usual(self._at_ms(found))
        return usual and Usual(usual.level, max(usual.deviation, self._least(usual.level)))

    def take(self, found: Measured) -> float | None:
        """The residual of a batch, which the season learns from; None as for ``usual``."""
        at_ms = self._at_ms(found)
        usual = self._season.usual(at_ms)
        step = 1 / found.n if self._metric in SHARES_OF_CALLS else 0.0
        return self._season.update(found.value, at_ms, step, self._least(usual.level if usual else found.value))

    def skip_visit(self) -> None:
        """As for ``Season``."""
        self._season.skip_visit()

    def shift(self, deviations: float) -> None:
        """As for ``Season``."""
        self._season.shift(deviations)

    def _at_ms(self, found: Measured) -> int:
        return max(found.start_ms, self._season.hour_ms)

    def _least(self, level: float) -> float:
        return max(PART * abs(level), least_deviation(self._metric))


def least_deviation(metric: str) -> float:
    """Half a hundredth for metrics that lie in [0, 1]: a smaller deviation says nothing there."""
    return 0.005 if UNITS[metric] in ("share", "score", "distance") else 1e-9


def seed_of(subject: str) -> int:
    """The seed of a series' chance: its own, and the same after a restart."""
    return crc32(subject.encode())


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(SeasonState)
