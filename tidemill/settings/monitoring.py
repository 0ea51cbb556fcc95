"""Settings of what watches: windows, the limits of dead letters, the audit."""

from __future__ import annotations

from pydantic import Field

from tidemill.settings.strict import Strict


class WindowSettings(Strict):
    """Event-time windows."""

    size_s: int = Field(default=10, ge=1, le=3600)
    """Length of a tumbling event-time window."""
    lateness_s: int = Field(default=60, ge=0)
    """Events later than this after their window's end are counted as too late and change nothing."""
    max_clock_skew_s: int = Field(default=5, ge=0)
    """An event may be this much ahead of its arrival; the watermark never follows it further."""
    silent_source_s: int = Field(default=60, ge=1)
    """How long a silent meter holds the watermark before windows go out incomplete."""
    max_series: int = Field(default=512, ge=1, le=4096)
    """Series (version × variant × role) of one pipeline in one window; versions beyond are counted as `other`."""
    max_unknown_pipelines: int = Field(default=256, ge=0, le=10_000)
    """Pipelines that are not in the settings and still get windows, in each partition of the partials topic; the
    figures of further names are left out and counted. One without traffic for a day gives its place to another."""


class DeadLetterSettings(Strict):
    """How much the sink sends to the dead letters before it stops, so that a bad deploy drains no topic."""

    max_share: float = Field(default=0.5, gt=0, le=1)
    """The sink stops when a larger share of a partition's last 1,000 or more messages is refused; 1: never."""
    max_per_hour: int = Field(default=100_000, ge=1)
    """The sink stops when a topic would get more dead letters than this within an hour."""


class AuditSettings(Strict):
    """Comparing topics, rows and windows with each other, and watching the roles."""

    every_s: float = Field(default=300, gt=0)
    """Seconds from the end of one comparison to the next."""
    look_back_s: float = Field(default=3600, gt=0)
    """How far back each comparison goes, seconds; further for what an open alarm is about."""
    settle_s: float = Field(default=120, ge=0)
    """Windows are compared this long after their lateness has passed: so that they have landed, seconds."""
    watch: dict[str, str] = Field(default_factory=dict)
    """Health page by role (``sink: http://sink:18203``); none: the embedded stack's roles, once heard of."""
    stale_s: float = Field(default=60, gt=0)
    """A role that is silent or unreachable for longer than this is an alarm, seconds."""


class EvidenceSettings(Strict):
    """The reports behind alarms."""

    keep_days: float = Field(default=90, gt=0)
    """Days after which a report is removed, once there is one that is so much newer: unless a pipeline's capture is
    off, it holds calls of users."""
