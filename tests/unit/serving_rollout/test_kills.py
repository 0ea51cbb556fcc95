"""SIGKILL at every effect in every phase: whatever was half done, the rollout ends as it would have without it.

Enumerated, not sampled. The ways of ``kill_ways`` take every move, every hold and every order of the state machine's
tables (asserted); each way is gone once without a kill, to count its effects, then once for each effect and side:
killed before it was done, and after.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from serving.rollout import sight
from serving.rollout.aside import Aside
from serving.rollout.moves import HOLDS, MOVES
from serving.rollout.observed import StepFigures
from tests.unit.serving_rollout.kill_ways import WAYS, Way, at, begin, orderable
from tests.unit.serving_rollout.kill_world import EFFECTS, WORSE, World
from tests.unit.serving_rollout.test_decide import figures
from tests.unit.serving_rollout.test_watch import seen_in_watch
from tidemill.errors import Retry
from tidemill.events.lifecycle import OrderAct


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., World]]:
    """Makes worlds; the figures that the controller sees are those of the world it is in."""
    worlds: list[World] = []

    def shown(made: Callable[[float, float, int], StepFigures]) -> Callable[..., StepFigures]:
        made_once = cache(made)

        def looked(*_: object) -> StepFigures:
            if worlds[-1].away:
                raise Retry("the store does not answer")
            return made_once(*(worlds[-1].quality or (0, 0)), 45 if worlds[-1].quality else 0)

        return looked

    monkeypatch.setattr(sight, "step_figures", shown(figures))
    monkeypatch.setattr(sight, "watch_figures", shown(seen_in_watch))
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


def came_of(world: World) -> list[object]:
    """What is to be the same with and without a kill."""
    folder = str(world.settings.data_dir)
    states = [
        (
            state.candidate_version,
            (state.phase, state.hold, state.watch),
            [(order.act, order.refused.replace(folder, "")) for order in state.orders],
            [(verdict.check, verdict.outcome) for verdict in state.verdicts],
            bool(state.summary),
        )
        for state in world.rollouts.values()
    ]
    return [states, world.routes["schedule"].arms, world.served, world.aliases, world.marked]


@pytest.mark.parametrize("name", WAYS)
def test_killed_before_and_after_each_effect_it_ends_as_without(
    name: str, tmp_path: Path, deployed: Callable[..., World]
) -> None:
    way, plan, end = WAYS[name]
    undisturbed = gone(deployed(tmp_path / "undisturbed", **plan), way)
    assert undisturbed.rollout is not None and undisturbed.rollout.phase == end
    assert all(state.summary for state in undisturbed.rollouts.values())
    numbered(undisturbed)
    for number, side in itertools.product(range(len(undisturbed.done)), ("before", "after")):
        killed = gone(deployed(tmp_path / f"{number}-{side}", (number, side), **plan), way)
        assert killed.kills == 1
        assert came_of(killed) == came_of(undisturbed), f"killed {side} effect {number}, {undisturbed.done[number]}"
        numbered(killed)


def test_the_ways_take_every_move_every_hold_every_order_and_every_effect(
    tmp_path: Path, deployed: Callable[..., World]
) -> None:
    moves: set[tuple[str, str]] = set()
    holds: set[tuple[str, str]] = set()
    taken: set[tuple[str, str, bool]] = set()
    effects: set[str] = set()
    for number, (way, plan, _) in enumerate(WAYS.values()):
        world = gone(deployed(tmp_path / str(number), **plan), way)
        moves |= world.moves
        holds |= world.holds
        taken |= world.taken
        effects |= {effect for _, effect in world.done}
    assert moves == {(phase, to) for phase, those in MOVES.items() for to in those}
    assert holds == {(phase, kind) for phase, kinds in HOLDS.items() for kind in kinds}
    carried_out = {(act, phase) for act, phase, done in taken if done}
    assert carried_out == {("start", "")} | {
        (act, phase) for act in get_args(OrderAct) if act != "start" for phase in orderable(act)
    }
    assert ("start", "", False) in taken, "a start that was refused"
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
    world.quality = WORSE
    world.round()
    assert world.rollout is not None and world.rollout.phase == "rolled_back"
    assert [(arm.model_version, arm.weight) for arm in world.routes["schedule"].arms] == [("schedule-v1", 100)]
    answers.set()
    aside.close()
