"""A deployment in memory around the real controller, which can be killed before and after each of its effects.

Log, engine, registry and order files outlive the controller, as Kafka, vLLM, MLflow and the disk do. Store and gateway
answer at once. A kill is an exception that no code of the controller catches (it derives from BaseException); what the
controller had in memory is lost with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from serving.engines import EngineRefused
from serving.rollout import orders
from serving.rollout.aside import Aside
from serving.rollout.controller import Controller
from serving.rollout.decide import REGISTRY_DONE
from tests.unit.serving_rollout.test_decide import JOB, PIPELINE, PLAN
from tidemill.clock import ManualClock
from tidemill.events import GatewayStatus, JobState, RolloutState, Route
from tidemill.ids import derived_id
from tidemill.settings import Settings

EFFECTS = ("load", "unload", "write", "promote", "reject", "unlink")
"""Everything the controller changes outside itself."""


class Killed(BaseException):
    """SIGKILL."""


class World:
    """Also what the controller takes for its log, its engine and its registry. ``kill_at``: the effect at which it is
    killed, counted from 0, and whether before or after that is done."""

    def __init__(self, folder: Path, kill_at: tuple[int, str] | None = None, **plan: Any) -> None:
        pipeline = PIPELINE.model_dump() | {"rollout": PLAN.model_dump() | {"watch_s": 4} | plan}
        self.settings = Settings.model_validate(
            {"data_dir": folder, "engines": {"local": {}}, "pipelines": {"schedule": pipeline}}
        )
        self.clock = ManualClock(JOB.time_ms + 1)
        self.rollouts: dict[str, RolloutState] = {}
        self.routes: dict[str, Route] = {}
        self.jobs: dict[str, JobState] = {}
        self.seqs: list[tuple[str, int]] = []
        self.epochs: list[int] = []
        self.moves: set[tuple[str, str]] = set()
        self.served: set[str] = {"base"}
        self.aliases: dict[str, str] = {"champion": "schedule-v1", "candidate": "schedule-v2"}
        self.marked: dict[str, str] = {}
        self.quality: Mapping[str, float] = {"schedule-v1": 0.4, "schedule-v2": 0.9}
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

    # its engine

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
        return self.rollouts.get(derived_id("rollout", JOB.job_id))

    def round(self) -> None:
        """A round of the controller, half a second later; where it is killed, a new one takes its place."""
        self.clock.advance(500)
        try:
            self.controller.round()
        except Killed:
            self.kills += 1
            self.controller = self._made()

    def order(self, act: Any, **what: Any) -> None:
        """A person gives an order to the rollout, once."""
        state = self.rollout
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
        """Whether nothing is left to be done: engine, registry and orders follow the log."""
        state = self.rollout
        if state is None or state.phase not in ("champion", "rolled_back", "failed") or state.watch == "open":
            return False
        marked = state.phase == "champion" or bool(state.figures.get(REGISTRY_DONE))
        served = self.served - {"base"} == {arm.model for arm in self.routes["schedule"].arms}
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
