"""Which of many series have changed: the e-values of all of them judged together.

A series of K that alarms at R >= N is judged by itself. Where several have changed at once, all of them may be named
earlier: the k with the most wealth if each of them has R >= N / k, for the largest such k. For an equal split of the
budget this is the Benjamini-Hochberg procedure for e-values at level 1 / N, on detectors of unit mass, which have
K R.

**The promise.** Let F be the share of the named series that have not changed. One that is named has 1 / k <= R / N, so
F is at most the sum of R / N over the series that have not changed, and that grows on average by no more than 1 / N a
tick: at any time one may choose to look, E[F] is at most the average number of ticks since the start, divided by N.
(Error over patience. It needs bets that are fair given the past of *all* series.) It says who else has changed when an
alarm is raised; by itself it raises more alarms than the budget allows.

Sources: e-BH, Wang, Ramdas (2009.02824); e-d-BH and error over patience (2501.04130).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

Name = TypeVar("Name")


def changed(wealth: Mapping[Name, float], run_length: float) -> list[Name]:
    """The series that have changed, the surest first; ``wealth`` has the wealth R of every series that is watched."""
    if not run_length > 0:
        raise ValueError(f"run_length is {run_length}; it is the N of the budget, a positive number of updates")
    ordered = sorted(wealth.items(), key=lambda item: -item[1])
    named = [k for k, (_, value) in enumerate(ordered, 1) if value * k >= run_length]
    return [name for name, _ in ordered[: named[-1] if named else 0]]
