"""One exchange: an Ask and its body in, a Reply out. Knows chDB, nothing of sockets."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import IO

from tidemill.local.store.database import Answer, Database, Session
from tidemill.local.store.faults import QUERY_TOO_LARGE, READONLY, StoreFault, refusal
from tidemill.local.store.native import CUSTOM_SERIALIZATION_REVISION, upgraded
from tidemill.local.store.request import Ask
from tidemill.local.store.room import Room
from tidemill.local.store.statement import Statement, understand

_HEAD = 1 << 20
# Formats whose blocks can be put one behind the other. All others have a head or a frame around all rows.
_STREAMED = frozenset(
    (
        *("Native", "RowBinary", "CSV", "TSV", "TabSeparated", "TSVRaw", "TabSeparatedRaw", "TSKV", "Values"),
        *("JSONEachRow", "JSONLines", "NDJSON", "JSONCompactEachRow", "JSONStringsEachRow", "LineAsString"),
    )
)
_TYPES = {
    "csv": "text/csv; charset=UTF-8",
    "tab": "text/tab-separated-values; charset=UTF-8",
    "tsv": "text/tab-separated-values; charset=UTF-8",
}


@dataclass(slots=True)
class Reply:
    """What goes back: ``pieces`` of the body, of which none has been sent yet, and headers."""

    pieces: Iterator[bytes]
    format: str
    summary: dict[str, str] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        """ClickHouse's response headers for this reply."""
        return {
            "X-ClickHouse-Format": self.format,
            "X-ClickHouse-Summary": json.dumps(self.summary),
            "Content-Type": _content_type(self.format),
        }


def answered(
    database: Database, room: Room, ask: Ask, body: Iterator[bytes], files: dict[str, IO[bytes]], *, readonly: bool
) -> Generator[Reply, None, None]:
    """Yields one Reply and keeps its session open until the generator is closed: use as a context.

    Raises StoreFault before the first yield for all that is wrong before the first row.
    """
    head, rest = _head(ask.query, body)
    statement = understand(head, whole=len(head) < _HEAD)
    if readonly and statement.changes:
        raise refusal(READONLY, "A GET request only reads: send this statement with POST")
    with database.session(ask.settings, ask.database, readonly=readonly) as session:
        for name, table in ask.external.items():
            session.run(f"CREATE TEMPORARY TABLE `{name.replace('`', '')}` ({table['structure']})")
            session.insert(f"INSERT INTO `{name.replace('`', '')}`", table["format"], _pieces(files[name]))
        if statement.kind == "insert":
            with room.writing():
                done = _inserted(session, ask, statement, chain((head[statement.data_at :],), rest))
            yield done
        else:
            yield _read(session, ask, statement, head, rest)


def _inserted(session: Session, ask: Ask, statement: Statement, rows: Iterable[bytes]) -> Reply:
    if ask.parameters:
        session.set({f"param_{name}": value for name, value in ask.parameters.items()})
    done = session.insert(statement.text, statement.format or ask.default_format, rows, statement.settings)
    return Reply(iter(()), ask.default_format, _summary(done))


def _read(session: Session, ask: Ask, statement: Statement, head: bytes, rest: Iterator[bytes]) -> Reply:
    if len(head) >= _HEAD and next(rest, b""):
        raise refusal(QUERY_TOO_LARGE, f"The query is longer than {_HEAD} bytes")
    form = statement.format or ask.default_format
    if statement.kind == "read" and form in _STREAMED:
        pieces = session.stream(statement.text, form, ask.parameters)
        return Reply(_started(_revised(pieces, form, ask.revision)), form)
    done = session.run(statement.text, form, ask.parameters)
    return Reply(_revised(iter((done.body,) if done.body else ()), form, ask.revision), form, _summary(done))


def _revised(pieces: Iterator[bytes], form: str, revision: int) -> Iterator[bytes]:
    if form != "Native" or revision < CUSTOM_SERIALIZATION_REVISION:
        return pieces  # revision 0; clients that ask for one in between look at the answer before they rely on it
    return map(upgraded, pieces)


def _started(pieces: Iterator[bytes]) -> Iterator[bytes]:
    # The first block is fetched before any header goes out, so that most errors get their own status.
    first = next(pieces, None)
    return iter(()) if first is None else chain((first,), pieces)


def _head(query: bytes, body: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    head = bytearray(query)
    for number, piece in enumerate(body):
        if number == 0 and head and piece:
            head += b"\n"
        head += piece
        if len(head) >= _HEAD:
            break
    return bytes(head), body


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(_HEAD):
        yield piece


def _summary(done: Answer) -> dict[str, str]:
    return {
        "read_rows": str(done.rows_read),
        "read_bytes": "0",
        "written_rows": str(done.rows_written),
        "written_bytes": str(done.bytes_written),
        "total_rows_to_read": "0",
        "result_rows": str(done.rows_written or done.rows_read),
        "result_bytes": str(done.bytes_written or len(done.body)),
    }


def _content_type(form: str) -> str:
    if form.startswith("JSON"):
        return "application/json; charset=UTF-8"
    return _TYPES.get(
        form[:3].lower(),
        "application/octet-stream" if form in ("Native", "Arrow", "Parquet") else "text/plain; charset=UTF-8",
    )


__all__ = ["Reply", "StoreFault", "answered"]
