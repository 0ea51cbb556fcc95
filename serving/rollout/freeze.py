"""Freeze windows of a plan: when no step forward is taken. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from tidemill import weekly
from tidemill.settings import RolloutSettings


def frozen(plan: RolloutSettings, now_ms: int) -> str:
    """Why no step forward may be taken now, in words; empty: one may."""
    holding = [(end, each.name) for each in plan.freeze if (end := weekly.until(each, now_ms)) is not None]
    if not holding:
        return ""
    end_ms, name = max(holding)
    until = datetime.fromtimestamp(end_ms / 1000, UTC)
    return f"freeze window {name!r} holds every step forward until {until:%Y-%m-%d %H:%M} UTC"
