"""Reads files to be replayed, row by row, into one shape. Errors name the file, the line and what was expected."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

from tidemill.errors import Stop

T = TypeVar("T")
Format = Literal["azure", "csv"]
AZURE_COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")


@dataclass(frozen=True)
class Row:
    """One call to replay: when it came after the first one, and what is known of it."""

    after_ms: float
    input_tokens: int | None = None
    output_tokens: int | None = None
    text: str | None = None
    label: str | None = None


def read_rows(path: Path, kind: Format, *, text_column: str, label_column: str, rate: float) -> Iterator[Row]:
    """The rows in file order. ``csv`` files have no times: they come ``rate`` a second.

    Raises Stop on a missing column or a field that cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            _check_columns(path, reader.fieldnames or (), kind, text_column, label_column)
            if kind == "azure":
                yield from _trace(path, reader)
            else:
                for index, row in enumerate(reader):
                    yield Row(
                        after_ms=index * 1000 / rate,
                        text=row[text_column] or "",
                        label=row[label_column] if label_column else None,
                    )
    except OSError as error:
        raise Stop(f"{path}: cannot be read: {error.strerror}") from error


def check_header(path: Path, kind: Format, *, text_column: str, label_column: str) -> None:
    """Raises Stop, as ``read_rows`` would with its first row, when a column is missing or the file cannot be read."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            _check_columns(path, csv.DictReader(lines).fieldnames or (), kind, text_column, label_column)
    except OSError as error:
        raise Stop(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Stop(f"{path}: cannot be read: not UTF-8 text") from error


def count_rows(path: Path) -> int:
    """How many rows a CSV file holds (quoted line breaks counted as one), for the progress bar."""
    with path.open(encoding="utf-8-sig", newline="") as lines:
        return max(0, sum(1 for _ in csv.reader(lines)) - 1)


def _check_columns(path: Path, columns: Sequence[str], kind: Format, text_column: str, label_column: str) -> None:
    wanted = [(column, "a trace needs " + ", ".join(AZURE_COLUMNS)) for column in AZURE_COLUMNS]
    if kind == "csv":
        wanted = [(text_column, "see --text-column"), (label_column, "see --label-column")]
    for column, hint in wanted:
        if column and column not in columns:
            raise Stop(f"{path}:1: no column {column!r} (there are: {', '.join(columns)}); {hint}")


def _trace(path: Path, reader: csv.DictReader[str]) -> Iterator[Row]:
    first: float | None = None
    for row in reader:
        where = f"{path}:{reader.line_num}"
        at_ms = _field(where, row, "TIMESTAMP", _epoch_ms, "a time in UTC as 2023-11-16 18:15:46.6805900")
        tokens = [_field(where, row, column, int, "a whole number") for column in AZURE_COLUMNS[1:]]
        first = at_ms if first is None else first
        yield Row(after_ms=max(0.0, at_ms - first), input_tokens=tokens[0], output_tokens=tokens[1])


def _field(where: str, row: dict[str, str], column: str, read: Callable[[str], T], wanted: str) -> T:
    try:
        return read(row[column])
    except (ValueError, TypeError, AttributeError) as error:
        found = "nothing" if row[column] is None else repr(row[column])
        raise Stop(f"{where}: column {column!r} must be {wanted} (got {found})") from error


def _epoch_ms(text: str) -> float:
    """``2023-11-16 18:15:46.6805900`` (UTC, up to 7 decimals) as epoch milliseconds."""
    whole, _, decimals = text.strip().partition(".")
    moment = datetime.strptime(whole, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    return moment.timestamp() * 1000 + (float(f"0.{decimals}") * 1000 if decimals else 0.0)
