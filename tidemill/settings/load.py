"""Reads tidemill.yaml and the environment, and says precisely what is wrong.

Environment: ``TIDEMILL_<SECTION>__<NAME>=value`` overrides ``section.name`` (two underscores between levels,
values read as YAML): ``TIDEMILL_LOCAL__PORT_BASE=28000``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from tidemill.errors import SettingsError
from tidemill.settings.explain import Path_, explain
from tidemill.settings.model import Settings

FILE_NAME = "tidemill.yaml"
FILE_VARIABLE = "TIDEMILL_SETTINGS"
NO_PIPELINES = "no pipelines; see docs/reference/settings.md"
_PREFIX = "TIDEMILL_"
_SECTIONS = frozenset(Settings.model_fields)
NOWHERE: Mapping[Path_, str] = {}
M = TypeVar("M", bound=BaseModel)


def find_settings_file(environ: Mapping[str, str] = os.environ, start: Path | None = None) -> Path:
    """The settings file: $TIDEMILL_SETTINGS, else tidemill.yaml in this folder or the nearest above."""
    if named := environ.get(FILE_VARIABLE):
        return Path(named)
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    raise SettingsError(
        f"no {FILE_NAME} in {here} or above: go to the checkout, or name one with --settings FILE or {FILE_VARIABLE}"
    )


def load_settings(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """The checked settings. Raises SettingsError with file, line, setting, value and what is allowed.

    Relative ``data_dir`` is taken from the settings file's folder.
    """
    file = path or find_settings_file(environ)
    data, lines = read(file)
    empty = not data
    from_environment = _apply_environment(data, environ)
    if empty and "pipelines" not in data:
        raise SettingsError(f"{file}: {NO_PIPELINES}")
    return checked(Settings, data, file, lines, from_environment)


def read(file: Path, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> tuple[dict[str, Any], dict[Path_, int]]:
    """What a YAML file says, and the line (from 1) of each part by its path. Raises SettingsError."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SettingsError(f"{file}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: cannot be read: {error}") from error
    try:
        node = yaml.compose(text, Loader=loader)
        data = yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else str(file)
        raise SettingsError(f"{where}: not valid YAML: {getattr(error, 'problem', error)}") from error
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise SettingsError(f"{file}:1: expected settings by name, got {type(data).__name__}")
    return _unshared(data), _lines(node, file)


def checked(
    model: type[M],
    data: dict[str, Any],
    file: Path,
    lines: Mapping[Path_, int],
    from_environment: Mapping[Path_, str] = NOWHERE,
) -> M:
    """``data`` of a file as a model of settings. Raises SettingsError that names the lines.

    A relative ``data_dir`` is taken from the file's folder.
    """
    try:
        found = model.model_validate(data)
    except ValidationError as error:
        raise SettingsError(explain(error, model, file, lines, from_environment)) from error
    if isinstance(found, Settings) and not found.data_dir.is_absolute():
        return found.model_copy(update={"data_dir": (file.resolve().parent / found.data_dir)})
    return found


def is_override(name: str) -> bool:
    """Whether an environment variable of this name sets a setting."""
    return name.startswith(_PREFIX) and name[len(_PREFIX) :].split("__", maxsplit=1)[0].lower() in _SECTIONS


def _lines(root: yaml.Node | None, file: Path) -> dict[Path_, int]:
    """Line (from 1) of each setting by its path; refuses a name given twice."""
    found: dict[Path_, int] = {}

    def walk(node: yaml.Node, path: Path_) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                inner = (*path, str(key.value))
                line = key.start_mark.line + 1
                if inner in found:
                    name = ".".join(map(str, inner))
                    raise SettingsError(f"{file}:{line}: {name} is set twice (first in line {found[inner]})")
                found[inner] = line
                walk(value, inner)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                found[(*path, index)] = item.start_mark.line + 1
                walk(item, (*path, index))

    if root is not None:
        walk(root, ())
    return found


def _unshared(value: Any) -> Any:
    """A copy in which nothing is shared (YAML's aliases are one object): an override changes one place only."""
    if isinstance(value, dict):
        return {name: _unshared(inner) for name, inner in value.items()}
    return [_unshared(inner) for inner in value] if isinstance(value, list) else value


def _apply_environment(data: dict[str, Any], environ: Mapping[str, str]) -> dict[Path_, str]:
    """Write overrides into ``data``; give back which path came from which variable."""
    origin: dict[Path_, str] = {}
    for name, raw in sorted(environ.items()):
        if not is_override(name):
            continue
        path = tuple(part.lower() for part in name[len(_PREFIX) :].split("__"))
        try:
            value = yaml.safe_load(raw)
        except yaml.YAMLError as error:
            problem = getattr(error, "problem", None) or "not valid YAML"
            raise SettingsError(f"{name}: not a valid value: {problem}; put quotes around a text") from error
        target = data
        for part in path[:-1]:
            inner = target.setdefault(part, {})
            if not isinstance(inner, dict):
                raise SettingsError(f"{name}: {part!r} is a single value in the file, so nothing can be set inside it")
            target = inner
        target[path[-1]] = value
        origin[path] = name
    return origin
