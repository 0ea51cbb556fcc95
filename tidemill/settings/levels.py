"""Service levels of a pipeline: rules on windows, objectives with error budgets, and budgets of money."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import Field, model_validator

from tidemill.metrics import DURATIONS, ESTIMATES, SHARES, SLICE_METRICS, WINDOW_METRICS
from tidemill.settings.strict import Strict, choice, wrong

Severity = Literal["page", "ticket", "info"]
MAX_OBJECTIVES = 16
"""Of one pipeline: each takes room in the state that stage 2 writes every few seconds."""
FASTEST_BURN = 14.4
"""The burn rate at which the fastest alarm on an objective begins."""


class RuleSettings(Strict):
    """A service-level rule on one window metric, with hysteresis."""

    name: str = Field(min_length=1, max_length=64)
    """Name of the rule; the alarm carries it."""
    metric: str
    """A window metric (docs/reference/windows.md)."""
    slice: str = ""
    """The slice that is judged, such as `tenant=acme`; empty: the whole traffic."""
    statistic: Literal["value", "p50", "p95", "p99"] = "value"
    """Which figure of the window is judged."""
    above: float | None = None
    """Fires when the statistic is above this …"""
    below: float | None = None
    """… or below this."""
    leave: float | None = None
    """Resolves only when back past this; default: the threshold itself."""
    for_windows: int = Field(default=2, ge=1)
    """Complete windows in a row that must breach before the alarm fires, or hold before it resolves."""
    keep_firing_windows: int | None = Field(default=None, ge=1)
    """Windows in a row that must hold before the alarm resolves, where that is another number than ``for_windows``."""
    min_count: int = Field(default=10, ge=1)
    """Windows with fewer observations say nothing."""
    no_data: Literal["keep", "ok", "alert"] = "keep"
    """What a complete window that says nothing counts as: nothing (``keep``), one that holds (``ok``), one that
    breaches (``alert``)."""
    severity: Severity = "page"
    """How loud the alarm is."""

    @model_validator(mode="after")
    def _check(self) -> RuleSettings:
        if self.metric not in WINDOW_METRICS:
            raise wrong(("metric",), f"{self.metric!r} is no window metric; {choice(self.metric, WINDOW_METRICS)}")
        if self.metric in ESTIMATES:
            raise wrong(("metric",), f"{self.metric!r} is not judged by rules: it comes twice a minute, from the store")
        if self.statistic != "value" and self.metric not in DURATIONS:
            message = f"{self.metric!r} has no {self.statistic}, so the rule could never fire; leave statistic out, "
            raise wrong(("statistic",), f"{message}or watch one of {', '.join(DURATIONS)}")
        if self.slice and self.metric not in SLICE_METRICS:
            message = f"{self.metric!r} is not measured by slice; {choice(self.metric, SLICE_METRICS)}"
            raise wrong(("metric",), f"{message} Or leave slice out")
        if self.slice and self.statistic != "value":
            raise wrong(("statistic",), f"slices have no {self.statistic}; leave statistic out, or leave slice out")
        if (self.above is None) == (self.below is None):
            raise ValueError(f"rule {self.name!r}: set exactly one of 'above' and 'below'")
        for name in ("above", "below", "leave"):
            level = getattr(self, name)
            if level is not None and self.metric in SHARES and not 0 <= level <= 1:
                message = f"rule {self.name!r}: {self.metric} lies between 0 and 1"
                raise wrong((name,), f"{message}; write 20 % as 0.2 (got {level:g})")
        if self.leave is not None:
            if self.above is not None and self.leave > self.above:
                message = f"rule {self.name!r}: leave ({self.leave}) must be at most above ({self.above})"
                raise wrong(("leave",), f"{message}; lower it, or leave it out")
            if self.below is not None and self.leave < self.below:
                message = f"rule {self.name!r}: leave ({self.leave}) must be at least below ({self.below})"
                raise wrong(("leave",), f"{message}; raise it, or leave it out")
        return self


class ObjectiveSettings(Strict):
    """A share of good answers that is promised; an alarm says that the rest, its error budget, burns too fast."""

    name: str = Field(min_length=1, max_length=64)
    """Name of the objective; its alarms are called `<name>_page` and `<name>_ticket`."""
    metric: str
    """What makes an answer bad: `error_rate` (it failed), `cancel_rate` (the client gave up), or a duration that took
    longer than ``slower_than_ms``."""
    slower_than_ms: float | None = Field(default=None, gt=0)
    """For a duration: an answer that took longer is bad (within 1 %)."""
    target: float
    """Share of good answers that is promised: 0.99 leaves an error budget of 1 %."""
    window_days: int = Field(default=30, ge=7, le=90)
    """Days over which the budget is counted. (An alarm says how much of it is spent.)"""
    min_count: int = Field(default=100, ge=1)
    """With fewer answers than this in an alarm's longer window nothing is said."""

    @property
    def alarms(self) -> tuple[str, ...]:
        """The names of the alarms it may raise."""
        return (f"{self.name}_page", f"{self.name}_ticket")

    @model_validator(mode="after")
    def _check(self) -> ObjectiveSettings:
        known = ("error_rate", "cancel_rate", *DURATIONS)
        if self.metric not in known:
            message = f"{self.metric!r} has no good and bad answers; {choice(self.metric, known)}"
            raise wrong(("metric",), message)
        if self.metric in DURATIONS and self.slower_than_ms is None:
            raise wrong(("metric",), f"{self.metric!r} needs slower_than_ms: from when on an answer is bad")
        if self.metric not in DURATIONS and self.slower_than_ms is not None:
            message = f"{self.metric!r} is no duration; leave it out, or set metric to one of {', '.join(DURATIONS)}"
            raise wrong(("slower_than_ms",), message)
        if not 0 < self.target < 1:
            raise wrong(("target",), f"{self.target} is no share between 0 and 1; for 99 % write 0.99")
        if (fastest := 1 / (1 - self.target)) <= FASTEST_BURN:
            message = (
                f"{self.target}: with every answer bad this budget burns {fastest:.3g} times as fast as it may, and an "
                f"alarm begins at {FASTEST_BURN}; set at least {1 - 1 / FASTEST_BURN:.3f}, or use a rule instead"
            )
            raise wrong(("target",), message)
        return self


class BudgetSettings(Strict):
    """Money that a pipeline may spend in a day (UTC); an alarm says when the day's spend passes a share of it."""

    name: str = Field(min_length=1, max_length=64)
    """Name of the budget; its alarms are called `<name>_<percent>`."""
    max_usd_per_day: float = Field(gt=0)
    """What all priced answers of a day may cost, shadows too, in the currency of the engine's prices."""
    shares: tuple[float, ...] = (0.8, 1.0)
    """Parts of it at which an alarm begins: a ticket below 1, a page from 1 on."""
    slice: str = ""
    """The slice whose spend is counted, such as `tenant=acme`; empty: the whole pipeline's."""
    each: str = ""
    """A dimension, such as `tenant`: each of its slices has this budget for itself (those counted as `other` have
    none). Answers to clients count, shadows do not; so too with ``slice``."""

    @property
    def alarms(self) -> tuple[str, ...]:
        """The names of the alarms it may raise, in the order of ``shares``."""
        return tuple(f"{self.name}_{share * 100:g}" for share in self.shares)

    @model_validator(mode="after")
    def _check(self) -> BudgetSettings:
        if self.slice and self.each:
            message = (
                f"{self.each!r} gives each slice this budget, and slice ({self.slice!r}) one; leave one of them out"
            )
            raise wrong(("each",), message)
        rising = all(one < other for one, other in pairwise((0.0, *self.shares)))
        if not self.shares or not rising:
            message = f"{list(self.shares)}: give shares above 0, each larger than the one before, such as [0.8, 1.0]"
            raise wrong(("shares",), message)
        return self
