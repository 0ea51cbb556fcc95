"""What a query text is: does it read, does data follow it, which format does it name.

ClickHouse parses a query and finds the inserted data right behind it. chDB takes the two apart, so the cut is
found here, with a tokenizer that knows strings, quoted names, comments and heredocs and nothing else of SQL.
Pure: bytes in, a value out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from tidemill.local.store.faults import ACCESS_DENIED, SYNTAX_ERROR, refusal

_TOKEN = re.compile(
    rb"""(?P<space>\s+|--[^\n]*|\#[\ !][^\n]*|/\*.*?\*/)
       |(?P<heredoc>\$(\w*)\$.*?\$\3\$)
       |(?P<string>'(?:[^'\\]|\\.|'')*')
       |(?P<name>"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.|``)*`)
       |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
       |(?P<number>[0-9][0-9A-Za-z_.]*)
       |(?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
_READS = frozenset(("SELECT", "WITH", "FROM"))
_SAFE_WHEN_READONLY = _READS | frozenset(("SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "CHECK", "USE", "SET"))
# chDB is embedded: these would act with the process's own rights on its files and network.
_OUTSIDE = frozenset(
    (
        *("FILE", "FILECLUSTER", "URL", "URLCLUSTER", "S3", "S3CLUSTER", "GCS", "HDFS", "REMOTE", "REMOTESECURE"),
        *("EXECUTABLE", "PYTHON", "MYSQL", "POSTGRESQL", "MONGODB", "SQLITE", "REDIS", "JDBC", "ODBC"),
        *("DELTALAKE", "ICEBERG", "HUDI", "AZUREBLOBSTORAGE", "COSN", "OSS"),
    )
)


class Token(NamedTuple):
    """One token: its kind (the group's name above), where it starts and ends."""

    kind: str
    start: int
    end: int


class Statement(NamedTuple):
    """A query, understood as far as the store needs.

    ``kind``: ``read`` (its result can be streamed), ``insert`` (rows follow in the request), ``other``.
    ``text``: for inserts the statement without its SETTINGS and FORMAT clauses and data. ``settings``: an insert's
    SETTINGS clause. ``format``: as the text names it, or None. ``data_at``: where inserted rows start, in bytes.
    ``changes``: False when it is safe in a read-only request.
    """

    kind: Literal["read", "insert", "other"]
    text: str
    format: str | None = None
    data_at: int = 0
    changes: bool = True
    settings: str = ""


def understand(query: bytes, *, whole: bool = True) -> Statement:
    """The statement in ``query``, which may go on with rows to insert.

    ``whole`` says whether ``query`` is everything the client sent or only its beginning.
    Raises StoreFault: empty query, several statements, an INSERT cut off, or one that reaches outside the store.
    """
    tokens = _tokens(query)
    first = next(tokens, None)
    if first is None:
        raise refusal(SYNTAX_ERROR, "Empty query: send it as ?query= or as the request's body")
    word = _upper(query, first)
    if word == "INSERT":
        return _insert(query, first, tokens, whole)
    return _plain(query, word, first, tokens)


def _plain(query: bytes, word: str, first: Token, tokens: Iterator[Token]) -> Statement:
    found: str | None = None
    previous, ended, opening = first, False, first.kind == "sign"
    for token in tokens:
        if ended:
            raise refusal(SYNTAX_ERROR, "Multi-statements are not allowed: send one statement a request")
        if opening and token.kind == "word":
            word, opening = _upper(query, token), False
        if token.kind == "word" and _upper(query, previous) == "FORMAT":
            found = query[token.start : token.end].decode()
        if word == "WITH" and _upper(query, token) == "INTO" and _upper(query, previous) == "INSERT":
            word = "INSERT"
        _guard(query, previous, token)
        ended = query[token.start : token.end] == b";"
        previous = token
    return Statement(
        "read" if word in _READS else "other", _text(query), found, changes=word not in _SAFE_WHEN_READONLY
    )


def _insert(query: bytes, previous: Token, tokens: Iterator[Token], whole: bool) -> Statement:
    depth, named, settings_at = 0, False, 0
    for token in tokens:
        word, before = _upper(query, token), _upper(query, previous)
        _guard(query, previous, token)
        if token.kind == "sign":
            depth += {"(": 1, ")": -1}.get(word, 0)
        elif depth == 0 and named and before != ".":
            if word == "SETTINGS":
                settings_at = token.start
            if word == "FORMAT" and (name := next(tokens, None)) is not None and name.kind == "word":
                text, settings = _apart(query, settings_at, token.start)
                form, data_at = query[name.start : name.end].decode(), _data_start(query, name.end)
                return Statement("insert", text, form, data_at, settings=settings)
            if word == "VALUES":
                text, settings = _apart(query, settings_at, token.start)
                return Statement("insert", text, "Values", token.end, settings=settings)
            if word in _READS:
                return _plain(query, "INSERT", token, tokens)
        elif depth == 0 and word not in ("INTO", "TABLE", "FUNCTION"):
            named = token.kind in ("word", "name")
        previous = token
    if whole:
        raise refusal(SYNTAX_ERROR, "An INSERT needs VALUES, FORMAT <name> with rows behind it, or SELECT")
    raise refusal(SYNTAX_ERROR, "The INSERT's own text is too long: put its rows behind a shorter statement")


def _apart(query: bytes, settings_at: int, end: int) -> tuple[str, str]:
    """An INSERT's text before its SETTINGS clause, and the clause (empty where there is none)."""
    if not settings_at:
        return _text(query[:end]), ""
    return _text(query[:settings_at]), _text(query[settings_at:end])


def _tokens(query: bytes) -> Iterator[Token]:
    for match in _TOKEN.finditer(query):
        if match.lastgroup != "space":
            yield Token(match.lastgroup or "sign", match.start(), match.end())


def _upper(query: bytes, token: Token) -> str:
    return query[token.start : token.end].decode("ascii", "replace").upper() if token.end - token.start < 64 else ""


def _guard(query: bytes, previous: Token, token: Token) -> None:
    before, word = _upper(query, previous), _upper(query, token)
    if word == "(" and previous.kind == "name":
        before = before[1:-1]
        if "\\" in before:
            raise refusal(ACCESS_DENIED, "A quoted name with a backslash cannot stand before '(' here")
    if word == "(" and before in _OUTSIDE and previous.kind in ("word", "name"):
        raise refusal(ACCESS_DENIED, f"{before.lower()}() reaches outside the store, which this process does not allow")
    if word in ("OUTFILE", "INFILE") and before in ("INTO", "FROM"):
        raise refusal(
            ACCESS_DENIED, f"{before} {word} touches files of the store's machine: send rows over HTTP instead"
        )


def _data_start(query: bytes, end: int) -> int:
    # ClickHouse's rule: behind the first newline if only blanks come before it, else behind the blanks.
    while end < len(query) and query[end] in b" \t\r\f\v":
        end += 1
    return end + 1 if query[end : end + 1] == b"\n" else end


def _text(query: bytes) -> str:
    try:
        return query.decode()
    except UnicodeDecodeError as error:
        raise refusal(SYNTAX_ERROR, f"The query is not UTF-8 at byte {error.start}") from error
