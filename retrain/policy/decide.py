"""The decision on one trigger: every reason against a retraining now, in the order of their weight; none: it begins.

A quality alarm on the whole traffic opens a collecting job; one on a slice opens none, whether a detector or a rule
raised it: a version is trained for all of its traffic, and where that suffers the whole's alarm says so. A drift alarm
does so only where quality has been lost: by the scores of enough fresh labels, or by the upper end of the estimate
without labels. A schedule and the age of the data want enough fresh labels. What an alarm is worth is weighed where the
settings say what a point of score is worth; who sets a schedule, an age, or gives an order has weighed it already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from retrain.policy.known import Known
from retrain.policy.trigger import Trigger
from retrain.policy.worth import loss_of, weigh
from tidemill.clock import rfc3339
from tidemill.scoring import METRIC_VERSIONS
from tidemill.settings import PipelineSettings
from tidemill.settings.versions import untrainable

ESTIMATE_MS = 30_000
"""Estimates without labels come so often: an alarm that was declined for want of knowledge is looked at again."""
OPENED = "open"
"""The cause of a decision to begin."""
_COUNTING = "waiting for the store to count labels and calls"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do about a trigger.

    ``ignore`` begins no job, for good; ``wait`` asks again at the next tick (the store has not answered); ``decline``
    is recorded with its reason (``again_ms``: look at it again then if it still asks); ``open`` starts collecting.
    """

    act: Literal["ignore", "wait", "decline", "open"]
    cause: str
    """The first reason as one word, for machines."""
    reason: str
    """The first reason, in words."""
    reasons: tuple[str, ...] = ()
    """All reasons, the first one included."""
    signals: Mapping[str, float | None] = field(default_factory=dict)
    """The figures it was made from; None: not known."""
    again_ms: int | None = None
    deadline_ms: int | None = None
    needed: int = 0


class Against(NamedTuple):
    """One reason why not, or not now."""

    cause: str
    reason: str
    again_ms: int | None = None
    act: Literal["ignore", "wait", "decline"] = "decline"


def decide(trigger: Trigger, pipeline: PipelineSettings, known: Known) -> Decision:
    """The decision; the same knowledge gives the same one, so it is safe to ask again."""
    against = [found for check in _CHECKS if (found := check(trigger, pipeline, known)) is not None]
    signals = signals_of(trigger, pipeline, known)
    if against:
        first = against[0]
        reasons = tuple(each.reason for each in against if each.act != "wait")
        again = None if trigger.kind == "order" else first.again_ms
        return Decision(
            act=first.act, cause=first.cause, reason=first.reason, reasons=reasons, signals=signals, again_ms=again
        )
    deadline = known.now_ms + int(pipeline.retrain.collect_deadline_s * 1000)
    return Decision(
        act="open",
        cause=OPENED,
        reason=f"{trigger.words}; collecting {'' if trigger.kind == 'order' else 'fresh '}labels",
        reasons=(trigger.words, *_for(trigger, pipeline, known)),
        signals=signals,
        deadline_ms=deadline,
        needed=pipeline.retrain.min_fresh_labels,
    )


def refused(trigger: Trigger, pipeline: PipelineSettings, known: Known, cause: str, reason: str) -> Decision:
    """A decision against it for good, by what is known beside the signals."""
    signals = signals_of(trigger, pipeline, known)
    return Decision(act="decline", cause=cause, reason=reason, reasons=(reason,), signals=signals)


def signals_of(trigger: Trigger, pipeline: PipelineSettings, known: Known) -> dict[str, float | None]:
    """The figures that a decision is made from."""
    funds = known.funds
    gain, cost = weigh(trigger, pipeline.trigger, known)
    return {
        "loss": loss_of(trigger, known),
        "labelled_loss": known.estimated_loss,
        "estimated_least_loss": known.sure_loss,
        "fresh_labels": known.fresh_labels,
        "needed_labels": pipeline.retrain.min_fresh_labels,
        "data_age_days": known.data_age_days,
        "calls_per_day": known.calls_per_day,
        "gain_usd": gain,
        "cost_usd": cost,
        "expected_gpu_s": funds.expected_s,
        "spent_gpu_s": funds.spent_s,
        "budget_gpu_s": funds.budget_s,
        "spent_all_gpu_s": funds.spent_all_s,
        "budget_all_gpu_s": funds.budget_all_s,
        "cooldown_left_s": max(0, _cooldown_end(pipeline, known) - known.now_ms) / 1000,
    }


def _slice(trigger: Trigger, pipeline: PipelineSettings, known: Known) -> Against | None:
    if trigger.kind != "quality" or not trigger.slice:
        return None
    reason = f"quality of {trigger.slice} alone: a retraining begins with the alarm on the whole traffic"
    return Against("slice", reason, act="ignore")


def _enabled(trigger: Trigger, pipeline: PipelineSettings, known: Known) -> Against | None:
    if pipeline.retrain.enabled or trigger.kind == "order":
        return None
    return Against("disabled", f"pipelines.{trigger.pipeline}.retrain.enabled is false")


def _trained_here(trigger: Trigger, pipeline: PipelineSettings, known: Known) -> Against | None:
    if not known.trains_here:
        return Against("provider", f"engine {pipeline.engine!r} is a provider: its models cannot be trained here")
    why = untrainable(pipeline, known.champion or pipeline.champion)
    return Against("champion", f"pipelines.{trigger.pipeline}: {why}") if why else None


def _judged(trigger: Trigger, pipeline: PipelineSettings, known: Known) -> Against | None:
    if (metric := pipeline.quality.metric) in METRIC_VERSIONS:
        return None
    return Against("metric", f"quality.metric {metric!r} compares no answers: nothing to gate by")


def _asks(trigger: Trigger, pipeline: PipelineSettings, known: Known) -> Against | None:
    if known.resolved:
        return Against("resolved", "resolved before retraining could begin")
    if trigger.until_ms is not None and known.now_ms > trigger.until_ms:
        reason = f"passed over: it could not begin until {rfc3339(trigger.until_ms)} (trigger.schedule_slack_s)"
        return Against("passed_over", reason)
    return None


def _learns(trigger: Trigger, pipeline: PipelineSettings, known: Known) -> Against | None:
    """Whether there is something to learn, and from what."""
    if trigger.kind == "drift":
        return _lost(pipeline, known)
    if trigger.kind not in ("schedule", "age"):
        return None
    if known.fresh_labels is None:
        return Against("unknown", _COUNTING, act="wait")
    if known.fresh_labels < pipeline.retrain.min_fresh_labels:
        least = pipeline.retrain.min_fresh_labels
        reason = f"{known.fresh_labels} fresh labels are fewer than {least} (retrain.min_fresh_labels)"
        return Against("few_labels", reason, known.now_ms + ESTIMATE_MS)
    return None


def _lost(pipeline: PipelineSettings, known: Known) -> Against | None:
    policy = pipeline.retrain
    if known.fresh_labels is None:
        return Against("unknown", "waiting for the store to estimate the loss of quality", act="wait")
    loss, sure = known.estimated_loss, known.sure_loss
    again = known.now_ms + ESTIMATE_MS if pipeline.quality.estimate else None
    if loss is not None and loss < policy.max_drift_loss:
        reason = f"drift alone: estimated loss {loss:.2f} is below retrain.max_drift_loss {policy.max_drift_loss:g}"
        return Against("little_loss", reason, again)
    if sure is not None and sure >= policy.max_drift_loss:
        return None  # collecting waits for the labels
    if loss is None:
        told = "" if sure is None else f" and the estimate without labels only of {max(sure, 0.0):.2f}"
        return Against("no_loss", f"drift alone: no scores say that quality has fallen{told}", again)
    if known.fresh_labels < policy.min_fresh_labels:
        reason = f"drift alone: {known.fresh_labels} fresh labels are fewer than {policy.min_fresh_labels}"
        return Against("few_labels", reason, again)
    return None


def _free(trigger: Trigger, pipeline: PipelineSettings, known: Known) -> Against | None:
    if not known.busy:
        return None
    if trigger.kind == "order":
        return Against("busy", f"ordered by hand, but {known.busy} is under way; order again later")
    return Against("busy", f"{known.busy} is under way; one at a time", known.now_ms)


def _cooled(trigger: Trigger, pipeline: PipelineSettings, known: Known) -> Against | None:
    end = _cooldown_end(pipeline, known)
    if trigger.kind == "order" or end <= known.now_ms:
        return None
    left_s = (end - known.now_ms) / 1000
    return Against("cooldown", f"cooling down for another {left_s:.0f} s after the last job or rollout", end)


def _affordable(trigger: Trigger, pipeline: PipelineSettings, known: Known) -> Against | None:
    funds = known.funds
    limits = (
        ("pipeline_budget", f"pipelines.{trigger.pipeline}.trigger.gpu_budget_hours", funds.spent_s, funds.budget_s),
        ("budget", "gpu.budget_hours", funds.spent_all_s, funds.budget_all_s),
    )
    for cause, name, spent, budget in limits:
        if budget is not None and spent + funds.expected_s > budget:
            reason = (
                f"{name} {budget / 3600:g}: {spent / 3600:.2f} h are spent or promised in the period, and a job is "
                f"expected to take {funds.expected_s / 3600:.2f} h"
            )
            return Against(cause, reason, known.now_ms + ESTIMATE_MS)
    return None


def _pays(trigger: Trigger, pipeline: PipelineSettings, known: Known) -> Against | None:
    if not weighs(trigger, pipeline):
        return None
    if known.fresh_labels is None:
        return Against("unknown", _COUNTING, act="wait")
    weighed = weigh(trigger, pipeline.trigger, known)
    if weighed.pays(pipeline.trigger) is not False:
        return None
    reason = f"it does not pay: {_sides(pipeline, *weighed)}, less than {pipeline.trigger.min_gain_ratio:g} for one"
    return Against("gain", reason, known.now_ms + ESTIMATE_MS)


def counts(trigger: Trigger, pipeline: PipelineSettings) -> bool:
    """Whether the decision takes what the store counts: labels, loss and calls."""
    return trigger.kind in ("drift", "schedule", "age") or weighs(trigger, pipeline)


def weighs(trigger: Trigger, pipeline: PipelineSettings) -> bool:
    """Whether its gain is weighed against the cost."""
    return trigger.alarm is not None and pipeline.trigger.usd_per_point is not None


def _for(trigger: Trigger, pipeline: PipelineSettings, known: Known) -> list[str]:
    """What else speaks for it, or does not stand in its way."""
    told, funds = [], known.funds
    if known.fresh_labels is not None:
        told.append(f"{known.fresh_labels} fresh labels")
    if weighs(trigger, pipeline):
        weighed = weigh(trigger, pipeline.trigger, known)
        unknown = weighed.pays(pipeline.trigger) is None
        told.append("gain not weighed: loss or traffic is not known" if unknown else _sides(pipeline, *weighed))
    if funds.budget_s is not None or funds.budget_all_s is not None:
        left = min(
            budget - spent
            for budget, spent in ((funds.budget_s, funds.spent_s), (funds.budget_all_s, funds.spent_all_s))
            if budget is not None
        )
        told.append(
            f"{left / 3600:.2f} GPU hours are left, of which it is expected to take {funds.expected_s / 3600:.2f}"
        )
    return told


def _sides(pipeline: PipelineSettings, gain: float | None, cost: float | None) -> str:
    days = pipeline.trigger.gain_horizon_days
    return f"expected gain {gain or 0.0:.2f} USD in {days:g} days against {cost or 0.0:.2f} USD of GPU"


def _cooldown_end(pipeline: PipelineSettings, known: Known) -> int:
    return 0 if known.last_end_ms is None else known.last_end_ms + int(pipeline.retrain.cooldown_s * 1000)


Check = Callable[[Trigger, PipelineSettings, Known], Against | None]
_CHECKS: tuple[Check, ...] = (
    _slice,
    _enabled,
    _trained_here,
    _judged,
    _asks,
    _learns,
    _free,
    _cooled,
    _affordable,
    _pays,
)
