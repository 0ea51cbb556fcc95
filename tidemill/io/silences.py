"""The topic of silences: followed by roles, read and written by the command.

A role's code hands in ``topic``, tidemill.topics.SILENCES, so that it shows what it reads.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from tidemill.codec import encode
from tidemill.errors import Quarantine, Retry
from tidemill.events import Silence
from tidemill.io import kafka
from tidemill.settings import Settings
from tidemill.silences import Mutes, Silences
from tidemill.topics import Topic

log = logging.getLogger(__name__)


LONGEST_PAUSE_S = 10.0
"""Between two attempts to follow; the first pauses are 1 s, 2 s, 4 s …"""


class SilenceFollower(threading.Thread):
    """Keeps ``mutes`` as the topic and the settings say. Ends soon after ``stop`` is set; no error ends it before."""

    def __init__(self, settings: Settings, topic: Topic, client: str, stop: threading.Event) -> None:
        super().__init__(name="silences", daemon=True)
        self.mutes: Mutes | None = None
        """Another object after each change; None: the topic has not been read to its end yet."""
        self.trouble: str | None = None
        """Why changes are not seen now; None when all is well. The last that is known stays in force."""
        self._settings, self._topic, self._client = settings, topic, client
        self._stopping = stop

    def run(self) -> None:
        pause_s = 1.0
        while not self._stopping.is_set():
            reader: Consumer | None = None
            try:
                reader = kafka.follower(self._settings, self._client, self._topic)
                self._follow(reader)
            except Exception as error:
                if not isinstance(error, Retry | KafkaException):
                    log.exception("silences cannot be followed")
                pause_s = 1.0 if self.trouble is None else min(LONGEST_PAUSE_S, 2 * pause_s)
                trouble = f"silences cannot be followed: {error}"
                if trouble != self.trouble:
                    log.warning("%s; the last known stay in force", trouble)
                self.trouble = trouble
                self._stopping.wait(pause_s)
            finally:
                if reader is not None:
                    reader.close()

    def _follow(self, reader: Consumer) -> None:
        table = Silences()
        for message in kafka.read_to_end(reader):
            take(table, message)
        self._put(table)
        while not self._stopping.is_set():
            changed = False
            for message in reader.consume(100, 0.1):
                error = message.error()
                if error is None:
                    changed |= take(table, message)
                elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise KafkaException(error)
            if changed:
                self._put(table)

    def _put(self, table: Silences) -> None:
        self.mutes = Mutes(self._settings.alerts, table.all())
        self.trouble = None
        log.info("silences are read", extra={"silences": len(table)})


def take(table: Silences, message: Message) -> bool:
    """Take one record in; whether it counts. One that is no silence is logged and changes nothing."""
    try:
        table.take(message.key(), message.value(), message.timestamp()[1])
    except Quarantine as error:
        log.error("silence at offset %s is ignored: %s", message.offset(), error)
        return False
    return True


def read(settings: Settings, topic: Topic, client: str) -> Silences:
    """All silences of the topic now. Blocks; raises Retry."""
    reader = kafka.follower(settings, client, topic)
    table = Silences()
    try:
        for message in kafka.read_to_end(reader):
            take(table, message)
    finally:
        reader.close()
    return table


def write(settings: Settings, topic: Topic, client: str, records: Mapping[str, Silence | None]) -> None:
    """Write records by id, None: to be forgotten. Blocks until Kafka has them; raises Retry where it does not."""
    failures: list[str] = []
    writer = kafka.producer(settings, client, message_timeout_ms=10_000)
    for name, silence in records.items():
        value = None if silence is None else encode(silence)
        kafka.hand_over(writer, topic.name, value, name, on_delivery=kafka.delivered(failures))
    left = writer.flush(kafka.TIMEOUT_S + 2)
    if failures or left:
        raise Retry(f"Kafka did not take it: {'; '.join(failures) or 'no answer'}")
