"""The rollouts' log on Kafka: folded at start, written in transactions; jobs and gateways are followed.

State and route of a rollout go out in one transaction. One writer per deployment: a successor with the same
transactional id fences the one before. Any doubt about a write ends in Retry: the caller starts over from the log.
"""

from __future__ import annotations

import logging
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from serving.rollout.audience import Audience
from tidemill.clock import Clock
from tidemill.codec import encode
from tidemill.errors import Quarantine, Retry, Stop
from tidemill.events import GatewayStatus, JobState, RolloutState, Route
from tidemill.io.kafka import follower, producer, read_to_end
from tidemill.settings import Settings
from tidemill.topics import GATEWAYS, JOBS, ROLLOUTS, ROUTES, Topic

log = logging.getLogger(__name__)
SILENT_S, CONTACT_S = 2.0, 0.5


class RolloutLog:
    """What is known from the topics. Made by ``open``; ``close`` it."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.rollouts: dict[str, RolloutState] = {}
        self.routes: dict[str, Route] = {}
        self.jobs: dict[str, JobState] = {}
        self.gateways = Audience()
        self._settings = settings
        self._clock = clock
        self._readers: list[tuple[Consumer, Topic]] = []
        self._writer: Producer | None = None

    def open(self) -> None:
        """Fence a predecessor, then read everything to the end. Blocks; raises Retry when Kafka is not there yet."""
        self._writer = producer(
            self._settings,
            "tidemill-rollout",
            transactional_id=f"{self._settings.deployment}-rollout",
            transaction_timeout_ms=15_000,
            message_timeout_ms=15_000,
        )
        try:
            self._writer.init_transactions(30)
        except KafkaException as error:
            raise Retry(f"Kafka does not answer: {error}") from error
        for topic in (ROLLOUTS, ROUTES, JOBS):
            reader = follower(self._settings, "tidemill-rollout", topic)
            for message in read_to_end(reader):
                self._take(topic, message.value())
            if topic is JOBS:
                self._readers.append((reader, topic))
            else:
                reader.close()
        self._readers.append((follower(self._settings, "tidemill-rollout", GATEWAYS, from_end=True), GATEWAYS))

    def follow(self) -> None:
        """Take in what jobs and gateways said since. Blocks for at most 0.1 s, and CONTACT_S more in silence."""
        for reader, topic in self._readers:
            for message in reader.consume(500, 0.05):
                if message.error() is None:
                    self._take(topic, message.value())
        now_s = self._clock.monotonic_s()
        self.gateways.looked(now_s, contact=self.gateways.silent_s(now_s) < SILENT_S or self._contact())

    def write(self, state: RolloutState | None, route: Route | None) -> None:
        """State and route, both or none. Raises Stop when a successor took over, Retry when the outcome is unknown."""
        assert self._writer is not None
        try:
            self._writer.begin_transaction()
            if state is not None:
                self._writer.produce(ROLLOUTS.name, encode(state), state.rollout_id.encode())
            if route is not None:
                self._writer.produce(ROUTES.name, encode(route), route.pipeline.encode())
            self._writer.commit_transaction(15)
        except (KafkaException, BufferError) as error:
            cause = error.args[0] if error.args else None
            if isinstance(cause, KafkaError) and cause.fatal():
                raise Stop(f"another rollout controller of {self._settings.deployment!r} took over: {cause}") from error
            raise Retry(f"Kafka did not take the rollout's state: {error}") from error
        if state is not None:
            self.rollouts[state.rollout_id] = state
        if route is not None:
            self.routes[route.pipeline] = route

    def close(self) -> None:
        """Give the connections back."""
        for reader, _ in self._readers:
            reader.close()
        self._readers.clear()

    def _contact(self) -> bool:
        """Whether Kafka answers: with it away, silence says nothing of the gateways. Blocks for at most CONTACT_S."""
        for reader, topic in self._readers:
            if topic is GATEWAYS:
                try:
                    reader.get_watermark_offsets(TopicPartition(GATEWAYS.name, 0), timeout=CONTACT_S)
                    return True
                except KafkaException:
                    return False
        return False

    def _take(self, topic: Topic, raw: bytes | None) -> None:
        try:
            event: Any = topic.decoder()(raw)
        except Quarantine as error:
            log.warning("%s: %s", topic.name, error)
            return
        if isinstance(event, RolloutState):
            known = self.rollouts.get(event.rollout_id)
            if known is None or event.seq >= known.seq:
                self.rollouts[event.rollout_id] = event
        elif isinstance(event, Route):
            before = self.routes.get(event.pipeline)
            if before is None or event.epoch >= before.epoch:
                self.routes[event.pipeline] = event
        elif isinstance(event, JobState):
            job = self.jobs.get(event.job_id)
            if job is None or event.seq >= job.seq:
                self.jobs[event.job_id] = event
        elif isinstance(event, GatewayStatus):
            self.gateways.heard(event, self._clock.monotonic_s())
