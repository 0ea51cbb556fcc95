"""One webhook and its own place in the topic: a dead receiver holds up nobody but itself.

1. read threshold events; 2. send each until it is delivered, refused, or too old; 3. commit the offset below which all
are. A crash between 2 and 3 sends it again under the same ``webhook-id``. See outbox.py for the order that is promised.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import ssl
import threading
from collections.abc import Callable, Mapping

import httpx
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from prometheus_client import Counter

from consumers.alerts.body import webhook_body
from consumers.alerts.outbox import Outbox, Pending
from consumers.alerts.retry import FollowUp, judge
from tidemill.clock import Clock
from tidemill.errors import Quarantine, Retry, Stop
from tidemill.events import ThresholdEvent
from tidemill.io.kafka import consumer, partition_count
from tidemill.settings import Settings
from tidemill.settings.monitoring import WebhookSettings
from tidemill.topics import THRESHOLDS

log = logging.getLogger(__name__)
DELIVERIES = Counter("tidemill_alerts_deliveries_total", "webhook deliveries by outcome", ["receiver", "outcome"])


def signer(
    webhook: WebhookSettings, environ: Mapping[str, str] = os.environ
) -> Callable[[str, int, str], dict[str, str]]:
    """Makes the Standard Webhooks headers of a delivery (id, epoch seconds, body). Raises Stop on a missing secret."""
    if not webhook.secret_env:
        return lambda name, second, body: {"webhook-id": name, "webhook-timestamp": str(second)}
    from standardwebhooks import Webhook
    from standardwebhooks.webhooks import EmptyWebhookSecretError

    try:
        made = Webhook(environ.get(webhook.secret_env, ""))
    except (ValueError, RuntimeError, EmptyWebhookSecretError) as error:
        raise Stop(
            f"alerts.webhooks.{webhook.name}.secret_env names {webhook.secret_env}, which holds no Standard Webhooks "
            "secret; export one (whsec_ and base64) or leave the setting empty"
        ) from error

    def sign(name: str, second: int, body: str) -> dict[str, str]:
        from datetime import UTC, datetime

        signature = made.sign(name, datetime.fromtimestamp(second, UTC), body)
        return {"webhook-id": name, "webhook-timestamp": str(second), "webhook-signature": signature}

    return sign


class Delivery(threading.Thread):
    """Delivers every threshold event to one webhook, in the outbox's order. Ends soon after ``stop`` is set.

    No error ends it but a Stop, which ``trouble`` tells then.
    """

    def __init__(self, settings: Settings, webhook: WebhookSettings, stop: threading.Event, clock: Clock) -> None:
        super().__init__(name=f"webhook-{webhook.name}", daemon=True)
        self.trouble: str | None = "start-up"
        """Why nothing is being delivered now; None when all is well."""
        self._settings = settings
        self._webhook = webhook
        self._url = settings.webhook_url(webhook)
        self._stopping = stop
        self._clock = clock
        self._sign = signer(webhook)
        self._console = settings.console_url
        self._tls = httpx.create_ssl_context(trust_env=False)
        self._outbox = Outbox()
        self._committed: dict[int, int] = {}

    def run(self) -> None:
        name = f"tidemill-alerts-{self._webhook.name}"
        while not self._stopping.is_set():
            reader: Consumer | None = None
            try:
                reader = consumer(self._settings, name, name)
                partition_count(reader, THRESHOLDS.name)
                self._deliver_all(reader)
            except Stop as error:
                self.trouble = str(error)
                log.critical("webhook %s: delivery ended for good: %s", self._webhook.name, error)
                break
            except Exception as error:
                if not isinstance(error, Retry | KafkaException) and self.trouble != str(error):
                    log.exception("webhook %s: delivery failed, trying again", self._webhook.name)
                self.trouble = str(error)
                self._stopping.wait(1.0)
            finally:
                if reader is not None:
                    reader.close()

    def _deliver_all(self, reader: Consumer) -> None:
        self._lost(reader, [])
        reader.subscribe([THRESHOLDS.name], on_revoke=self._lost, on_lost=self._lost)
        self.trouble = None
        while not self._stopping.is_set():
            due = self._outbox.next(self._clock.monotonic_s()) is not None
            self._read(reader, 0.0 if due else 0.1)
            pending = self._outbox.next(self._clock.monotonic_s())
            if pending is not None:
                self._try(pending)
            self._commit(reader)

    def _lost(self, _: Consumer, __: list[TopicPartition]) -> None:
        self._outbox.clear()
        self._committed.clear()

    def _read(self, reader: Consumer, within_s: float) -> None:
        """Take in what came or comes; a full outbox takes no more but stays a member in good standing."""
        full = self._outbox.is_full
        if full:
            reader.pause(reader.assignment())
        for message in reader.consume(20, within_s):
            if message.error() is None:
                self._outbox.add(message.partition() or 0, message.offset() or 0, self._event(message))
        if full:
            reader.resume(reader.assignment())

    def _event(self, message: Message) -> ThresholdEvent | None:
        """What the message asks to be sent, if anything."""
        try:
            event: ThresholdEvent = THRESHOLDS.decoder()(message.value())
        except Quarantine:
            return None  # the sink sends it to the dead letters
        return event if event.data.state == "firing" or self._webhook.send_resolved else None

    def _commit(self, reader: Consumer) -> None:
        moved = {p: at for p, at in self._outbox.positions().items() if self._committed.get(p) != at}
        if moved:
            offsets = [TopicPartition(THRESHOLDS.name, partition, at) for partition, at in moved.items()]
            reader.commit(offsets=offsets, asynchronous=False)
            self._committed |= moved

    def _try(self, pending: Pending) -> None:
        """Send one event once, and settle it or put it off."""
        event, now_ms = pending.event, self._clock.now_ms()
        if now_ms - event.time_ms > self._settings.alerts.retry_for_s * 1000:
            log.error("gave up on event %s for %s: too old", event.id, self._webhook.name)
            self._settle(pending, "gave_up")
            return
        status, follow_up = self._attempt(pending)
        if follow_up.outcome == "retry":
            self._count("retry")
            self._outbox.postpone(pending, self._clock.monotonic_s(), follow_up.after_s)
            self.trouble = f"webhook {self._webhook.name} answers {status or 'nothing'}; attempt {pending.attempts}"
            log.warning("%s, next in %.1f s", self.trouble, follow_up.after_s)
            return
        if follow_up.outcome == "refused":
            log.error("webhook %s refuses event %s: status %s", self._webhook.name, event.id, status)
        self._settle(pending, follow_up.outcome)

    def _attempt(self, pending: Pending) -> tuple[int | None, FollowUp]:
        """The receiver's answer and what follows. What fails here without being foreseen counts as no answer."""
        attempt, status, retry_after = pending.attempts + 1, None, ""
        try:
            body = json.dumps(webhook_body(pending.event, self._webhook.name, self._console))
            status, retry_after = self._send(pending.event.id, body)
        except Exception:
            log.exception("event %s cannot be sent to %s", pending.event.id, self._webhook.name)
        now_ms = self._clock.now_ms()
        return status, judge(status, attempt, retry_after=retry_after, now_ms=now_ms, jitter=random.random())

    def _settle(self, pending: Pending, outcome: str) -> None:
        self._count(outcome)
        self._outbox.settle(pending)
        failing = len(self._outbox.failing)
        self.trouble = f"webhook {self._webhook.name}: {failing} events are not taken" if failing else None

    def _send(self, name: str, body: str) -> tuple[int | None, str]:
        second = self._clock.now_ms() // 1000
        headers = {"Content-Type": "application/json", "User-Agent": "tidemill"} | self._sign(name, second, body)
        try:
            return asyncio.run(post(self._url, body.encode(), headers, self._settings.alerts.timeout_s, self._tls))
        except (httpx.HTTPError, TimeoutError):
            return None, ""

    def _count(self, outcome: str) -> None:
        DELIVERIES.labels(self._webhook.name, outcome).inc()


async def post(url: str, body: bytes, headers: dict[str, str], within_s: float, tls: ssl.SSLContext) -> tuple[int, str]:
    """The answer's status and Retry-After; its body is not read. Raises httpx.HTTPError or, in the end, TimeoutError.

    A loop of its own, since only there a deadline holds for the whole exchange, however slowly its bytes come.
    """
    async with (
        asyncio.timeout(within_s),
        httpx.AsyncClient(timeout=None, follow_redirects=False, trust_env=False, verify=tls) as client,
        client.stream("POST", url, content=body, headers=headers) as answer,
    ):
        return answer.status_code, answer.headers.get("Retry-After", "")
