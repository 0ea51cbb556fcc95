"""End offsets as the broker says them.

The client's cached ends move only with its fetches: where those stall or are paused, a partition that grows looks
read to its end. So the broker is asked, in the background, by a consumer that joins and fetches nothing. (An admin
client's ``list_offsets`` gives no answer for seconds now and then, and every window would wait for it.)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tidemill.io import kafka
from tidemill.settings import Settings

ASK_S = 0.2
FRESH_S = 5.0
"""Older answers are none: who hears nothing must not go on saying what it heard."""

AWAY_S = 5.0
"""A broker that gave no answer for so long was away."""
SETTLING_S = 15.0
"""So long after that, producers may still hold what they could not send: their clients wait up to 10 s, half as much
again by chance, until they try again. What is read to its end by then may not be all that has happened."""

Place = tuple[str, int]


class _Answer(NamedTuple):
    ends: dict[Place, int]
    asked_s: float


class Outage:
    """Whether the broker was away a short while ago, from the times of its answers (monotonic seconds). Pure."""

    def __init__(self) -> None:
        self._answered_s: float | None = None
        self._settled_s = 0.0

    def answered(self, now_s: float) -> None:
        """The broker answers."""
        if self._answered_s is not None and now_s - self._answered_s > AWAY_S:
            self._settled_s = now_s + SETTLING_S
        self._answered_s = now_s

    def settling(self, now_s: float) -> bool:
        """Whether producers may hold messages from the time when it was away."""
        return now_s < self._settled_s


class Ends:
    """The ends of partitions, with the time they were asked for. Never blocks."""

    def __init__(self, settings: Settings, client: str) -> None:
        self._settings, self._client = settings, client
        self._places: tuple[Place, ...] = ()
        self._answer = _Answer({}, 0.0)
        self._outage = Outage()
        self._closed = threading.Event()
        self._asking: threading.Thread | None = None

    def ask(self, places: Iterable[Place]) -> None:
        """Say which partitions it is about; from then on the broker is asked every ASK_S."""
        self._places = tuple(places)
        if self._asking is None and self._places:
            self._asking = threading.Thread(target=self._ask, name=f"{self._client}-ends", daemon=True)
            self._asking.start()

    def known(self) -> dict[Place, int]:
        """The last answer: below each end, everything was there when it was asked for. Empty when it is too old."""
        ends, asked_s = self._answer
        return ends if time.monotonic() - asked_s <= FRESH_S else {}

    def age_s(self) -> float:
        """How long ago the last answer was asked for, seconds."""
        return time.monotonic() - self._answer.asked_s

    def settling(self) -> bool:
        """Whether more is to come although a partition is read to its end: the broker was away a short while ago."""
        return self._outage.settling(time.monotonic())

    def close(self) -> None:
        """Ask no more."""
        self._closed.set()

    def _ask(self) -> None:
        reader: Consumer | None = None
        while not self._closed.wait(ASK_S):
            asked_s = time.monotonic()
            try:
                reader = reader or kafka.consumer(self._settings, f"{self._client}-ends", f"{self._client}-ends")
                ends = {
                    (topic, partition): reader.get_watermark_offsets(
                        TopicPartition(topic, partition), timeout=FRESH_S, cached=False
                    )[1]
                    for topic, partition in self._places
                }
            except KafkaException:
                reader = None  # a client may keep asking a leader that is gone: a new one finds out
                continue
            self._outage.answered(time.monotonic())
            self._answer = _Answer(ends, asked_s)
        if reader is not None:
            reader.close()
