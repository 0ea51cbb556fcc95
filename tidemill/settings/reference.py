"""The settings' reference page, made from the settings themselves: ``python -m tidemill.settings.reference``."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from datetime import datetime, time
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tidemill.settings.model import PORTS, Settings

HEAD = """\
# Settings

One file, `tidemill.yaml`: found in the folder you are in or the nearest above, or named with `--settings FILE` or
`TIDEMILL_SETTINGS`. Unknown names and wrong types stop start-up with the file's line and what is allowed.
A variable `TIDEMILL_<SECTION>__<NAME>` overrides `section.name` (`TIDEMILL_LOCAL__PORT_BASE=28000`).
Secrets are never in the file: `tidemill init` makes keys under `<data_dir>/secrets`; `TIDEMILL_GATEWAY_KEYS`,
`TIDEMILL_AUDIT_KEYS` and `TIDEMILL_CLICKHOUSE_PASSWORD` take their place in production.
A path that begins with `.tidemill/` means data_dir, wherever that is; another relative path starts from the folder
that holds data_dir.

This page is made by `python -m tidemill.settings.reference`; a test keeps it true.

| setting | type | default | meaning |
|---|---|---|---|
"""


_WORDS: dict[Any, str] = {
    Any: "value",
    str: "text",
    int: "whole number",
    float: "number",
    bool: "yes or no",
    Path: "folder",
    datetime: "date and time",
    time: "time of day",
}
PORTS_HEAD = """
## Local ports

`local.port_base` plus:

| service | offset |
|---|---|
"""


def page() -> str:
    """The whole page as Markdown."""
    rows = (f"| `{name}` | {kind} | {default} | {meaning} |\n" for name, kind, default, meaning in _rows(Settings, ""))
    ports = "".join(f"| {name} | {offset} |\n" for name, offset in PORTS.items())
    return HEAD + "".join(rows) + PORTS_HEAD + ports


def _rows(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for name, field in model.model_fields.items():
        inner, suffix = _inner(field.annotation)
        path = f"{prefix}{name}{suffix}"
        meaning = (field.description or _first_line(inner)).replace("\n", " ").replace("|", "\\|")
        if inner is not None:
            yield path, "group", "", meaning
            yield from _rows(inner, f"{path}.")
        else:
            yield path, _kind(field.annotation), _default(field), meaning


def _inner(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """The settings model inside an annotation, and how a path shows its repetition."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    for argument in arguments:
        if isinstance(argument, type) and issubclass(argument, BaseModel):
            return argument, ".<name>" if origin is dict else "[]"
    return None, ""


def _first_line(model: type[BaseModel] | None) -> str:
    return (model.__doc__ or "").strip().splitlines()[0] if model is not None and model.__doc__ else ""


def _kind(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return " \\| ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_kind(argument) for argument in arguments if argument is not type(None)) + " or none"
    if origin is tuple:
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return f"{_kind(arguments[1])} by name"
    return _WORDS.get(annotation, str(annotation))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or value is None:
        return "none"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    shown = str(value).replace("|", "\\|")
    return f"`{shown}`" if value not in ("", {}) else "none"


if __name__ == "__main__":
    print(page(), end="")
