"""The service levels of one pipeline: its rules, objectives and budgets, judged over the states they are handed.

Pure: the stream calls it with what its windows say, ``tidemill rules test`` with what a file says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from streams.alarms import Alarm, Transition
from streams.budgets import Passed, Spend
from streams.objectives import PAIRS, ObjectiveState, about, counts_of
from streams.rules import RuleState
from streams.thresholds import KINDS, Cause, Kind
from streams.windows.figures import Figure
from tidemill.settings import PipelineSettings

Figures = Mapping[str, Figure]
"""By metric."""
NO_SLICES: Mapping[str, Any] = {}
GONE = "the rule is no longer in the settings"
GONE_OBJECTIVE = "the objective is no longer in the settings, or is about something else"


class Found(NamedTuple):
    """An alarm that begins or ends, and what stands behind it."""

    transition: Transition
    cause: Cause


class Levels:
    """What a pipeline's settings promise, and how it stands. Changes the states in place; never blocks."""

    def __init__(
        self,
        pipeline: str,
        settings: PipelineSettings,
        rules: dict[str, RuleState],
        objectives: dict[str, ObjectiveState],
        spend: Spend,
    ) -> None:
        """``rules`` and ``objectives``: states by name; ``spend``: of the days that are not over."""
        self._pipeline = pipeline
        self._rules = {rule.name: rule for rule in settings.rules}
        self._objectives = {objective.name: objective for objective in settings.objectives}
        self._budgets = settings.budgets
        self._rule_states = rules
        self._objective_states = objectives
        self._spend = spend

    @property
    def look_at_windows(self) -> bool:
        """Whether there is anything that judges windows."""
        return bool(self._rules or self._objectives or self._rule_states or self._objective_states)

    @property
    def slices(self) -> set[str]:
        """The slices that rules judge."""
        return {rule.slice for rule in self._rules.values() if rule.slice}

    def judge(
        self, known: Figures, start_ms: int, end_ms: int, slices: Mapping[str, Figures] = NO_SLICES
    ) -> Iterator[Found]:
        """Let rules and objectives judge one complete window, once; ``known``: its figures by metric; ``slices``: of
        those that had calls or answers.
        """
        yield from self._drop_rules(start_ms, end_ms)
        for name, rule in self._rules.items():
            state = self._rule_states.setdefault(name, RuleState(metric=rule.metric, slice=rule.slice))
            of = slices.get(rule.slice, NO_SLICES) if rule.slice else known
            found = state.judge(self._pipeline, rule, of.get(rule.metric), start_ms, end_ms)
            if found is not None:
                shown = rule.metric if rule.statistic == "value" else f"{rule.metric} {rule.statistic}"
                kind, above = _kind(rule.metric, found.alarm), rule.above is not None
                cause = Cause(name, kind, rule.severity, rule.metric, shown, "rule", above, rule.slice)
                yield Found(found, cause)
        yield from self._drop_objectives(start_ms, end_ms)
        for name, objective in self._objectives.items():
            burnt = self._objective_states.setdefault(name, ObjectiveState(about(objective)))
            counts = counts_of(objective, known.get(objective.metric))
            for transition, pair in burnt.judge(self._pipeline, objective, counts, start_ms, end_ms):
                shown = f"burn rate of {name} over {pair.shown}"
                alarm = f"{name}_{pair.severity}"
                kind = KINDS[objective.metric]
                cause = Cause(alarm, kind, pair.severity, objective.metric, shown, "burn_rate", True)
                yield Found(transition, cause)

    def pass_time(self, watermark_ms: int) -> Iterator[Found]:
        """Let the budgets judge what was spent, up to this watermark."""
        for passed in self._spend.judge(self._pipeline, self._budgets, watermark_ms):
            yield Found(passed.transition, _of_budget(passed))

    def budgets_left(self, end_ms: int) -> Iterator[tuple[str, float]]:
        """By objective, the share of its error budget that is left at ``end_ms``; below 0: more than all is spent."""
        for name, objective in self._objectives.items():
            state = self._objective_states.get(name)
            spent = None if state is None or state.of != about(objective) else state.spent(objective, end_ms)
            if spent is not None:
                yield name, 1 - spent

    def firing(self) -> set[str]:
        """The names of the alarms that fire."""
        rules = {name for name, state in self._rule_states.items() if state.alarm is not None}
        burns = {f"{name}_{each}" for name, state in self._objective_states.items() for each in state.firing}
        return rules | burns | self._spend.firing()

    def _drop_rules(self, start_ms: int, end_ms: int) -> Iterator[Found]:
        states = self._rule_states
        for name in sorted(states):
            metric, slice = states[name].metric, states[name].slice
            rule = self._rules.get(name)
            if rule is None or (rule.metric, rule.slice) != (metric, slice):
                alarm = states.pop(name).alarm
                if alarm is not None:
                    ended = Transition("resolved", alarm, start_ms, end_ms, None, GONE)
                    cause = Cause(name, _kind(metric, alarm), "info", metric, metric, "rule", True, slice)
                    yield Found(ended, cause)

    def _drop_objectives(self, start_ms: int, end_ms: int) -> Iterator[Found]:
        states = self._objective_states
        for name in sorted(states):
            if name not in self._objectives or about(self._objectives[name]) != states[name].of:
                state = states.pop(name)
                metric = state.of.partition(">")[0]
                for severity, burning in sorted(state.firing.items()):
                    ended = Transition("resolved", burning.alarm, start_ms, end_ms, None, GONE_OBJECTIVE)
                    shown = f"burn rate of {name} over {PAIRS[burning.pair].shown}"
                    alarm = f"{name}_{severity}"
                    yield Found(ended, Cause(alarm, KINDS[metric], "info", metric, shown, "burn_rate", True))


def _kind(metric: str, alarm: Alarm) -> Kind:
    """What an alarm on a metric is about. One that the absence of figures began is about traffic: it must start no
    retraining, whatever the metric.
    """
    return "traffic" if alarm.value is None else KINDS.get(metric, "drift")


def _of_budget(passed: Passed) -> Cause:
    return Cause(passed.alarm, "cost", passed.severity, "cost", "spend of the day", "budget", True, passed.slice)
