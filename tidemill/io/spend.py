"""The spend of the false-alarm budget, as the role `streams` says it on its page."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import NamedTuple

from tidemill.io.role_page import metrics_page
from tidemill.settings import Settings

DAY_S = 86_400
_NAMES = {
    "tidemill_streams_false_alarms_allowed": "allowed",
    "tidemill_streams_detected_alarms": "alarms",
    "tidemill_streams_watched_series": "series",
}
_LINE = re.compile(r'^(\w+)\{pipeline="((?:[^"\\]|\\.)*)"\} (\S+)$', re.MULTILINE)
_ESCAPED = re.compile(r"\\(.)")


class Spend(NamedTuple):
    """Where one pipeline's part of the budget stands."""

    allowed: float
    """False alarms that the budget allowed so far, on average."""
    alarms: int
    """Alarms of the detectors so far, false or not."""
    series: int
    """Series that share it."""


def allowed_a_day(settings: Settings) -> float:
    """False alarms that the budget allows one pipeline of the settings in a day, on average."""
    return DAY_S / settings.run_length * settings.false_alarm_share


def spent(settings: Settings) -> dict[str, Spend]:
    """By pipeline; empty where the role is not up, or ``audit.watch`` does not say where. Blocks a second or so."""
    return said(metrics_page(settings, "streams"))


def said(page: str) -> dict[str, Spend]:
    """The spend on a Prometheus page."""
    figures: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(_NAMES.values(), 0.0))
    for name, label, value in _LINE.findall(page):
        if name not in _NAMES:
            continue
        pipeline = _ESCAPED.sub(lambda match: "\n" if match[1] == "n" else match[1], label)
        figures[pipeline][_NAMES[name]] = float(value)
    return {name: Spend(f["allowed"], round(f["alarms"]), round(f["series"])) for name, f in figures.items()}
