"""What a dashboard is made of: panels, and what each asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Kind = Literal["timeseries", "table", "stat"]


class Expression(NamedTuple):
    """One question to Prometheus, and what its lines are called: ``{{role}}`` stands for the label's value."""

    promql: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """One panel: its SQL gives ``time``, a label and values (time series) or rows (table).

    Without SQL it is a time series of its ``expressions``.
    """

    title: str
    sql: str
    description: str
    unit: str = "short"
    kind: Kind = "timeseries"
    width: int = 12
    height: int = 8
    expressions: tuple[Expression, ...] = ()


@dataclass(frozen=True)
class Board:
    """One dashboard."""

    uid: str
    title: str
    description: str
    panels: tuple[Panel, ...]
