"""Threshold events: CloudEvents with an id derived from their cause and a sentence a person on call understands."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, NamedTuple

from streams.alarms import Alarm, Transition
from tidemill.clock import day_time
from tidemill.events import ThresholdData, ThresholdEvent, subject_of, threshold_event
from tidemill.ids import derived_id

Kind = Literal["quality", "drift", "latency", "errors", "traffic", "cost", "system"]
Severity = Literal["page", "ticket", "info"]
KINDS: dict[str, Kind] = {
    "requests": "traffic",
    "answers": "traffic",
    "error_rate": "errors",
    "cancel_rate": "errors",
    "truncated_rate": "errors",
    "other_finish_rate": "errors",
    "input_tokens": "cost",
    "cached_tokens": "cost",
    "output_tokens": "cost",
    "cost": "cost",
    "unpriced": "cost",
    "queue_ms": "latency",
    "ttft_ms": "latency",
    "tpot_ms": "latency",
    "e2e_ms": "latency",
    "quality": "quality",
    "thumb": "quality",
}
"""What a rule on a metric is about; metrics of the text are about drift."""

OVER_SPANS = frozenset({"burn_rate", "budget"})
"""Detectors whose figure is of a span of time: it passed its threshold later than the change that led there."""
WORTH_SAYING_MS = 10_000
"""An interval of change times that is shorter is left out of the sentence."""


class Cause(NamedTuple):
    """What stands behind a transition: the rule and how to speak of its figure."""

    rule: str
    kind: Kind
    severity: Severity
    metric: str
    shown: str
    """How the figure is called in a sentence: ``quality (exact_match)``, ``e2e_ms p95``."""
    detector: str
    above: bool | None = None
    """For a level that was set: whether it must not be passed upwards. None for changes that were detected."""
    slice: str = ""
    """Of which slice the figure is; empty: of the whole traffic."""


DETECTOR = "conformal"
PER_ANSWER = frozenset({"input_tokens", "cached_tokens", "output_tokens", "cost"})
"""Sums in windows, and watched by detectors as means of an answer."""


def of_quality(metric: str, slice: str = "") -> Cause:
    """A fall of quality, by the quality metric. A slice pages nobody: where all traffic falls, every slice does."""
    severity: Severity = "ticket" if slice else "page"
    return Cause("quality", "quality", severity, "quality", f"quality ({metric})", DETECTOR, slice=slice)


def of_drift(metric: str, rule: str) -> Cause:
    """A notice: text has drifted, or answers fail, cost or take more or less than they did."""
    shown = f"{metric} per answer" if metric in PER_ANSWER else metric
    return Cause(rule, KINDS.get(metric, "drift"), "ticket", metric, shown, DETECTOR)


def dependent(metric: str) -> str:
    """The rule that warnings about the values of a metric go by."""
    return f"dependent_{metric}"


def of_dependence(metric: str) -> Cause:
    """The warning that an assumption of the metric's detector was found broken."""
    return Cause(dependent(metric), "system", "info", metric, metric, "dependence")


def event(deployment: str, pipeline: str, cause: Cause, transition: Transition, time_ms: int) -> ThresholdEvent:
    """The event for one transition; equal inputs give an equal event, so it may be sent twice."""
    alarm = transition.alarm
    event_id = alarm.alarm_id
    if transition.state == "resolved":
        subject = subject_of(pipeline, cause.metric, cause.slice)
        event_id = derived_id(cause.rule, subject, transition.start_ms, "resolved")
    data = ThresholdData(
        state=transition.state,
        rule=cause.rule,
        kind=cause.kind,
        severity=cause.severity,
        pipeline=pipeline,
        slice=cause.slice,
        metric=cause.metric,
        value=transition.value,
        threshold=alarm.threshold,
        reference=alarm.reference,
        window_start_ms=transition.start_ms,
        window_end_ms=transition.end_ms,
        change_time_ms=alarm.change_time_ms,
        change_from_ms=alarm.change_from_ms,
        change_until_ms=alarm.change_until_ms,
        statistic=alarm.statistic,
        statistic_limit=alarm.statistic_limit,
        warning=alarm.warning,
        detector=cause.detector,
        alarm_id=alarm.alarm_id,
        started_ms=alarm.started_ms,
        summary=_summary(pipeline, cause, transition),
        reason=transition.reason or (_compared(alarm) if transition.state == "firing" else ""),
    )
    return threshold_event(event_id, f"tidemill/{deployment}/streams", data, time_ms)


def _summary(pipeline: str, cause: Cause, transition: Transition) -> str:
    alarm = transition.alarm
    subject = f"{pipeline}: {cause.shown}" + (f" of {cause.slice}" if cause.slice else "")
    since = ""
    if alarm.change_time_ms is not None and cause.detector not in OVER_SPANS:
        since = f" since {_clock(alarm.change_time_ms)}{_give_or_take(alarm) if cause.above is None else ''}"
    now = _figure(transition.value)
    if transition.state == "resolved":
        if transition.value is None:
            word = "notice" if cause.above is None and cause.severity != "page" else "alarm"
            return f"{subject}: {word} closed, {transition.reason}"
        return f"{subject} is back at {now} (alarm since {day_time(alarm.started_ms, transition.end_ms)})"
    if cause.kind == "system":
        return f"{subject}: {alarm.warning}"
    if cause.above is not None:
        side = "above" if cause.above else "below"
        before = "" if alarm.reference is None else f" (before: {_figure(alarm.reference)})"
        if transition.value is None:
            return f"{subject} has no data{since}{before}"
        return f"{subject} is {now}, {side} {_figure(alarm.threshold)}{since}{before}"
    fell = alarm.reference is not None and alarm.value is not None and alarm.value < alarm.reference
    verb = "fell" if fell else "rose"
    usual = f" (usual for this hour of the {alarm.season})" if alarm.season else ""
    return f"{subject} {verb} from {_figure(alarm.reference)}{usual} to {now}{since}"


def _compared(alarm: Alarm) -> str:
    return f"compared with what its hour of the {alarm.season} is usually like" if alarm.season else ""


def _give_or_take(alarm: Alarm) -> str:
    """The interval of an estimated change time, where it is wide enough to matter."""
    first, last = alarm.change_from_ms, alarm.change_until_ms
    if first is None or last is None or last - first < WORTH_SAYING_MS:
        return ""
    return f" (between {_clock(first, '')} and {_clock(last, '')})"


def _figure(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def _clock(ms: int, zone: str = " UTC") -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%H:%M:%S") + zone
