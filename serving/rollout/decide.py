"""Where a rollout goes next: a pure function of its state, its plan and what is seen now.

pending → (adapter loaded) → shadow → canary step by step → promoting → champion; from shadow and canary back on proven
harm, or when a step takes too long. What is proven says ``judge``. The bet on quality goes on over all steps: what it
has won or lost is in the last verdict's figures, and a part of its capital is kept for later steps, so that a candidate
that was better in the shadow does not leave it penniless.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import Literal

import msgspec

from serving.rollout.betting import interval
from serving.rollout.judge import Figures, judge, shares, with_interval
from serving.rollout.observed import Observed, StepFigures
from tidemill.events import JobState, RolloutState, Route, StationTime, Verdict
from tidemill.events.lifecycle import ORDER, RolloutPhase, Station
from tidemill.ids import derived_id
from tidemill.settings import RolloutSettings

OPEN: frozenset[RolloutPhase] = frozenset({"pending", "shadow", "canary", "promoting", "paused"})
WITHDRAWABLE: frozenset[RolloutPhase] = OPEN - {"promoting"}
"""Phases in which the champion still serves, so that a person may order the way back."""
KEPT = 0.2
"""Share of the bet's capital that is kept for the comparisons after the first, in equal parts."""
FEW_SCORES = 20
"""Fewer are no step, however good they are: what is not scored needs its time, too."""
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
    """How many comparisons there are: the shadow and every step short of everything."""
    return max(1, (1 if plan.shadow_percent else 0) + sum(step < 100 for step in plan.steps))


def capital(state: RolloutState, plan: RolloutSettings) -> float:
    """What the bet on quality begins this step with: what the last one left, and the part kept for this one."""
    over, past = comparisons(plan), len(state.verdicts)
    if past == 0:
        return 1.0 if over == 1 else 1 - KEPT
    left = state.verdicts[-1].figures.get("log_wealth")
    fresh = KEPT / (over - 1) if past < over else 0.0
    return max(fresh + (exp(left) if left is not None else 0.0), 1e-9)


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
    share = shares(plan, comparisons(plan), capital(state, plan))
    found = judge(now, plan, share, state.champion_version)
    check = "shadow" if state.phase == "shadow" else f"canary-{state.weight}"

    def noted(outcome: Literal["pass", "fail", "inconclusive"], reason: str) -> RolloutState:
        figures = with_interval(found.figures, now.quality, share)
        verdict = Verdict(check=check, outcome=outcome, reason=reason, figures=figures, time_ms=seen.now_ms)
        return msgspec.structs.replace(state, verdicts=(*state.verdicts, verdict), figures=figures)

    if found.harm:
        reason = f"harm proven in {check}: {found.harm}"
        return _rolled_back(noted("fail", reason), seen.now_ms, reason)
    if found.harmless and now.candidate.scored >= min(FEW_SCORES, plan.min_scored):
        reason = f"no harm: shown to be less than {plan.margin:g} worse, with {now.quality.n} differences"
        return _forward(noted("pass", reason), seen.now_ms)
    if now.candidate.scored >= plan.min_scored and now.quality.n > 0:
        low, high = interval(now.quality, share.harmless)
        reason = f"no harm found in {now.candidate.scored} scores: worse by {low:.2f} to {high:.2f}"
        return _forward(noted("pass", reason), seen.now_ms)
    if _too_long(state, plan, seen) and plan.on_inconclusive != "hold":
        reason = f"{now.candidate.scored} of {plan.min_scored} scores after {plan.max_step_s:.0f} s in {check}"
        after = noted("inconclusive", reason)
        if plan.on_inconclusive == "advance":
            return _forward(after, seen.now_ms)
        return _rolled_back(after, seen.now_ms, reason)
    changed = state.figures.get("candidate_n") != float(now.candidate.scored)
    if changed and seen.now_ms - state.time_ms >= PROGRESS_MS:
        return Next(_again(state, seen.now_ms, with_interval(found.figures, now.quality, share)), False)
    return None


def _blind(state: RolloutState, plan: RolloutSettings, seen: Observed) -> Next | None:
    """Without sight nothing goes on; but a canary that nobody can judge does not serve for ever."""
    if state.phase == "shadow" or plan.on_inconclusive != "rollback" or not _too_long(state, plan, seen):
        return None
    reason = f"nothing could be seen of canary-{state.weight} for {plan.max_step_s:.0f} s: the store does not answer"
    return _rolled_back(state, seen.now_ms, reason)


def _too_long(state: RolloutState, plan: RolloutSettings, seen: Observed) -> bool:
    return seen.now_ms - state.step_started_ms > plan.max_step_s * 1000


def _forward(state: RolloutState, now_ms: int) -> Next:
    return _to_step(state, 0 if state.phase == "shadow" else state.step + 1, now_ms)


def _to_step(state: RolloutState, step: int, now_ms: int) -> Next:
    weight = state.steps[step]
    if weight == 100:
        reason = f"{state.candidate_version} takes all traffic; draining {state.champion_version}"
        moved = _move(state, now_ms, "promoting", reason)
    else:
        moved = _move(state, now_ms, "canary", f"{state.candidate_version} answers {weight} % of traffic")
    return Next(msgspec.structs.replace(moved, step=step, weight=weight), True)


def _rolled_back(state: RolloutState, now_ms: int, reason: str) -> Next:
    return Next(msgspec.structs.replace(_move(state, now_ms, "rolled_back", reason), weight=0), True)


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


def _again(state: RolloutState, now_ms: int, figures: Figures) -> RolloutState:
    """The same phase with newer figures."""
    return msgspec.structs.replace(state, seq=state.seq + 1, time_ms=now_ms, figures=figures)
