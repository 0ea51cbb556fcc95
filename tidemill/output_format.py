"""Whether an answer has the form that its pipeline wants: JSON, or JSON of a JSON Schema. Nothing is ever fetched."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from tidemill.answers import Check

Place = tuple[str | int, ...]
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


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
    for path, name, value in _texts(plain, ()):
        _look_at(plain, path, name, value)
    validator = kind(plain, registry=Registry())

    def check(text: str) -> bool:
        try:
            return bool(validator.is_valid(msgspec.json.decode(text)))
        except (msgspec.DecodeError, UnicodeError, RecursionError, ArithmeticError):
            return False

    return check


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema as JSON has it. YAML reads some texts as other things."""
    try:
        found: dict[str, Any] = json.loads(json.dumps(schema, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise FormatError((), f"no JSON: {error}; put quotes around texts that look like dates") from error
    return found


def _look_at(schema: dict[str, Any], path: Place, name: str, value: str) -> None:
    """Refuse what would only fail when an answer comes to it. Raises FormatError."""
    if name in _REFERENCES and not _is_inside(schema, value):
        raise FormatError(path, f"{value!r} is nowhere in this schema; say what it means under $defs")
    if name == "$id" and len(path) > 1:
        raise FormatError(path, "references below it would mean something else; leave it out")


def _texts(value: Any, path: Place) -> Iterator[tuple[Place, str, str]]:
    """Every text in the schema that has a keyword: path, keyword and text."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, str):
                yield (*path, name), name, inner
            else:
                yield from _texts(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, (*path, index))


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
