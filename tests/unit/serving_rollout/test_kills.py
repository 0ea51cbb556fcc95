"""SIGKILL at every effect in every phase: whatever was half done, the rollout ends as it would have without it.

Enumerated, not sampled. The ways below take every move of the state machine's table (asserted); each way is gone once
without a kill, to count its effects, then once for each effect and side: killed before it was done, and after.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from serving.rollout import controller
from serving.rollout.aside import Aside
from serving.rollout.moves import MOVES, OPEN
from serving.rollout.observed import StepFigures
from tests.unit.serving_rollout.kill_world import EFFECTS, World
from tests.unit.serving_rollout.test_decide import JOB, figures
from tests.unit.serving_rollout.test_watch import seen_in_watch
from tidemill.events import RolloutState

Way = Callable[[World], None]


def at(phase: str, weight: int = 0) -> Callable[[World], bool]:
    def holds(world: World) -> bool:
        state = world.rollout
        return state is not None and state.phase == phase and (not weight or state.weight == weight)

    return holds


def begin(world: World) -> None:
    world.until(lambda w: "schedule" in w.routes, "the first route")
    world.jobs[JOB.job_id] = JOB


def to_champion(world: World) -> None:
    begin(world)


def harm_in(phase: str, weight: int = 0) -> Way:
    def way(world: World) -> None:
        begin(world)
        world.until(at(phase, weight), phase)
        world.quality = {"schedule-v1": 0.9, "schedule-v2": 0.1}

    return way


def order_in(phase: str, act: str, **what: object) -> Way:
    def way(world: World) -> None:
        world.quality = {}  # nothing is scored, so that only the order moves it
        begin(world)
        if phase in ("canary", "promoting", "champion"):
            world.quality = {"schedule-v1": 0.4, "schedule-v2": 0.9}
        world.until(at(phase), phase)
        world.quality = {} if phase in OPEN else world.quality
        world.order(act, **what)
        world.until(lambda w: w.rollout is not None and bool(w.rollout.orders), f"{act} taken")
        world.quality = {"schedule-v1": 0.4, "schedule-v2": 0.9}

    return way


def paused_and_resumed(world: World) -> None:
    begin(world)
    world.until(at("canary", 25), "the canary")
    world.order("pause")
    world.until(lambda w: w.rollout is not None and w.rollout.hold == "paused", "the pause")
    world.order("resume")


def refused_by_the_engine(world: World) -> None:
    world.broken = True
    begin(world)


WAYS: dict[str, tuple[Way, dict[str, object], str]] = {
    "to champion": (to_champion, {}, "champion"),
    "without a shadow": (to_champion, {"shadow_percent": 0}, "champion"),
    "shadow, then all at once": (to_champion, {"steps": (100,)}, "champion"),
    "all at once": (to_champion, {"steps": (100,), "shadow_percent": 0}, "champion"),
    "refused by the engine": (refused_by_the_engine, {}, "failed"),
    "harm in the shadow": (harm_in("shadow"), {}, "rolled_back"),
    "harm in the first step": (harm_in("canary", 25), {}, "rolled_back"),
    "harm in the second step": (harm_in("canary", 50), {}, "rolled_back"),
    "harm in the watch": (harm_in("champion"), {}, "rolled_back"),
    "paused and resumed": (paused_and_resumed, {}, "champion"),
    "aborted before it began": (order_in("pending", "abort"), {}, "rolled_back"),
    "rolled back while it takes over": (order_in("promoting", "rollback"), {}, "rolled_back"),
    "aborted in the shadow": (order_in("shadow", "abort"), {}, "rolled_back"),
    "rolled back in the canary": (order_in("canary", "rollback"), {}, "rolled_back"),
    "rolled back in the watch": (order_in("champion", "rollback"), {}, "rolled_back"),
    "promoted in the shadow": (order_in("shadow", "promote"), {}, "champion"),
    "promoted at once in the shadow": (order_in("shadow", "promote", at_once=True), {}, "champion"),
}


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., World]]:
    """Makes worlds; the figures that the controller reads are those of the world it is in."""
    worlds: list[World] = []

    judged_once, watched_once = cache(figures), cache(seen_in_watch)

    def judged(_: object, state: RolloutState, __: str) -> StepFigures:
        quality = worlds[-1].quality
        n = 45 if quality else 0
        return judged_once(quality.get("schedule-v1", 0), quality.get("schedule-v2", 0), n)

    def watched(*_: object) -> StepFigures:
        quality = worlds[-1].quality
        return watched_once(quality.get("schedule-v1", 0), quality.get("schedule-v2", 0), 45 if quality else 0)

    monkeypatch.setattr(controller, "step_figures", judged)
    monkeypatch.setattr(controller, "watch_figures", watched)
    plainly = Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda file, **_: worlds[-1].unlinked(plainly, file))

    def made(*given: object, **plan: object) -> World:
        worlds.append(World(*given, **plan))  # type: ignore[arg-type]
        return worlds[-1]

    yield made


def gone(world: World, way: Way) -> World:
    way(world)
    world.until(World.at_rest, "rest")
    return world


def numbered(world: World) -> None:
    """No state and no route was written twice or left out."""
    for rollout_id in world.rollouts:
        seqs = [seq for each, seq in world.seqs if each == rollout_id]
        assert seqs == list(range(1, len(seqs) + 1))
    assert world.epochs == list(range(1, len(world.epochs) + 1))


@pytest.mark.parametrize("name", WAYS)
def test_killed_before_and_after_each_effect_it_ends_as_without(
    name: str, tmp_path: Path, deployed: Callable[..., World]
) -> None:
    way, plan, end = WAYS[name]
    undisturbed = gone(deployed(tmp_path / "undisturbed", **plan), way)
    assert undisturbed.rollout is not None and undisturbed.rollout.phase == end
    numbered(undisturbed)
    for number, side in itertools.product(range(len(undisturbed.done)), ("before", "after")):
        folder = tmp_path / f"{number}-{side}"
        killed = gone(deployed(folder, (number, side), **plan), way)
        assert killed.kills == 1
        told = f"killed {side} effect {number}, {undisturbed.done[number]}"
        state = killed.rollout
        assert state is not None and state.phase == end, told
        assert [(o.act, o.refused) for o in state.orders] == [(o.act, o.refused) for o in undisturbed.rollout.orders], (
            told
        )
        assert [v.check for v in state.verdicts] == [v.check for v in undisturbed.rollout.verdicts], told
        assert state.summary, told
        assert killed.routes["schedule"].arms == undisturbed.routes["schedule"].arms, told
        assert (killed.served, killed.aliases, killed.marked) == (
            undisturbed.served,
            undisturbed.aliases,
            undisturbed.marked,
        ), told
        numbered(killed)


def test_the_ways_take_every_move_and_every_effect(tmp_path: Path, deployed: Callable[..., World]) -> None:
    moves: set[tuple[str, str]] = set()
    effects: set[str] = set()
    for number, (way, plan, _) in enumerate(WAYS.values()):
        world = deployed(tmp_path / str(number), **plan)
        moves |= gone(world, way).moves
        effects |= {effect for _, effect in world.done}
    assert moves == {(phase, to) for phase, those in MOVES.items() for to in those}
    assert effects == set(EFFECTS)


def test_an_engine_that_hangs_does_not_hold_up_harm(
    tmp_path: Path, deployed: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = deployed(tmp_path)
    begin(world)
    world.until(at("canary", 25), "the canary")
    answers = threading.Event()
    monkeypatch.setattr(world, "models", lambda: frozenset(world.served) if answers.wait(60) else frozenset())
    aside = Aside()
    world.controller = world.made(aside)
    world.quality = {"schedule-v1": 0.9, "schedule-v2": 0.1}
    world.round()
    assert world.rollout is not None and world.rollout.phase == "rolled_back"
    assert [(arm.model_version, arm.weight) for arm in world.routes["schedule"].arms] == [("schedule-v1", 100)]
    answers.set()
    aside.close()
