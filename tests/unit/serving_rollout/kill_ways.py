"""Ways through a rollout for the test of kills: each begins something in a ``World`` and waits for what it acts on.

Orders are made from the rules of ``refusal``: every act in every phase where it may be carried out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from serving.rollout import orders
from serving.rollout.moves import HOLDS, MOVES
from serving.rollout.ordered import refusal
from tests.unit.serving_rollout.kill_world import BETTER, MADE, WORSE, Quality, World
from tests.unit.serving_rollout.test_decide import JOB, NOW, in_phase
from tidemill.cli.rollout import order_of
from tidemill.events.lifecycle import OrderAct, RolloutPhase

Way = Callable[[World], None]
FROZEN_FROM_MS = NOW + 40_000
"""22:14:00 UTC."""
FREEZE = {"freeze": ({"name": "a minute", "at": "22:14", "lasts_s": 60},)}
SHORT = {"max_step_s": 5, "hold_s": 5}


def orderable(act: OrderAct) -> list[RolloutPhase]:
    """Phases in which the order is carried out; of a champion, while it is watched."""
    found = []
    for phase in MOVES:
        watch, kind = ("open" if phase == "champion" else ""), ("paused" if act == "resume" and phase in HOLDS else "")
        state = in_phase(phase, watch=watch, hold=kind)
        order = orders.Order(order_id="o", act=act, pipeline="schedule", by="anna", reason="why", time_ms=NOW)
        if not refusal(order, state, ""):
            found.append(phase)
    return found


def at(phase: str, weight: int = 0) -> Callable[[World], bool]:
    def holds(world: World) -> bool:
        state = world.rollout
        return state is not None and state.phase == phase and (not weight or state.weight == weight)

    return holds


def held(kind: str) -> Callable[[World], bool]:
    return lambda world: world.rollout is not None and world.rollout.hold == kind


def jump(world: World, to_ms: int) -> None:
    world.clock.advance(to_ms - world.clock.now_ms())


def begin(world: World) -> None:
    world.until(lambda w: "schedule" in w.routes, "the first route")
    world.jobs[JOB.job_id] = JOB


def come_to(world: World, phase: str, then: Quality = None) -> None:
    """To that phase, by good scores where it takes them; ``then``: the levels there."""
    world.quality = None if phase in ("pending", "shadow") else BETTER
    begin(world)
    world.until(at(phase), phase)
    world.quality = then


def harm_in(phase: str, weight: int = 0) -> Way:
    def way(world: World) -> None:
        begin(world)
        world.until(at(phase, weight), phase)
        world.quality = WORSE

    return way


def order_in(phase: str, act: OrderAct, **what: object) -> Way:
    def way(world: World) -> None:
        come_to(world, phase)  # nothing is scored, so that only the order moves it
        world.order(act, **what)
        world.until(lambda w: w.rollout is not None and bool(w.rollout.orders), f"{act} taken")
        world.quality = BETTER

    return way


def paused_in(phase: str) -> Way:
    def way(world: World) -> None:
        come_to(world, phase)
        world.order("pause")
        world.until(held("paused"), "the pause")
        world.order("resume")
        world.quality = BETTER

    return way


def frozen_in(phase: str) -> Way:
    def way(world: World) -> None:
        if phase == "pending":
            jump(world, FROZEN_FROM_MS)
            begin(world)
        else:
            come_to(world, phase)
            jump(world, FROZEN_FROM_MS)
            world.quality = BETTER
        world.until(held("frozen"), "the freeze window")
        jump(world, FROZEN_FROM_MS + 59_000)

    return way


def blind_in(phase: str) -> Way:
    def way(world: World) -> None:
        come_to(world, phase)
        world.away = True
        world.until(held("blind"), "that nothing is seen")
        world.away, world.quality = False, BETTER

    return way


def inconclusive_in(phase: str, then: Quality = None, act: OrderAct | None = None) -> Way:
    """Held, and then by itself; by scores of these levels; or by order."""

    def way(world: World) -> None:
        come_to(world, phase)
        world.until(held("inconclusive"), "that it takes too long")
        world.quality = then
        if act is not None:
            world.order(act)
            world.until(lambda w: w.rollout is not None and bool(w.rollout.orders), f"{act} taken")
            world.quality = BETTER

    return way


def started(version: str = MADE, then: Quality = BETTER, **what: object) -> Way:
    def way(world: World) -> None:
        world.until(lambda w: "schedule" in w.routes, "the first route")
        world.order("start", version=version, **what)
        world.quality = then

    return way


def start_beside_another(world: World) -> None:
    come_to(world, "canary")
    world.order("start", version=MADE)
    world.until(lambda w: len(w.rollouts) == 2, "the refusal")
    world.quality = BETTER


def back_from_a_settled_champion(world: World) -> None:
    begin(world)
    world.until(World.at_rest, "the champion")
    orders.place(world.settings, order_of("rollback", "schedule", world.rollout, "why", "anna", 1, ""))


def refused_by_the_engine(world: World) -> None:
    world.broken = True
    begin(world)


_ENDS = {"promote": "champion", "rollback": "rolled_back", "abort": "rolled_back"}
WAYS: dict[str, tuple[Way, dict[str, Any], str]] = {
    "to champion": (begin, {}, "champion"),
    "without a shadow": (begin, {"shadow_percent": 0}, "champion"),
    "shadow, then all at once": (begin, {"steps": (100,)}, "champion"),
    "all at once": (begin, {"steps": (100,), "shadow_percent": 0}, "champion"),
    "refused by the engine": (refused_by_the_engine, {}, "failed"),
    "harm in the shadow": (harm_in("shadow"), {}, "rolled_back"),
    "harm in the first step": (harm_in("canary", 25), {}, "rolled_back"),
    "harm in the second step": (harm_in("canary", 50), {}, "rolled_back"),
    "harm in the watch": (harm_in("champion"), {}, "rolled_back"),
    **{f"paused and resumed in {phase}": (paused_in(phase), {}, "champion") for phase in orderable("pause")},
    **{
        f"{act} in {phase}": (order_in(phase, cast(OrderAct, act)), {}, end)
        for act, end in _ENDS.items()
        for phase in orderable(cast(OrderAct, act))
    },
    "promoted at once in the shadow": (order_in("shadow", "promote", at_once=True), {}, "champion"),
    **{f"frozen in {phase}": (frozen_in(phase), FREEZE, "champion") for phase, by in HOLDS.items() if "frozen" in by},
    **{f"blind in {phase}": (blind_in(phase), {}, "champion") for phase, by in HOLDS.items() if "blind" in by},
    "inconclusive in the shadow, then back": (inconclusive_in("shadow"), SHORT, "rolled_back"),
    "inconclusive in the canary, then back": (inconclusive_in("canary"), SHORT, "rolled_back"),
    "inconclusive, then onward": (inconclusive_in("shadow"), SHORT | {"on_inconclusive": "advance"}, "champion"),
    "inconclusive, then scored": (inconclusive_in("canary", BETTER), SHORT, "champion"),
    "inconclusive, then harm": (inconclusive_in("canary", WORSE), SHORT, "rolled_back"),
    "inconclusive, then by order": (
        inconclusive_in("canary", act="promote"),
        SHORT | {"on_inconclusive": "hold"},
        "champion",
    ),
    "started by order": (started(), {}, "champion"),
    "started at once": (started(at_once=True), {}, "champion"),
    "started at once in a freeze window": (
        started(at_once=True, despite_freeze=True),
        {"freeze": ({"name": "all day", "at": "00:00", "lasts_s": 86_400},)},
        "champion",
    ),
    "start refused: no such version": (started("schedule-v9"), {}, "failed"),
    "start refused: another one is under way": (start_beside_another, {}, "champion"),
    "a prompt, started by order": (started("schedule-v1001"), {}, "champion"),
    "another engine's model, started by order": (started("schedule-v1002"), {}, "champion"),
    "another engine's model, harmful": (started("schedule-v1002", WORSE), {}, "rolled_back"),
    "back from a settled champion": (back_from_a_settled_champion, {}, "champion"),
}
"""By name: the way, what its plan says, and the phase in which the rollout ends."""
