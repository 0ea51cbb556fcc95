"""What goes out of stage 2: rows, threshold events and dead letters, in order, and only once the broker has them."""

from __future__ import annotations

import asyncio
from typing import Any

from confluent_kafka import KafkaError, Message

from streams.pipeline import Outputs
from tidemill import topics
from tidemill.codec import encode
from tidemill.errors import Retry
from tidemill.io import kafka
from tidemill.io.letters import Refusal
from tidemill.settings import Settings

FLUSH_S = 30.0
_QUEUE_KBYTES = 4 * 1024


class Outlet:
    """One idempotent producer. Nothing here blocks the event loop; ``flush`` waits in a thread."""

    def __init__(self, settings: Settings) -> None:
        self._failures: list[str] = []
        self._producer = kafka.producer(
            settings,
            "tidemill-streams",
            linger_ms=50,
            queue_buffering_max_kbytes=_QUEUE_KBYTES,
            delivery_report_only_error=True,
        )

    async def send(self, out: Outputs) -> None:
        """Hand over a pipeline's rows and events. Waits only where the producer's queue is full."""
        for row in out.windows:
            await self._hand(topics.WINDOWS.name, row.pipeline.encode(), encode(row))
        for said in out.events:
            await self._hand(topics.THRESHOLDS.name, said.data.pipeline.encode(), encode(said))

    async def reject(self, message: Any, value: bytes | None, reason: str) -> None:
        """Hand over a message of the partials topic that is none, with the reason. ``message``: Faust's."""
        time_ms = round(message.timestamp * 1000)
        refusal = Refusal(topics.PARTIALS.name, "streams", "decode", reason, message.partition, message.offset, time_ms)
        own = [(name, content) for name, content in message.headers or ()]
        await self._hand(topics.PARTIALS.dlq, message.key, value, own + refusal.headers())

    async def flush(self) -> None:
        """Wait until the broker has everything handed over. Raises Retry where it does not take it."""
        left = await asyncio.to_thread(self._producer.flush, FLUSH_S) if len(self._producer) else 0
        if left or self._failures:
            raise Retry(f"Kafka does not take what goes out: {(self._failures or [f'{left} unanswered'])[0]}")

    async def _hand(self, topic: str, key: bytes | None, value: bytes | None, headers: Any = None) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, headers=headers, on_delivery=self._note)
                return
            except BufferError:
                await self.flush()

    def _note(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failures.append(f"{message.topic()}: {error}")
