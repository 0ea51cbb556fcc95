"""Writes the controller's log: whole states in transactions, so that a successor fences whoever wrote before it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from confluent_kafka import KafkaException

from tidemill.codec import encode
from tidemill.errors import Retry, Stop
from tidemill.events import JobProgress, JobState, RetrainDecision
from tidemill.io.kafka import producer, transactional_producer
from tidemill.settings import Settings
from tidemill.topics import DECISIONS, JOBS, PROGRESS

log = logging.getLogger(__name__)
COMMIT_S = 10.0


class Ledger:
    """One controller's pen. Making one fences the controller before it (blocks for up to half a minute).

    Raises Retry when the broker does not confirm: then it is unknown what was written, so make a new one and read the
    log again. Raises Stop when another controller has taken over.
    """

    def __init__(self, settings: Settings) -> None:
        try:
            self._log = transactional_producer(
                settings, "tidemill-retrain", f"tidemill-{settings.deployment}-retrain-controller"
            )
        except KafkaException as error:
            raise Retry(f"Kafka does not take the controller's log: {error}") from error
        self._progress = producer(settings, "tidemill-retrain-progress", message_timeout_ms=5_000)

    def record(self, states: Sequence[JobState], decisions: Sequence[RetrainDecision] = ()) -> None:
        """Write these states and decisions, all or none; returns when they are committed."""
        try:
            self._log.begin_transaction()
            for state in states:
                self._log.produce(JOBS.name, key=state.job_id.encode(), value=encode(state))
            for decision in decisions:
                self._log.produce(DECISIONS.name, key=decision.trigger_id.encode(), value=encode(decision))
            self._log.commit_transaction(COMMIT_S)
        except (KafkaException, BufferError) as error:
            fault = error.args[0] if isinstance(error, KafkaException) else None
            if fault is not None and fault.fatal():
                raise Stop(f"another retrain controller has taken over ({fault}); this one ends") from error
            raise Retry(f"Kafka does not confirm the job's state: {error}") from error

    def tell(self, progress: JobProgress) -> None:
        """Say how far a job is; lost without harm."""
        try:
            self._progress.produce(PROGRESS.name, key=progress.job_id.encode(), value=encode(progress))
        except BufferError:
            log.debug("progress dropped: the broker is away")
        self._progress.poll(0)

    def close(self) -> None:
        """Let go of the broker; pending progress gets a moment."""
        self._progress.flush(1)
