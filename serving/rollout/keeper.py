"""Keeps the registry's aliases true, and turns an alias that somebody moved into an order to the rollout.

It runs beside the controller, in a thread of its own: a registry that is slow or away holds up no rollout. It writes no
rollout state; what it orders the controller decides on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from serving.rollout import orders
from serving.rollout.aliases import declared_tags, keeping, meant, refusal, true_aliases
from serving.rollout.moves import OPEN
from serving.rollout.orders import Order
from serving.rollout.registry import Registry
from tidemill.clock import Clock
from tidemill.errors import Retry
from tidemill.events import JobState, RolloutState, Route
from tidemill.events.lifecycle import OPEN_JOBS
from tidemill.ids import derived_id, version_of
from tidemill.settings import Settings
from tidemill.settings.versions import in_words

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Facts:
    """What the controller's log says, as of one round."""

    routes: Mapping[str, Route] = field(default_factory=dict)
    rollouts: Mapping[str, RolloutState] = field(default_factory=dict)
    jobs: Mapping[str, JobState] = field(default_factory=dict)


class Keeper:
    """One deployment's keeper of aliases. ``see`` is the controller's, all else the keeper's own thread's."""

    def __init__(self, settings: Settings, registry: Registry, clock: Clock) -> None:
        self._settings = settings
        self._registry = registry
        self._clock = clock
        self._facts = Facts()
        self._noted: dict[str, str] = {}
        """Phase that was last noted in the registry, by rollout."""
        self._said = ""
        self.trouble = ""
        """What no outage of the registry explains, and so is said by the role; empty: nothing."""

    def see(
        self, routes: Mapping[str, Route], rollouts: Mapping[str, RolloutState], jobs: Mapping[str, JobState]
    ) -> None:
        """Take what the log says after a round. Does not block."""
        self._facts = Facts(dict(routes), dict(rollouts), dict(jobs))

    def watch(self, ending: threading.Event) -> None:
        """Look again and again until ``ending``. Blocks; raises nothing."""
        while not ending.wait(self._settings.mlflow.aliases_s):
            try:
                self.keep()
                self._tell("")
            except Retry as error:
                self._tell(str(error))
            except OSError as error:  # the folder of the orders
                self._tell(f"an order cannot be left: {error}")
            except Exception as error:  # an answer of another shape than MLflow's must not end the thread
                log.exception("aliases: a look has failed")
                self.trouble = f"aliases cannot be kept: {type(error).__name__}: {error}"
                continue
            self.trouble = ""

    def keep(self) -> None:
        """One look at every pipeline's aliases; one that cannot be kept holds up no other. Blocks for seconds; may be
        repeated. Raises Retry or OSError."""
        failed: Retry | None = None
        for pipeline in self._settings.pipelines:
            if pipeline in self._facts.routes:
                try:
                    self._keep(pipeline)
                except Retry as error:
                    failed = failed or Retry(f"{pipeline}: {error}")
        if failed is not None:
            raise failed

    def _keep(self, pipeline: str) -> None:
        """1. look; 2. only then take the facts, which so are never older than what was seen; 3. order; 4. put back;
        5. say which declared versions stand where no alias can."""
        made_by = self._registry.jobs(pipeline)
        found = self._registry.found(pipeline)
        facts = self._facts
        route = facts.routes[pipeline]
        truth = true_aliases(route, facts.rollouts.values(), facts.jobs.values(), made_by)
        unfinished = {number for number, job_id in made_by.items() if _goes_on(job_id, facts)}
        todo = keeping(found, truth, unfinished)
        if todo.wish:
            self._wish(pipeline, todo.wish, todo.by, facts)
        if todo.put:
            self._registry.put(pipeline, found, todo.put)
        elif made_by and not (set(found.aliases.values()) & unfinished):
            self._registry.settle(pipeline, found)
        declared = self._declared(pipeline)
        tags = declared_tags(meant(route, facts.rollouts.values(), facts.jobs.values()), declared)
        self._registry.declare(pipeline, found, tags)
        self._note(pipeline, facts)

    def _declared(self, pipeline: str) -> dict[str, str]:
        """What each declared version is, in words."""
        here, bases = self._settings.pipelines[pipeline], {n: e.base_model for n, e in self._settings.engines.items()}
        return {version: in_words(here, version, bases) for version in here.versions}

    def _wish(self, pipeline: str, number: str, alias: str, facts: Facts) -> None:
        version, route = version_of(pipeline, number), facts.routes[pipeline]
        refused = refusal(version, route, facts.rollouts.values(), facts.jobs.values())
        if not refused:
            before = sum(state.pipeline == pipeline for state in facts.rollouts.values())
            order = Order(
                order_id=derived_id("alias", self._settings.deployment, version, before),
                act="start",
                pipeline=pipeline,
                by=f"MLflow's alias {alias}",
                reason=f"alias {alias} was moved to version {number}",
                time_ms=self._clock.now_ms(),
                version=version,
            )
            if not any(known and known.order_id == order.order_id for _, known in orders.waiting(self._settings)):
                orders.place(self._settings, order)
        what = f"not started: {refused}" if refused else "its rollout is ordered"
        log.info("alias %s of %s was moved to %s: %s", alias, pipeline, version, what)
        self._registry.say(pipeline, number, f"alias {alias} was moved here: {what}")

    def _note(self, pipeline: str, facts: Facts) -> None:
        for state in facts.rollouts.values():
            under_way = state.pipeline == pipeline and state.phase in OPEN and state.registered_name == pipeline
            if under_way and self._noted.get(state.rollout_id) != state.phase:
                self._registry.note(state)
                self._noted[state.rollout_id] = state.phase

    def _tell(self, trouble: str) -> None:
        if trouble != self._said:
            log.log(logging.WARNING if trouble else logging.INFO, "aliases: %s", trouble or "kept again")
        self._said = trouble


def _goes_on(job_id: str, facts: Facts) -> bool:
    job = facts.jobs.get(job_id)
    return job is not None and job.phase in OPEN_JOBS
