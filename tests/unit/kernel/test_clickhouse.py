"""The store's driver: an answer that did not come whole is asked for again."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tidemill.errors import Retry
from tidemill.io.clickhouse import Store
from tidemill.settings import Settings


def answer() -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table({"name": [f"row {number}" for number in range(50)]})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    whole: bytes = sink.getvalue().to_pybytes()
    return whole


@pytest.mark.parametrize(
    "damaged",
    [answer()[:5], answer()[: len(answer()) // 2], answer()[:-40], b"Code: 241. DB::Exception: memory limit exceeded"],
    ids=["head", "half", "almost all", "an error in its place"],
)
def test_a_damaged_answer_is_to_be_asked_for_again(monkeypatch: pytest.MonkeyPatch, damaged: bytes) -> None:
    store = Store(Settings())
    given = [damaged, answer()]
    monkeypatch.setattr(store, "_post", lambda *_: given.pop(0))
    with pytest.raises(Retry, match="is damaged"):
        store.rows("SELECT name FROM t")
    assert len(store.rows("SELECT name FROM t")) == 50
