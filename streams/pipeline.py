"""One pipeline, folded: windows, detectors and rules over its partials, in log order.

``PipelineFold`` is a deterministic fold: the same messages give the same state and the same outputs, whenever they
are read (no clock of ours, no randomness). ``snapshot`` gives the whole state as bytes; a fold made from them goes
on as this one would.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial as bind
from typing import NamedTuple

import msgspec
from msgspec import Struct, field

from streams import thresholds
from streams.alarms import Transition
from streams.detectors import quality
from streams.detectors.drift import Drift
from streams.detectors.quality import QualityDetector, QualityState
from streams.rules import RuleState
from streams.thresholds import KINDS, Cause
from streams.windows.bucket import Closed
from streams.windows.figures import NO_REQUESTS, Figure, figures, sample_share, window_row
from streams.windows.sources import Watermark
from streams.windows.state import Outcome, Windows
from streams.windows.tally import CLIENT, OTHER, Series, Tally, merged
from tidemill.events import Partial, ScorePoint, ThresholdEvent, Window
from tidemill.settings import PipelineSettings, Settings

MAX_PENDING = 2_000
"""Scores that wait for the watermark; more than this go to the detector without waiting."""
_encoder = msgspec.msgpack.Encoder()


class PipelineState(Struct, array_like=True):
    """Everything kept of one pipeline: one value of the Faust table, one atomic step when it is written."""

    schema: int = 2
    windows: Windows = field(default_factory=Windows)
    quality: msgspec.Raw = field(default_factory=lambda: msgspec.Raw(_encoder.encode(QualityState())))
    """A QualityState; encoded apart, since most states are written with no new score."""
    drift: msgspec.Raw = field(default_factory=lambda: msgspec.Raw(_encoder.encode(Drift())))
    """A Drift; decoded while a window is judged, for it is seldom looked at and mostly word counts."""
    rules: dict[str, RuleState] = field(default_factory=dict)
    pending: list[ScorePoint] = field(default_factory=list)
    """Scores that the watermark has not passed yet."""


_state_decoder = msgspec.msgpack.Decoder(PipelineState)
_drift_decoder = msgspec.msgpack.Decoder(Drift)
_quality_decoder = msgspec.msgpack.Decoder(QualityState)


class Outputs(NamedTuple):
    """What goes out for one message and pipeline."""

    windows: list[Window]
    events: list[ThresholdEvent]


class PipelineFold:
    """The fold of one pipeline. Not thread-safe; never blocks."""

    def __init__(self, name: str, settings: Settings, state: bytes | None = None) -> None:
        """``state``: what ``snapshot`` gave earlier."""
        self._name = name
        self._deployment = settings.deployment
        self._settings = settings.windows
        # A pipeline that is not in the settings still gets windows and detectors, with defaults and no rules.
        self._pipeline = settings.pipelines.get(name) or PipelineSettings(engine="", champion="")
        self._state = PipelineState() if state is None else _state_decoder.decode(state)
        self._clock_ms = 0
        # As decoded they would keep the whole encoded state in memory.
        self._state.quality, self._state.drift = self._state.quality.copy(), self._state.drift.copy()
        known = _quality_decoder.decode(self._state.quality)
        self._quality = QualityDetector(name, self._pipeline.quality, known)
        self._quality_moved = False

    @property
    def windows(self) -> Windows:
        """Offsets and counts, to look at."""
        return self._state.windows

    @property
    def quality(self) -> QualityState:
        """The quality detector's state, to look at."""
        return self._quality.snapshot()

    def snapshot(self, into: bytearray) -> None:
        """Append the whole state, encoded."""
        if self._quality_moved:
            self._state.quality = msgspec.Raw(_encoder.encode(self._quality.snapshot()))
            self._quality_moved = False
        _encoder.encode_into(self._state, into, len(into))

    def apply(self, partial: Partial, clock_ms: int, out: Outputs) -> Outcome:
        """Take in a partial. Most outputs follow with the progress after it; into ``out`` goes only what must leave
        early, since the state is full.
        """
        state, self._clock_ms = self._state, clock_ms
        outcome = state.windows.apply(partial, clock_ms, self._settings)
        if outcome == "applied":
            metric = self._pipeline.quality.metric
            state.pending.extend(s for s in partial.scores if s.metric == metric and s.variant != "shadow")
            for closed in state.windows.relieve(self._settings):
                self._report(closed, out)
            if len(state.pending) > MAX_PENDING:
                self._score(state.pending, out)
        return outcome

    def follow(self, watermark: Watermark, clock_ms: int, out: Outputs) -> bool:
        """Take in how far the sources are: revisions and closed windows go out, and what detectors and rules say.

        Gives back whether the state changed.
        """
        state, self._clock_ms = self._state, clock_ms
        before, changed = state.windows.next_ms, False
        for closed in state.windows.follow(watermark, self._settings):
            self._report(closed, out)
            changed = True
        ready = [s for s in state.pending if s.time_ms <= watermark.ms]
        if ready:
            self._score(ready, out)
        return changed or bool(ready) or state.windows.next_ms != before

    def _score(self, ready: Iterable[ScorePoint], out: Outputs) -> None:
        """Let the detector judge these scores, each once, in event-time order."""
        once = {s.feedback_id: s for s in ready}
        self._state.pending = [s for s in self._state.pending if s.feedback_id not in once]
        self._quality_moved = True
        for point in sorted(once.values(), key=lambda s: (s.time_ms, s.feedback_id)):
            found = self._quality.update(point)
            if found is not None:
                self._say(found, self._quality_cause(), out)

    def _report(self, closed: Closed, out: Outputs) -> None:
        first = closed.revision == 0
        drift = _drift_decoder.decode(self._state.drift) if first and closed.series else Drift()
        for key, tally in closed.series.items():
            found = figures(tally)
            if first:
                found |= _word_figures(drift, tally)
            self._rows(Series.of_key(key), found, closed, out)
        if first and closed.complete:
            self._conclude(drift, closed, out)

    def _conclude(self, drift: Drift, closed: Closed, out: Outputs) -> None:
        """Let the rules and the drift detectors judge a complete window, once."""
        clients = [tally for key, tally in closed.series.items() if key.startswith(CLIENT)]
        whole = clients[0] if len(clients) == 1 else merged(clients)
        idle = not whole.requests and self._state.windows.had_requests
        if idle:
            self._rows(Series(), {"requests": NO_REQUESTS}, closed, out)
        if self._pipeline.rules or self._state.rules:
            known = figures(whole) | _word_figures(drift, whole)
            if idle:
                known["requests"] = NO_REQUESTS
            self._judge(known, closed, out)
        if closed.series:
            self._watch_text(drift, whole, _champion(closed), closed, out)
            self._state.drift = msgspec.Raw(_encoder.encode(drift))

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
            time_ms=self._clock_ms,
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

    def _watch_text(self, drift: Drift, whole: Tally, champion: str | None, closed: Closed, out: Outputs) -> None:
        found = drift.judge(self._name, whole, champion, closed.start_ms, self._end(closed), self._pipeline.drift)
        for metric, transition in found:
            self._say(transition, Cause(f"drift_{metric}", "drift", "ticket", metric, metric, "cusum"), out)

    def _quality_cause(self) -> Cause:
        shown = f"quality ({self._pipeline.quality.metric})"
        return Cause(quality.RULE, "quality", "page", "quality", shown, self._pipeline.quality.detector)

    def _say(self, transition: Transition, cause: Cause, out: Outputs) -> None:
        out.events.append(thresholds.event(self._deployment, self._name, cause, transition, self._clock_ms))

    def _end(self, closed: Closed) -> int:
        return closed.start_ms + self._settings.size_s * 1000


def _word_figures(drift: Drift, tally: Tally) -> dict[str, Figure]:
    found = drift.word_figures(tally)
    return {metric: figure._replace(share=sample_share(metric, tally)) for metric, figure in found.items()}


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
