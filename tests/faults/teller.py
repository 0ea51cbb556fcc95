"""Sends a story in real time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence

from confluent_kafka import Producer

from tests.faults.story import Said
from tidemill.io.kafka import delivered, producer, transactional_producer
from tidemill.settings import Settings

_PATIENCE_MS = 180_000
"""How long a message may wait for the broker: longer than any fault."""
_STEP_S = 0.2
ABORTED = b"aborted"
"""Key of the messages that were taken back."""


class Teller(threading.Thread):
    """Sends each message when its moment has come. ``failures`` holds what the broker never took, or what broke."""

    def __init__(self, settings: Settings, said: Sequence[Said], start_ms: int, *, transactions: bool) -> None:
        super().__init__(name="teller", daemon=True)
        self.failures: list[str] = []
        self.sent = 0
        self._settings = settings
        self._said = said
        self._start_ms = start_ms
        self._transactions = transactions

    def run(self) -> None:
        try:
            self._tell()
        except Exception as error:
            self.failures.append(repr(error))

    def _tell(self) -> None:
        made = self._producer()
        left = list(reversed(self._said))
        step = 0
        while left:
            now_ms = time.time() * 1000 - self._start_ms
            due = []
            while left and left[-1].at_ms <= now_ms:
                due.append(left.pop())
            self._send_all(made, due, step)
            step += 1
            time.sleep(_STEP_S)
        if made.flush(_PATIENCE_MS / 1000):
            self.failures.append("messages still wait for the broker")

    def _producer(self) -> Producer:
        if self._transactions:
            return transactional_producer(self._settings, "faults-teller", "faults-teller")
        return producer(self._settings, "faults-teller", message_timeout_ms=_PATIENCE_MS)

    def _send_all(self, made: Producer, due: Sequence[Said], step: int) -> None:
        if not self._transactions:
            self._send(made, due)
            made.poll(0)
            return
        if step % 3 == 1:
            made.begin_transaction()
            self._send(made, [one._replace(key=ABORTED) for one in due])
            made.flush(30)
            made.abort_transaction(30)
        made.begin_transaction()
        self._send(made, due)
        made.commit_transaction(30)

    def _send(self, made: Producer, due: Iterable[Said]) -> None:
        note = delivered(self.failures)
        for one in due:
            while True:
                try:
                    made.produce(one.topic.name, one.value, one.key, on_delivery=note)
                    break
                except BufferError:
                    made.poll(0.1)
            self.sent += 1
