"""The alerts process: one thread per webhook in the settings, and one that follows the silences."""

from __future__ import annotations

from prometheus_client import Gauge

from consumers.alerts.delivery import Delivery
from tidemill.errors import Stop
from tidemill.io.service import Service
from tidemill.io.silences import SilenceFollower
from tidemill.settings import Settings
from tidemill.topics import SILENCES

HOLDING = Gauge("tidemill_alerts_silences", "silences and maintenance that hold now")


def run(settings: Settings) -> None:
    """Deliver threshold events until SIGTERM. Blocks. Ready while every receiver takes what it is sent.

    Raises Stop when a thread has ended before that.
    """
    names = [webhook.name for webhook in settings.alerts.webhooks]
    if len(names) != len(set(names)):
        raise Stop(f"alerts.webhooks: names must be unique (each has its own place in the topic), got {names}")
    with Service(settings, "alerts") as service:
        silences = SilenceFollower(settings, SILENCES, "tidemill-alerts-silences", service.stop_event)
        silences.start()
        deliveries = [
            Delivery(settings, hook, service.stop_event, service.clock, lambda: silences.mutes)
            for hook in settings.alerts.webhooks
        ]
        for delivery in deliveries:
            delivery.start()
        while not service.stop_event.wait(0.2):
            dead = [delivery for delivery in deliveries if not delivery.is_alive()]
            if dead and not service.stopping:
                service.stop_event.set()
                raise Stop(f"the delivery thread {dead[0].name} has ended: {dead[0].trouble or 'its log says why'}")
            if silences.mutes is not None:
                HOLDING.set(len(silences.mutes.holding(service.clock.now_ms())))
            told = [silences.trouble, *(delivery.trouble for delivery in deliveries)]
            troubles = [trouble for trouble in told if trouble]
            if troubles:
                service.waiting("; ".join(troubles))
            else:
                service.ready()
        for delivery in deliveries:
            delivery.join(timeout=settings.alerts.timeout_s + 5)
        silences.join(timeout=5)
