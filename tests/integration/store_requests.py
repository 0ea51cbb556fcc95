"""Plain HTTP to a store, and rows to put into one."""

from __future__ import annotations

import http.client
import urllib.parse
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from tests.integration.store_fixture import StoreProcess

DEDUP = "ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 10000"
"""The engine of a table that knows tokens."""


def ask(
    store: StoreProcess,
    method: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    **parameters: Any,
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (names in lower case) and body of one request; ``parameters`` go into the URL."""
    connection = http.client.HTTPConnection(store.host, store.port, timeout=60)
    try:
        connection.request(method, "/?" + urllib.parse.urlencode(parameters), body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def post(store: StoreProcess, query: str, **parameters: Any) -> bytes:
    """The body of a statement's answer. Fails unless it succeeds."""
    status, _, body = ask(store, "POST", query.encode(), **parameters)
    assert status == 200, body
    return body


def numbered(count: int, start: int = 0) -> pa.Table:
    """Rows with the ids ``start`` and on, each with a text."""
    ids = np.arange(start, start + count, dtype=np.uint64)
    return pa.table({"id": ids, "text": [f"row {number}" for number in ids]})
