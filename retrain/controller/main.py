"""``tidemill run retrain``: the retraining controller as a process."""

from __future__ import annotations

import logging

from retrain.controller.driver import Driver
from retrain.controller.feed import Feed
from retrain.controller.labels import LabelCounter
from retrain.controller.ledger import Ledger
from retrain.datasets import dvc
from retrain.launchers.chosen import ChosenLauncher
from retrain.launchers.launcher import Launcher
from tidemill.errors import Retry, Stop
from tidemill.io.service import Service
from tidemill.settings import Settings

log = logging.getLogger(__name__)
PAUSE_S = 0.35


def run(settings: Settings) -> None:
    """Run until SIGTERM. Work under way goes on by itself and is found again by the next controller.

    Raises Stop where ``dvc.remote`` is set and DVC is missing.
    """
    if fault := dvc.fault(settings.dvc):
        raise Stop(fault)
    with Service(settings, "retrain") as service:
        launcher = ChosenLauncher(service.clock.now_ms)
        while not service.stopping:
            try:
                _drive(service, launcher)
            except Retry as error:
                service.waiting(str(error))
                log.warning("starting over: %s", error)
                service.stop_event.wait(max(1.0, error.after_s))


def _drive(service: Service, launcher: Launcher) -> None:
    """1. fence whoever wrote before; 2. read everything; 3. tick until told to end."""
    ledger = Ledger(service.settings)
    feed = Feed(service.settings)
    counter = LabelCounter(service.settings, service.clock)
    try:
        driver = Driver(service.settings, service.clock, feed.load(), ledger, launcher, counter)
        while not service.stopping:
            feed.poll()
            driver.tick()
            if driver.waiting_for:
                service.waiting(driver.waiting_for)
            else:
                service.ready()
            service.stop_event.wait(PAUSE_S)
    finally:
        counter.close()
        feed.close()
        ledger.close()
