"""Inserting blocks: the same rows under the same token until the store has them, whatever that takes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from consumers.deadletters import Rejected
from consumers.sink.batch import Block
from tidemill.errors import Retry
from tidemill.io.clickhouse import Store, StoreError

log = logging.getLogger(__name__)
FIRST_PAUSE_S = 0.2
MAX_PAUSE_S = 5.0


class Abandoned(Exception):
    """The range is not ours any more, or the process ends: leave it to whoever owns the partition next."""


class Landed(NamedTuple):
    """What became of one block."""

    rows: int
    certain: bool
    """Acknowledged by the first request. Otherwise an engine killed at the wrong moment may know the token and lack
    the rows: this is where rows are counted anew before the offset moves."""
    rejected: list[Rejected]


def pause_s(attempt: int, after_s: float = 0.0) -> float:
    """How long to wait after the ``attempt``-th failure (from 1), seconds."""
    return max(after_s, min(MAX_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(attempt - 1, 10)))


class Inserter:
    """Inserts blocks into the store. ``wait(reason, seconds)`` is called between attempts and may raise Abandoned."""

    def __init__(self, store: Store, wait: Callable[[str, float], None]) -> None:
        self._store = store
        self._wait = wait

    def insert(self, block: Block) -> Landed:
        """Blocks until every row is in the store or found to be refused by it."""
        return self._insert(block, self._part)

    def _insert(self, block: Block, refused: Callable[[Block, str], Landed]) -> Landed:
        attempt = 0
        while True:
            try:
                self._store.insert(block.table, block.rows, block.token)
                return Landed(block.rows.num_rows, attempt == 0, [])
            except Retry as error:
                attempt += 1
                self._wait(str(error), pause_s(attempt, error.after_s if attempt > 1 else 0.0))
            except StoreError as error:
                if error.blames_data:
                    return refused(block, str(error))
                attempt += 1
                self._wait(f"the store refuses inserts into {block.table}: {error}", pause_s(attempt))

    def _part(self, block: Block, reason: str) -> Landed:
        """Find the refused rows by halves. Rows that already landed (an earlier run got so far) are left out."""
        log.warning("the store blames the data of %s: %s", block.token, reason)
        present = self._present(block)
        missing = [n for n, offset in enumerate(block.rows["_offset"].to_pylist()) if offset not in present]
        landed = self._halves(_select(block, missing), reason) if missing else Landed(0, False, [])
        return landed._replace(rows=landed.rows + len(present), certain=False)

    def _halves(self, block: Block, reason: str) -> Landed:
        if block.rows.num_rows == 1:
            return Landed(0, False, [Rejected(block.messages[0], f"store: {reason}", "insert")])
        middle = block.rows.num_rows // 2
        parts = [self._insert(_select(block, half), self._halves) for half in _split(block.rows.num_rows, middle)]
        return Landed(sum(p.rows for p in parts), False, [r for p in parts for r in p.rejected])

    def _present(self, block: Block) -> set[int]:
        """Offsets of the block that the table holds."""
        offsets = block.rows["_offset"]
        where = {
            "topic": block.rows["_topic"][0].as_py(),
            "partition": block.rows["_partition"][0].as_py(),
            "lo": pc.min(offsets).as_py(),
            "hi": pc.max(offsets).as_py(),
        }
        sql = (
            f"SELECT DISTINCT _offset FROM {block.table} WHERE _topic = {{topic:String}} "
            "AND _partition = {partition:UInt32} AND _offset BETWEEN {lo:UInt64} AND {hi:UInt64}"
        )
        attempt = 0
        while True:
            try:
                return {row["_offset"] for row in self._store.rows(sql, where)} & set(offsets.to_pylist())
            except (Retry, StoreError) as error:
                attempt += 1
                self._wait(str(error), pause_s(attempt))


def _split(count: int, middle: int) -> tuple[list[int], list[int]]:
    return list(range(middle)), list(range(middle, count))


def _select(block: Block, numbers: list[int]) -> Block:
    """The block of some rows; its token names their first and last offset, so that it is the same after a restart."""
    rows = block.rows.take(pa.array(numbers))
    token = f"{block.token}/{rows['_offset'][0].as_py()}-{rows['_offset'][-1].as_py()}"
    return Block(block.table, token, rows, [block.messages[n] for n in numbers])
