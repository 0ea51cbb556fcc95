"""Says troubles as threshold events, each once: what was said is read back, and counts as said once Kafka has it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from tidemill import troubles
from tidemill.clock import Clock
from tidemill.codec import encode
from tidemill.errors import Quarantine, Retry
from tidemill.events import ThresholdEvent
from tidemill.io import kafka
from tidemill.settings import Settings
from tidemill.topics import Topic
from tidemill.troubles import Key, Trouble

log = logging.getLogger(__name__)
FLUSH_S = 10.0


class SystemAlarms:
    """The alarms of one speaker (a role, or a role on one machine) on ``topic``, monitoring.thresholds."""

    def __init__(self, settings: Settings, topic: Topic, speaker: str, clock: Clock) -> None:
        self._settings = settings
        self._topic = topic
        self._speaker = f"tidemill/{settings.deployment}/{speaker}"
        self._clock = clock
        self._said: dict[Key, ThresholdEvent] = {}
        self._producer = kafka.producer(settings, f"tidemill-{speaker.partition('/')[0]}", message_timeout_ms=30_000)

    @property
    def firing(self) -> dict[Key, ThresholdEvent]:
        """The alarms that are open."""
        return troubles.firing(self._said)

    def read_back(self, alive: Callable[[], None]) -> None:
        """What was said last of each series. Blocks and calls ``alive`` meanwhile; raises Retry without Kafka."""
        decode = self._topic.decoder()
        reader = kafka.follower(self._settings, "tidemill-system-alarms", self._topic)
        try:
            for message in kafka.read_to_end(reader):
                alive()
                try:
                    troubles.follow(self._said, decode(message.value()), self._speaker)
                except Quarantine:
                    continue
        finally:
            reader.close()

    def say(
        self,
        found: Iterable[Trouble],
        rules: Iterable[str],
        undecided: Sequence[str] = (),
        endings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """As troubles.events. Raises Retry when Kafka did not take the events; what is open is then read back first."""
        now_ms = self._clock.now_ms()
        events = troubles.events(self._said, found, rules, self._speaker, now_ms, undecided, endings)
        if not events:
            return
        failures: list[str] = []
        for event in events:
            log.warning("%s: %s", event.data.state, event.data.summary)
            self._producer.produce(
                self._topic.name, encode(event), event.data.pipeline, on_delivery=kafka.delivered(failures)
            )
        if self._producer.flush(FLUSH_S) or failures:
            raise Retry(f"Kafka did not take the alarms: {failures[:1]}")
        for event in events:
            troubles.follow(self._said, event, self._speaker)
