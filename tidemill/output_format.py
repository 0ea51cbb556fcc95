"""Whether an answer has the form that its pipeline wants: JSON, or JSON of a JSON Schema. Nothing is ever fetched."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from tidemill.answers import Check

Place = tuple[str | int, ...]


class FormatError(Exception):
    """A schema that cannot be used: ``path`` is the place in it, ``reason`` says what is wrong there."""

    def __init__(self, path: Place, reason: str) -> None:
        super().__init__(reason)
        self.path, self.reason = path, reason


def is_json(text: str) -> bool:
    """Whether the text is one JSON value and nothing else (a fence of Markdown around it is something else)."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True


def conforms_to(schema: Mapping[str, Any]) -> Check:
    """A check against a JSON Schema (draft 2020-12 unless ``$schema`` says otherwise). Raises FormatError."""
    import jsonschema
    from referencing import Registry

    plain = _plain(schema)
    kind = jsonschema.validators.validator_for(plain, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(plain)
    except jsonschema.SchemaError as error:
        raise FormatError(tuple(error.path), f"no valid JSON Schema: {error.message}") from error
    for path, reference in _references(plain, ()):
        if not _is_inside(plain, reference):
            raise FormatError(
                path, f"{reference!r} is nowhere in this schema; write '#/$defs/…' and what it means there"
            )
    validator = kind(plain, registry=Registry())

    def check(text: str) -> bool:
        try:
            return bool(validator.is_valid(msgspec.json.decode(text)))
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return False

    return check


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema as JSON has it. YAML reads some texts as other things."""
    try:
        found: dict[str, Any] = json.loads(json.dumps(schema, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise FormatError((), f"no JSON: {error}; put quotes around texts that look like dates") from error
    return found


def _references(value: Any, path: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in ("$ref", "$dynamicRef", "$recursiveRef") and isinstance(inner, str):
                yield (*path, name), inner
            else:
                yield from _references(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _references(inner, (*path, index))


def _is_inside(schema: dict[str, Any], reference: str) -> bool:
    """Whether a reference points at a part of the schema itself."""
    if not reference.startswith("#"):
        return False
    at: Any = schema
    for part in reference[1:].split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(at, list):
            at = at[int(name)] if name.isdigit() and int(name) < len(at) else None
        else:
            at = at.get(name) if isinstance(at, dict) else None
        if at is None:
            return False
    return reference == "#" or reference.startswith("#/")
