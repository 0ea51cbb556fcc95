"""Inserting blocks until the store has every row once, whatever that takes.

An insert is certain when the first request of a fresh range was acknowledged. After anything else (an error, no answer,
a range that an earlier owner began) rows are counted and only the missing ones are sent (``consumers.sink.heal``).
Replicated tables keep token and rows together, and a replica may lag: there the same rows go again under their token.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import NamedTuple, TypeVar

import pyarrow as pa

from consumers.deadletters import Rejected
from consumers.sink import held
from consumers.sink.batch import Block
from consumers.sink.heal import Alarm, Missing, Whole, decide
from tidemill.errors import Retry
from tidemill.io.clickhouse import Store, StoreError

log = logging.getLogger(__name__)
FIRST_PAUSE_S = 0.2
MAX_PAUSE_S = 5.0
AT_ONCE = 2
"""First requests under way at a time."""
T = TypeVar("T")


class Abandoned(Exception):
    """The range is not ours any more, or the process ends: leave it to whoever owns the partition next."""


class Alarmed(Exception):
    """The table holds too many rows of a range, or keeps losing them. The range stays pending; somebody must look."""


class Landed(NamedTuple):
    """What became of one block."""

    rows: int
    rejected: list[Rejected]
    healed: int = 0
    """Rows whose token the store knew, and which it lacked until they were sent under another one."""


def pause_s(attempt: int, after_s: float = 0.0) -> float:
    """How long to wait after the ``attempt``-th failure (from 1), seconds."""
    return max(after_s, min(MAX_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(attempt - 1, 10)))


Sent = Future[None]
"""A first request under way: nothing when it is acknowledged, else Retry or StoreError."""


class Inserter:
    """Inserts blocks into the store. ``wait(reason, seconds)`` is called between attempts and may raise Abandoned."""

    def __init__(self, store: Store, wait: Callable[[str, float], None]) -> None:
        self._store = store
        self._wait = wait
        self._senders = ThreadPoolExecutor(AT_ONCE, "insert")

    def has(self, block: Block) -> bool:
        """Whether the table holds any row of the block. Blocks until the store says so."""
        return self._ask(lambda: held.present(self._store, block)).rows > 0

    def send(self, block: Block) -> Sent:
        """Begin the first request of a block that nobody has tried to insert before. Does not block."""
        return self._senders.submit(self._store.insert, block.table, block.rows, block.token)

    def land(self, block: Block, sent: Sent | None) -> Landed:
        """Blocks until every row is in the store once or found to be refused by it. Raises Alarmed.

        ``sent``: its first request; None where it may have been tried before.
        """
        if sent is not None and self._acknowledged_at_once(block, sent):
            return Landed(block.rows.num_rows, [])
        log.info("uncertain insert of %s: %d rows", block.token, block.rows.num_rows)
        return self._uncertain(block)

    def _acknowledged_at_once(self, block: Block, sent: Sent) -> bool:
        try:
            sent.result()
            return True
        except Retry as error:
            self._wait(str(error), pause_s(1))
        except StoreError as error:
            if not error.blames_data:
                self._wait(_refusal(block, error), pause_s(1))
        return False

    def _uncertain(self, block: Block) -> Landed:
        try:
            rules = self._ask(lambda: held.rules(self._store, block.table))
            return self._heal(block, rules.ttl) if rules.countable else self._repeat(block)
        except held.Unjudged as error:
            raise Alarmed(f"table {block.table}: {error}") from error

    def _heal(self, block: Block, ttl: tuple[str, ...]) -> Landed:
        """Count, send what is missing, count again. Raises Alarmed."""
        offsets = block.rows["_offset"].to_pylist()
        expired = self._ask(lambda: held.expired(self._store, block, ttl))
        healed = 0
        for number in count():
            present = self._ask(lambda: held.present(self._store, block))
            match decide(block.token, offsets, present, number, expired):
                case Whole():
                    return Landed(len(offsets), [], healed)
                case Alarm(reason):
                    raise Alarmed(reason)
                case Missing(rows, token):
                    part = _select(block, rows, token)
                    if (refusal := self._acknowledged(part)) is not None:
                        split = self._halves(part, block.token, refusal, lambda half: self._heal(half, ttl))
                        return split._replace(rows=split.rows + len(offsets) - len(rows), healed=split.healed + healed)
                    healed += len(rows) if number else 0
        raise AssertionError("unreachable")

    def _repeat(self, block: Block) -> Landed:
        """The same rows under the same token, for tables that keep both together."""
        if (reason := self._acknowledged(block)) is not None:
            return self._halves(block, block.token, reason, self._repeat)
        return Landed(block.rows.num_rows, [])

    def _acknowledged(self, block: Block) -> str | None:
        """The same request until the store says yes (None), or why it refuses the data."""
        for attempt in count(1):
            try:
                self._store.insert(block.table, block.rows, block.token)
                return None
            except Retry as error:
                self._wait(str(error), pause_s(attempt, error.after_s if attempt > 1 else 0.0))
            except StoreError as error:
                if error.blames_data:
                    return str(error)
                self._wait(_refusal(block, error), pause_s(attempt))
        raise AssertionError("unreachable")

    def _halves(self, block: Block, token: str, reason: str, land: Callable[[Block], Landed]) -> Landed:
        """Find the refused rows by halves, whose tokens name their first and last offset."""
        log.warning("the store blames the data of %s: %s", block.token, reason)
        rows = block.rows.num_rows
        if rows == 1:
            return Landed(0, [Rejected(block.messages[0], f"store: {reason}", "insert")])
        offsets = block.rows["_offset"]
        parts = []
        for half in (range(rows // 2), range(rows // 2, rows)):
            named = f"{token}/{offsets[half[0]].as_py()}-{offsets[half[-1]].as_py()}"
            parts.append(land(_select(block, half, named)))
        return Landed(sum(p.rows for p in parts), [r for p in parts for r in p.rejected], sum(p.healed for p in parts))

    def _ask(self, question: Callable[[], T]) -> T:
        """The store's answer, asked for until it comes."""
        for attempt in count(1):
            try:
                return question()
            except (Retry, StoreError) as error:
                self._wait(str(error), pause_s(attempt))
        raise AssertionError("unreachable")


def _refusal(block: Block, error: StoreError) -> str:
    return f"the store refuses inserts into {block.table}: {error}"


def _select(block: Block, rows: Sequence[int], token: str) -> Block:
    taken = block.rows.take(pa.array(rows))
    return Block(block.table, token, taken, [block.messages[n] for n in rows], block.time)
