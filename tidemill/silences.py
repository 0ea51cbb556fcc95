"""When alarms are not told: silences of the settings and by command, and weekly maintenance. Pure: time is handed in.

Silences by command lie in a compacted topic, and whoever reads it knows of each since when and until when it holds, by
the broker's clock: it counts LEAD_MS after the topic has it, and ends LEAD_MS after the topic has its expiry. So the
past that a restart reads is the one that was lived through, as long as each record is learned of within LEAD_MS: what
was told then is told now, and what was held back is held back until the same moment. For this a silence stays in the
topic as long as Kafka may still hold an alarm of its time (KEPT_MS), and lasts no longer than Kafka is sure to keep an
alarm (LONGEST_MS): a longer one could outlive what it holds back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from tidemill import weekly
from tidemill.errors import Quarantine
from tidemill.events import Silence, ThresholdData
from tidemill.settings.alerting import ALERT_LABELS, AlertSettings, MaintenanceSettings, SilenceSettings
from tidemill.topics import DAY_MS, SILENCES, THRESHOLDS

LEAD_MS = 1_000
LONGEST_MS = THRESHOLDS.retention_ms
KEPT_MS = 2 * THRESHOLDS.retention_ms + DAY_MS
"""Kafka deletes whole segments, and one may be filled for as long as it is kept then."""
MOST_OPEN = 500
"""Silences that hold or will hold; the command makes no more."""
MOST_KEPT = 5_000
"""Silences that are known, those that have ended included."""

Labels = Mapping[str, str]
End = Callable[[int], int | None]
SETTINGS = "settings"


def labels_of(data: ThresholdData) -> dict[str, str]:
    """What tells alerts apart; the same for an alarm's beginning and end."""
    labels = {"alertname": data.rule, "pipeline": data.pipeline}
    labels |= {"severity": data.severity, "kind": data.kind, "metric": data.metric}
    return labels | {
        name: value
        for name, value in (("version", data.model_version), ("variant", data.variant), ("slice", data.slice))
        if value
    }


@dataclass(frozen=True)
class Mute:
    """One reason why alarms are not told."""

    name: str
    """What people call it: its name in the settings, or its comment."""
    source: str
    """The silence's id, or SETTINGS."""
    patterns: Mapping[str, re.Pattern[str]]
    end: End
    """When it ends, if it holds at that time (then later than that), else None."""

    @property
    def matched(self) -> str:
        """What it is about, in words."""
        return ", ".join(f"{label}={each.pattern}" for label, each in self.patterns.items()) or "every alarm"

    def matches(self, labels: Labels) -> bool:
        """Whether an alarm is meant. A label that it lacks counts as empty."""
        return all(pattern.fullmatch(labels.get(label, "")) for label, pattern in self.patterns.items())


@dataclass(frozen=True)
class Placed:
    """A silence by command, and when it holds by the broker's clock (empty: it was ended before it began)."""

    silence: Silence
    mute: Mute
    since_ms: int
    until_ms: int

    def state(self, now_ms: int) -> Literal["pending", "active", "ended"]:
        """Where it stands at that time."""
        if now_ms >= self.until_ms or self.until_ms <= self.since_ms:
            return "ended"
        return "active" if now_ms >= self.since_ms else "pending"


class Silences:
    """All silences of the topic: the fold of its records."""

    def __init__(self) -> None:
        self._placed: dict[str, Placed] = {}

    def __len__(self) -> int:
        return len(self._placed)

    def take(self, key: bytes | None, value: bytes | None, at_ms: int) -> None:
        """Take in a record that the topic has had since ``at_ms``; without a value it makes the silence forgotten.

        Raises Quarantine where it is no silence, or one too many: nothing changes then.
        """
        name = (key or b"").decode(errors="replace")
        if value is None:
            self._placed.pop(name, None)
            return
        silence: Silence = _decode(value)
        if silence.silence_id != name:
            raise Quarantine("the record's key is not its silence_id")
        if name not in self._placed and len(self._placed) >= MOST_KEPT:
            self._make_room(at_ms)
        self._placed[name] = placed(silence, at_ms, self._placed.get(name))

    def all(self) -> tuple[Placed, ...]:
        """Every one that is kept, oldest record first."""
        return tuple(self._placed.values())

    def open(self, now_ms: int) -> list[Placed]:
        """Those that hold or will hold."""
        return [each for each in self._placed.values() if each.state(now_ms) != "ended"]

    def outlived(self, now_ms: int) -> list[str]:
        """Ids of those whose end is so long ago that nothing is left in Kafka that they could be about."""
        return [name for name, each in self._placed.items() if each.until_ms + KEPT_MS < now_ms]

    def _make_room(self, at_ms: int) -> None:
        first = min(self._placed, key=lambda name: self._placed[name].until_ms)
        if self._placed[first].state(at_ms) != "ended":
            raise Quarantine(f"there are {MOST_KEPT} silences that have not ended; no more are taken in")
        del self._placed[first]


def placed(silence: Silence, at_ms: int, known: Placed | None = None) -> Placed:
    """When a silence holds whose record the topic has had since ``at_ms``; ``known``: by its record before.

    The record of an expiry has the true beginning in ``start_ms``, as compaction leaves it alone. Raises Quarantine
    where a pattern is none, or its label is none of an alert.
    """
    counts_ms = at_ms + LEAD_MS
    since_ms = silence.start_ms if silence.expired else max(silence.start_ms, counts_ms)
    if known is not None:
        since_ms = known.since_ms
    until_ms = min(silence.end_ms, since_ms + LONGEST_MS)
    if silence.expired:
        until_ms = min(until_ms, counts_ms, known.until_ms if known is not None else counts_ms)
    mute = Mute(silence.comment, silence.silence_id, patterns(silence.match), _between(since_ms, until_ms))
    return Placed(silence, mute, since_ms, until_ms)


class Mutes:
    """All that mutes alarms in a deployment: its settings', and ``silences`` by command."""

    def __init__(self, alerts: AlertSettings, silences: Iterable[Placed] = ()) -> None:
        self._mutes = [
            *(Mute(one.name, SETTINGS, patterns(one.match), _once(one)) for one in alerts.silences),
            *(Mute(one.name, SETTINGS, patterns(one.match), _weekly(one)) for one in alerts.maintenance),
            *(each.mute for each in silences),
        ]

    def until(self, labels: Labels, at_ms: int) -> int | None:
        """When the longest mute that holds for these labels at that time ends (after ``at_ms``); None: none holds."""
        return max((end for _, end in self.holding(at_ms, labels)), default=None)

    def holding(self, at_ms: int, labels: Labels | None = None) -> list[tuple[Mute, int]]:
        """The mutes that hold at that time, each with its end; with ``labels`` those that mean such an alarm."""
        found = ((mute, mute.end(at_ms)) for mute in self._mutes)
        return [(mute, end) for mute, end in found if end is not None and (labels is None or mute.matches(labels))]


def patterns(match: Mapping[str, str]) -> dict[str, re.Pattern[str]]:
    """Compiled. Raises Quarantine with what is wrong."""
    compiled = {}
    for label, pattern in match.items():
        if label not in ALERT_LABELS:
            raise Quarantine(f"{label!r} is no label of an alert")
        try:
            compiled[label] = re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise Quarantine(f"{pattern!r} is no regular expression: {error}") from error
    return compiled


_decode = SILENCES.decoder()


def _between(start_ms: int, end_ms: int) -> End:
    return lambda at_ms: end_ms if start_ms <= at_ms < end_ms else None


def _once(silence: SilenceSettings) -> End:
    start_ms, end_ms = (round(moment.timestamp() * 1000) for moment in (silence.start, silence.end))
    return _between(start_ms, end_ms)


def _weekly(maintenance: MaintenanceSettings) -> End:
    return lambda at_ms: weekly.until(maintenance, at_ms)
