"""From troubles of the deployment itself to threshold events: alarms that begin, and alarms that end. Pure.

What is open is read back from monitoring.thresholds, and an alarm's id follows from its cause: whoever starts again
says nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

from tidemill.clock import day_time
from tidemill.events import ThresholdData, ThresholdEvent, threshold_event
from tidemill.ids import derived_id

SYSTEM = "tidemill"
"""Stands in the place of the pipeline: these alarms are not about one pipeline's traffic."""
LONGEST_NAME = 256
IN_ORDER = "is in order again"


class Trouble(NamedTuple):
    """Something that is wrong now."""

    rule: str
    metric: str
    value: float
    threshold: float
    since_ms: int
    """The earliest time it is about."""
    cause: str
    """What makes this trouble another one than the last of its kind: an offset, a window."""
    summary: str
    severity: Literal["page", "ticket", "info"] = "page"
    reference: float | None = None
    """What it was before, where that is known."""

    @property
    def subject(self) -> str:
        """The series: one alarm of a rule is open for it at a time."""
        return f"{SYSTEM}//{self.metric}"


Key = tuple[str, str]
"""Rule and subject."""
Said = Mapping[Key, ThresholdEvent]
"""The last event of each series."""


def follow(said: dict[Key, ThresholdEvent], event: ThresholdEvent, source: str) -> None:
    """Take in one event of the topic; those of other sources are not ours."""
    if event.source == source:
        said[event.data.rule, event.subject] = event


def firing(said: Said) -> dict[Key, ThresholdEvent]:
    """The alarms that are open."""
    return {key: event for key, event in said.items() if event.data.state == "firing"}


def events(
    said: Said,
    troubles: Iterable[Trouble],
    rules: Iterable[str],
    speaker: str,
    now_ms: int,
    undecided: Sequence[str] = (),
    endings: Mapping[str, str] = MappingProxyType({}),
) -> list[ThresholdEvent]:
    """What is to be said: a trouble without an open alarm begins one; one of ``rules`` without a trouble ends.

    ``speaker`` is the events' source: ``tidemill/<deployment>/<role>``, and what tells two of a role apart.
    ``undecided``: metrics of which nothing is known now, or beginnings of their names up to a slash (``windows/``);
    their alarms stay as they are. ``endings``: by rule what is said of a metric whose alarm ends.
    """
    now = {(trouble.rule, trouble.subject): trouble for trouble in troubles}
    judged = set(rules)
    open_alarms = firing(said)
    begun = [
        _begin(trouble, said.get(key), speaker, now_ms)
        for key, trouble in sorted(now.items())
        if key not in open_alarms
    ]
    ended = [
        _end(alarm, speaker, now_ms, endings.get(key[0], IN_ORDER))
        for key, alarm in sorted(open_alarms.items(), key=lambda item: item[0])
        if key[0] in judged and key not in now and not _among(alarm.data.metric, undecided)
    ]
    return begun + ended


def _among(metric: str, undecided: Sequence[str]) -> bool:
    return any(metric == each or (each.endswith("/") and metric.startswith(each)) for each in undecided)


def _begin(trouble: Trouble, ended: ThresholdEvent | None, speaker: str, now_ms: int) -> ThresholdEvent:
    """``ended``: how the last alarm of the series ended, which makes this one another, even of the same cause."""
    after = [] if ended is None else [ended.time_ms]
    alarm_id = derived_id(trouble.rule, trouble.subject, trouble.cause, *after)
    data = ThresholdData(
        state="firing",
        rule=trouble.rule,
        kind="system",
        severity=trouble.severity,
        pipeline=SYSTEM,
        metric=trouble.metric,
        value=trouble.value,
        threshold=trouble.threshold,
        reference=trouble.reference,
        window_start_ms=trouble.since_ms,
        window_end_ms=now_ms,
        detector=speaker.split("/")[2],
        alarm_id=alarm_id,
        started_ms=now_ms,
        summary=trouble.summary,
    )
    return threshold_event(alarm_id, speaker, data, now_ms)


def _end(alarm: ThresholdEvent, speaker: str, now_ms: int, ending: str) -> ThresholdEvent:
    began = alarm.data
    data = ThresholdData(
        state="resolved",
        rule=began.rule,
        kind="system",
        severity=began.severity,
        pipeline=began.pipeline,
        metric=began.metric,
        value=0.0,
        threshold=began.threshold,
        window_start_ms=began.window_start_ms,
        window_end_ms=now_ms,
        detector=began.detector,
        alarm_id=began.alarm_id,
        started_ms=began.started_ms,
        summary=f"{began.metric} {ending} (alarm since {day_time(began.started_ms, now_ms)})",
    )
    return threshold_event(derived_id(began.alarm_id, "resolved"), speaker, data, now_ms)
