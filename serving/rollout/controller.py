"""The rollout controller's round: look at engines, gateways, registry and scores; decide; write; make it so.

Everything but the log is asked anew each round, and each effect is safe to repeat, so a restart in any phase goes on
where the log stands. A trouble of one part (store, registry, engine) holds only what depends on it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import msgspec
from prometheus_client import Counter

from serving.engines import Engine, EngineRefused
from serving.rollout import orders
from serving.rollout.adapters import Placement, drained, folder_of, removable, wanted
from serving.rollout.decide import OPEN, Next, begin, decide, registry_wish, withdraw
from serving.rollout.figures import step_figures
from serving.rollout.log import RolloutLog
from serving.rollout.observed import Observed, StepFigures
from serving.rollout.registry import Registry
from serving.rollout.routes import champion_of, first_route, route_of
from tidemill.clock import Clock
from tidemill.errors import Retry
from tidemill.events import JobState, RolloutState, Route
from tidemill.ids import derived_id
from tidemill.io.clickhouse import Store, StoreError
from tidemill.settings import Settings

log = logging.getLogger(__name__)
STEPS = Counter("tidemill_rollout_steps_total", "rollout transitions by phase", ["pipeline", "phase"])
RECONCILE_S = 1.0
REST = 10
"""Times as long as it took to look at a step's figures, they are good enough."""


class AdapterEngine(Protocol):
    """What the controller needs of an engine (serving.engines.Engine has it)."""

    def models(self) -> frozenset[str]: ...
    def load(self, model: str, folder: Path | str) -> bool: ...
    def unload(self, model: str) -> bool: ...


class Controller:
    """Steers every pipeline's rollouts. Call ``round`` again and again; it blocks for at most some seconds.

    Raises Retry or Stop from the log only (start over, or end); other troubles are in ``troubles``.
    """

    def __init__(
        self,
        settings: Settings,
        written: RolloutLog,
        store: Store,
        registry: Registry,
        clock: Clock,
        engine: Callable[[str], AdapterEngine] | None = None,
    ) -> None:
        self._settings = settings
        self._log = written
        self._store = store
        self._registry = registry
        self._clock = clock
        make = engine or (lambda name: Engine.from_settings(settings, name))
        names = {pipeline.engine for pipeline in settings.pipelines.values()}
        self._engines: dict[str, AdapterEngine] = {name: make(name) for name in sorted(names)}
        self._held: dict[str, frozenset[str]] = {}
        """Models each answering engine served when last asked."""
        self._refused: dict[Placement, str] = {}
        self._registry_done: set[tuple[str, str]] = set()
        self._reconcile_at_s = 0.0
        self._looked: dict[str, tuple[int, float, StepFigures]] = {}
        """By rollout: the step looked at (its start), until when that is good enough, and what was seen."""
        self.troubles: dict[str, str] = {}
        """What holds something up now, by part."""

    def round(self) -> None:
        """One round."""
        self._log.follow()
        now_s = self._clock.monotonic_s()
        if now_s >= self._reconcile_at_s:
            self._reconcile()
            self._reconcile_at_s = now_s + RECONCILE_S
        for name in self._settings.pipelines:
            if name not in self._log.routes:
                self._first_route(name)
        self._take_orders()
        for job in list(self._log.jobs.values()):
            self._pick_up(job)
        for state in list(self._log.rollouts.values()):
            if state.phase in OPEN or registry_wish(state) != "none":
                self._advance(state)

    @property
    def settled(self) -> bool:
        """Whether every pipeline has a route and its engine holds all its adapters."""
        here = wanted(self._settings, self._log.routes, self._log.rollouts)
        held = all(place.model in self._held.get(place.engine, ()) for place in here if place not in self._refused)
        return held and all(name in self._log.routes for name in self._settings.pipelines)

    def _reconcile(self) -> None:
        """Load what is wanted and missing, take out what is left over and drained."""
        for name, engine in self._engines.items():
            try:
                self._held[name] = engine.models()
                self._load(name, engine)
                self._unload(name, engine)
                self.troubles.pop(f"engine {name}", None)
            except (Retry, EngineRefused) as error:
                self._held.pop(name, None)
                self.troubles[f"engine {name}"] = str(error)

    def _load(self, name: str, engine: AdapterEngine) -> None:
        here = wanted(self._settings, self._log.routes, self._log.rollouts)
        for place, folder in here.items():
            if place.engine != name or place.model in self._held[name]:
                continue
            try:
                engine.load(place.model, folder)
            except (EngineRefused, Retry) as error:  # of this adapter: the others go on
                if isinstance(error, EngineRefused):
                    self._refused[place] = str(error)
                self.troubles[f"adapter {place.model}"] = str(error)
                continue
            log.info("adapter %s loaded", place.model, extra={"engine": name, "folder": str(folder)})
            self._refused.pop(place, None)
            self.troubles.pop(f"adapter {place.model}", None)
            self._held[name] |= {place.model}

    def _unload(self, name: str, engine: AdapterEngine) -> None:
        live = self._log.gateways.live()
        for place in removable(self._settings, self._log.routes, self._log.rollouts, live):
            if place.engine == name and place.model in self._held[name]:
                engine.unload(place.model)
                log.info("adapter %s unloaded", place.model, extra={"engine": name})
                self._held[name] -= {place.model}

    def _first_route(self, name: str) -> None:
        """A pipeline without a route gets its champion's, once that champion can answer."""
        pipeline = self._settings.pipelines[name]
        engine = self._settings.engines[pipeline.engine]
        if pipeline.champion_adapter and engine.kind == "vllm":
            if pipeline.champion not in self._held.get(pipeline.engine, ()):
                return
        elif pipeline.engine not in self._held:
            return
        route = first_route(name, pipeline, engine, self._clock.now_ms())
        self._log.write(None, route)
        log.info("first route of %s: %s", name, pipeline.champion)

    def _pick_up(self, job: JobState) -> None:
        """A registered candidate without a rollout gets one, unless its pipeline has one going."""
        route = self._log.routes.get(job.pipeline)
        pipeline = self._settings.pipelines.get(job.pipeline)
        if job.phase != "registered" or route is None or pipeline is None:
            return
        if derived_id("rollout", job.job_id) in self._log.rollouts or self._going(job.pipeline):
            return
        champion = champion_of(route).model_version
        folder = folder_of(self._settings, champion, self._log.rollouts.values())
        state = begin(job, route, str(folder or ""), pipeline.rollout, self._clock.now_ms())
        self._write(Next(state, False), route)

    def _take_orders(self) -> None:
        """Rollbacks that a person ordered: written to the log first, then the order goes; both may be repeated."""
        for file, order in orders.waiting(self._settings):
            state = self._log.rollouts.get(order.rollout_id) if order else None
            route = self._log.routes.get(state.pipeline) if state else None
            known = state is not None and state.pipeline in self._settings.pipelines
            moved = withdraw(state, order.reason, self._clock.now_ms()) if state and order and route and known else None
            if moved is not None and route is not None:
                self._write(moved, route)
            else:
                log.warning("order left out: it names no rollout that can be ended", extra={"file": file.name})
            file.unlink(missing_ok=True)

    def _going(self, pipeline: str) -> bool:
        return any(state.pipeline == pipeline and state.phase in OPEN for state in self._log.rollouts.values())

    def _advance(self, state: RolloutState) -> None:
        pipeline = self._settings.pipelines.get(state.pipeline)
        route = self._log.routes.get(state.pipeline)
        if pipeline is None or route is None:
            return
        seen = Observed(
            now_ms=self._clock.now_ms(),
            figures=self._figures(state, pipeline.quality.metric),
            loaded=self._loaded(state, pipeline.engine),
            refused=self._refused.get(Placement(pipeline.engine, state.candidate_version), ""),
            drained=drained(state.champion_version, route, self._log.gateways.live()),
            registry_done=self._follow_in_registry(state),
        )
        moved = decide(state, pipeline.rollout, seen)
        if moved is not None:
            self._write(moved, route)

    def _figures(self, state: RolloutState, metric: str) -> StepFigures | None:
        if state.phase not in ("shadow", "canary"):
            self._looked.pop(state.rollout_id, None)
            return None
        begun_s = self._clock.monotonic_s()
        step_ms, until_s, last = self._looked.get(state.rollout_id, (0, 0.0, StepFigures()))
        if step_ms == state.step_started_ms and begun_s < until_s:
            return last
        try:
            found = step_figures(self._store, state, metric)
        except (Retry, StoreError) as error:
            self.troubles["store"] = str(error)
            return None
        self.troubles.pop("store", None)
        now_s = self._clock.monotonic_s()
        self._looked[state.rollout_id] = (state.step_started_ms, now_s + REST * (now_s - begun_s), found)
        return found

    def _loaded(self, state: RolloutState, engine: str) -> bool | None:
        held = self._held.get(engine)
        return None if held is None else state.candidate_version in held

    def _follow_in_registry(self, state: RolloutState) -> bool | None:
        wish = registry_wish(state)
        if wish == "none" or not state.registered_name:
            return wish != "none"
        if (state.rollout_id, wish) in self._registry_done:
            return True
        try:
            (self._registry.promote if wish == "promote" else self._registry.reject)(state)
        except Retry as error:
            self.troubles["registry"] = str(error)
            return None
        self.troubles.pop("registry", None)
        self._registry_done.add((state.rollout_id, wish))
        return True

    def _write(self, moved: Next, before: Route) -> None:
        state, route = moved.state, None
        pipeline = self._settings.pipelines[state.pipeline]
        if moved.reroute:
            route = route_of(state, before, pipeline.rollout.shadow_percent, self._clock.now_ms())
            state = _with_epoch(state, route.epoch)
        known = self._log.rollouts.get(state.rollout_id)
        self._log.write(state, route)
        if known is None or (known.phase, known.step) != (state.phase, state.step):
            STEPS.labels(state.pipeline, state.phase).inc()
            log.info("rollout of %s: %s", state.candidate_version, state.reason, extra={"phase": state.phase})


def _with_epoch(state: RolloutState, epoch: int) -> RolloutState:
    return msgspec.structs.replace(state, route_epoch=epoch)


def describe(troubles: Iterable[tuple[str, str]]) -> str:
    """Troubles in one line for the readiness page."""
    return "; ".join(f"{part}: {what}" for part, what in sorted(troubles))
