"""Service-level rules with hysteresis: judged once per complete window, at revision 0, over the clients' answers.

A rule fires after ``for_windows`` breaching windows in a row and resolves after ``keep_firing_windows`` (else as many)
in a row past ``leave``: between the two thresholds an alarm neither begins nor ends. A window says nothing without a
figure, or with fewer than ``min_count`` observations of a mean, share or quantile. By default that leaves everything
as it is, silence being neither a breach nor a recovery; ``no_data`` can make it one of them.
"""

from __future__ import annotations

from msgspec import Struct

from streams.alarms import Alarm, Transition
from streams.windows.figures import COUNTS, Figure
from tidemill.events import subject_of
from tidemill.ids import derived_id
from tidemill.settings import RuleSettings

NO_DATA = "no data"
"""The reason given where a window that said nothing began or ended an alarm."""


class RuleState(Struct, omit_defaults=True):
    """What a rule remembers between windows."""

    metric: str
    breaching: int = 0
    """Breaching windows in a row."""
    first_breach_ms: int = 0
    holding: int = 0
    """Windows past ``leave`` in a row, while it fires."""
    calm: float | None = None
    """The last figure that did not breach."""
    alarm: Alarm | None = None
    slice: str = ""

    def judge(
        self, pipeline: str, rule: RuleSettings, figure: Figure | None, start_ms: int, end_ms: int
    ) -> Transition | None:
        """Take in one complete window; tell when the alarm begins or ends."""
        value = _telling(rule, figure)
        if value is None and rule.no_data == "keep":
            return None
        if self.alarm is not None:
            return self._leave(self.alarm, rule, value, start_ms, end_ms)
        if not _breaches(rule, value, _limit(rule)):
            self.breaching = 0
            self.calm = self.calm if value is None else value
            return None
        if self.breaching == 0:
            self.first_breach_ms = start_ms
        self.breaching += 1
        if self.breaching < rule.for_windows:
            return None
        self.alarm = Alarm(
            alarm_id=derived_id(rule.name, subject_of(pipeline, rule.metric, rule.slice), start_ms),
            started_ms=end_ms,
            value=value,
            threshold=_limit(rule),
            reference=self.calm,
            change_time_ms=self.first_breach_ms,
            change_from_ms=self.first_breach_ms,
            change_until_ms=self.first_breach_ms + end_ms - start_ms,
        )
        self.breaching = self.holding = 0
        return Transition("firing", self.alarm, start_ms, end_ms, value, _reason(value))

    def _leave(
        self, alarm: Alarm, rule: RuleSettings, value: float | None, start_ms: int, end_ms: int
    ) -> Transition | None:
        leave = _limit(rule) if rule.leave is None else rule.leave
        self.holding = 0 if _breaches(rule, value, leave) else self.holding + 1
        if self.holding < (rule.keep_firing_windows or rule.for_windows):
            return None
        self.alarm, self.holding = None, 0
        self.calm = self.calm if value is None else value
        return Transition("resolved", alarm, start_ms, end_ms, value, _reason(value))


def _telling(rule: RuleSettings, figure: Figure | None) -> float | None:
    if figure is None or (rule.metric not in COUNTS and figure.n < rule.min_count):
        return None
    return figure.statistic(rule.statistic)


def _limit(rule: RuleSettings) -> float:
    limit = rule.above if rule.above is not None else rule.below
    assert limit is not None  # the settings allow exactly one
    return limit


def _reason(value: float | None) -> str:
    return NO_DATA if value is None else ""


def _breaches(rule: RuleSettings, value: float | None, limit: float) -> bool:
    if value is None:
        return rule.no_data == "alert"
    return value > limit if rule.above is not None else value < limit
