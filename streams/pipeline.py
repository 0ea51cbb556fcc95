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

from streams import thresholds
from streams.alarms import Found, Transition
from streams.detectors import set_back
from streams.detectors.budget import Budget
from streams.detectors.budget import Spend as Spent
from streams.detectors.drift import Drift
from streams.detectors.quality import QualityState
from streams.detectors.season import period_of
from streams.detectors.slice_drift import SliceDrift
from streams.detectors.slice_quality import About
from streams.detectors.watch import Where
from streams.false_alarms import FalseAlarms
from streams.levels import Levels
from streams.pipeline_state import NO_SLICES, PipelineState, read
from streams.quality import Quality
from streams.thresholds import Cause
from streams.windows.bucket import Closed
from streams.windows.figures import NO_REQUESTS, Figure, figures, sample_share, window_row
from streams.windows.slices import has_name, named, names_of, slicing_of
from streams.windows.sources import Watermark
from streams.windows.state import Outcome, Windows, latest_ms
from streams.windows.tally import CLIENT, OTHER, Series, Tally, merged
from tidemill.events import Partial, ScorePoint, ThresholdEvent, Window
from tidemill.settings import PipelineSettings, Settings
from tidemill.slices import dimension_of

MAX_PENDING = 2_000
"""Scores that wait for the watermark; more than this go to the detector without waiting."""
_encoder = msgspec.msgpack.Encoder()
_drift_decoder = msgspec.msgpack.Decoder(Drift)
_slice_drift_decoder = msgspec.msgpack.Decoder(SliceDrift)


class Outputs(NamedTuple):
    """What goes out for one message and pipeline."""

    windows: list[Window]
    events: list[ThresholdEvent]


class PipelineFold:
    """The fold of one pipeline. Not thread-safe; never blocks."""

    def __init__(self, name: str, settings: Settings, state: bytes | None = None) -> None:
        """``state``: what ``snapshot`` gave earlier. Raises Stop where a later version wrote it."""
        self._name = name
        self._deployment = settings.deployment
        self._settings = settings.windows
        # A pipeline that is not in the settings still gets windows and detectors, with defaults and no rules.
        self._announced = name in settings.pipelines
        self._pipeline = settings.pipelines.get(name) or PipelineSettings(engine="", champion="")
        self._state = PipelineState() if state is None else read(name, state)
        self._season = period_of(self._pipeline.season)
        self._slicing = slicing_of(self._pipeline)
        self._budgeted = {each.each or dimension_of(each.slice) for each in self._pipeline.budgets}
        self._clock_ms = self._watermark_ms = 0
        # As decoded they would keep the whole encoded state in memory.
        kept = self._state
        kept.quality, kept.drift, kept.slice_drift = kept.quality.copy(), kept.drift.copy(), kept.slice_drift.copy()
        self._false_alarms = FalseAlarms(name, settings, self._state.false_alarms.copy())
        self._quality = Quality(About(name, self._pipeline, self._false_alarms.run_length, self._season), kept)
        self._waiting: dict[str, int] = {}
        """Counted anew whenever a part has judged."""
        if self._season is not None:
            self._waiting["drift"] = _drift_decoder.decode(kept.drift).waiting
            self._waiting["slices"] = _slice_drift_decoder.decode(kept.slice_drift).waiting
        self._levels = Levels(name, self._pipeline, kept.rules, kept.objectives, kept.spend)

    @property
    def windows(self) -> Windows:
        """Offsets and counts, to look at."""
        return self._state.windows

    @property
    def quality(self) -> QualityState:
        """The quality detector's state, to look at."""
        return self._quality.state

    @property
    def spent(self) -> Spent:
        """Where this pipeline's part of the false-alarm budget stands, as of what was last judged."""
        return self._false_alarms.spend

    @property
    def error_budgets(self) -> dict[str, float]:
        """By objective, the share of its error budget that is left (of the windows that have closed), to look at."""
        return dict(self._levels.budgets_left(self._state.windows.next_ms or 0))

    @property
    def waiting(self) -> int | None:
        """Series without a verdict on their last value, as too little is known of its hour; None without a season."""
        return None if self._season is None else self._quality.waiting + sum(self._waiting.values())

    @property
    def name(self) -> str:
        """The pipeline's."""
        return self._name

    @property
    def announced(self) -> bool:
        """Whether the settings name it."""
        return self._announced

    def snapshot(self, into: bytearray) -> None:
        """Append the whole state, encoded."""
        self._state.false_alarms = self._false_alarms.raw
        self._quality.snapshot()
        _encoder.encode_into(self._state, into, len(into))

    def apply(self, partial: Partial, clock_ms: int, watermark_ms: int, out: Outputs) -> Outcome:
        """Take in a partial, which comes after the word of this watermark. Most outputs follow with the progress after
        it; into ``out`` goes only what must leave early, since the state is full.
        """
        state, self._clock_ms, self._watermark_ms = self._state, clock_ms, watermark_ms
        outcome = state.windows.apply(partial, clock_ms, self._settings, self._slicing)
        if outcome == "applied":
            metric = self._pipeline.quality.metric
            state.pending.extend(s for s in partial.scores if s.metric == metric and s.variant != "shadow")
            self._spend(partial, clock_ms, watermark_ms)
            for closed in state.windows.relieve(self._settings):
                self._report(closed, out)
            if len(state.pending) > MAX_PENDING:
                self._score(state.pending, out)
        return outcome

    def follow(self, watermark: Watermark, clock_ms: int, out: Outputs) -> bool:
        """Take in how far the sources are: revisions and closed windows go out, and what detectors and rules say.

        Gives back whether the state changed.
        """
        state, self._clock_ms, self._watermark_ms = self._state, clock_ms, watermark.ms
        before, changed = state.windows.next_ms, False
        for closed in state.windows.follow(watermark, self._settings):
            self._report(closed, out)
            changed = True
        for transition, cause in self._levels.pass_time(watermark.ms):
            self._say(transition, cause, out)
            changed = True
        ready = [s for s in state.pending if s.time_ms <= watermark.ms]
        if ready:
            self._score(ready, out)
        return changed or bool(ready) or state.windows.next_ms != before

    def idle_since(self, watermark_ms: int) -> int | None:
        """Event time of its last traffic, if nothing of it waits and it has been without any for IDLE_MS; else None."""
        return None if self._state.pending else self._state.windows.idle_since(watermark_ms)

    def set_back(self, wrong_ms: int, watermark_ms: int) -> None:
        """The watermark has gone back from ``wrong_ms``: the broker's clock was ahead, and is right again."""
        self._state.windows.set_back(watermark_ms, self._settings)
        self._false_alarms.set_back(wrong_ms - watermark_ms)
        self._state.drift = msgspec.Raw(set_back.drift(self._state.drift, watermark_ms))
        self._state.slice_drift = msgspec.Raw(set_back.slice_drift(self._state.slice_drift, watermark_ms))
        if self._season is not None:
            self._quality.set_back(watermark_ms)

    def _spend(self, partial: Partial, clock_ms: int, watermark_ms: int) -> None:
        spend, latest = self._state.spend, latest_ms(clock_ms, self._settings)
        costs = [(cell.second * 1000, cell.cost_micros) for cell in partial.cells if cell.cost_micros]
        if costs:
            spend.add(costs, watermark_ms, latest)
        for cell in partial.slices:
            if cell.cost_micros and dimension_of(cell.slice) in self._budgeted:
                at_ms = cell.second * 1000
                name = named(self._state.windows.dimensions, cell.slice, at_ms)
                spend.add([(at_ms, cell.cost_micros)], watermark_ms, latest, name)

    def _score(self, ready: Iterable[ScorePoint], out: Outputs) -> None:
        """Let the detectors judge these scores, each once, in event-time order."""
        once = {s.feedback_id: s for s in ready}
        self._state.pending = [s for s in self._state.pending if s.feedback_id not in once]
        budget = self._false_alarms.open(self._watermark_ms)
        for transition, cause in self._quality.judge(once.values(), self._has_name, budget):
            self._say(transition, cause, out)
        self._false_alarms.close(budget)

    def _has_name(self, slice: str, at_ms: int) -> bool:
        return has_name(self._state.windows.dimensions, self._slicing, slice, at_ms)

    def _report(self, closed: Closed, out: Outputs) -> None:
        first = closed.first
        drift = _drift_decoder.decode(self._state.drift) if first and closed.series else Drift()
        compared = {key: _of_reference(drift, tally) for key, tally in closed.series.items()} if first else {}
        for key, tally in closed.series.items():
            found = figures(tally) | compared.get(key, {})
            self._rows(Series.of_key(key), found, closed, out)
        for name, tally in closed.slices.items():
            self._rows(Series(), figures(tally), closed, out, name)
        if first and closed.complete:
            self._conclude(drift, compared, closed, out)

    def _conclude(self, drift: Drift, of_series: dict[str, dict[str, Figure]], closed: Closed, out: Outputs) -> None:
        """Let the rules and the drift detectors judge a complete window, once. ``of_series``: its comparisons with the
        reference.
        """
        clients = [key for key in closed.series if key.startswith(CLIENT)]
        only = clients[0] if len(clients) == 1 else None
        whole = closed.series[only] if only else merged([closed.series[key] for key in clients])
        compared = of_series[only] if only else _of_reference(drift, whole)
        idle = not whole.requests and self._state.windows.had_requests
        if idle:
            self._rows(Series(), {"requests": NO_REQUESTS}, closed, out)
        if self._levels.look_at_windows:
            known = figures(whole) | compared
            if idle:
                known["requests"] = NO_REQUESTS
            slices = {name: figures(closed.slices[name]) for name in self._levels.slices if name in closed.slices}
            for transition, cause in self._levels.judge(known, closed.start_ms, self._end(closed), slices):
                self._say(transition, cause, out)
        if closed.series:
            self._watch(drift, whole, compared, closed, out)

    def _watch(self, drift: Drift, whole: Tally, compared: dict[str, Figure], closed: Closed, out: Outputs) -> None:
        """Let the detectors judge the clients' calls of a complete window, once."""
        budget = self._false_alarms.open(self._watermark_ms)
        run_length, season = self._false_alarms.run_length, self._season
        where = Where(self._name, "", closed.start_ms, self._end(closed), run_length, season=season)
        champion = _champion(closed)
        judged = drift.judge(whole, compared, champion, self._pipeline.drift, budget, where)
        found = [(where._replace(metric=metric), said) for metric, said in judged]
        for at, said in found + self._watch_slices(champion, closed, budget, where):
            for rule, transition in said:
                warned = rule == thresholds.dependent(at.metric)
                cause = thresholds.of_dependence(at.metric) if warned else thresholds.of_drift(at.metric, rule)
                self._say(transition, cause._replace(slice=at.slice), out)
        if self._state.slice_quality.states:
            names = names_of(self._state.windows.dimensions, self._slicing)
            for transition, cause in self._quality.keep_only(names, budget, where.start_ms, where.end_ms):
                self._say(transition, cause, out)
        self._waiting["drift"] = drift.waiting
        self._state.drift = msgspec.Raw(_encoder.encode(drift))
        self._false_alarms.close(budget)

    def _watch_slices(
        self, champion: str | None, closed: Closed, budget: Budget, where: Where
    ) -> list[tuple[Where, Found]]:
        state = self._state
        if not closed.slices and state.slice_drift == NO_SLICES:
            return []
        drift = _slice_drift_decoder.decode(state.slice_drift)
        names = names_of(state.windows.dimensions, self._slicing)
        found = drift.judge(closed.slices, names, champion, self._pipeline.drift, budget, where)
        self._waiting["slices"] = drift.waiting
        state.slice_drift = msgspec.Raw(_encoder.encode(drift))
        return found

    def _rows(self, series: Series, found: dict[str, Figure], closed: Closed, out: Outputs, slice: str = "") -> None:
        make = bind(
            Window,
            pipeline=self._name,
            model_version=series.model_version,
            variant=series.variant,
            role=series.role,
            slice=slice,
            start_ms=closed.start_ms,
            end_ms=self._end(closed),
            complete=closed.complete,
            revision=closed.revision,
            time_ms=self._clock_ms,
        )
        out.windows.extend(window_row(figure, make, metric) for metric, figure in found.items())

    def _say(self, transition: Transition, cause: Cause, out: Outputs) -> None:
        out.events.append(thresholds.event(self._deployment, self._name, cause, transition, self._clock_ms))

    def _end(self, closed: Closed) -> int:
        return closed.start_ms + self._settings.size_s * 1000


def _of_reference(drift: Drift, tally: Tally) -> dict[str, Figure]:
    found = drift.figures(tally)
    return {metric: figure._replace(share=sample_share(metric, tally)) for metric, figure in found.items()}


def _champion(closed: Closed) -> str | None:
    """The version that gave most of the champion's answers to clients in this window."""
    answers: dict[str, int] = {}
    for key, tally in closed.series.items():
        series = Series.of_key(key)
        named = series.model_version not in ("", OTHER)
        if series.variant == "champion" and series.role == CLIENT and named and tally.answers:
            answers[series.model_version] = tally.answers
    return max(sorted(answers), key=lambda version: answers[version]) if answers else None
