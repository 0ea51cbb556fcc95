"""Rollouts of users who stay: rows as the store gives them, folded by the product's own code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.rollout.figures import fold
from serving.rollout.observed import StepFigures
from tidemill.events import RolloutState, Verdict
from tidemill.settings import RolloutSettings

USERS = 300
CORRELATION = 0.3
LEVEL, SOUND, SPREAD = 0.85, 0.98, 0.6
_STEP_MS = 1_000_000
_ARMS = ("champion", "canary")


def step_rows(
    rng: np.random.Generator, plan: RolloutSettings, calls: int, *, as_calls: bool
) -> Iterator[list[StepFigures]]:
    """Two looks at the shadow and at each step; both arms answer alike. ``as_calls``: users are not told apart."""
    strength = 1 / CORRELATION - 1
    levels = rng.beta(LEVEL * strength, (1 - LEVEL) * strength, USERS)
    speeds = rng.normal(0, SPREAD * np.sqrt(CORRELATION), USERS)
    places = rng.random(USERS) * 100
    state = RolloutState(
        rollout_id="r", seq=1, time_ms=0, pipeline="p", phase="shadow", reason="", candidate_version="p-v2",
        candidate_adapter_dir="", champion_version="p-v1", steps=plan.steps, step_started_ms=0, created_ms=0,
    )  # fmt: skip
    seen: dict[str, dict[str, Any]] = {}
    for step, weight in enumerate((0, *plan.steps[:-1])):
        now = step * _STEP_MS
        who = rng.integers(0, USERS, calls)
        rows, answers = [], []
        for number, user in enumerate(who):
            mine = bool(weight and places[user] < weight)
            arms = (("champion", False), ("shadow", True)) if not weight else ((_ARMS[mine], mine),)
            for arm, candidate in arms:
                row = _row(now + number, user, arm, candidate, as_calls)
                rows.append(row | {"metric": "exact_match", "judged": float(rng.random() < levels[user])})
                answers.append(row | _answer(rng, speeds[user]))
        if weight:
            state = msgspec.structs.replace(state, phase="canary", weight=weight, step=step - 1, step_started_ms=now)
        earlier = [] if as_calls else list(seen.values())
        half = len(rows) // 2
        yield [
            fold(rows[:half], answers[:half], state, "exact_match", earlier),
            fold(rows, answers, state, "exact_match", earlier),
        ]
        check = f"canary-{weight}" if weight else "shadow"
        ended = Verdict(check=check, outcome="pass", time_ms=now + _STEP_MS)
        state = msgspec.structs.replace(state, verdicts=(*state.verdicts, ended))
        for row in rows if weight else ():
            seen[row["session"]] = {
                "session": row["session"], "called": row["called"], "canary": int(row["arm"] == "canary")
            }  # fmt: skip


def _row(at: int, user: int, arm: str, candidate: bool, as_calls: bool) -> dict[str, Any]:
    version = "p-v2" if candidate else "p-v1"
    session = f"c{at}" if as_calls else f"u{user}"
    return {"call": f"c{at}", "version": version, "arm": arm, "at": at, "called": at, "session": session}


def _answer(rng: np.random.Generator, speed: float) -> dict[str, Any]:
    within = SPREAD * np.sqrt(1 - CORRELATION)
    times: NDArray[np.float64] = np.exp(speed + rng.normal(0, within, 3)) * 1_000
    ended = "ok" if rng.random() < SOUND else "error"
    return {"ended": ended, "ttft_ms": times[0], "e2e_ms": times[1], "cost_micros": times[2]}
