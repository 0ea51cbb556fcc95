"""What the page shows, as plain values: one picture of all pipelines at a moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tidemill.events import JobProgress, JobState, RetrainDecision, RolloutState, Route, ThresholdEvent
from tidemill.io.spend import Spend

_LEAST_SHOWN = 0.01


def _how_often(a_day: float) -> str:
    """How often something happens that happens so many times a day, as people say it."""
    if a_day >= 1:
        return f"{a_day:,.1f} a day"
    return f"one in {1 / a_day:,.0f} days" if a_day > 0 else "none"


@dataclass(frozen=True)
class Point:
    """One window of one metric of one version, its variants together. ``value`` is None where n says nothing."""

    start_ms: int
    value: float | None
    n: int
    p50: float | None = None
    p95: float | None = None
    end_ms: int | None = None


@dataclass(frozen=True)
class Pipeline:
    """One pipeline: its figures by metric and version, and where its wheel stands."""

    name: str
    description: str
    series: Mapping[str, Mapping[str, tuple[Point, ...]]] = field(default_factory=dict)
    """metric → version ("" for the pipeline as a whole) → windows in time order."""
    alarms: tuple[ThresholdEvent, ...] = ()
    """Threshold events of the time shown, oldest first."""
    jobs: tuple[JobState, ...] = ()
    """Latest state of each job, oldest job first."""
    job_steps: tuple[JobState, ...] = ()
    """Every recorded state of the jobs of the time shown, oldest first."""
    rollouts: tuple[RolloutState, ...] = ()
    """Latest state of each rollout, oldest rollout first."""
    steps: tuple[RolloutState, ...] = ()
    """Every recorded state of the rollouts of the time shown, oldest first."""
    decisions: tuple[RetrainDecision, ...] = ()
    """The newest ones on what asks for a retraining, newest first."""
    route: Route | None = None
    progress: JobProgress | None = None
    spend: Spend | None = None
    """Of the budget of false alarms; None: nobody says."""
    allowed_a_day: float = 0.0
    """False alarms that the budget allows it in a day, on average."""
    content_free: bool = False
    """None of its text is kept (``capture: off``)."""

    @property
    def watched(self) -> str:
        """What cannot be watched of it, in words; empty: nothing is left out."""
        return "capture is off: only content-free features are watched" if self.content_free else ""

    @property
    def false_alarms(self) -> str:
        """The spend of its budget of false alarms, in words; empty: unknown."""
        if self.spend is None:
            return ""
        allowed, alarms, series = self.spend
        raised = f"{alarms:,} alarm{'' if alarms == 1 else 's'}"
        so_far = f"{allowed:,.2f}" if allowed >= _LEAST_SHOWN else f"less than {_LEAST_SHOWN}"
        return (
            f"false alarms allowed on average: {_how_often(self.allowed_a_day)}, which makes {so_far} so far; "
            f"the detectors raised {raised}, false or not, on {series:,} series"
        )

    @property
    def is_unanswered(self) -> bool:
        """Whether questions have arrived in the time shown, and no answer."""
        asked, answered = (
            any(point.value for points in self.series.get(metric, {}).values() for point in points)
            for metric in ("requests", "answers")
        )
        return asked and not answered

    @property
    def open_alarms(self) -> tuple[ThresholdEvent, ...]:
        """Alarms that fire now; what only informs is none."""
        resolved = {event.data.alarm_id for event in self.alarms if event.data.state == "resolved"}
        firing = (e for e in self.alarms if e.data.state == "firing" and e.data.severity != "info")
        return tuple(event for event in firing if event.data.alarm_id not in resolved)

    @property
    def job(self) -> JobState | None:
        """The latest job that was begun."""
        begun = [job for job in self.jobs if job.phase != "declined"]
        return begun[-1] if begun else None

    @property
    def rollout(self) -> RolloutState | None:
        """The rollout of the latest job, if it came that far, or one that a person started since."""
        job = self.job
        begun = [each for each in self.rollouts if not any(o.act == "start" and o.refused for o in each.orders)]
        found = [
            each
            for each in begun
            if job is None or each.job_id == job.job_id or (not each.job_id and each.created_ms >= job.created_ms)
        ]
        return found[-1] if found else None

    def recent(self, metric: str, windows: int = 6) -> float | None:
        """Mean of a metric's last windows over all versions, weighted by their counts; None without data."""
        points = [point for points in self.series.get(metric, {}).values() for point in points]
        starts = sorted({point.start_ms for point in points})[-windows:]
        chosen = [p for p in points if starts and p.start_ms >= starts[0] and p.value is not None and p.n > 0]
        weight = sum(point.n for point in chosen)
        return sum((point.value or 0.0) * point.n for point in chosen) / weight if weight else None

    @property
    def champion(self) -> str:
        """The version that clients are answered by; empty where no route says so."""
        arms = self.route.arms if self.route is not None else ()
        return next((arm.model_version for arm in arms if arm.variant == "champion"), "")

    def champions(self, metric: str, since_ms: int) -> float | None:
        """A metric's newest value of the champion, from windows that began at ``since_ms`` or later; else None."""
        points = self.series.get(metric, {}).get(self.champion, ())
        return points[-1].value if points and points[-1].start_ms >= since_ms else None

    def rate(self, metric: str, window_s: float, windows: int = 6) -> float | None:
        """A counting metric per second over its last windows; None without data."""
        points = [point for points in self.series.get(metric, {}).values() for point in points]
        starts = sorted({point.start_ms for point in points})[-windows:]
        if not starts:
            return None
        return sum(point.value or 0.0 for point in points if point.start_ms >= starts[0]) / (len(starts) * window_s)


@dataclass(frozen=True)
class Picture:
    """Everything the page shows at one moment."""

    taken_ms: int
    from_ms: int
    window_s: int
    pipelines: Mapping[str, Pipeline]
    system: tuple[ThresholdEvent, ...] = ()
    """Threshold events about the deployment itself, the newest of a day."""
    trouble: str = ""
    """Why the picture is old, in words; empty: it is fresh."""
