"""Reads both arms' scores and failures of a step from ClickHouse."""

from __future__ import annotations

from typing import Any

from serving.rollout.compare import concurrent_differences
from serving.rollout.observed import ArmFigures, StepFigures
from tidemill.events import RolloutState
from tidemill.io.clickhouse import Store

_SKEW_MS = 60_000

_SCORES = """
SELECT any(f.call_id) AS call, any(f.model_version) AS version, any(f.variant) AS arm,
       argMax(f.score, f.time_ms) AS judged, min(f.time_ms) AS at, ifNull(f.answer_id, f.call_id) AS answer
FROM feedback AS f
WHERE f.pipeline = {pipeline:String} AND f.time >= fromUnixTimestamp64Milli({early:Int64})
  AND f.call_time_ms >= {since:Int64} AND f.metric = {metric:String} AND f.score IS NOT NULL
  AND (f.source = 'scorer' OR {metric:String} = 'thumb')
  AND f.model_version IN ({candidate:String}, {champion:String})
GROUP BY answer
ORDER BY at, answer
"""

_ANSWERS = """
SELECT model_version AS version, variant AS arm, count() AS answers,
       countIf(status IN ('error', 'timeout')) AS failed
FROM responses
WHERE pipeline = {pipeline:String} AND time >= fromUnixTimestamp64Milli({early:Int64})
  AND call_time_ms >= {since:Int64} AND model_version IN ({candidate:String}, {champion:String})
GROUP BY version, arm
"""


def step_figures(store: Store, state: RolloutState, metric: str) -> StepFigures:
    """Both arms since the step began, by the time of the call. Raises Retry or StoreError when the store is away.

    In the shadow the candidate is paired with the champion on the same calls; in the canary they answer different
    calls at the same time. Several judgements of one answer: the latest counts. A rejected call is its caller's fault.
    """
    parameters = {
        "pipeline": state.pipeline,
        "since": state.step_started_ms,
        "early": max(state.step_started_ms - _SKEW_MS, 0),
        "candidate": state.candidate_version,
        "champion": state.champion_version,
    }
    scores = store.rows(_SCORES, parameters | {"metric": metric})
    answers = store.rows(_ANSWERS, parameters)
    return fold(scores, answers, state)


def fold(scores: list[dict[str, Any]], answers: list[dict[str, Any]], state: RolloutState) -> StepFigures:
    """Rows of the two queries as figures: pure."""
    beside = "shadow" if state.phase == "shadow" else "canary"
    arms = {(state.champion_version, "champion"): False, (state.candidate_version, beside): True}
    points = [(row, arms[row["version"], row["arm"]]) for row in scores if (row["version"], row["arm"]) in arms]
    if state.phase == "shadow":
        differences = _paired(points)
    else:
        differences = concurrent_differences((is_candidate, float(row["judged"])) for row, is_candidate in points)
    counts = {is_candidate: [0, 0] for is_candidate in (False, True)}
    for row in answers:
        if (row["version"], row["arm"]) in arms:
            count = counts[arms[row["version"], row["arm"]]]
            count[0] += int(row["answers"])
            count[1] += int(row["failed"])
    champion, candidate = (
        _arm([float(row["judged"]) for row, mine in points if mine is side], *counts[side]) for side in (False, True)
    )
    return StepFigures(champion, candidate, tuple(differences))


def _arm(scores: list[float], answers: int, failed: int) -> ArmFigures:
    return ArmFigures(len(scores), sum(scores) / len(scores) if scores else None, answers, failed)


def _paired(points: list[tuple[dict[str, Any], bool]]) -> list[float]:
    """Champion minus candidate on the same call, in the order in which the pairs became whole."""
    half: dict[tuple[str, bool], float] = {}
    differences = []
    for row, is_candidate in points:
        half[row["call"], is_candidate] = float(row["judged"])
        other = half.get((row["call"], not is_candidate))
        if other is not None:
            mine = float(row["judged"])
            differences.append(other - mine if is_candidate else mine - other)
    return differences
