"""The Faust table that keeps the pipelines' states, with writes that can be waited for.

A key is ``<partition>/<pipeline>``: the partition of the partials decides the partition of the changelog, whatever
event Faust takes for the current one, and a restored table says which state belongs where.
"""

from __future__ import annotations

import asyncio
from typing import Any

import faust

NAME = "pipelines"


class StateTable(faust.Table):
    """A plain table in memory; its changelog is its only durable form."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sending: list[asyncio.Future[Any]] = []

    def partition_for_key(self, key: Any) -> int:
        return partition_of(key)

    def on_key_set(self, key: Any, value: Any) -> None:
        self.sending.append(self.send_changelog(self.partition_for_key(key), key, value))

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
