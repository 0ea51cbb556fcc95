"""A deployment in memory around the real controller, which can be killed before and after each of its effects.

Log, engines, registry and order files outlive the controller, as Kafka, vLLM, MLflow and the disk do. The gateway
answers at once, and so does the store, unless it is away. A kill is an exception that no code of the controller catches
(it derives from BaseException); what the controller had in memory is lost with it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from serving.engines import EngineRefused
from serving.rollout import orders
from serving.rollout.aside import Aside
from serving.rollout.controller import Controller
from serving.rollout.decide import REGISTRY_DONE
from serving.rollout.moves import keeps_way_back, last_of
from tests.unit.serving_rollout.test_decide import JOB, PIPELINE, PLAN
from tidemill.clock import ManualClock
from tidemill.events import GatewayStatus, JobState, RolloutState, Route
from tidemill.settings import Settings

BASES = frozenset({"base", "base-int8"})
"""What the engines ``local`` and ``green`` serve by themselves."""
DECLARED = {
    "schedule-v1001": {"kind": "prompt", "prompt_version": "2", "system_prompt": "Be brief."},
    "schedule-v1002": {"kind": "model", "engine": "green"},
}
MADE = "schedule-v3"
"""A version that was made before: its adapter is there."""
Quality = tuple[float, float] | None
"""Levels of champion and candidate; None: nothing is scored."""
BETTER: Quality = (0.4, 0.9)
WORSE: Quality = (0.9, 0.1)
EFFECTS = ("load", "unload", "write", "promote", "reject", "unlink")
"""Everything the controller changes outside itself."""


class Killed(BaseException):
    """SIGKILL."""


class World:
    """Also what the controller takes for its log, its engines and its registry. ``kill_at``: the effect at which it is
    killed, counted from 0, and whether before or after that is done."""

    def __init__(self, folder: Path, kill_at: tuple[int, str] | None = None, **plan: Any) -> None:
        pipeline = PIPELINE.model_dump() | {"rollout": PLAN.model_dump() | {"watch_s": 4} | plan}
        pipeline |= {"versions": DECLARED}
        engines: dict[str, Any] = {"local": {}, "green": {"base_model": "base-int8"}}
        self.settings = Settings.model_validate(
            {"data_dir": folder, "engines": engines, "pipelines": {"schedule": pipeline}}
        )
        (folder / "adapters" / MADE).mkdir(parents=True)
        self.clock = ManualClock(JOB.time_ms + 1)
        self.rollouts: dict[str, RolloutState] = {}
        self.routes: dict[str, Route] = {}
        self.jobs: dict[str, JobState] = {}
        self.seqs: list[tuple[str, int]] = []
        self.epochs: list[int] = []
        self.moves: set[tuple[str, str]] = set()
        self.holds: set[tuple[str, str]] = set()
        """Every phase and hold in which a rollout was."""
        self.taken: set[tuple[str, str, bool]] = set()
        """Every act that was ordered, the phase in which it was taken, and whether it was carried out."""
        self.served: set[str] = set(BASES)
        self.aliases: dict[str, str] = {"champion": "schedule-v1", "candidate": "schedule-v2"}
        self.marked: dict[str, str] = {}
        self.quality: Quality = BETTER
        self.away = False
        """The store does not answer."""
        self.broken = False
        """The engine refuses the candidate."""
        self.done: list[tuple[str, str]] = []
        """Every effect, with the phase of the rollout it was done in."""
        self._kill_at = kill_at
        self.kills = 0
        self.controller = self._made()

    # what the controller sees of its log

    gateways = property(lambda self: self)

    def follow(self) -> None:
        """Everything that was written is known."""

    def live(self) -> list[GatewayStatus]:
        """One gateway, which applies the newest route at once."""
        epochs = {name: route.epoch for name, route in self.routes.items()}
        return [GatewayStatus(gateway_id="g", time_ms=1, epochs=epochs, in_flight={})]

    def write(self, state: RolloutState | None, route: Route | None) -> None:
        def both() -> None:
            if state is not None:
                before = self.rollouts.get(state.rollout_id)
                self._note(before, state)
                if before is not None and (before.phase, before.step) != (state.phase, state.step):
                    self.moves.add((before.phase, state.phase))
                self.rollouts[state.rollout_id] = state
                self.seqs.append((state.rollout_id, state.seq))
            if route is not None:
                self.routes[route.pipeline] = route
                self.epochs.append(route.epoch)
                serving = {arm.model for arm in route.arms} | ({route.shadow.model} if route.shadow else set())
                assert serving <= self.served, "no route names what no engine holds"
                assert sum(arm.weight for arm in route.arms) == 100

        self._effect("write", both)

    def _note(self, before: RolloutState | None, state: RolloutState) -> None:
        if state.hold:
            self.holds.add((state.phase, state.hold))
        known, phase = (len(before.orders), before.phase) if before is not None else (0, "")
        self.taken |= {(order.act, phase, not order.refused) for order in state.orders[known:]}

    # its engines

    def models(self) -> frozenset[str]:
        return frozenset(self.served)

    def load(self, model: str, folder: Path | str) -> bool:
        if self.broken and model == "schedule-v2":
            raise EngineRefused("bad rank", 400)
        self._effect("load", lambda: self.served.add(model))
        return True

    def unload(self, model: str) -> bool:
        routed = {arm.model for route in self.routes.values() for arm in route.arms}
        assert model not in routed, "nothing is taken out that answers clients"
        self._effect("unload", lambda: self.served.discard(model))
        return True

    # its registry

    def promote(self, state: RolloutState) -> None:
        def alias() -> None:
            self.aliases = {"champion": state.candidate_version, "previous": state.champion_version}

        self._effect("promote", alias)

    def reject(self, state: RolloutState) -> None:
        def alias() -> None:
            self.aliases = {"champion": state.champion_version}
            self.marked[state.candidate_version] = state.phase

        self._effect("reject", alias)

    # the world

    @property
    def rollout(self) -> RolloutState | None:
        """The one that an order means."""
        return last_of(self.rollouts.values()).get("schedule")

    def round(self) -> None:
        """A round of the controller, half a second later; where it is killed, a new one takes its place."""
        self.clock.advance(500)
        try:
            self.controller.round()
        except Killed:
            self.kills += 1
            self.controller = self._made()

    def order(self, act: Any, **what: Any) -> None:
        """A person gives an order to the rollout (to ``start``: to the pipeline), once."""
        state = self.rollout if act != "start" else None
        given: dict[str, Any] = {"order_id": f"order-{act}", "pipeline": "schedule", "by": "anna", "reason": "why"}
        given |= {"act": act, "time_ms": 1, "rollout_id": state.rollout_id if state is not None else ""}
        orders.place(self.settings, orders.Order(**given | what))

    def until(self, holds: Callable[[World], bool], what: str) -> None:
        """Rounds until this holds."""
        for _ in range(600):
            if holds(self):
                return
            self.round()
        raise AssertionError(f"{what}: never; {self.rollout}")

    def at_rest(self) -> bool:
        """Whether nothing is left to be done: engines, registry and orders follow the log."""
        if not self.rollouts or any(map(keeps_way_back, self.rollouts.values())):
            return False
        marked = all(s.phase == "champion" or s.figures.get(REGISTRY_DONE) for s in self.rollouts.values())
        served = self.served - BASES == {arm.model for arm in self.routes["schedule"].arms} - BASES
        return marked and served and not orders.waiting(self.settings)

    def _made(self) -> Controller:
        return self.made(Aside(inline=True))

    def made(self, aside: Aside) -> Controller:
        """A controller that begins with what is written."""
        nothing, me = cast(Any, None), cast(Any, self)
        return Controller(self.settings, me, nothing, me, self.clock, engine=lambda _: self, aside=aside)

    def _effect(self, name: str, do: Callable[[], object]) -> None:
        state = self.rollout
        self.done.append((state.phase if state is not None else "", name))
        at = len(self.done) - 1
        if self._kill_at == (at, "before"):
            raise Killed
        do()
        if self._kill_at == (at, "after"):
            raise Killed

    def unlinked(self, unlink: Callable[[Path], None], file: Path) -> None:
        """An order's file goes."""
        self._effect("unlink", lambda: unlink(file))
