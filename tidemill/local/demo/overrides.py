"""Settings with a scenario's overrides applied, written to a file that every role of the demo reads."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tidemill.io.modes import write_private
from tidemill.settings import Settings, load_settings


def with_overrides(settings: Settings, overrides: Mapping[str, Any]) -> Settings:
    """Checked settings with each dotted name replaced. Raises SettingsError where a value is not allowed."""
    data = copy.deepcopy(settings.model_dump(mode="json"))
    for name, value in overrides.items():
        *path, last = name.split(".")
        target = data
        for part in path:
            target = target[part]
        target[last] = value
    return Settings.model_validate(data)


def write_settings(settings: Settings, file: Path) -> Settings:
    """Write the settings as a file and read them back, as every role will; absolute folders stay as they are."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_private(file, yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False))
    return load_settings(file, {})
