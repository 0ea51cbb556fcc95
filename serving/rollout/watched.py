"""A new champion beside what the one before was when it still answered: figures of the watch after a promotion.

Chance chose no arm here, time did. So the claim is another one than a step's: harm is proven where the new champion's
mean is below the least that the one before can have had, from the rollout's begin to the promotion. That one had to
live with the same change that the new version was trained for; older figures would be of another world. Times and cost
move with load and hour, and are not judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from serving.rollout.betting import STEP, Floats, Payoffs, alone, below, interval
from serving.rollout.figures import ANSWERS, SCORES, SOUND, Row, arm_figures, asked, by_session, of_arms
from serving.rollout.judge import Share, shares
from serving.rollout.observed import ArmFigures, StepFigures
from tidemill.events import RolloutState
from tidemill.io.clickhouse import Store
from tidemill.settings import RolloutSettings

DECAY = 0.05
"""A champion's mean score this far below that of its canary is noted."""
Rows = tuple[Sequence[Row], Sequence[Row]]
"""Scores and answers."""


def watch_share(plan: RolloutSettings) -> Share:
    """What the watch may spend: an alpha of its own, half of it for the level of before."""
    whole = shares(plan, 1, 1.0)
    return Share(whole.quality / 2, whole.guard / 2, whole.harmless, 1.0)


def promoted_ms(state: RolloutState) -> int:
    """When the candidate took all traffic."""
    return next((s.started_ms for s in reversed(state.stations) if s.station == "champion"), state.step_started_ms)


def watch_figures(store: Store, state: RolloutState, metric: str, plan: RolloutSettings) -> StepFigures:
    """Both versions, each in its own time. Raises Retry or StoreError when the store is away."""
    taken_ms = promoted_ms(state)
    times = ((state.champion_version, state.created_ms, taken_ms), (state.candidate_version, taken_ms, None))
    rows: list[Rows] = []
    for version, since, until in times:
        given = asked(state.pipeline, (version, version), metric, since, *([] if until is None else [until]))
        rows.append((store.rows(SCORES, given), store.rows(ANSWERS, given)))
    return fold_watch(rows[0], rows[1], state, metric, watch_share(plan))


def fold_watch(before: Rows, after: Rows, state: RolloutState, metric: str, share: Share) -> StepFigures:
    """Rows of both times as figures: pure."""
    old = of_arms(*before, {(state.champion_version, "champion"): False})
    new = of_arms(*after, {(state.candidate_version, "champion"): True})

    def against(name: str, alpha: float) -> Payoffs:
        past, now = ([row for row in scores if row["metric"] == name] for scores, _ in (old, new))
        return lower(by_session(past), by_session(now), alpha)

    def arm(scores: Sequence[Row], answers: Sequence[Row]) -> ArmFigures:
        return arm_figures([row for row in scores if row["metric"] == metric], answers)

    return StepFigures(
        arm(*old),
        arm(*new),
        quality=against(metric, share.quality),
        thumbs=Payoffs() if metric == "thumb" else against("thumb", share.guard),
        failures=lower(by_session(old[1]), by_session(new[1]), share.guard, SOUND),
    )


def lower(before: Floats, after: Floats, alpha: float, guess: float = 0.5) -> Payoffs:
    """How much lower each value is than the least that the mean of those before can have been, at 1 - alpha.

    None where there was nothing before: nothing can be said then.
    """
    if not len(before):
        return Payoffs()
    floor = max(0.0, interval(alone(before, guess), 2 * alpha)[0] - STEP)
    return below(floor, after, guess)


def kept(state: RolloutState, now: StepFigures) -> tuple[Literal["pass", "inconclusive"], str]:
    """How the watch of a champion that did no harm ends, in words: also what has become of it since its canary."""
    candidate, mean = now.candidate, now.candidate.mean
    if mean is None or not now.quality.n:
        missing = "it was not scored" if mean is None else f"{state.champion_version} was not scored before"
        return "inconclusive", f"the watch is over: {missing}"
    said = f"{mean:.2f} in {candidate.scored} scores since it took over"
    was = next((v.figures["candidate_mean"] for v in reversed(state.verdicts) if "candidate_mean" in v.figures), None)
    if was is None:
        return "pass", f"no harm found: {said}"
    return (
        "pass",
        f"no harm found: {said}, {'decayed from' if mean < was - DECAY else 'beside'} {was:.2f} in its canary",
    )
