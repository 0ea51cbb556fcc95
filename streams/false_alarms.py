"""A pipeline's part of the deployment's false-alarm budget, on the clock of event time.

Every pipeline of the settings has an equal part; those that nobody announced share one more. So the parts add up to at
most one wherever the pipelines are folded, and no process needs to know of another.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct, field

from streams.detectors.budget import Budget, BudgetState, Spend
from tidemill.settings import Settings
from tidemill.topics import PARTIALS

LONGEST_S = 60
"""Clock updates that one grant is worth at most: an idle week does not hand its mass to the first value after it."""


class Ledger(Struct, array_like=True):
    """The budget as a state keeps it."""

    begun_s: int | None = None
    """Second of event time at which its clock began; None before the first watermark."""
    budget: BudgetState = field(default_factory=BudgetState)


class FalseAlarms:
    """Gives the budget as of a watermark, and takes it back when something was granted."""

    def __init__(self, pipeline: str, settings: Settings, kept: msgspec.Raw) -> None:
        """``kept``: what ``raw`` was earlier."""
        self.run_length = float(settings.run_length)
        self._share = share_of(pipeline, settings)
        self.raw = kept
        """The state, encoded: it is needed a few times a second at most, and there are many of them."""
        self._begun_s, budget = self._open(0)
        self.spend: Spend = budget.spend
        """Where it stands, as of what was last judged."""

    def open(self, watermark_ms: int) -> Budget:
        """The budget with its clock at the watermark, which never goes back. Give it to ``close``; one at a time."""
        self._begun_s, budget = self._open(watermark_ms)
        return budget

    def close(self, budget: Budget) -> None:
        """Keep what was granted."""
        self.raw = msgspec.Raw(_encoder.encode(Ledger(self._begun_s, budget.snapshot())))
        self.spend = budget.spend

    def set_back(self, by_ms: int) -> None:
        """The watermark goes on from so much earlier, and the clock with it: no update is counted twice."""
        ledger = _decoder.decode(self.raw)
        if ledger.begun_s is not None:
            ledger.begun_s -= by_ms // 1000
            self.raw = msgspec.Raw(_encoder.encode(ledger))

    def _open(self, watermark_ms: int) -> tuple[int | None, Budget]:
        ledger = _decoder.decode(self.raw)
        begun_s, budget = ledger.begun_s, Budget(self.run_length, self._share, LONGEST_S)
        budget.restore(ledger.budget)
        if watermark_ms:
            now_s = watermark_ms // 1000
            begun_s = now_s if begun_s is None else begun_s
            budget.tick(max(0, now_s - begun_s - budget.updates))
        return begun_s, budget


def share_of(pipeline: str, settings: Settings) -> float:
    """A pipeline's part of the budget."""
    part = settings.false_alarm_share
    if pipeline in settings.pipelines:
        return part
    return part / max(1, settings.windows.max_unknown_pipelines * PARTIALS.partitions)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Ledger)
EMPTY = msgspec.Raw(_encoder.encode(Ledger()))
