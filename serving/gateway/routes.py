"""Follows the routes topic: read to its end before the gateway serves, then each change as it comes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import KafkaException, Message

from serving.router import problem
from tidemill.codec import Decoder, encode
from tidemill.errors import Quarantine, Retry
from tidemill.events import Route
from tidemill.io import kafka
from tidemill.settings import Settings
from tidemill.topics import ROUTES

log = logging.getLogger(__name__)
_decode_saved: Decoder[tuple[Route, ...]] = Decoder(tuple[Route, ...])


class RouteFollower(threading.Thread):
    """Hands the whole table to ``publish`` (from its own thread) at each change.

    The topic is the truth; the copy on disk serves when Kafka does not answer at start. Without either nothing is
    published: the gateway does not guess who the champion is.
    """

    def __init__(self, settings: Settings, copy: Path, publish: Callable[[dict[str, Route]], None]) -> None:
        super().__init__(name="routes", daemon=True)
        self._settings, self._copy, self._publish = settings, copy, publish
        self._stopping = threading.Event()
        self._decode: Decoder[Route] = ROUTES.decoder()
        self._published = False

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except (KafkaException, Retry) as error:
                log.warning("routes cannot be followed, the last known stay in force: %s", error)
                if not self._published and (saved := self._load()) is not None:
                    self._published = True
                    self._publish(saved)
                self._stopping.wait(1)

    def stop(self) -> None:
        """End soon."""
        self._stopping.set()

    def _follow(self) -> None:
        client = kafka.follower(self._settings, "tidemill-gateway-routes", ROUTES)
        try:
            table: dict[str, Route] = {}
            for message in kafka.read_to_end(client):
                self._fold(table, message)
            self._put(table)
            while not self._stopping.is_set():
                changed = False
                for message in client.consume(100, 0.1):
                    if message.error() is None:
                        changed |= self._fold(table, message)
                if changed:
                    self._put(table)
        finally:
            client.close()

    def _fold(self, table: dict[str, Route], message: Message) -> bool:
        """Take one record in; whether the table changed. A route that cannot be applied changes nothing."""
        key, value = message.key(), message.value()
        if value is None:
            return table.pop((key or b"").decode(errors="replace"), None) is not None
        try:
            route = self._decode(value)
        except Quarantine as error:
            log.error("route at offset %s is ignored: %s", message.offset(), error)
            return False
        if (why := problem(route, self._settings.pipelines, self._settings.engines)) is not None:
            log.error("route of %s, epoch %d, is ignored: %s", route.pipeline, route.epoch, why)
            return False
        table[route.pipeline] = route
        return True

    def _put(self, table: dict[str, Route]) -> None:
        self._publish(dict(table))
        self._published = True
        log.info("routes in force", extra={"epochs": {name: route.epoch for name, route in table.items()}})
        try:
            fresh = self._copy.with_suffix(".new")
            fresh.write_bytes(encode(tuple(table.values())))
            fresh.replace(self._copy)
        except OSError as error:
            log.warning("the copy of the routes cannot be written: %s", error)

    def _load(self) -> dict[str, Route] | None:
        try:
            routes = _decode_saved(self._copy.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, Quarantine) as error:
            log.warning("%s is of no use: %s", self._copy, error)
            return None
        known = (self._settings.pipelines, self._settings.engines)
        return {route.pipeline: route for route in routes if problem(route, *known) is None}
