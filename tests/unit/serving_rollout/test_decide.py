"""Where a rollout goes next: a table of states and sights, and a whole way through from any restart."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from serving.rollout.betting import Payoffs, paired, randomised
from serving.rollout.decide import KEPT, REGISTRY_DONE, begin, capital, comparisons, decide, registry_wish
from serving.rollout.observed import ArmFigures, Observed, Pair, Sample, StepFigures
from serving.rollout.routes import first_route, places_of, route_of
from serving.versions import Placement
from tidemill.events import JobState, RolloutState, Route
from tidemill.settings import PipelineSettings, RolloutSettings, Settings

NOW = 1_700_000_000_000
PLAN = RolloutSettings(steps=(25, 50, 100), shadow_percent=50, min_scored=40, max_step_s=180)
PIPELINE = PipelineSettings(engine="local", champion="schedule-v1", champion_adapter="adapters/schedule-v1")
SETTINGS = Settings.model_validate(
    {"data_dir": "/data", "engines": {"local": {}}, "pipelines": {"schedule": PIPELINE.model_dump()}}
)
ROUTE = first_route(SETTINGS, "schedule", NOW)
PLACES = {version: Placement("local", version) for version in ("schedule-v1", "schedule-v2")}
JOB = JobState(
    job_id="job-1",
    seq=9,
    time_ms=NOW,
    pipeline="schedule",
    phase="registered",
    reason="passed",
    alarm_id="alarm-1",
    created_ms=NOW,
    adapter_dir="adapters/schedule-v2",
    registered_name="schedule",
    candidate_version="schedule-v2",
)


def in_phase(phase: str, **changes: Any) -> RolloutState:
    state = begin(JOB, ROUTE, "adapters/schedule-v1", PLAN, NOW)
    return msgspec.structs.replace(state, phase=phase, **changes)


def figures(champion: float, candidate: float, n: int, *, answers: int = 0, failed: int = 0) -> StepFigures:
    """``n`` scores of each arm at these levels, evenly spread."""
    a = [1.0 if (i * 7919 % 100) / 100 < champion else 0.0 for i in range(n)]
    b = [1.0 if (i * 7919 % 100) / 100 < candidate else 0.0 for i in range(n)]
    return StepFigures(
        ArmFigures(n, sum(a) / n if n else None, answers, 0),
        ArmFigures(n, sum(b) / n if n else None, answers, failed),
        quality=paired(np.array(a) - np.array(b)) if n else Payoffs(),
        failures=fails(answers, failed),
    )


def fails(answers: int, failed: int, beside: int = 0) -> Payoffs:
    """Failures of so many answers of each arm, evenly mixed."""
    mine = np.tile([True, False], answers)
    turn = np.repeat(np.arange(answers), 2)
    bad = np.where(mine, turn < failed, turn < beside)
    return randomised(mine, np.full(2 * answers, 0.5), 1.0 - bad, 0.98) if answers else Payoffs()


def amounts(metric: str, candidate: float, champion: float, n: int) -> dict[str, Pair]:
    """``n`` answers of each arm whose amounts lie around these."""
    spread = np.exp(0.5 * np.sin(np.arange(n) * 2.4))
    units = np.arange(n)
    return {metric: Pair(Sample(champion * spread, units), Sample(candidate * spread, units))}


def seen(at_s: float = 1, **what: Any) -> Observed:
    return Observed(now_ms=NOW + int(at_s * 1000), **what)


SHADOW, CANARY = in_phase("shadow"), in_phase("canary", step=0, weight=25)
LAST = in_phase("canary", step=1, weight=50)
PAUSED = in_phase("canary", step=0, weight=25, hold="paused", hold_since_ms=NOW)
CASES: list[tuple[str, RolloutState, Observed, str | None, bool]] = [
    ("pending waits for the engine", in_phase("pending"), seen(loaded=False), None, False),
    ("pending: engine away", in_phase("pending"), seen(loaded=None), None, False),
    ("pending: loaded", in_phase("pending"), seen(loaded=True), "shadow", True),
    ("pending: refused for ever", in_phase("pending"), seen(refused="bad rank"), "failed", False),
    ("shadow: store away holds", SHADOW, seen(999), "shadow", False),
    ("shadow: too few scores", SHADOW, seen(figures=figures(0.9, 0.9, 0)), None, False),
    ("shadow: enough and harmless", SHADOW, seen(figures=figures(0.3, 0.9, 40)), "canary", True),
    ("shadow: harm proven early", SHADOW, seen(figures=figures(0.9, 0.1, 30)), "rolled_back", True),
    ("canary: store away for a moment", CANARY, seen(2), None, False),
    ("canary: store away holds", CANARY, seen(179), "canary", False),
    ("canary: store away for long is no fault of the candidate's", CANARY, seen(999_999), "canary", False),
    ("canary: enough and harmless", CANARY, seen(figures=figures(0.9, 0.9, 40)), "canary", True),
    ("canary: harm proven", CANARY, seen(figures=figures(0.9, 0.2, 35)), "rolled_back", True),
    ("canary: a little worse is no proof", CANARY, seen(figures=figures(0.9, 0.86, 39)), "canary", False),
    ("canary: failing answers", CANARY, seen(figures=figures(1, 1, 5, answers=60, failed=25)), "rolled_back", True),
    ("canary: two failing answers", CANARY, seen(figures=figures(1, 1, 5, answers=19, failed=2)), "canary", False),
    ("shadow: little harm, and enough", SHADOW, seen(figures=figures(0.9, 0.88, 40)), "canary", True),
    ("shadow: shown to be harmless early", SHADOW, seen(figures=figures(0.1, 0.9, 25)), "canary", True),
    ("shadow: harmless, but too few scores", SHADOW, seen(figures=figures(0.0, 1.0, 19)), None, False),
    ("canary: too long is held first", CANARY, seen(181, figures=figures(1, 1, 12)), "canary", False),
    ("canary: last step passes", LAST, seen(figures=figures(0.9, 0.9, 40)), "promoting", True),
    ("promoting: registry away", in_phase("promoting"), seen(drained=True), None, False),
    ("promoting: calls in flight", in_phase("promoting"), seen(registry_done=True, drained=False), None, False),
    ("promoting: done", in_phase("promoting"), seen(registry_done=True, drained=True), "champion", False),
    ("champion is an end", in_phase("champion"), seen(registry_done=True, drained=True), None, False),
    ("rolled back: registry away", in_phase("rolled_back"), seen(), None, False),
    ("rolled back: marked", in_phase("rolled_back"), seen(registry_done=True), "rolled_back", False),
    ("paused: no step forward", PAUSED, seen(999, figures=figures(0.9, 0.9, 90)), "canary", False),
    ("paused: harm goes back all the same", PAUSED, seen(999, figures=figures(0.9, 0.1, 90)), "rolled_back", True),
    ("paused: store away", PAUSED, seen(999), None, False),
    ("paused before it began", in_phase("pending", hold="paused", hold_since_ms=NOW), seen(loaded=True), None, False),
    ("frozen: no first step", in_phase("pending"), seen(loaded=True, freeze="weekend"), "pending", False),
    ("frozen: no step forward", CANARY, seen(figures=figures(0.9, 0.9, 40), freeze="weekend"), "canary", False),
    ("frozen: harm goes back", CANARY, seen(figures=figures(0.9, 0.2, 35), freeze="weekend"), "rolled_back", True),
    ("frozen: too long is held", CANARY, seen(181, figures=figures(1, 1, 12), freeze="weekend"), "canary", False),
]


@pytest.mark.parametrize(("state", "at", "phase", "reroute"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_next(state: RolloutState, at: Observed, phase: str | None, reroute: bool) -> None:
    found = decide(state, PLAN, at)
    if phase is None:
        assert found is None
        return
    if not reroute and found is None:
        assert state.phase == phase  # stays, nothing new to say yet
        return
    assert found is not None
    assert (found.state.phase, found.reroute) == (phase, reroute)
    assert found.state.seq == state.seq + 1
    assert decide(state, PLAN, at) == found, "a restart that sees the same goes the same way"


def test_engine_that_fails_for_both_is_not_the_candidates_fault() -> None:
    both = StepFigures(
        ArmFigures(answers=60, failed=20), ArmFigures(answers=60, failed=20), failures=fails(60, 20, beside=20)
    )
    assert decide(msgspec.structs.replace(CANARY, time_ms=NOW + 900), PLAN, seen(figures=both)) is None


@pytest.mark.parametrize("hold_s", [0, 600])
@pytest.mark.parametrize(("choice", "phase"), [("advance", "canary"), ("rollback", "rolled_back")])
def test_an_inconclusive_step_is_held_first_and_then_ends_as_planned(choice: str, phase: str, hold_s: int) -> None:
    plan, few = PLAN.model_copy(update={"on_inconclusive": choice, "hold_s": hold_s}), figures(1, 1, 12)
    found = decide(CANARY, plan, seen(181, figures=few))
    assert found is not None
    if hold_s:
        held = found.state
        assert (held.phase, held.step, held.hold, held.hold_since_ms) == ("canary", 0, "inconclusive", NOW + 181_000)
        assert held.verdicts == () and not found.reroute
        then = {"advance": "goes on", "rollback": "goes back"}[choice]
        assert held.reason == (
            f"held: 12 of 40 scores after 180 s in canary-25; {then} at 22:26:21 UTC unless scores or an "
            "order decide before"
        )
        assert decide(held, plan, seen(780, figures=few)) is None
        found = decide(held, plan, seen(781, figures=few))
        assert found is not None
    assert (found.state.phase, found.state.step, found.reroute) == (phase, int(choice == "advance"), True)
    assert (found.state.hold, found.state.hold_since_ms, found.state.held_ms) == ("", None, 0)
    assert found.state.verdicts[-1].outcome == "inconclusive"
    assert found.state.verdicts[-1].reason.startswith("12 of 40 scores after 180 s in canary-25")


def test_progress_is_said_every_few_seconds_and_only_when_new() -> None:
    assert decide(CANARY, PLAN, seen(2, figures=figures(1, 1, 12))) is None
    said = decide(CANARY, PLAN, seen(4, figures=figures(1, 1, 12)))
    assert said is not None and not said.reroute and said.state.figures["candidate_n"] == 12
    assert said.state.step_started_ms == CANARY.step_started_ms
    assert decide(said.state, PLAN, seen(9, figures=figures(1, 1, 12))) is None


def test_whole_way_to_champion_with_its_stations_and_routes() -> None:
    state, route, routes = in_phase("pending"), ROUTE, []
    phases = []
    station: list[dict[str, Any]] = [
        {"loaded": True},
        {"figures": figures(0.2, 0.9, 40)},
        {"figures": figures(0.2, 0.9, 40)},
        {"figures": figures(0.2, 0.9, 41)},
        {"registry_done": True, "drained": True},
    ]
    for at_s, what in enumerate(station, start=1):
        found = decide(state, PLAN, seen(at_s, **what))
        assert found is not None
        if found.reroute:
            route = route_of(found.state, route, PLACES, PLAN.shadow_percent, NOW)
            routes.append(route)
        state = found.state
        phases.append((state.phase, state.weight))
    assert phases == [("shadow", 0), ("canary", 25), ("canary", 50), ("promoting", 100), ("champion", 100)]
    assert [s.station for s in state.stations] == ["shadow", "canary", "champion"]
    assert all(s.ended_ms is not None for s in state.stations)
    assert [v.check for v in state.verdicts] == ["shadow", "canary-25", "canary-50"]
    assert [r.epoch for r in routes] == [2, 3, 4, 5]
    assert [[(a.model_version, a.weight) for a in r.arms] for r in routes] == [
        [("schedule-v1", 100)],
        [("schedule-v1", 75), ("schedule-v2", 25)],
        [("schedule-v1", 50), ("schedule-v2", 50)],
        [("schedule-v2", 100)],
    ]
    assert routes[0].shadow is not None and routes[0].shadow.sample_percent == 50
    assert routes[1].shadow is None and places_of(routes[1]) == set(PLACES.values())


def test_rollback_route_is_the_champion_alone_and_the_registry_is_told_until_it_knows() -> None:
    found = decide(CANARY, PLAN, seen(figures=figures(0.9, 0.1, 35)))
    assert found is not None
    canary: Route = route_of(CANARY, ROUTE, PLACES, 50, NOW)
    back = route_of(found.state, canary, PLACES, 50, NOW)
    assert [(a.model_version, a.variant, a.weight) for a in back.arms] == [("schedule-v1", "champion", 100)]
    assert back.shadow is None and "harm proven" in back.reason
    assert registry_wish(found.state) == "reject"
    marked = decide(found.state, PLAN, seen(9, registry_done=True))
    assert marked is not None and marked.state.figures[REGISTRY_DONE] == 1.0
    assert registry_wish(marked.state) == "none"
    assert decide(marked.state, PLAN, seen(10, registry_done=True)) is None


def test_without_shadow_or_with_one_step() -> None:
    straight = PLAN.model_copy(update={"shadow_percent": 0})
    found = decide(in_phase("pending"), straight, seen(loaded=True))
    assert found is not None and (found.state.phase, found.state.weight) == ("canary", 25)
    at_once = decide(in_phase("pending", steps=(100,)), straight, seen(loaded=True))
    assert at_once is not None and at_once.state.phase == "promoting"


@pytest.mark.parametrize(
    ("metric", "candidate", "said"),
    [
        ("e2e_ms", 3000.0, "e2e_ms is 1.50 times that of schedule-v1"),
        ("ttft_ms", 600.0, "harm proven in canary-25"),
        ("cost", 900.0, "cost is"),
    ],
)
def test_what_takes_longer_or_costs_more_than_its_margin_goes_back(metric: str, candidate: float, said: str) -> None:
    champion = {"e2e_ms": 2000.0, "ttft_ms": 100.0, "cost": 300.0}[metric]
    slow = StepFigures(amounts=amounts(metric, candidate, champion, 1000))
    found = decide(CANARY, PLAN, seen(figures=slow))
    assert found is not None and found.state.phase == "rolled_back"
    assert said in found.state.reason
    assert found.state.figures[f"candidate_{metric}"] is not None
    within = StepFigures(amounts=amounts(metric, champion * 1.1, champion, 1000))
    assert decide(CANARY, PLAN, seen(figures=within)) is None
    few = StepFigures(amounts=amounts(metric, candidate, champion, 99))
    assert decide(CANARY, PLAN, seen(figures=few)) is None


def test_worse_thumbs_go_back() -> None:
    mine = np.tile([True, False], 150)
    thumbs = randomised(mine, np.full(300, 0.5), np.where(mine, 0.0, 1.0))
    found = decide(CANARY, PLAN, seen(figures=StepFigures(thumbs=thumbs)))
    assert found is not None and found.state.phase == "rolled_back" and "thumbs are worse" in found.state.reason


def test_evidence_goes_on_over_the_steps_and_some_capital_is_kept_for_each() -> None:
    assert capital(SHADOW, PLAN) == pytest.approx(1 - KEPT)
    alone = PLAN.model_copy(update={"shadow_percent": 0, "steps": (25, 100)})
    assert capital(SHADOW, alone) == 1.0
    passed = decide(SHADOW, PLAN, seen(figures=figures(0.9, 0.85, 40)))
    better = decide(SHADOW, PLAN, seen(figures=figures(0.1, 0.9, 400)))
    assert passed is not None and better is not None
    left = passed.state.verdicts[-1].figures["log_wealth"]
    assert left is not None
    assert capital(passed.state, PLAN) == pytest.approx(np.exp(left) + KEPT / 2)
    assert capital(better.state, PLAN) >= KEPT / 2


def test_alpha_is_shared_by_all_comparisons() -> None:
    assert comparisons(PLAN) == 3
    assert comparisons(PLAN.model_copy(update={"shadow_percent": 0, "steps": (100,)})) == 1


def test_same_job_has_the_same_rollout() -> None:
    later = begin(JOB, ROUTE, "", PLAN, NOW + 5)
    assert later.rollout_id == in_phase("pending").rollout_id
