"""Reads both arms' scores and answers of a step from ClickHouse, and folds them into what is judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from serving.rollout.betting import Floats, Payoffs, paired, randomised
from serving.rollout.observed import ArmFigures, Pair, Sample, StepFigures
from serving.rollout.sessions import means, settle
from tidemill.events import RolloutState
from tidemill.io.clickhouse import Store
from tidemill.settings.rollout import MOST_SCORES

Row = Mapping[str, Any]
MOST = MOST_SCORES
"""A step is judged on its first so many scores, and answers: more would prove little that these do not."""
WARM_UP = 20
"""Answers of the candidate's clients before times and cost count, for both arms: an adapter's first calls are slow."""
AMOUNTS = {"ttft_ms": "ttft_ms", "e2e_ms": "e2e_ms", "cost": "cost_micros"}
_SKEW_MS = 60_000
_EVER_MS = 1 << 62
_FAILED = ("error", "timeout")
SOUND = 0.98
"""The share of answers that do not fail, as expected before there is any."""

_SCORED = """
SELECT any(f.call_id) AS call, any(f.model_version) AS version, any(f.variant) AS arm, f.metric AS metric,
       argMax(f.score, f.time_ms) AS judged, min(f.time_ms) AS at, any(f.call_time_ms) AS called,
       ifNull(f.answer_id, f.call_id) AS answer
FROM feedback AS f
WHERE f.pipeline = {pipeline:String} AND f.time >= fromUnixTimestamp64Milli({early:Int64})
  AND f.call_time_ms >= {since:Int64} AND f.call_time_ms < {until:Int64}
  AND f.metric IN ({metric:String}, 'thumb') AND f.score IS NOT NULL
  AND (f.source = 'scorer' OR f.metric = 'thumb')
  AND f.model_version IN ({candidate:String}, {champion:String})
GROUP BY answer, metric
"""

_SESSIONS = """
SELECT answer_id AS answer, any(gen_ai_conversation_id) AS session
FROM responses
WHERE pipeline = {pipeline:String} AND time >= fromUnixTimestamp64Milli({early:Int64})
  AND answer_id IN (SELECT answer FROM scored)
GROUP BY answer
"""

SCORES = f"""
WITH scored AS ({_SCORED}), named AS ({_SESSIONS})
SELECT scored.*, named.session AS session, count() OVER (PARTITION BY metric, version, arm) AS of_arm
FROM scored LEFT JOIN named ON scored.answer = named.answer
ORDER BY at, answer
LIMIT {{most:UInt32}} BY metric
"""

_EARLIER = f"""
WITH scored AS ({_SCORED}), named AS ({_SESSIONS})
SELECT named.session AS session, max(scored.called) AS called, max(scored.arm = 'canary') AS canary
FROM scored INNER JOIN named ON scored.answer = named.answer
WHERE scored.metric = {{metric:String}} AND named.session != scored.call
GROUP BY session
"""

ANSWERS = """
SELECT any(model_version) AS version, any(variant) AS arm, any(status) AS ended, any(call_id) AS call,
       any(gen_ai_conversation_id) AS session, min(time_ms) AS at, min(call_time_ms) AS called,
       any(ttft_ms) AS ttft_ms, any(e2e_ms) AS e2e_ms, any(cost_micros) AS cost_micros
FROM responses
WHERE pipeline = {pipeline:String} AND time >= fromUnixTimestamp64Milli({early:Int64})
  AND call_time_ms >= {since:Int64} AND call_time_ms < {until:Int64}
  AND model_version IN ({candidate:String}, {champion:String})
  AND status IN ('ok', 'error', 'timeout')
GROUP BY answer_id
ORDER BY at, answer_id
LIMIT {most:UInt32}
"""


def step_figures(store: Store, state: RolloutState, metric: str) -> StepFigures:
    """Both arms since the step began, by the time of the call. Raises Retry or StoreError when the store is away.

    In the shadow the candidate is paired with the champion on the same calls; in the canary they answer different
    calls at the same time. Several judgements of one answer: the latest counts. A rejected call is its caller's fault.
    """
    since = state.step_started_ms
    versions = (state.champion_version, state.candidate_version)
    parameters = asked(state.pipeline, versions, metric, since)
    scores, answers = store.rows(SCORES, parameters), store.rows(ANSWERS, parameters)
    earlier: list[dict[str, Any]] = []
    if state.phase == "canary" and state.step:
        begun = _canary_began(state)
        earlier = store.rows(_EARLIER, parameters | {"since": begun, "until": since, "early": max(begun - _SKEW_MS, 0)})
    return fold(scores, answers, state, metric, earlier)


def asked(
    pipeline: str, versions: tuple[str, str], metric: str, since: int, until: int = _EVER_MS
) -> dict[str, str | int]:
    """The parameters of SCORES and ANSWERS: calls of these versions between two times, epoch milliseconds."""
    return {
        "pipeline": pipeline,
        "since": since,
        "until": until,
        "early": max(since - _SKEW_MS, 0),
        "champion": versions[0],
        "candidate": versions[1],
        "metric": metric,
        "most": MOST,
    }


def fold(
    scores: Sequence[Row], answers: Sequence[Row], state: RolloutState, metric: str, earlier: Sequence[Row] = ()
) -> StepFigures:
    """Rows of the queries as figures: pure. ``earlier``: sessions that were scored in steps of this canary before."""
    beside = "shadow" if state.phase == "shadow" else "canary"
    arms = {(state.champion_version, "champion"): False, (state.candidate_version, beside): True}
    scores, answers = of_arms(scores, answers, arms)
    judged = [row for row in scores if row["metric"] == metric]
    champion, candidate = (
        arm_figures(
            [row for row in judged if row["candidate"] is side], [row for row in answers if row["candidate"] is side]
        )
        for side in (False, True)
    )
    if state.phase == "shadow":
        return StepFigures(champion, candidate, quality=_paired(judged), failures=_paired(answers, SOUND))
    chances = _chances(state, earlier)
    thumbs = [row for row in scores if row["metric"] == "thumb" != metric]
    return StepFigures(
        champion,
        candidate,
        quality=_randomised(judged, chances, state.weight),
        thumbs=_randomised(thumbs, {}, state.weight),
        failures=_randomised(answers, {}, state.weight, SOUND),
        amounts=_amounts(answers),
    )


def of_arms(
    scores: Iterable[Row], answers: Iterable[Row], arms: Mapping[tuple[str, str], bool]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of these arms (version and part, and whether that is the candidate's), each with its ``candidate``; of
    answers ``judged`` is 1 where they did not fail."""

    def known(rows: Iterable[Row]) -> list[dict[str, Any]]:
        return [{**row, "candidate": arms[arm]} for row in rows if (arm := (row["version"], row["arm"])) in arms]

    return known(scores), [row | {"judged": float(row["ended"] not in _FAILED)} for row in known(answers)]


def by_session(rows: Sequence[Row]) -> Floats:
    """The mean of what is ``judged`` of each session that counts, in the order in which they have come to count."""
    counted, units = settle([_session(row) for row in rows])
    if not len(counted):
        return np.zeros(0)
    return means(np.array([float(row["judged"]) for row in rows])[counted], units)


def arm_figures(judged: Sequence[Row], answers: Sequence[Row]) -> ArmFigures:
    values = [float(row["judged"]) for row in judged]
    scored = judged[0].get("of_arm", len(judged)) if judged else 0
    failed = sum(not row["judged"] for row in answers)
    return ArmFigures(scored, sum(values) / len(values) if values else None, len(answers), failed)


def _session(row: Row) -> str:
    """A row's session; empty where the call is one of its own, or nobody knows."""
    session = row.get("session") or ""
    return "" if session == row["call"] else session


def _paired(rows: Sequence[Row], guess: float = 0.5) -> Payoffs:
    """Champion minus candidate on the same call, in the order in which the pairs became whole."""
    half: dict[tuple[str, bool], Row] = {}
    whole: list[tuple[str, float]] = []
    for row in rows:
        half[row["call"], row["candidate"]] = row
        other = half.get((row["call"], not row["candidate"]))
        if other is not None:
            difference = float(other["judged"]) - float(row["judged"])
            whole.append((_session(row) or _session(other), difference if row["candidate"] else -difference))
    counted, units = settle([session for session, _ in whole])
    differences = np.array([difference for _, difference in whole])
    return paired(means(differences[counted], units), guess) if len(counted) else Payoffs()


def _randomised(rows: Sequence[Row], chances: Mapping[str, float], weight: int, guess: float = 0.5) -> Payoffs:
    """Sessions by their arm. ``chances``: of sessions that are known from earlier steps, to be the candidate's now."""
    rows = [row for row in rows if chances.get(_session(row), 0.5) < 1]
    sessions = [_session(row) for row in rows]
    counted, units = settle(sessions)
    if not len(counted):
        return Payoffs()
    scores = np.array([float(row["judged"]) for row in rows])[counted]
    first = counted[np.unique(units, return_index=True)[1]]
    candidate = np.array([rows[row]["candidate"] for row in first])
    share = np.array([chances.get(sessions[row], weight / 100) for row in first])
    return randomised(candidate, share, means(scores, units), guess)


def _chances(state: RolloutState, earlier: Sequence[Row]) -> dict[str, float]:
    """With what chance a session that earlier steps have scored is the candidate's now.

    One that was its already stays so (1: it tells nothing new). One that was the champion's when the candidate had a
    share v lies evenly in the rest, of which the candidate now has weight - v.
    """
    ends = [(v.time_ms, int(v.check.removeprefix("canary-"))) for v in state.verdicts if v.check.startswith("canary-")]
    chances = {}
    for row in earlier:
        before = next((weight for end_ms, weight in ends if row["called"] < end_ms), 0)
        known = (state.weight - before) / (100 - before)
        chances[row["session"]] = 1.0 if row["canary"] else known
    return chances


def _canary_began(state: RolloutState) -> int:
    """When the canary's first step began."""
    return next((s.started_ms for s in reversed(state.stations) if s.station == "canary"), state.step_started_ms)


def _amounts(answers: Sequence[Row]) -> dict[str, Pair]:
    """Times and cost of answers that did not fail, of calls that began after the candidate's warm-up."""
    warm = [row["at"] for row in answers if row["candidate"]][WARM_UP - 1 : WARM_UP]
    if not warm:
        return {}
    good = [row for row in answers if row["judged"] and row["called"] > warm[0]]
    return {
        metric: Pair(*(_sample([row for row in good if row["candidate"] is side], column) for side in (False, True)))
        for metric, column in AMOUNTS.items()
    }


def _sample(rows: Sequence[Row], column: str) -> Sample:
    rows = [row for row in rows if row[column] is not None]
    counted, units = settle([_session(row) for row in rows])
    return Sample(np.array([float(row[column]) for row in rows])[counted], units)
