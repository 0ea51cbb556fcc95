"""End offsets as the broker says them.

The client's cached ends move only with its fetches: where those stall or are paused, a partition that grows looks
read to its end. So the broker is asked, in the background.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from tidemill.io import kafka
from tidemill.settings import Settings

ASK_S = 0.25
FRESH_S = 5.0
"""Older answers are none: who hears nothing must not go on saying what it heard."""

Place = tuple[str, int]


class Ends:
    """The ends of partitions, with the time they were asked for. Never blocks."""

    def __init__(self, settings: Settings, client: str) -> None:
        self._settings, self._client = settings, client
        self._admin: AdminClient | None = None
        self._futures: dict[TopicPartition, Future[Any]] = {}
        self._asked_s = 0.0
        self._known: dict[Place, int] = {}
        self._known_s = 0.0

    def ask(self, places: Iterable[Place]) -> None:
        """Take in an answer that has come; ask again where the last question is old enough."""
        if any(not future.done() for future in self._futures.values()):
            return
        if self._futures:
            self._known, self._known_s = self._answer(), self._asked_s
            self._futures = {}
        now = time.monotonic()
        wanted = {TopicPartition(topic, partition): OffsetSpec.latest() for topic, partition in places}
        if not wanted or now - self._asked_s < ASK_S:
            return
        self._admin = self._admin or kafka.admin(self._settings, f"{self._client}-ends")
        self._asked_s = now
        self._futures = self._admin.list_offsets(
            wanted, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=FRESH_S
        )

    def known(self) -> dict[Place, int]:
        """The last answer: below each end, everything was there when it was asked for. Empty when it is too old."""
        return self._known if self.age_s() <= FRESH_S else {}

    def age_s(self) -> float:
        """How long ago the last answer was asked for, seconds."""
        return time.monotonic() - self._known_s

    def close(self) -> None:
        """Ask no more."""
        self._admin, self._futures = None, {}

    def _answer(self) -> dict[Place, int]:
        found: dict[Place, int] = {}
        for place, future in self._futures.items():
            try:
                found[place.topic, place.partition] = future.result().offset
            except KafkaException:
                self._admin = None  # a client may keep asking a leader that is gone, for ever: a new one finds out
        return found
