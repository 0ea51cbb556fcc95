"""One webhook and its own place in the topic: a dead receiver holds up nobody but itself.

1. read threshold events; 2. of what outbox.py makes of them, commit that the next one is about to be sent; 3. send it
until it is delivered, refused, or too old; 4. commit how far all is settled. A crash between 2 and 4 sends it again
under the same ``webhook-id`` (place.py says why).

A receiver that answers 410 is retired: that, with a digest of its address, stands in the note beside the committed
offset, so a restart knows it. Nothing is read for it any more; with another address it goes on where it stood.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Callable

import httpx
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from prometheus_client import Counter, Gauge

from consumers.alerts.addresses import Forbidden
from consumers.alerts.approving import Links
from consumers.alerts.formats import render
from consumers.alerts.groups import Muted, Policy
from consumers.alerts.outbox import Outbox, Pending
from consumers.alerts.retry import FollowUp, judge, schedule
from consumers.alerts.sending import post, signer
from tidemill.clock import Clock
from tidemill.errors import Quarantine, Retry, Stop
from tidemill.events import ThresholdEvent
from tidemill.ids import derived_id
from tidemill.io.kafka import TIMEOUT_S, consumer, partition_count
from tidemill.settings import Settings
from tidemill.settings.alerting import WebhookSettings
from tidemill.silences import Mutes
from tidemill.topics import THRESHOLDS

log = logging.getLogger(__name__)
DELIVERIES = Counter("tidemill_alerts_deliveries_total", "webhook deliveries by outcome", ["receiver", "outcome"])
WAITING = Gauge("tidemill_alerts_waiting", "notifications due and not taken yet", ["receiver"])
HELD_BACK = Gauge("tidemill_alerts_held_back", "alarms that a silence or maintenance holds back now", ["receiver"])
MUTES = Counter("tidemill_alerts_muted_total", "events held back or left out by a silence or maintenance", ["receiver"])
RETIRED = Gauge("tidemill_alerts_retired", "1 where the receiver has answered 410 and is called no more", ["receiver"])


def policy(webhook: WebhookSettings) -> Policy:
    """How the settings want this webhook told, but for what mutes alarms."""
    grouped = bool(webhook.group_by)
    return Policy(
        group_by=webhook.group_by,
        wait_ms=round(webhook.group_wait_s * 1000) if grouped else 0,
        interval_ms=round(webhook.group_interval_s * 1000) if grouped else 0,
        repeat_ms=round(webhook.repeat_interval_s * 1000),
        send_resolved=webhook.send_resolved,
    )


class Retired(Exception):
    """The receiver wants no more calls."""


class Delivery(threading.Thread):
    """Delivers every threshold event to one webhook, in the outbox's order. Ends soon after ``stop`` is set.

    ``mutes`` says what mutes alarms now; None: that is not known yet, and nothing begins. No error ends it but a Stop,
    which ``trouble`` tells then.
    """

    def __init__(
        self,
        settings: Settings,
        webhook: WebhookSettings,
        stop: threading.Event,
        clock: Clock,
        mutes: Callable[[], Mutes | None],
    ) -> None:
        super().__init__(name=f"webhook-{webhook.name}", daemon=True)
        self.trouble: str | None = "start-up"
        """Why nothing is being delivered now; None when all is well."""
        self._settings = settings
        self._webhook = webhook
        self._url = settings.webhook_url(webhook)
        self._address = derived_id(self._url)[:16]
        self._allow_private = webhook.allow_private if webhook.url else True
        self._stopping = stop
        self._clock = clock
        self._latest_mutes = mutes
        self._mutes: Mutes | None = None
        self._schedule = schedule(settings.alerts, webhook)
        self._sign = signer(webhook)
        self._console = settings.console_url
        self._links = Links(settings, webhook)
        self._tls = httpx.create_ssl_context(trust_env=False)
        self._outbox = Outbox(policy(webhook))
        self._at_end: set[int] = set()
        self._committed: dict[int, tuple[int, str]] = {}
        self._paused_until_s = 0.0
        self._why_silent = ""

    def run(self) -> None:
        name = f"tidemill-alerts-{self._webhook.name}"
        retired = False
        while self._latest_mutes() is None and not self._stopping.wait(0.05):
            self.trouble = f"webhook {self._webhook.name} waits until the silences are read"
        while not self._stopping.is_set() and not retired:
            reader: Consumer | None = None
            try:
                reader = consumer(self._settings, name, name)
                partition_count(reader, THRESHOLDS.name)
                self._deliver_all(reader)
            except Retired:
                retired = True
                self._tell_retired()
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
        if retired:
            self._stopping.wait()

    def _deliver_all(self, reader: Consumer) -> None:
        self._lost(reader, [])
        RETIRED.labels(self._webhook.name).set(0)
        reader.subscribe([THRESHOLDS.name], on_revoke=self._lost, on_lost=self._lost)
        self.trouble = None
        while not self._stopping.is_set():
            self._remute()
            self._read(reader, 0.0 if self._next() is not None else 0.1)
            if not self._outbox.is_full:
                for partition in self._at_end:
                    self._count_muted(self._outbox.advance(partition, self._clock.now_ms()))
            pending = self._next()
            if pending is not None:
                self._try(pending, reader)
            WAITING.labels(self._webhook.name).set(len(self._outbox))
            HELD_BACK.labels(self._webhook.name).set(self._outbox.muted)
            self._commit(reader)

    def _remute(self) -> None:
        """Before anything is read: what mutes alarms now."""
        mutes = self._latest_mutes()
        if mutes is not None and mutes is not self._mutes:
            self._mutes = mutes
            self._outbox.remute(mutes.until, self._clock.now_ms())

    def _next(self) -> Pending | None:
        now_s = self._clock.monotonic_s()
        return self._outbox.next(now_s) if now_s >= self._paused_until_s else None

    def _lost(self, _: Consumer, __: list[TopicPartition]) -> None:
        self._outbox.clear()
        self._committed.clear()
        self._at_end.clear()

    def _read(self, reader: Consumer, within_s: float) -> None:
        """Take in what came or comes; a full outbox takes no more but stays a member in good standing."""
        full = self._outbox.is_full
        if full:
            reader.pause(reader.assignment())
        for message in reader.consume(20, within_s):
            partition, error = message.partition() or 0, message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                continue
            if not self._outbox.knows(partition):
                self._open(reader, partition)
            if error is not None:
                self._at_end.add(partition)
                continue
            self._at_end.discard(partition)
            event = self._event(message)
            at_ms = message.timestamp()[1]
            at_ms = event.time_ms if event is not None and at_ms < 0 else at_ms
            self._count_muted(self._outbox.add(partition, message.offset() or 0, event, at_ms))
        if full:
            reader.resume(reader.assignment())

    def _open(self, reader: Consumer, partition: int) -> None:
        """Begin with a partition as the last commit says. Raises Retired where it says that of this address."""
        (found,) = reader.committed([TopicPartition(THRESHOLDS.name, partition)], timeout=TIMEOUT_S)
        place = self._outbox.open(partition, max(found.offset, 0), found.metadata)
        if place.retired == self._address:
            raise Retired
        place.retired = ""

    def _event(self, message: Message) -> ThresholdEvent | None:
        try:
            event: ThresholdEvent = THRESHOLDS.decoder()(message.value())
        except Quarantine:
            return None  # the sink sends it to the dead letters
        return event

    def _commit(self, reader: Consumer) -> None:
        moved = {p: at for p, at in self._outbox.positions().items() if self._committed.get(p) != at}
        if moved:
            offsets = [TopicPartition(THRESHOLDS.name, partition, *at) for partition, at in moved.items()]
            reader.commit(offsets=offsets, asynchronous=False)
            self._committed |= moved

    def _try(self, pending: Pending, reader: Consumer) -> None:
        """Send one notification once, and settle it or put it off."""
        told, now_ms = pending.notification, self._clock.now_ms()
        if now_ms - told.due_ms > self._schedule.for_s * 1000:
            log.error("gave up on %s for %s: too old", told.id, self._webhook.name)
            self._settle(pending, "gave_up")
            return
        if self._outbox.trying(pending):
            self._commit(reader)
        status, follow_up = self._attempt(pending)
        if follow_up.outcome == "retry":
            self._count("retry")
            now_s = self._clock.monotonic_s()
            self._outbox.postpone(pending, now_s, follow_up.after_s)
            self._paused_until_s = max(self._paused_until_s, now_s + follow_up.pause_s)
            answer = status or f"nothing{self._why_silent}"
            self.trouble = f"webhook {self._webhook.name} answers {answer}; attempt {pending.attempts}"
            log.warning("%s, next in %.1f s", self.trouble, follow_up.after_s)
            return
        if follow_up.outcome == "retired":
            self._count("retired")
            self._outbox.retire(self._address)
            self._commit(reader)
            raise Retired
        if follow_up.outcome == "refused":
            log.error("webhook %s refuses %s: status %s", self._webhook.name, told.id, status)
        self._settle(pending, follow_up.outcome)

    def _attempt(self, pending: Pending) -> tuple[int | None, FollowUp]:
        """The receiver's answer and what follows. What fails here without being foreseen counts as no answer."""
        attempt, status, retry_after = pending.attempts + 1, None, ""
        try:
            kind, body = render(self._links.into(pending.notification), self._webhook, self._console)
            status, retry_after = self._send(pending.notification.id, body, kind)
        except Exception:
            log.exception("%s cannot be sent to %s", pending.notification.id, self._webhook.name)
        return status, judge(
            status,
            attempt,
            retry_after=retry_after,
            now_ms=self._clock.now_ms(),
            jitter=random.random(),
            standard=self._schedule.standard,
        )

    def _settle(self, pending: Pending, outcome: str) -> None:
        self._count(outcome)
        self._outbox.settle(pending)
        failing = len(self._outbox.failing)
        self.trouble = f"webhook {self._webhook.name}: {failing} events are not taken" if failing else None

    def _send(self, name: str, body: str, kind: str = "application/json") -> tuple[int | None, str]:
        second = self._clock.now_ms() // 1000
        headers = {"Content-Type": kind, "User-Agent": "tidemill"} | self._sign(name, second, body)
        within_s, self._why_silent = self._settings.alerts.timeout_s, ""
        try:
            return asyncio.run(post(self._url, body.encode(), headers, within_s, self._tls, self._allow_private))
        except Forbidden as error:
            self._why_silent = f" ({error})"
        except (httpx.HTTPError, OSError):
            pass
        return None, ""

    def _count(self, outcome: str) -> None:
        DELIVERIES.labels(self._webhook.name, outcome).inc()

    def _count_muted(self, muted: list[Muted]) -> None:
        for each in muted:
            log.info("event %s is muted for %s", each.event.id, self._webhook.name)
            MUTES.labels(self._webhook.name).inc()

    def _tell_retired(self) -> None:
        name = self._webhook.name
        RETIRED.labels(name).set(1)
        self.trouble = (
            f"webhook {name} is retired: its receiver answered 410 (Gone). Give it another url to go on where it "
            "stood, another name to begin anew, or take it out of alerts.webhooks"
        )
        log.error("%s", self.trouble)
