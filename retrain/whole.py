"""Files that are there whole or not at all. Light: programs that start in milliseconds use it, too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def write_json(file: Path, value: Any) -> None:
    """Write whole or not at all, and to the disk before it has its name."""
    write_bytes(file, msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")


def write_bytes(file: Path, content: bytes) -> None:
    """The same for bytes."""
    unfinished = file.with_name(file.name + ".unfinished")
    with unfinished.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    unfinished.replace(file)


def read_object(file: Path) -> dict[str, Any] | None:
    """A JSON object in a file; None where there is none, or it cannot be read."""
    try:
        return decoded(file.read_bytes())
    except OSError:
        return None


def json_lines(file: Path, kind: type[T]) -> Iterator[tuple[int, T]]:
    """What each line of a JSON Lines file holds, with the line's number; empty ones are passed over.

    Raises OSError where the file cannot be read; ValueError says the line, and what is wrong.
    """
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        if line.strip():
            try:
                found = msgspec.json.decode(line, type=kind)
            except msgspec.DecodeError as error:
                raise ValueError(f"line {number}: {error}") from error
            yield number, found


def decoded(content: bytes) -> dict[str, Any] | None:
    """A JSON object; None where it is none."""
    try:
        found = msgspec.json.decode(content)
    except msgspec.DecodeError:
        return None
    return found if isinstance(found, dict) else None
