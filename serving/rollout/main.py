"""The rollout controller process. It also loads the champions and writes each pipeline's first route."""

from __future__ import annotations

import logging
import threading

from serving.rollout.controller import Controller, describe
from serving.rollout.keeper import Keeper
from serving.rollout.log import RolloutLog
from serving.rollout.registry import Registry
from tidemill.errors import Retry
from tidemill.io.clickhouse import Store
from tidemill.io.service import Service
from tidemill.settings import Settings

log = logging.getLogger(__name__)
TICK_S = 0.5


def run(settings: Settings) -> None:
    """Steer rollouts until SIGTERM. Blocks. One per deployment: a second one takes over and ends the first."""
    with Service(settings, "rollout") as service:
        store, registry = Store(settings), Registry(settings.mlflow_url)
        keeper = Keeper(settings, Registry(settings.mlflow_url), service.clock)
        threading.Thread(target=keeper.watch, args=(service.stop_event,), name="aliases", daemon=True).start()
        while not service.stopping:
            written = RolloutLog(settings, service.clock)
            controller = Controller(settings, written, store, registry, service.clock)
            try:
                written.open()
                _steer(service, controller, written, keeper)
            except Retry as error:
                log.warning("starting over from the log: %s", error)
                service.waiting(str(error))
                service.stop_event.wait(error.after_s)
            finally:
                controller.close()
                written.close()
        registry.close()


def _steer(service: Service, controller: Controller, written: RolloutLog, keeper: Keeper) -> None:
    said = ""
    while not service.stopping:
        controller.round()
        keeper.see(written.routes, written.rollouts, written.jobs)
        beside = {"registry's aliases": keeper.trouble} if keeper.trouble else {}
        trouble = describe((dict(controller.troubles) | beside).items())
        if trouble != said and trouble:
            log.warning("held up: %s", trouble)
        said = trouble
        if trouble:
            service.waiting(trouble)
        elif controller.settled:
            service.ready()
        else:
            service.waiting("adapters are being loaded")
        service.stop_event.wait(TICK_S)
