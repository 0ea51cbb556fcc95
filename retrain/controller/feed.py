"""Reads the controller's own log and the topics it follows into its book."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message

from retrain.controller.book import Book
from tidemill.errors import Quarantine, Retry
from tidemill.io.kafka import follower, read_to_end
from tidemill.settings import Settings
from tidemill.topics import DECISIONS, JOBS, ROLLOUTS, ROUTES, THRESHOLDS, Topic

log = logging.getLogger(__name__)


class Feed:
    """The book, kept up. ``load`` reads everything to its end (blocks); ``poll`` takes what is new."""

    def __init__(self, settings: Settings) -> None:
        self.book = Book()
        self._settings = settings
        self._consumers: list[tuple[Consumer, Callable[[Message], None]]] = []

    def load(self) -> Book:
        """The book with everything written so far. Raises Retry while the broker or a topic is not there."""
        followed: tuple[tuple[Topic, Callable[[Any], None]], ...] = (
            (THRESHOLDS, self.book.note_threshold),
            (ROLLOUTS, self.book.note_rollout),
            (ROUTES, self.book.note_route),
            (JOBS, self.book.note_job),
            (DECISIONS, self.book.note_decision),
        )
        try:
            for topic, note in followed:
                consumer = follower(self._settings, "tidemill-retrain", topic)
                take = _taker(topic, note)
                self._consumers.append((consumer, take))
                for message in read_to_end(consumer):
                    take(message)
        except KafkaException as error:
            raise Retry(f"Kafka does not answer: {error}") from error
        for own, _ in self._consumers[-2:]:  # from now on only this controller writes jobs and decisions
            own.close()
        del self._consumers[-2:]
        return self.book

    def poll(self) -> None:
        """Take what has come since; returns within a fifth of a second."""
        for consumer, take in self._consumers:
            for message in consumer.consume(200, 0.05):
                if message.error() is None:
                    take(message)

    def close(self) -> None:
        """Let go of the broker."""
        for consumer, _ in self._consumers:
            consumer.close()
        self._consumers.clear()


def _taker(topic: Topic, note: Callable[[Any], None]) -> Callable[[Message], None]:
    decode = topic.decoder()

    def take(message: Message) -> None:
        raw = message.value()
        if raw is None:
            return  # a compacted key was deleted
        try:
            note(decode(raw))
        except Quarantine as error:
            log.warning("%s offset %s left out: %s", topic.name, message.offset(), error)

    return take
