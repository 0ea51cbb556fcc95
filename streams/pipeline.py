"""One pipeline, folded: windows, detectors and rules over its partials, in log order.

``PipelineFold`` is a deterministic fold: the same messages give the same state and the same outputs, whenever they
are read (no clock of ours, no randomness). ``snapshot`` gives the whole state as one value; a fold made from it goes
on as this one would.
"""

from __future__ import annotations

from functools import partial as bind
from typing import NamedTuple

from msgspec import Struct, field

from streams import thresholds
from streams.alarms import Transition
from streams.detectors import quality
from streams.detectors.drift import Drift
from streams.detectors.quality import QualityDetector, QualityState
from streams.rules import RuleState
from streams.thresholds import KINDS, Cause
from streams.windows.figures import NO_REQUESTS, Figure, figures, window_row
from streams.windows.sources import Sources
from streams.windows.state import Closed, Outcome, Windows
from streams.windows.tally import CLIENT, OTHER, Series, Tally, merged
from tidemill.events import Partial, ScorePoint, ThresholdEvent, Window
from tidemill.settings import PipelineSettings, Settings

MAX_PENDING = 2_000
"""Scores that wait for the watermark; more than this go to the detector without waiting."""


class PipelineState(Struct, omit_defaults=True):
    """Everything kept of one pipeline: one value of the Faust table, one atomic step when it is written."""

    schema: int = 1
    windows: Windows = field(default_factory=Windows)
    quality: QualityState = field(default_factory=QualityState)
    drift: Drift = field(default_factory=Drift)
    rules: dict[str, RuleState] = field(default_factory=dict)
    pending: list[ScorePoint] = field(default_factory=list)
    """Scores that the watermark has not passed yet."""


class Outputs(NamedTuple):
    """What goes out for one message."""

    windows: list[Window]
    events: list[ThresholdEvent]


class PipelineFold:
    """The fold of one pipeline. Not thread-safe; never blocks."""

    def __init__(self, name: str, settings: Settings, state: PipelineState | None = None) -> None:
        self._name = name
        self._deployment = settings.deployment
        self._settings = settings.windows
        # A pipeline that is not in the settings still gets windows and detectors, with defaults and no rules.
        self._pipeline = settings.pipelines.get(name) or PipelineSettings(engine="", champion="")
        self._state = state or PipelineState()
        self._quality = QualityDetector(name, self._pipeline.quality, self._state.quality)

    @property
    def windows(self) -> Windows:
        """Offsets, watermark and counts, to look at."""
        return self._state.windows

    @property
    def waiting(self) -> int:
        """Scores that wait for the watermark."""
        return len(self._state.pending)

    def snapshot(self) -> PipelineState:
        """The whole state. It shares structure with the fold: encode it before the next message."""
        self._state.quality = self._quality.snapshot()
        return self._state

    def apply(self, partial: Partial) -> Outcome:
        """Take in a partial; outputs follow with the progress that comes after it."""
        outcome = self._state.windows.apply(partial, self._settings)
        if outcome == "applied":
            metric = self._pipeline.quality.metric
            self._state.pending.extend(s for s in partial.scores if s.metric == metric and s.variant != "shadow")
        return outcome

    def follow(self, sources: Sources) -> Outputs:
        """Take in how far the sources are: revisions and closed windows go out, and what detectors and rules say."""
        state = self._state
        out = Outputs([], [])
        for closed in state.windows.follow(sources, self._settings):
            self._report(closed, out)
        for point in self._released():
            found = self._quality.update(point)
            if found is not None:
                self._say(found, self._quality_cause(), out)
        return out

    def _report(self, closed: Closed, out: Outputs) -> None:
        clients: list[Tally] = []
        for key, tally in closed.series.items():
            series = Series.of_key(key)
            found = figures(tally)
            if closed.revision == 0:
                found |= self._state.drift.word_figures(tally)
            self._rows(series, found, closed, out)
            if series.role == CLIENT:
                clients.append(tally)
        if closed.revision > 0:
            return
        whole = merged(clients)
        idle = not whole.requests and self._state.windows.had_requests and closed.complete
        if idle:
            self._rows(Series(), {"requests": NO_REQUESTS}, closed, out)
        if closed.complete:
            self._conclude(whole, idle, closed, out)
        for tally in closed.series.values():
            tally.words.clear()  # by far the largest part; word metrics are not revised

    def _conclude(self, whole: Tally, idle: bool, closed: Closed, out: Outputs) -> None:
        """Let the rules and the drift detectors judge a complete window, once."""
        known = figures(whole) | self._state.drift.word_figures(whole)
        if idle:
            known["requests"] = NO_REQUESTS
        self._judge(known, closed, out)
        self._watch_text(whole, _champion(closed), closed, out)

    def _rows(self, series: Series, found: dict[str, Figure], closed: Closed, out: Outputs) -> None:
        make = bind(
            Window,
            pipeline=self._name,
            model_version=series.model_version,
            variant=series.variant,
            role=series.role,
            start_ms=closed.start_ms,
            end_ms=self._end(closed),
            complete=closed.complete,
            revision=closed.revision,
            time_ms=self._state.windows.sources.clock_ms,
        )
        out.windows.extend(window_row(figure, make, metric) for metric, figure in found.items())

    def _judge(self, known: dict[str, Figure], closed: Closed, out: Outputs) -> None:
        states = self._state.rules
        rules = {rule.name: rule for rule in self._pipeline.rules}
        for name in sorted(states):
            gone = name not in rules or rules[name].metric != states[name].metric
            if gone:
                alarm, metric = states[name].alarm, states[name].metric
                del states[name]
                if alarm is not None:
                    reason = "the rule is no longer in the settings"
                    ended = Transition("resolved", alarm, closed.start_ms, self._end(closed), None, reason)
                    self._say(ended, Cause(name, _kind(metric), "info", metric, metric, "rule", above=True), out)
        for name, rule in rules.items():
            state = states.setdefault(name, RuleState(metric=rule.metric))
            found = state.judge(self._name, rule, known.get(rule.metric), closed.start_ms, self._end(closed))
            if found is not None:
                shown = rule.metric if rule.statistic == "value" else f"{rule.metric} {rule.statistic}"
                above = rule.above is not None
                self._say(found, Cause(name, _kind(rule.metric), rule.severity, rule.metric, shown, "rule", above), out)

    def _watch_text(self, whole: Tally, champion: str | None, closed: Closed, out: Outputs) -> None:
        found = self._state.drift.judge(
            self._name, whole, champion, closed.start_ms, self._end(closed), self._pipeline.drift
        )
        for metric, transition in found:
            self._say(transition, Cause(f"drift_{metric}", "drift", "ticket", metric, metric, "cusum"), out)

    def _released(self) -> list[ScorePoint]:
        """Scores the watermark has passed, each once, in event-time order."""
        pending = self._state.pending
        all_of_them = len(pending) > MAX_PENDING
        until_ms = self._state.windows.watermark_ms
        ready = {s.feedback_id: s for s in pending if all_of_them or s.time_ms <= until_ms}
        if ready:
            self._state.pending = [s for s in pending if s.feedback_id not in ready]
        return sorted(ready.values(), key=lambda s: (s.time_ms, s.feedback_id))

    def _quality_cause(self) -> Cause:
        shown = f"quality ({self._pipeline.quality.metric})"
        return Cause(quality.RULE, "quality", "page", "quality", shown, self._pipeline.quality.detector)

    def _say(self, transition: Transition, cause: Cause, out: Outputs) -> None:
        clock_ms = self._state.windows.sources.clock_ms
        out.events.append(thresholds.event(self._deployment, self._name, cause, transition, clock_ms))

    def _end(self, closed: Closed) -> int:
        return closed.start_ms + self._settings.size_s * 1000


def _kind(metric: str) -> thresholds.Kind:
    return KINDS.get(metric, "drift")


def _champion(closed: Closed) -> str | None:
    """The version that gave most of the champion's answers to clients in this window."""
    answers: dict[str, int] = {}
    for key, tally in closed.series.items():
        series = Series.of_key(key)
        named = series.model_version not in ("", OTHER)
        if series.variant == "champion" and series.role == CLIENT and named and tally.answers:
            answers[series.model_version] = tally.answers
    return max(sorted(answers), key=lambda version: answers[version]) if answers else None
