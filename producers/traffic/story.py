"""Planned changes of the users' habits over time: what the live demo traffic does without anybody at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from producers.traffic.habits import Habits


@dataclass(frozen=True)
class Change:
    """After ``after_s`` seconds of traffic, users of ``pipeline`` change their habits."""

    after_s: float
    pipeline: str
    habits: dict[str, Any]
    note: str


def demo_habits() -> list[Habits]:
    """The users of the demo's two pipelines before anything changes, sized for an engine on two cores."""
    return [Habits("schedule", rate=6.0), Habits("support", rate=2.0)]


def demo_changes(quiet_s: float = 60.0) -> list[Change]:
    """The demo's story: schedule's users speak anew while support is busier; much later support's users change too."""
    return [
        Change(quiet_s, "schedule", {"way": "words"}, "schedule: times in words, days by nickname"),
        Change(quiet_s, "support", {"way": "long", "rate": 6.0}, "support: three times the calls, longer questions"),
        Change(quiet_s + 600, "support", {"way": "novel", "rate": 4.0}, "support: questions of a new kind"),
    ]
