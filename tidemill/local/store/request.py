"""A request's URL, headers and form fields as one value. Pure."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from tidemill.local.store.faults import (
    AUTHENTICATION_FAILED,
    BAD_ARGUMENTS,
    NOT_IMPLEMENTED,
    UNKNOWN_SETTING,
    refusal,
)

_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")
# Words of the interface itself; everything else in the URL is a setting.
_ACCEPTED: Final = frozenset(
    (
        *("session_id", "session_timeout", "session_check", "close_session", "quota_key", "role", "stacktrace"),
        *("buffer_size", "http_headers_progress_interval_ms", "send_progress_in_http_headers"),
        *("cancel_http_readonly_queries_on_client_close", "http_receive_timeout", "http_send_timeout"),
    )
)


@dataclass(frozen=True, slots=True)
class Ask:
    """What one request asks for. ``settings`` go to chDB for this request alone; ``parameters`` are the
    values of ``{name:Type}`` in their escaped wire form; ``external`` describes temporary tables sent as files."""

    query: bytes = b""
    database: str = ""
    default_format: str = "TabSeparated"
    query_id: str = ""
    compress: bool = True
    revision: int = 0
    whole_answer: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    external: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def read_ask(
    query_string: str,
    headers: Mapping[str, str],
    form: Iterable[tuple[str, bytes]] = (),
    files: Iterable[str] = (),
) -> Ask:
    """The Ask in a request. ``headers`` has lower-case names; ``form`` are multipart fields, ``files`` the names of
    multipart files. Raises StoreFault for a value that is not what its name needs."""
    fields: dict[str, str] = dict(parse_qsl(query_string, keep_blank_values=True, errors="surrogateescape"))
    query = fields.pop("query", "").encode("utf-8", "surrogateescape")
    for name, content in form:
        if name == "query":
            query += content
        else:
            fields[name] = content.decode("utf-8", "surrogateescape")
    if fields.pop("compress", "0") not in ("", "0") or fields.pop("decompress", "0") not in ("", "0"):
        raise refusal(
            NOT_IMPLEMENTED, "compress=1 and decompress=1 are not served: use Content-Encoding and Accept-Encoding"
        )
    for name in ("user", "password"):
        fields.pop(name, None)
    ask_format = headers.get("x-clickhouse-format") or "TabSeparated"
    database = fields.pop("database", "") or headers.get("x-clickhouse-database", "")
    default_format = fields.pop("default_format", "") or ask_format
    query_id = fields.pop("query_id", "")
    compress = _flag(fields, "enable_http_compression", "1")
    whole = _flag(fields, "wait_end_of_query", "0")
    revision = _whole_number(fields, "client_protocol_version")
    tables = {name: _external(fields, name) for name in files}
    parameters: dict[str, str] = {}
    settings: dict[str, str] = {}
    for name, value in fields.items():
        if name.startswith("param_"):
            parameters[name.removeprefix("param_")] = value
        elif name not in _ACCEPTED:
            if not _SETTING.match(name):
                raise refusal(UNKNOWN_SETTING, f"Setting {name!r} is not a setting's name")
            settings[name] = value
    return Ask(query, database, default_format, query_id, compress, revision, whole, settings, parameters, tables)


def credentials(headers: Mapping[str, str], query_string: str) -> tuple[str, str]:
    """User and password from ClickHouse's own headers, basic authentication, or the URL, in this order."""
    if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
        return headers.get("x-clickhouse-user", ""), headers.get("x-clickhouse-key", "")
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        fields = dict(parse_qsl(query_string, errors="surrogateescape"))
        return fields.get("user", ""), fields.get("password", "")
    try:
        name, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise refusal(AUTHENTICATION_FAILED, "The Authorization header is not basic authentication") from error
    return name, secret


def admit(given: tuple[str, str], password: str | None, user: str = "default") -> None:
    """Raises StoreFault unless ``given`` is the store's ``user`` and ``password`` (None: everyone may).

    Both are compared in constant time.
    """
    if password is None:
        return
    name, secret = (text.encode("utf-8", "surrogateescape") for text in given)
    right = hmac.compare_digest(name or user.encode(), user.encode())
    if not (hmac.compare_digest(secret, password.encode()) and right):
        raise refusal(AUTHENTICATION_FAILED, "Authentication failed: user or password is wrong")


def from_elsewhere(headers: Mapping[str, str], own_hosts: Iterable[str]) -> bool:
    """Whether a browser sends this for a page of another site (an open loopback port must not serve it)."""
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return True
    host = headers.get("host", "")
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    return bool(host) and name.lower() not in own_hosts


def _flag(fields: dict[str, str], name: str, default: str) -> bool:
    return fields.pop(name, default).lower() in ("1", "true")


def _whole_number(fields: dict[str, str], name: str) -> int:
    text = fields.pop(name, "0") or "0"
    if not text.isdecimal():
        raise refusal(BAD_ARGUMENTS, f"{name}={text!r} is not a whole number")
    return int(text)


def _external(fields: dict[str, str], name: str) -> dict[str, str]:
    found = {part: fields.pop(f"{name}_{part}", "") for part in ("structure", "types", "format")}
    if not found["structure"] and found["types"]:
        types = found["types"].split(",")
        found["structure"] = ", ".join(f"_{number} {kind.strip()}" for number, kind in enumerate(types, start=1))
    if not found["structure"]:
        raise refusal(BAD_ARGUMENTS, f"External table {name!r} needs {name}_structure or {name}_types")
    return {"structure": found["structure"], "format": found["format"] or "TabSeparated"}
