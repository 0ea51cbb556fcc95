"""Where a rollout goes next: a pure function of its state, its plan and what is seen now.

pending → (adapter loaded) → shadow → canary step by step → promoting → champion; from shadow and canary back on proven
harm, on failing answers, or when a step takes too long. Each shadow or canary step is one comparison; the plan's alpha
is shared out between them, so it bounds the chance of calling a harmless candidate harmful over the whole rollout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from serving.rollout.compare import Comparison, compare, interval
from serving.rollout.observed import Observed, StepFigures
from tidemill.events import JobState, RolloutState, Route, StationTime, Verdict
from tidemill.events.lifecycle import ORDER, RolloutPhase, Station
from tidemill.ids import derived_id
from tidemill.settings import RolloutSettings

OPEN: frozenset[RolloutPhase] = frozenset({"pending", "shadow", "canary", "promoting", "paused"})
WITHDRAWABLE: frozenset[RolloutPhase] = OPEN - {"promoting"}
"""Phases in which the champion still serves, so that a person may order the way back."""
FEW_ANSWERS = 20
"""Fewer answers than this say nothing about a rate of failures."""
PROGRESS_MS = 3_000
REGISTRY_DONE = "registry_done"
"""In ``figures`` of an ended rollout: aliases and tags were set."""


@dataclass(frozen=True)
class Next:
    """The next state. ``reroute``: the pipeline's route changes with it, in the same transaction."""

    state: RolloutState
    reroute: bool


def begin(job: JobState, route: Route, champion_adapter_dir: str, plan: RolloutSettings, now_ms: int) -> RolloutState:
    """The first state of the rollout of a registered candidate. The same job always has the same rollout."""
    champion = next(arm for arm in route.arms if arm.variant == "champion")
    return RolloutState(
        rollout_id=derived_id("rollout", job.job_id),
        seq=1,
        time_ms=now_ms,
        pipeline=job.pipeline,
        phase="pending",
        reason=f"{job.candidate_version} passed the gate; loading it",
        job_id=job.job_id,
        alarm_id=job.alarm_id,
        candidate_version=job.candidate_version,
        candidate_adapter_dir=job.adapter_dir,
        candidate_digest=job.adapter_digest,
        champion_version=champion.model_version,
        champion_adapter_dir=champion_adapter_dir,
        registered_name=job.registered_name,
        steps=plan.steps,
        route_epoch=route.epoch,
        step_started_ms=now_ms,
        created_ms=now_ms,
    )


def registry_wish(state: RolloutState) -> Literal["promote", "reject", "none"]:
    """What aliases and tags in the registry should say for this state."""
    if state.phase == "promoting":
        return "promote"
    if state.phase in ("rolled_back", "failed") and not state.figures.get(REGISTRY_DONE):
        return "reject"
    return "none"


def comparisons(plan: RolloutSettings) -> int:
    """How many comparisons share alpha: the shadow and every step short of everything."""
    return max(1, (1 if plan.shadow_percent else 0) + sum(step < 100 for step in plan.steps))


def decide(state: RolloutState, plan: RolloutSettings, seen: Observed) -> Next | None:
    """The next state, or None to stay. Never goes on by what could not be seen."""
    if state.phase == "pending":
        return _pending(state, plan, seen)
    if state.phase in ("shadow", "canary"):
        return _blind(state, plan, seen) if seen.figures is None else _step(state, plan, seen, seen.figures)
    if state.phase == "promoting" and seen.registry_done and seen.drained:
        return Next(_move(state, seen.now_ms, "champion", f"{state.candidate_version} serves all traffic"), False)
    if registry_wish(state) == "reject" and seen.registry_done:
        return Next(_again(state, seen.now_ms, state.figures | {REGISTRY_DONE: 1.0}), False)
    return None


def withdraw(state: RolloutState, reason: str, now_ms: int) -> Next | None:
    """Back to the champion by a person's order; None once the candidate takes all traffic or the rollout has ended."""
    if state.phase not in WITHDRAWABLE:
        return None
    verdict = Verdict(check=ORDER, outcome="fail", reason=reason, time_ms=now_ms)
    noted = msgspec.structs.replace(state, verdicts=(*state.verdicts, verdict))
    return _rolled_back(noted, now_ms, f"by order: {reason}")


def _pending(state: RolloutState, plan: RolloutSettings, seen: Observed) -> Next | None:
    if seen.refused:
        return Next(_move(state, seen.now_ms, "failed", f"the engine refuses the adapter: {seen.refused}"), False)
    if not seen.loaded:
        return None
    if plan.shadow_percent:
        reason = f"{state.candidate_version} answers {plan.shadow_percent} % of calls unseen"
        return Next(_move(state, seen.now_ms, "shadow", reason), True)
    return _to_step(state, 0, seen.now_ms)


def _step(state: RolloutState, plan: RolloutSettings, seen: Observed, now: StepFigures) -> Next | None:
    alpha = plan.alpha / comparisons(plan)
    found = compare(now.differences, plan.margin, alpha)
    check = "shadow" if state.phase == "shadow" else f"canary-{state.weight}"
    if found.harmful:
        reason = (
            f"harm proven in {check}: worse than {state.champion_version} by {found.mean:.2f} ({found.n} differences)"
        )
        return _back(state, check, reason, "fail", seen, now, found, alpha)
    if failing := _failing(now, plan):
        return _back(state, check, f"{failing} in {check}", "fail", seen, now, found, alpha)
    if now.candidate.scored >= plan.min_scored and found.n > 0:
        return _forward(state, check, "no harm found", "pass", seen, now, found, alpha)
    if _too_long(state, plan, seen) and plan.on_inconclusive != "hold":
        reason = f"{now.candidate.scored} of {plan.min_scored} scores after {plan.max_step_s:.0f} s in {check}"
        if plan.on_inconclusive == "advance":
            return _forward(state, check, reason, "inconclusive", seen, now, found, alpha)
        return _back(state, check, reason, "inconclusive", seen, now, found, alpha)
    changed = state.figures.get("candidate_n") != float(now.candidate.scored)
    if changed and seen.now_ms - state.time_ms >= PROGRESS_MS:
        return Next(_again(state, seen.now_ms, _figures(now, found, alpha)), False)
    return None


def _blind(state: RolloutState, plan: RolloutSettings, seen: Observed) -> Next | None:
    """Without sight nothing goes on; but a canary that nobody can judge does not serve for ever."""
    if state.phase == "shadow" or plan.on_inconclusive != "rollback" or not _too_long(state, plan, seen):
        return None
    reason = f"nothing could be seen of canary-{state.weight} for {plan.max_step_s:.0f} s: the store does not answer"
    return _rolled_back(state, seen.now_ms, reason)


def _too_long(state: RolloutState, plan: RolloutSettings, seen: Observed) -> bool:
    return seen.now_ms - state.step_started_ms > plan.max_step_s * 1000


def _failing(now: StepFigures, plan: RolloutSettings) -> str:
    """Why the candidate's failures count against it; nothing when they are few, or the champion's alike."""
    share, beside = now.candidate.failed_share, now.champion.failed_share
    if share is None or now.candidate.answers < FEW_ANSWERS or share <= plan.max_error_rate:
        return ""
    if beside is not None and share <= 2 * beside:
        return ""
    return f"{now.candidate.failed} of {now.candidate.answers} answers failed"


def _forward(
    state: RolloutState, check: str, reason: str, outcome: Literal["pass", "inconclusive"], seen: Observed,
    now: StepFigures, found: Comparison, alpha: float,
) -> Next:  # fmt: skip
    noted = _note(state, check, reason, outcome, seen, now, found, alpha)
    return _to_step(noted, 0 if state.phase == "shadow" else state.step + 1, seen.now_ms)


def _to_step(state: RolloutState, step: int, now_ms: int) -> Next:
    weight = state.steps[step]
    if weight == 100:
        reason = f"{state.candidate_version} takes all traffic; draining {state.champion_version}"
        moved = _move(state, now_ms, "promoting", reason)
    else:
        moved = _move(state, now_ms, "canary", f"{state.candidate_version} answers {weight} % of traffic")
    return Next(msgspec.structs.replace(moved, step=step, weight=weight), True)


def _back(
    state: RolloutState, check: str, reason: str, outcome: Literal["fail", "inconclusive"], seen: Observed,
    now: StepFigures, found: Comparison, alpha: float,
) -> Next:  # fmt: skip
    return _rolled_back(_note(state, check, reason, outcome, seen, now, found, alpha), seen.now_ms, reason)


def _rolled_back(state: RolloutState, now_ms: int, reason: str) -> Next:
    return Next(msgspec.structs.replace(_move(state, now_ms, "rolled_back", reason), weight=0), True)


def _note(
    state: RolloutState, check: str, reason: str, outcome: Literal["pass", "fail", "inconclusive"], seen: Observed,
    now: StepFigures, found: Comparison, alpha: float,
) -> RolloutState:  # fmt: skip
    figures = _figures(now, found, alpha)
    verdict = Verdict(check=check, outcome=outcome, reason=reason, figures=figures, time_ms=seen.now_ms)
    return msgspec.structs.replace(state, verdicts=(*state.verdicts, verdict), figures=figures)


def _figures(now: StepFigures, found: Comparison, alpha: float) -> dict[str, float | None]:
    low, high = interval(now.differences, alpha)
    return {
        "champion_n": float(now.champion.scored),
        "champion_mean": now.champion.mean,
        "candidate_n": float(now.candidate.scored),
        "candidate_mean": now.candidate.mean,
        "candidate_answers": float(now.candidate.answers),
        "candidate_failed": float(now.candidate.failed),
        "differences": float(found.n),
        "difference": found.mean,
        "difference_low": low,
        "difference_high": high,
        "evidence_of_harm": min(found.evidence, 1e12),
        "evidence_needed": 1 / alpha,
    }


_STATION: dict[RolloutPhase, Station] = {"shadow": "shadow", "canary": "canary", "promoting": "champion"}


def _move(state: RolloutState, now_ms: int, phase: RolloutPhase, reason: str) -> RolloutState:
    """Enter a phase (or the next step of it)."""
    stations = state.stations
    entered = _STATION.get(phase)
    open_now = stations[-1].station if stations and stations[-1].ended_ms is None else None
    if entered is None or entered != open_now:
        stations = tuple(msgspec.structs.replace(s, ended_ms=now_ms) if s.ended_ms is None else s for s in stations)
        if entered is not None:
            stations = (*stations, StationTime(station=entered, started_ms=now_ms))
    return msgspec.structs.replace(
        state, seq=state.seq + 1, time_ms=now_ms, phase=phase, reason=reason, step_started_ms=now_ms, stations=stations
    )


def _again(state: RolloutState, now_ms: int, figures: dict[str, float | None]) -> RolloutState:
    """The same phase with newer figures."""
    return msgspec.structs.replace(state, seq=state.seq + 1, time_ms=now_ms, figures=figures)
