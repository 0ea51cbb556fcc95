"""What a pipeline is: its engine, prompt, quality metric, service levels, drift, retraining."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from tidemill.embedding import EMBEDDING_FEATURES
from tidemill.metrics import MEAN_METRICS, SLICE_METRICS
from tidemill.scoring import METRIC_VERSIONS
from tidemill.settings.gate import GateSettings
from tidemill.settings.levels import MAX_OBJECTIVES, BudgetSettings, ObjectiveSettings, RuleSettings
from tidemill.settings.output import OutputFormatSettings
from tidemill.settings.retraining import RetrainSettings
from tidemill.settings.rollout import RolloutSettings
from tidemill.settings.slices import MAX_DIMENSIONS, dimension_fault, each_fault, recover_fault, slice_fault
from tidemill.settings.strict import Strict, choice, wrong
from tidemill.settings.triggers import TriggerSettings
from tidemill.settings.versions import SAME_MODEL, Headers, VersionSettings
from tidemill.slices import values_of

HOURS = {"none": 0, "day": 24, "week": 168}
"""That a season tells apart."""
MAX_SLICE_HOURS = 168_000
"""Of all slices' series together: 27 bytes each in the pipeline's state."""


def _without(data: Any, *gone: str) -> Any:
    """``data``, unless it has settings of the detectors of before."""
    for name in gone:
        if isinstance(data, dict) and name in data:
            message = (
                f"there is no such setting any more: the detectors keep to max_false_alarms, which is set once, at the "
                f"top of the file; take {name} out"
            )
            raise wrong((name,), message)
    return data


class QualitySettings(Strict):
    """How an answer is judged against a label, and whose labels can be trusted."""

    metric: Literal["exact_match", "json_equal", "word_accuracy", "thumb", "judge"] = "exact_match"
    """The score that counts as this pipeline's quality. ``thumb`` and ``judge`` (scores that a judge gives) compare no
    answers: set retrain.enabled: false."""
    trusted_sources: tuple[str, ...] = ("audit",)
    """Feedback sources whose labels the gate believes; the gateway takes these with an audit key only."""
    min_drop: float = Field(default=0.05, gt=0, le=1)
    """A detected fall smaller than this is not an alarm, and one as large is none now and then: give half of what you
    want to hear of."""
    recover_scores: int = Field(default=160, ge=10)
    """The alarm resolves when the mean of this many last scores is surely (by two standard errors) back within min_drop
    of the reference, or has as surely made up 85 % of the fall. At least 2 / min_drop, at most 1,000 and 160,000
    divided by the most slices there may be."""
    estimate: bool = False
    """Whether quality is estimated between labels, from how sure answers are. The gateway then asks the engine for
    log-probabilities (the client does not see them); labels of trusted_sources must be of calls drawn by chance."""
    agreement_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the champion's answers after which it is asked the same once more, unseen and by chance: how far both
    agree is used by ``estimate``, which it needs. Each such answer costs as much as the client's."""

    @model_validator(mode="before")
    @classmethod
    def _check_gone(cls, data: Any) -> Any:
        return _without(data, "detector", "delta")


class DriftSettings(Strict):
    """Watching the text of calls, and figures of answers. A notice informs; one on text starts a retraining, but only
    where quality has fallen too."""

    enabled: bool = True
    """Whether figures of this pipeline are watched for changes."""
    metrics: tuple[str, ...] = (
        "input_chars",
        "input_digit_share",
        "input_mean_word_length",
        "input_non_latin_share",
        "input_context_chars",
        "input_unseen_share",
        "input_word_distance",
        "input_language_mismatch",
        "input_novelty",
        *(f"input_{name}" for name in EMBEDDING_FEATURES),
        "output_chars",
        "output_empty",
        "output_refusal",
        "output_repetition",
        "output_valid",
        "truncated_rate",
        "other_finish_rate",
        "error_rate",
        "output_tokens",
        "cost",
    )
    """Window metrics that are watched; tokens and cost as means of an answer. One without values (embeddings that
    nobody sends, ``output_valid`` without an ``output_format``) costs nothing. Durations can be listed and are not by
    default: load makes neighbours depend on each other, which voids the promise on false alarms; rules watch them."""
    whole_only: tuple[str, ...] = (
        "input_digit_share",
        "input_mean_word_length",
        "input_non_latin_share",
        "input_context_chars",
        "output_empty",
        "output_refusal",
        "output_repetition",
        "output_valid",
        "truncated_rate",
        "other_finish_rate",
    )
    """Those of ``metrics`` that are watched over all calls together, and not in each slice, too: so many slices cost
    less memory. Words, languages and novelty are so in any case."""
    reference_calls: int = Field(default=200, ge=20)
    """Calls after start (or after a new champion) that make the reference, in eight batches; ``input_novelty`` takes
    1,000 questions before."""
    samples_per_second: int = Field(default=20, ge=1, le=1000)
    """Bound on the calls whose text is looked at, per second; chosen by hash of the call id."""

    @model_validator(mode="after")
    def _check(self) -> DriftSettings:
        for name in ("metrics", "whole_only"):
            listed: tuple[str, ...] = getattr(self, name)
            for metric in listed:
                if metric == "quality":
                    raise wrong((name,), "'quality' is watched score by score already; leave it out")
                if metric not in MEAN_METRICS:
                    message = f"{metric!r} is no window metric with a mean; {choice(metric, MEAN_METRICS)}"
                    raise wrong((name,), message)
            if len(set(listed)) != len(listed):
                raise wrong((name,), f"each metric once, got {', '.join(listed)}")
        return self

    @property
    def by_slice(self) -> tuple[str, ...]:
        """Those that each slice with a name is watched in, too."""
        return tuple(name for name in self.metrics if name in SLICE_METRICS and name not in self.whole_only)

    @model_validator(mode="before")
    @classmethod
    def _check_gone(cls, data: Any) -> Any:
        return _without(data, "delta")


class PipelineSettings(Strict):
    """A named purpose with its own model versions, levels and rollout plan."""

    description: str = ""
    """What it is for, for people."""
    engine: str
    """Name of the engine (see ``engines``) that serves it."""
    champion: str
    """First champion's version, ``<pipeline>-v<N>``, used until the routes topic says otherwise."""
    champion_adapter: str = ""
    """Folder of the first champion's adapter; empty when the base itself serves."""
    system_prompt: str = ""
    """Put before the conversation when the caller gives no system message."""
    prompt_version: str = "1"
    """Version of the prompt template, recorded with each call."""
    upstream_headers: Headers = Field(default_factory=dict)
    """HTTP headers that its calls carry to the engine; none to another engine that one of ``versions`` names."""
    versions: dict[str, VersionSettings] = Field(default_factory=dict)
    max_tokens: int = Field(default=256, ge=1)
    """Most tokens of an answer when the caller does not say."""
    temperature: float = Field(default=0.0, ge=0, le=2)
    """Sampling temperature when the caller does not say."""
    timeout_s: float = Field(default=30, gt=0)
    """Longest time of a whole call, seconds."""
    capture: Literal["full", "redacted", "off"] = "full"
    """Which text is kept: all; with e-mail addresses, numbers and the like blacked out; none."""
    output_format: OutputFormatSettings = OutputFormatSettings()
    slices: tuple[str, ...] = Field(default=(), max_length=MAX_DIMENSIONS)
    """Dimensions whose values get figures of their own, quality among them: `tenant`, `prompt_version`,
    `input_language`, `attributes.<name>` (of the call's `metadata`; none with `capture: off`)."""
    max_slices: int = Field(default=20, ge=1, le=200)
    """Values of a dimension that have figures of their own; further ones are counted as `other`. Those that rules and
    budgets name come first, then those with traffic first."""
    season: Literal["none", "day", "week"] = "none"
    """Whether quality and `drift.metrics` move by themselves each day or week. Then each value is compared with what
    its hour (UTC) is usually like. An hour has no verdict before 10 scores (for drift: batches of calls) of the same
    hour on earlier days, or weeks, are known; so there is none in the first day or week."""
    quality: QualitySettings = QualitySettings()
    rules: tuple[RuleSettings, ...] = ()
    objectives: tuple[ObjectiveSettings, ...] = Field(default=(), max_length=MAX_OBJECTIVES)
    budgets: tuple[BudgetSettings, ...] = ()
    drift: DriftSettings = DriftSettings()
    retrain: RetrainSettings = RetrainSettings()
    trigger: TriggerSettings = TriggerSettings()
    gate: GateSettings = GateSettings()
    rollout: RolloutSettings = RolloutSettings()

    @model_validator(mode="after")
    def _check(self) -> PipelineSettings:
        if self.capture == "off" and self.retrain.enabled:
            raise ValueError(
                "capture: 'off' keeps no text, so nothing can be scored or retrained from labels; "
                "set capture: full or redacted, or retrain.enabled: false"
            )
        if self.quality.metric not in METRIC_VERSIONS and self.retrain.enabled:
            message = (
                f"{self.quality.metric!r} compares no answers, so the gate could never judge a retraining; "
                f"choose one of {', '.join(METRIC_VERSIONS)}, or set retrain.enabled: false"
            )
            raise wrong(("quality", "metric"), message)
        if self.quality.estimate and (self.quality.metric == "thumb" or self.capture == "off"):
            why = "thumbs are no chance sample" if self.quality.metric == "thumb" else "capture: 'off' keeps no answers"
            raise wrong(("quality", "estimate"), f"{why} to learn from; leave it out")
        if self.quality.agreement_share and not self.quality.estimate:
            message = "only the estimate uses it; set quality.estimate: true, or leave it out"
            raise wrong(("quality", "agreement_share"), message)
        names = [rule.name for rule in self.rules]
        if len(names) != len(set(names)):
            raise ValueError(f"rules: names must be unique within a pipeline, got {names}")
        self._check_suites()
        self._check_slices()
        self._check_season()
        taken = set(names)
        for group in ("objectives", "budgets"):
            for index, each in enumerate(getattr(self, group)):
                for name in each.alarms:
                    if name in taken:
                        message = (
                            f"{each.name!r} makes an alarm {name!r}, and there is one already; choose another name"
                        )
                        raise wrong((group, index, "name"), message)
                    taken.add(name)
        return self

    def as_version(self, version: str) -> PipelineSettings:
        """What its calls are like where this version answers: its prompt, and what the upstream is told."""
        one = self.versions.get(version)
        if one is None:
            return self
        answering = self.versions.get(one.of or self.champion) if one.kind in SAME_MODEL else one
        here = answering is None or answering.engine in ("", self.engine)
        changes: dict[str, Any] = {"upstream_headers": (self.upstream_headers if here else {}) | one.upstream_headers}
        if one.system_prompt is not None:
            changes["system_prompt"] = one.system_prompt
        if one.prompt_version:
            changes["prompt_version"] = one.prompt_version
        return self.model_copy(update=changes)

    def _check_suites(self) -> None:
        for index, suite in enumerate(self.gate.suites):
            if suite.kind == "format" and suite.form is None and self.output_format.check is None:
                message = "a suite of kind 'format' needs a pattern, a json_schema or the pipeline's output_format"
                raise wrong(("gate", "suites", index, "kind"), message)

    def _check_season(self) -> None:
        metrics = len(self.drift.by_slice) if self.drift.enabled else 0
        series = len(self.slices) * self.max_slices * (metrics + 1)  # quality is watched in any case
        if series * HOURS[self.season] > MAX_SLICE_HOURS:
            message = (
                f"{self.season!r} for up to {series:,} series of slices takes too much memory; "
                f"set max_slices or drift.metrics so that there are at most {MAX_SLICE_HOURS // HOURS[self.season]:,}"
            )
            raise wrong(("season",), message + (", or season: day" if self.season == "week" else ""))

    @property
    def named_slices(self) -> frozenset[str]:
        """The slices that rules and budgets name."""
        named = (*(rule.slice for rule in self.rules), *(budget.slice for budget in self.budgets))
        return frozenset(named) - {""}

    def _recover_fault(self) -> str | None:
        quality = self.quality
        return recover_fault(quality.recover_scores, len(self.slices) * self.max_slices, quality.min_drop)

    def _check_slices(self) -> None:
        if (fault := self._recover_fault()) is not None:
            raise wrong(("quality", "recover_scores"), fault)
        for index, dimension in enumerate(self.slices):
            fault = dimension_fault(dimension)
            if dimension in self.slices[:index]:
                fault = f"{dimension!r} is there twice; leave one out"
            if fault is not None:
                raise wrong(("slices", index), fault)
            if (named := len(values_of(self.named_slices, dimension))) > self.max_slices:
                message = (
                    f"{self.max_slices} is less than the {named} values of {dimension} that rules and budgets name"
                )
                raise wrong(("max_slices",), f"{message}; set at least {named}")
        for group in ("rules", "budgets"):
            for index, each in enumerate(getattr(self, group)):
                if each.slice and (fault := slice_fault(each.slice, self.slices)) is not None:
                    raise wrong((group, index, "slice"), fault)
        for index, budget in enumerate(self.budgets):
            if budget.each and (fault := each_fault(budget.each, self.slices)) is not None:
                raise wrong(("budgets", index, "each"), fault)
