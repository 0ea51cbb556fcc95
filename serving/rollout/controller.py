"""The rollout controller's round: look at engines, gateways, registry and scores; decide; write; make it so.

Everything but the log is asked anew each round, and each effect is safe to repeat, so a restart in any phase goes on
where the log stands. A trouble of one part (store, registry, engine) holds only what depends on it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import msgspec
from prometheus_client import Counter

from serving.rollout import orders
from serving.rollout.adapters import drained, folder_of, need
from serving.rollout.aside import Aside
from serving.rollout.decide import begin, decide, registry_wish
from serving.rollout.freeze import frozen
from serving.rollout.holdings import AdapterEngine, Holdings
from serving.rollout.log import RolloutLog
from serving.rollout.moves import OPEN, Next, keeps_way_back, supersedes
from serving.rollout.observed import Observed
from serving.rollout.ordered import begin_by_order, carry_out, started_id
from serving.rollout.orders import Order
from serving.rollout.registry import Registry
from serving.rollout.report import ended, summary
from serving.rollout.routes import champion_of, first_route, route_of
from serving.rollout.sight import Sight
from serving.versions import Placement, name_taken
from tidemill.clock import Clock
from tidemill.errors import Retry
from tidemill.events import JobState, RolloutState, Route
from tidemill.ids import derived_id, is_version_of
from tidemill.io.clickhouse import Store
from tidemill.settings import Settings

log = logging.getLogger(__name__)
STEPS = Counter("tidemill_rollout_steps_total", "rollout transitions by phase", ["pipeline", "phase"])
RECONCILE_S = 1.0


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
        aside: Aside | None = None,
    ) -> None:
        self._settings = settings
        self._log = written
        self._registry = registry
        self._clock = clock
        self._registry_done: set[tuple[str, str]] = set()
        self._reconcile_at_s = 0.0
        self._taken: set[str] = set()
        """Names of order files that were taken and could not be removed."""
        self.troubles: dict[str, str] = {}
        """What holds something up now, by part."""
        self._aside = aside or Aside()
        self._holdings = Holdings(settings, written, engine, self.troubles)
        self._sight = Sight(store, clock, self.troubles)

    def round(self) -> None:
        """One round."""
        self._log.follow()
        now_s = self._clock.monotonic_s()
        if now_s >= self._reconcile_at_s:
            self._reconcile_at_s = now_s + RECONCILE_S
            live, now_ms = self._log.gateways.live(), self._clock.now_ms()
            for name in self._holdings.engines:
                self._aside.start(f"engine {name}", partial(self._holdings.reconcile, name, live, now_ms))
        for name in self._settings.pipelines:
            if name not in self._log.routes:
                self._first_route(name)
        self._take_orders()
        for job in list(self._log.jobs.values()):
            self._pick_up(job)
        self.troubles.pop("model", None)
        for state in list(self._log.rollouts.values()):
            if keeps_way_back(state) or registry_wish(state) != "none":
                self._advance(state)

    @property
    def settled(self) -> bool:
        """Whether every pipeline has a route and its engine holds all its adapters."""
        return self._holdings.settled and all(name in self._log.routes for name in self._settings.pipelines)

    def _first_route(self, name: str) -> None:
        """A pipeline without a route gets its champion's, once that champion can answer."""
        route = first_route(self._settings, name, self._clock.now_ms())
        arm = champion_of(route)
        champion = need(self._settings, name, arm.model_version, self._log.rollouts.values())
        loaded = self._holdings.loaded(champion.place)
        if loaded is None or (champion.adapter is not None and not loaded):
            return
        self._log.write(None, route)
        log.info("first route of %s: %s", name, arm.model_version)

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
        refused = name_taken(pipeline, job.candidate_version)
        state = begin(job, route, str(folder or ""), pipeline.rollout, self._clock.now_ms(), refused)
        self._write(Next(state, False), route)

    def _take_orders(self) -> None:
        """Each order goes into the log first, then its file goes; both may be repeated. A folder or file that another
        user of the system keeps to itself is said, and holds up nothing else.
        """
        stuck = ""
        try:
            files = orders.files(self._settings)
        except OSError as error:
            files, stuck = [], str(error)
        for file in files:
            try:
                if file.name in self._taken or self._take(file):
                    self._taken.add(file.name)
                    file.unlink(missing_ok=True)
                    self._taken.remove(file.name)
            except OSError as error:
                stuck = str(error)
        self.troubles.pop("orders", None)
        if stuck:
            self.troubles["orders"] = f"{stuck}; the user of the rollout role must own the folder and its files"

    def _take(self, file: Path) -> bool:
        """Whether it is taken; not before the pipeline has its first route. Raises OSError."""
        order = orders.read(file)
        if order is None or order.pipeline not in self._settings.pipelines:
            log.warning("order left out: it names no pipeline of the settings", extra={"file": file.name})
            return True
        route = self._log.routes.get(order.pipeline)
        if route is None:
            return False
        (self._start if order.act == "start" else self._carry_out)(order, route)
        return True

    def _carry_out(self, order: Order, route: Route) -> None:
        state = self._log.rollouts.get(order.rollout_id)
        if state is None or state.pipeline != order.pipeline:
            log.warning("order left out: it names no rollout of %s", order.pipeline, extra={"order": order.order_id})
            return
        now_ms, plan = self._clock.now_ms(), self._settings.pipelines[order.pipeline].rollout
        over = self._superseded(state)
        moved = carry_out(order, state, plan, frozen(plan, now_ms), now_ms, superseded=over)
        if moved is not None:
            self._write(moved, route)

    def _start(self, order: Order, route: Route) -> None:
        if started_id(order) in self._log.rollouts:
            return
        known = self._log.rollouts.values()
        folders = (folder_of(self._settings, each, known) for each in (order.version, champion_of(route).model_version))
        candidate, champion = folders
        refused = self._not_startable(order, route, candidate)
        plan = self._settings.pipelines[order.pipeline].rollout
        given = str(candidate or ""), str(champion or "")
        self._write(Next(begin_by_order(order, route, given, plan, refused, self._clock.now_ms()), False), route)

    def _not_startable(self, order: Order, route: Route, folder: Path | None) -> str:
        if self._going(order.pipeline):
            return "another rollout of the pipeline is under way; end it with `abort`"
        if order.version == champion_of(route).model_version:
            return f"{order.version} is the champion"
        if not is_version_of(order.pipeline, order.version):
            return f"{order.version!r} is not <pipeline>-v<N>"
        declared = self._settings.pipelines[order.pipeline].versions
        if order.version not in declared and folder is not None and not folder.is_dir():
            return f"there is no such version: {folder} is no folder, and the settings declare none of this name"
        plan = self._settings.pipelines[order.pipeline].rollout
        if order.at_once and not order.despite_freeze and (why := frozen(plan, self._clock.now_ms())):
            return f"{why}; order it with --despite-freeze"
        return ""

    def _going(self, pipeline: str) -> bool:
        return any(state.pipeline == pipeline and state.phase in OPEN for state in self._log.rollouts.values())

    def _superseded(self, state: RolloutState) -> bool:
        """Whether another rollout of the pipeline has begun since."""
        return any(supersedes(other, state) for other in self._log.rollouts.values())

    def _advance(self, state: RolloutState) -> None:
        pipeline = self._settings.pipelines.get(state.pipeline)
        route = self._log.routes.get(state.pipeline)
        if pipeline is None or route is None:
            return
        candidate = self._place(state, state.candidate_version)
        seen = Observed(
            now_ms=self._clock.now_ms(),
            figures=self._sight.figures(state, pipeline),
            loaded=self._holdings.loaded(candidate, state.created_ms),
            refused=self._holdings.refused.get(candidate, ""),
            drained=drained(state.champion_version, route, self._log.gateways.live()),
            registry_done=self._follow_in_registry(state),
            superseded=self._superseded(state),
            freeze=frozen(pipeline.rollout, self._clock.now_ms()),
        )
        moved = decide(state, pipeline.rollout, seen)
        if moved is not None:
            self._write(moved, route)
        elif state.phase == "pending" and (instead := self._holdings.not_served(candidate)):
            self.troubles["model"] = f"{candidate.model} of {state.candidate_version}: {instead}"

    def _follow_in_registry(self, state: RolloutState) -> bool | None:
        wish = registry_wish(state)
        if wish == "none" or not state.registered_name:
            return wish != "none"
        if (done := (state.rollout_id, wish)) not in self._registry_done:
            self._aside.start("registry", partial(self._tell_registry, wish, state))
        return True if done in self._registry_done else None

    def _tell_registry(self, wish: str, state: RolloutState) -> None:
        """Blocks for as long as the registry takes."""
        try:
            (self._registry.promote if wish == "promote" else self._registry.reject)(state)
        except Retry as error:
            self.troubles["registry"] = str(error)
            return
        self.troubles.pop("registry", None)
        self._registry_done.add((state.rollout_id, wish))

    def close(self) -> None:
        """Wait for what engines and registry were asked."""
        self._aside.close()

    def _place(self, state: RolloutState, version: str) -> Placement:
        return need(self._settings, state.pipeline, version, self._log.rollouts.values()).place

    def _write(self, moved: Next, before: Route) -> None:
        state, route = moved.state, None
        pipeline = self._settings.pipelines[state.pipeline]
        if moved.reroute:
            both = (state.champion_version, state.candidate_version)
            places = {version: self._place(state, version) for version in both}
            route = route_of(state, before, places, pipeline.rollout.shadow_percent, self._clock.now_ms())
            state = msgspec.structs.replace(state, route_epoch=route.epoch)
        if ended(state) and not state.summary:
            told = summary(state, self._log.jobs.get(state.job_id), self._settings.gpu.usd_per_hour)
            state = msgspec.structs.replace(state, summary=told)
        known = self._log.rollouts.get(state.rollout_id)
        self._log.write(state, route)
        if known is None or (known.phase, known.step) != (state.phase, state.step):
            STEPS.labels(state.pipeline, state.phase).inc()
        if known is None or known.reason != state.reason:
            log.info("rollout of %s: %s", state.candidate_version, state.reason, extra={"phase": state.phase})


def describe(troubles: Iterable[tuple[str, str]]) -> str:
    """Troubles in one line for the readiness page."""
    return "; ".join(f"{part}: {what}" for part, what in sorted(troubles))
