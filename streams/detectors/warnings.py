"""Warnings that an assumption of a detector was found broken: they begin and end like alarms, and inform only.

While one lasts, alarms of the same series carry its text: the promise on false alarms does not hold for them.
"""

from __future__ import annotations

from streams.alarms import Alarm, Transition
from streams.detectors.dependence import Dependence
from streams.thresholds import dependent
from tidemill.ids import derived_id

CALM = 0.15
"""Autocorrelation (of a hundred ranks; by chance some 0.07) below which values count as independent again."""


def judge(
    metric: str, subject: str, watched: Dependence, warning: Alarm | None, start_ms: int, end_ms: int
) -> Transition | None:
    """Whether a warning about the values of ``subject`` (a series of the metric) begins, or the one that is there ends;
    ask after each value that the detector took.
    """
    found = watched.autocorrelation
    if warning is None:
        if not watched.warned or found is None:
            return None
        alarm = Alarm(
            alarm_id=derived_id(dependent(metric), subject, start_ms),
            started_ms=end_ms,
            value=found,
            threshold=CALM,
            statistic=watched.wealth,
            statistic_limit=watched.run_length,
            warning=f"values depend on those before them (autocorrelation {found:.2f}), "
            "so more of its alarms may be false than was promised",
        )
        return Transition("firing", alarm, start_ms, end_ms, found)
    if watched.warned and (found is None or abs(found) >= CALM):
        return None
    watched.clear()
    return Transition("resolved", warning, start_ms, end_ms, found, "values are independent again")
