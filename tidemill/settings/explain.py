"""Says what is wrong with settings in words for people: file and line (or variable), setting, what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

Path_ = tuple[str | int, ...]
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "dict": "settings by name",
    "model": "settings by name",
    "tuple": "a list",
    "list": "a list",
}
"""What is wanted, by the first word of pydantic's error types (``int_parsing``, ``bool_type`` …)."""
PATTERNS = {
    "^(https?://.+)?$": "an address that begins with http:// or https://",
    "^[A-Za-z_][A-Za-z0-9_]*$": "letters, digits and _, with no digit at the beginning",
    "^[A-Za-z0-9_-]*$": "letters, digits, - and _",
    "^[a-z0-9][a-z0-9-]{0,62}$": "1 to 63 of a-z, 0-9 and -, with no - at the beginning",
    "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$": "1 to 63 of a-z, 0-9 and -, with no - at either end",
    "^[a-z0-9][a-z0-9_-]{0,39}$": "1 to 40 of a-z, 0-9, - and _, with a letter or digit at the beginning",
}
"""What is wanted, by the pattern of a setting."""
_MAY_HOLD_SECRETS = {"options", "webhooks", "url", "remote"}
"""Settings whose values are not repeated in a message: Kafka's passwords, receivers' addresses, DVC's remote."""
_OF_KIND = ("_type", "_parsing", "_from_float")


def explain(
    error: ValidationError,
    model: type[BaseModel],
    file: Path,
    lines: Mapping[Path_, int],
    from_environment: Mapping[Path_, str],
) -> str:
    """One line for each thing that is wrong; what two pipelines share (an alias in the file) is said once."""
    said: dict[tuple[str, str, Path_], str] = {}
    found = error.errors()
    for each in found:
        if each["type"] == "too_short" and any(_is_below(other["loc"], each["loc"]) for other in found):
            continue  # only those that are wrong themselves were left out of the count
        path: Path_ = (*each["loc"], *each.get("ctx", {}).get("path", ()))
        where = _where(path, file, lines, from_environment)
        message = _message(each, path, model)
        said.setdefault(
            (where, message, path[2:] or path), f"{where}: {'.'.join(map(str, path)) or 'settings'}: {message}"
        )
    return "\n".join(said.values())


def _is_below(path: Path_, other: Path_) -> bool:
    return len(path) > len(other) and path[: len(other)] == other


def _where(path: Path_, file: Path, lines: Mapping[Path_, int], from_environment: Mapping[Path_, str]) -> str:
    for length in range(len(path), 0, -1):
        if (variable := from_environment.get(path[:length])) is not None:
            return variable
        if (line := lines.get(path[:length])) is not None:
            return f"{file}:{line}"
    return str(file)


def _message(error: Any, path: Path_, model: type[BaseModel]) -> str:
    kind = str(error["type"])
    if kind == "extra_forbidden":
        return f"there is no such setting{_suggestion(path, model)}"
    if kind == "missing":
        return "this setting is required"
    if kind == "too_short":
        return f"must not be empty; give {error['ctx']['min_length']} or more"
    message = str(error["msg"]).removeprefix("Value error, ")
    if "path" in error.get("ctx", {}):
        return message
    first = kind.split("_", maxsplit=1)[0]
    if first in _KINDS and kind.endswith(_OF_KIND):
        return f"must be {_KINDS[first]} (got {_shown(error.get('input'), path)})"
    if kind == "string_pattern_mismatch" and (wanted := PATTERNS.get(error["ctx"]["pattern"])):
        return f"must be {wanted} (got {_shown(error.get('input'), path)})"
    message = message.replace("Input should be ", "must be ", 1)
    value = error.get("input")
    return message if isinstance(value, dict | list | BaseModel) else f"{message} (got {_shown(value, path)})"


def _shown(value: Any, path: Path_) -> str:
    if isinstance(value, str) and (set(path) & _MAY_HOLD_SECRETS):
        return "a text that is not shown, as it may hold a secret"
    if isinstance(value, dict | BaseModel):
        return "settings by name"
    return "a list" if isinstance(value, list | tuple) else "nothing" if value is None else repr(value)


def _suggestion(path: Path_, root: type[BaseModel]) -> str:
    model: Any = root
    for part in path[:-1]:
        if isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields:
            annotation = model.model_fields[str(part)].annotation
            inner = [a for a in getattr(annotation, "__args__", ()) if isinstance(a, type) and issubclass(a, BaseModel)]
            model = inner[0] if inner else annotation
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return ""
    close = difflib.get_close_matches(str(path[-1]), list(model.model_fields), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known here: {', '.join(model.model_fields)}"
