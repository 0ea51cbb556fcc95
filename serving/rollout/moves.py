"""The moves of a rollout's state machine: each makes the next whole state. Pure; ``decide`` and ``orders`` choose.

pending → (it can answer) → shadow → canary step by step → promoting → champion; from each of them back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from tidemill.events import RolloutState, StationTime
from tidemill.events.lifecycle import Hold, RolloutPhase, Station
from tidemill.settings import RolloutSettings

MOVES: Mapping[RolloutPhase, frozenset[RolloutPhase]] = {
    "pending": frozenset({"shadow", "canary", "promoting", "rolled_back", "failed"}),
    "shadow": frozenset({"canary", "promoting", "rolled_back"}),
    "canary": frozenset({"canary", "promoting", "rolled_back"}),
    "promoting": frozenset({"champion", "rolled_back"}),
    "champion": frozenset({"rolled_back"}),
    "rolled_back": frozenset(),
    "failed": frozenset(),
}
"""THE table of the state machine: where each phase may go. (canary → canary is its next step.)"""
_ANY: frozenset[Hold] = frozenset({"paused", "frozen", "blind", "inconclusive"})
HOLDS: Mapping[RolloutPhase, frozenset[Hold]] = {
    "pending": frozenset({"paused", "frozen"}),
    "shadow": _ANY,
    "canary": _ANY,
}
"""What may hold each phase; nothing holds the others."""
OPEN: frozenset[RolloutPhase] = frozenset({"pending", "shadow", "canary", "promoting"})
PROGRESS_MS = 3_000
"""Least time between two records of the same phase that only say more figures, or that it is held."""
_STATION: Mapping[RolloutPhase, Station] = {"shadow": "shadow", "canary": "canary", "promoting": "champion"}


@dataclass(frozen=True)
class Next:
    """The next state. ``reroute``: the pipeline's route changes with it, in the same transaction."""

    state: RolloutState
    reroute: bool


def keeps_way_back(state: RolloutState) -> bool:
    """Whether its champion must stay loaded beside the candidate: it may go back at once."""
    return state.phase in OPEN or state.watch == "open"


def refused_start(state: RolloutState) -> bool:
    """Whether it is only the note of an order to start that was refused."""
    return any(taken.act == "start" and taken.refused for taken in state.orders)


def standing(state: RolloutState) -> tuple[bool, bool, int, int]:
    """The greatest of a pipeline's rollouts is the last one: what is open, then what is watched, then what changed the
    route last. The clock decides last: it may go back."""
    return keeps_way_back(state), state.phase in OPEN, state.route_epoch, state.created_ms


def last_of(states: Iterable[RolloutState], *, refused: bool = False) -> dict[str, RolloutState]:
    """By pipeline the rollout that an order means: no refused start where there is anything else; ``refused``: also one
    that came since. ``states`` may have several of one rollout."""
    newest: dict[str, RolloutState] = {}
    for state in states:
        known = newest.get(state.rollout_id)
        if known is None or state.seq >= known.seq:
            newest[state.rollout_id] = state
    ranked = sorted(newest.values(), key=lambda state: (refused or not refused_start(state), standing(state)))
    return {state.pipeline: state for state in ranked}


def supersedes(other: RolloutState, state: RolloutState) -> bool:
    """Whether ``other`` of the same pipeline has begun since; by what is open and by the route, as a clock may go back.
    One that failed never had traffic."""
    if other.pipeline != state.pipeline or other.phase == "failed" or state.phase in OPEN:
        return False
    return other.phase in OPEN or other.route_epoch > state.route_epoch


def started_at_once(state: RolloutState) -> bool:
    """Whether a person wants it to take all traffic as soon as it can answer."""
    return any(taken.act == "start" and taken.at_once for taken in state.orders)


def passes_freeze(state: RolloutState) -> bool:
    """Whether it is to take all traffic at once, in a freeze window, too."""
    return any(taken.act == "start" and taken.at_once and taken.despite_freeze for taken in state.orders)


def enter(state: RolloutState, now_ms: int, phase: RolloutPhase, reason: str) -> RolloutState:
    """Come to a phase, or to the next step of it. Raises ValueError where the table has no such move."""
    if phase not in MOVES[state.phase]:
        raise ValueError(f"a rollout does not go from {state.phase} to {phase}")
    stations = state.stations
    entered = _STATION.get(phase)
    open_now = stations[-1].station if stations and stations[-1].ended_ms is None else None
    if entered is None or entered != open_now:
        stations = tuple(msgspec.structs.replace(s, ended_ms=now_ms) if s.ended_ms is None else s for s in stations)
        if entered is not None:
            stations = (*stations, StationTime(station=entered, started_ms=now_ms))
    return msgspec.structs.replace(
        state,
        seq=state.seq + 1,
        time_ms=now_ms,
        phase=phase,
        reason=reason,
        step_started_ms=now_ms,
        stations=stations,
        hold="",
        hold_since_ms=None,
        held_ms=0,
    )


def again(state: RolloutState, now_ms: int, figures: Mapping[str, float | None]) -> RolloutState:
    """The same phase with newer figures."""
    return msgspec.structs.replace(state, seq=state.seq + 1, time_ms=now_ms, figures=dict(figures))


def first_step(state: RolloutState, plan: RolloutSettings, now_ms: int) -> Next:
    """Out of pending: into the shadow, where the plan has one, else to the first share of traffic."""
    if plan.shadow_percent and not started_at_once(state):
        return Next(enter(state, now_ms, "shadow", _answers(state, "shadow", plan)), True)
    return to_step(state, 0, plan, now_ms)


def forward(state: RolloutState, plan: RolloutSettings, now_ms: int) -> Next:
    """One step forward from shadow or canary."""
    return to_step(state, 0 if state.phase == "shadow" else state.step + 1, plan, now_ms)


def to_step(state: RolloutState, step: int, plan: RolloutSettings, now_ms: int) -> Next:
    """To that step of its weights; the last one is all traffic."""
    weight = state.steps[step]
    if weight == 100:
        reason = f"{state.candidate_version} takes all traffic; draining {state.champion_version}"
        moved = enter(state, now_ms, "promoting", reason)
    else:
        moved = enter(state, now_ms, "canary", "")
    moved = msgspec.structs.replace(moved, step=step, weight=weight)
    return Next(msgspec.structs.replace(moved, reason=moved.reason or _answers(moved, "canary", plan)), True)


def rolled_back(state: RolloutState, now_ms: int, reason: str) -> Next:
    """The champion takes all traffic again, at once."""
    back = enter(state, now_ms, "rolled_back", reason)
    return Next(msgspec.structs.replace(back, weight=0, watch="back" if state.watch else ""), True)


def hold(state: RolloutState, now_ms: int, kind: Hold, reason: str) -> Next | None:
    """Take no step forward for now; None where that is said already, or a person's pause holds it. Raises ValueError
    where nothing of the kind holds the phase."""
    if kind not in HOLDS.get(state.phase, ()):
        raise ValueError(f"a rollout in {state.phase} is not held as {kind}")
    if state.hold in ("paused", kind):
        return None
    told = msgspec.structs.replace(
        state,
        seq=state.seq + 1,
        time_ms=now_ms,
        reason=reason,
        hold=kind,
        hold_since_ms=now_ms,
        held_ms=_held_ms(state, now_ms),
    )
    return Next(told, False)


def release(state: RolloutState, plan: RolloutSettings, now_ms: int) -> RolloutState:
    """Held no more; the time that it was held is none of the step's."""
    return msgspec.structs.replace(
        state,
        seq=state.seq + 1,
        time_ms=now_ms,
        reason=_answers(state, state.phase, plan),
        hold="",
        hold_since_ms=None,
        held_ms=_held_ms(state, now_ms),
    )


def step_of(state: RolloutState) -> str:
    """The name of the comparison that is under way."""
    return "shadow" if state.phase == "shadow" else f"canary-{state.weight}"


def step_s(state: RolloutState, now_ms: int) -> float:
    """How long the step has run, without the time for which it was held, seconds."""
    return (now_ms - state.step_started_ms - _held_ms(state, now_ms)) / 1000


def _held_ms(state: RolloutState, now_ms: int) -> int:
    """For how long the step was held, until now; a clock that went back counts nothing."""
    return state.held_ms + (max(0, now_ms - state.hold_since_ms) if state.hold_since_ms is not None else 0)


def _answers(state: RolloutState, phase: RolloutPhase, plan: RolloutSettings) -> str:
    if phase == "pending":
        return f"loading {state.candidate_version}"
    if phase == "shadow":
        return f"{state.candidate_version} answers {plan.shadow_percent} % of calls unseen"
    return f"{state.candidate_version} answers {state.weight} % of traffic"
