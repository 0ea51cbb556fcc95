"""Where a rollout goes next by itself: a pure function of its state, its plan and what is seen now.

What is proven says ``judge``, how the next state looks ``moves``. Harm takes a candidate back wherever it stands; a
step forward waits where the rollout is held. The bet on quality goes on over all steps: what it has won or lost is in
the last verdict's figures, and a part of its capital is kept for later steps, so that a candidate that was better in
the shadow does not leave it penniless.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp
from typing import Literal

import msgspec

from serving.rollout.betting import interval
from serving.rollout.judge import Figures, Judged, Share, judge, shares, with_interval
from serving.rollout.moves import (
    PROGRESS_MS,
    Next,
    again,
    enter,
    first_step,
    forward,
    hold,
    passes_freeze,
    release,
    rolled_back,
    step_of,
    step_s,
)
from serving.rollout.observed import Observed, StepFigures
from serving.rollout.watched import kept, promoted_ms, watch_share
from tidemill.clock import day_time
from tidemill.events import JobState, RolloutState, Route, Verdict
from tidemill.events.lifecycle import Hold
from tidemill.ids import derived_id
from tidemill.settings import RolloutSettings

KEPT = 0.2
"""Share of the bet's capital that is kept for the comparisons after the first, in equal parts."""
FEW_SCORES = 20
"""Fewer are no step, however good they are: what is not scored needs its time, too."""
REGISTRY_DONE = "registry_done"
"""In ``figures`` of an ended rollout: aliases and tags were set."""
THEN = {"rollback": "goes back", "advance": "goes on"}
"""What a step that was held for long enough does, by ``on_inconclusive``."""
WATCH = "watch"
"""The ``check`` of the verdict on a new champion's first time."""
Outcome = Literal["pass", "fail", "inconclusive"]


def begin(
    job: JobState, route: Route, champion_adapter_dir: str, plan: RolloutSettings, now_ms: int, refused: str = ""
) -> RolloutState:
    """The first state of the rollout of a registered candidate; ``refused``: it has ended at once, and says why. The
    same job always has the same rollout."""
    champion = next(arm for arm in route.arms if arm.variant == "champion")
    return RolloutState(
        rollout_id=derived_id("rollout", job.job_id),
        seq=1,
        time_ms=now_ms,
        pipeline=job.pipeline,
        phase="failed" if refused else "pending",
        reason=f"not started: {refused}" if refused else f"{job.candidate_version} passed the gate; loading it",
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
        return _blind(state, seen) if seen.figures is None else _step(state, plan, seen, seen.figures)
    if state.phase == "promoting":
        return _promoting(state, plan, seen)
    if state.watch == "open":
        return _watch(state, plan, seen)
    if registry_wish(state) == "reject" and seen.registry_done:
        return Next(again(state, seen.now_ms, state.figures | {REGISTRY_DONE: 1.0}), False)
    return None


def _promoting(state: RolloutState, plan: RolloutSettings, seen: Observed) -> Next | None:
    if (back := _back_from_champion(state, plan, seen)) is not None:
        return back
    if not (seen.registry_done and seen.drained):
        return None
    done = enter(state, seen.now_ms, "champion", f"{state.candidate_version} serves all traffic")
    if plan.watch_s:
        until_ms = promoted_ms(state) + int(plan.watch_s * 1000)
        done = msgspec.structs.replace(done, watch="open", watch_until_ms=until_ms)
    return Next(done, False)


def _watch(state: RolloutState, plan: RolloutSettings, seen: Observed) -> Next | None:
    """A new champion's first time: back on harm, else the watch ends, at the latest when another rollout begins."""
    if seen.superseded:
        return Next(_watched(state, seen, "inconclusive", "ended early: another rollout has begun", {}), False)
    if (back := _back_from_champion(state, plan, seen)) is not None:
        return back
    if seen.figures is None or state.watch_until_ms is None or seen.now_ms < state.watch_until_ms:
        return None
    found = judge(seen.figures, plan, watch_share(plan), state.champion_version).figures
    return Next(_watched(state, seen, *kept(state, seen.figures), found), False)


def _back_from_champion(state: RolloutState, plan: RolloutSettings, seen: Observed) -> Next | None:
    if seen.figures is None or not plan.watch_s:
        return None
    found = judge(seen.figures, plan, watch_share(plan), state.champion_version)
    if not found.harm:
        return None
    reason = f"harm proven since it took over: {found.harm}"
    noted = _watched(state, seen, "fail", reason, found.figures)
    return rolled_back(msgspec.structs.replace(noted, seq=state.seq, watch="open"), seen.now_ms, reason)


def _watched(state: RolloutState, seen: Observed, outcome: Outcome, reason: str, figures: Figures) -> RolloutState:
    verdict = Verdict(check=WATCH, outcome=outcome, reason=reason, figures=figures, time_ms=seen.now_ms)
    return msgspec.structs.replace(
        state, seq=state.seq + 1, time_ms=seen.now_ms, verdicts=(*state.verdicts, verdict), watch="kept"
    )


def _pending(state: RolloutState, plan: RolloutSettings, seen: Observed) -> Next | None:
    if seen.refused:
        return Next(enter(state, seen.now_ms, "failed", f"the engine refuses the adapter: {seen.refused}"), False)
    if state.hold == "paused" or not seen.loaded:
        return None
    if seen.freeze and not passes_freeze(state):
        return hold(state, seen.now_ms, "frozen", f"{state.candidate_version} is loaded; {seen.freeze}")
    return first_step(state, plan, seen.now_ms)


def _blind(state: RolloutState, seen: Observed) -> Next | None:
    """Nothing is decided on what cannot be seen: that the store is away is no fault of the candidate's."""
    if seen.now_ms - state.time_ms < PROGRESS_MS:
        return None
    check = step_of(state)
    return hold(state, seen.now_ms, "blind", f"{check} is held: the store does not answer, so nothing can be judged")


def _step(state: RolloutState, plan: RolloutSettings, seen: Observed, now: StepFigures) -> Next | None:
    share = shares(plan, comparisons(plan), capital(state, plan))
    found = judge(now, plan, share, state.champion_version)

    def told() -> Figures:
        return with_interval(found.figures, now.quality, share)

    def noted(outcome: Outcome, reason: str) -> RolloutState:
        figures = told()
        verdict = Verdict(check=step_of(state), outcome=outcome, reason=reason, figures=figures, time_ms=seen.now_ms)
        return msgspec.structs.replace(state, verdicts=(*state.verdicts, verdict), figures=figures)

    def goes_on() -> Next | None:
        """The same step with newer figures, if there are any and the last ones are old enough."""
        changed = state.figures.get("candidate_n") != found.figures["candidate_n"]
        if changed and seen.now_ms - state.time_ms >= PROGRESS_MS:
            return Next(again(state, seen.now_ms, told()), False)
        return None

    def held(kind: Hold, reason: Callable[[], str]) -> Next | None:
        if state.hold == kind:
            return goes_on()
        return hold(msgspec.structs.replace(state, figures=told()), seen.now_ms, kind, reason())

    def onward(outcome: Outcome, reason: str) -> Next | None:
        """A step forward, unless a freeze window holds it."""
        if seen.freeze:
            return held("frozen", lambda: f"{step_of(state)} is done; {seen.freeze}")
        return forward(noted(outcome, reason), plan, seen.now_ms)

    if found.harm:
        reason = f"harm proven in {step_of(state)}: {found.harm}"
        return rolled_back(noted("fail", reason), seen.now_ms, reason)
    if state.hold == "paused":
        return goes_on()
    if good := _good_enough(plan, now, found, share):
        return onward("pass", good)
    if step_s(state, seen.now_ms) > plan.max_step_s:
        if not _held_out(state, plan, seen.now_ms):
            return held("inconclusive", lambda: _why_held(state, plan, now, share, seen.now_ms))
        reason = _lacking(state, plan, now, share) + (f", then held for {plan.hold_s:.0f} s" if plan.hold_s else "")
        if plan.on_inconclusive == "advance":
            return onward("inconclusive", reason)
        return rolled_back(noted("inconclusive", reason), seen.now_ms, reason)
    if state.hold:
        return Next(msgspec.structs.replace(release(state, plan, seen.now_ms), figures=told()), False)
    return goes_on()


def _good_enough(plan: RolloutSettings, now: StepFigures, found: Judged, share: Share) -> str:
    """Why it may take a step forward; empty where it may not."""
    scored = now.candidate.scored
    if found.harmless and scored >= min(FEW_SCORES, plan.min_scored):
        return f"no harm: shown to be less than {plan.margin:g} worse, with {now.quality.n} differences"
    if plan.require == "no_harm" and scored >= plan.min_scored and now.quality.n > 0:
        return f"no harm found in {scored} scores; {_not_shown(plan, now, share)}"
    return ""


def _not_shown(plan: RolloutSettings, now: StepFigures, share: Share) -> str:
    low, high = interval(now.quality, share.harmless)
    return f"not shown to be less than {plan.margin:g} worse (by {low:.2f} to {high:.2f})"


def _lacking(state: RolloutState, plan: RolloutSettings, now: StepFigures, share: Share) -> str:
    """What a step that took too long has not shown."""
    scored, after = now.candidate.scored, f"after {plan.max_step_s:.0f} s in {step_of(state)}"
    if plan.require == "not_worse" and now.quality.n:
        return f"{_not_shown(plan, now, share)}, with {scored} scores {after}"
    return f"{scored} of {plan.min_scored} scores {after}"


def _held_out(state: RolloutState, plan: RolloutSettings, now_ms: int) -> bool:
    """Whether a step that took too long was held as long as the plan says. One that a freeze window holds was: it was
    to go on."""
    if plan.on_inconclusive == "hold":
        return False
    since_ms = state.hold_since_ms if state.hold == "inconclusive" else None
    waited = since_ms is not None and now_ms - since_ms >= plan.hold_s * 1000
    return waited or not plan.hold_s or state.hold == "frozen"


def _why_held(state: RolloutState, plan: RolloutSettings, now: StepFigures, share: Share, now_ms: int) -> str:
    """Why a step that took too long is held, and what comes of it."""
    said = f"held: {_lacking(state, plan, now, share)}"
    if plan.on_inconclusive == "hold":
        return f"{said}; until scores or an order decide"
    end = day_time(now_ms + int(plan.hold_s * 1000), now_ms)
    return f"{said}; {THEN[plan.on_inconclusive]} at {end} unless scores or an order decide before"
