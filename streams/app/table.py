"""The Faust table that keeps the states of pipelines and partitions, with writes that can be waited for.

A key is ``<partition>/<pipeline>``: the partition of the partials decides the partition of the changelog, whatever
event Faust takes for the current one, and a restored table says which state belongs where.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import faust

from streams.partition import position_of
from tidemill.topics import MAX_MESSAGE_BYTES

NAME = "states"
MAX_STATE_BYTES = 32 * MAX_MESSAGE_BYTES
"""What the changelog takes, per state: well above the bound of streams.windows.state."""
_SEGMENT_BYTES = 64 * 1024 * 1024
TOPIC_CONFIG = {
    "max.message.bytes": str(MAX_STATE_BYTES),
    "segment.bytes": str(_SEGMENT_BYTES),
    "min.cleanable.dirty.ratio": "0.1",
}


class StateTable(faust.Table):
    """A plain table in memory; its changelog is its only durable form."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sending: list[asyncio.Future[Any]] = []

    def partition_for_key(self, key: Any) -> int:
        return partition_of(key)

    def on_key_set(self, key: Any, value: Any) -> None:
        self.sending.append(self.send_changelog(self.partition_for_key(key), key, value))

    def on_key_del(self, key: Any) -> None:
        self.sending.append(self.send_changelog(self.partition_for_key(key), key, None, value_serializer="raw"))

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        """Take in the changelog. A state never goes back: what a worker wrote after it had lost its partition (it was
        stopped in the middle of a write, say) is older than what its successor wrote, and passed over.
        """
        newest: dict[bytes, int] = {}
        kept = []
        for event in batch:
            if event.value is not None:
                known = newest.get(event.key)
                if known is None:
                    known = position_of(self.data[event.key]) if event.key in self.data else 0
                if position_of(event.value) < known:
                    continue
                newest[event.key] = position_of(event.value)
            else:
                newest[event.key] = 0
            kept.append(event)
        super().apply_changelog_batch(kept)

    async def written(self) -> None:
        """Wait until the broker has every change made so far. Raises what the producer raised."""
        sending, self.sending = self.sending, []
        if sending:
            await asyncio.gather(*sending)


def key_of(partition: int, pipeline: str) -> bytes:
    """The table's key for a pipeline."""
    return f"{partition}/{pipeline}".encode()


def partition_of(key: bytes) -> int:
    """The partition inside a key."""
    return int(key.split(b"/", 1)[0])


def states_of(table: Any, partition: int) -> dict[str, bytes]:
    """The states of one partition, by pipeline."""
    prefix = b"%d/" % partition
    return {key[len(prefix) :].decode(): value for key, value in table.items() if key.startswith(prefix)}
