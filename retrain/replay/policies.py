"""Policies to compare: the settings as they are, and files that say what else a policy would do.

A file is YAML with the groups ``quality``, ``retrain``, ``trigger`` and ``gate`` of a pipeline's settings; what it
leaves out stays as it is. It holds for every pipeline.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from tidemill.errors import SettingsError
from tidemill.settings import PipelineSettings, TriggerSettings

AS_SET = "as set"
"""The name of the settings' own policy."""
GROUPS: dict[str, tuple[str, ...]] = {
    "quality": ("min_drop", "recover_scores", "estimate"),
    "retrain": (
        "enabled",
        "min_fresh_labels",
        "floor_labels",
        "collect_deadline_s",
        "cooldown_s",
        "max_attempts",
        "max_drift_loss",
        "holdout_share",
    ),
    "trigger": tuple(TriggerSettings.model_fields),
    "gate": ("min_verified",),
}
"""The settings that decide when a retraining begins."""


class Policy(NamedTuple):
    """A name and what differs from the settings, by group."""

    name: str
    changes: dict[str, dict[str, Any]]
    file: Path | None = None

    def over(self, pipeline: PipelineSettings) -> PipelineSettings:
        """The pipeline's settings under this policy. Raises SettingsError with file, setting and value."""
        whole = pipeline.model_dump()
        for group, changes in self.changes.items():
            whole[group] |= changes
        try:
            return PipelineSettings.model_validate(whole)
        except ValidationError as error:
            first = error.errors()[0]
            path = ".".join(map(str, first["loc"]))
            message = str(first["msg"]).removeprefix("Value error, ").replace("Input should be ", "must be ", 1)
            raise SettingsError(f"{self.file}: {path or 'policy'}: {message} (got {first.get('input')!r})") from error


def read_policy(file: Path) -> Policy:
    """The policy of a file, named as the file. Raises SettingsError where it is no policy."""
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"{file}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{file}: not valid YAML: {error}") from error
    if not isinstance(found, dict) or not found:
        raise SettingsError(f"{file}: a policy is settings by name in the groups {', '.join(GROUPS)}")
    for group, changes in found.items():
        known = GROUPS.get(group)
        if known is None:
            raise SettingsError(f"{file}: {group}: a policy has the groups {', '.join(GROUPS)}")
        if not isinstance(changes, dict):
            raise SettingsError(f"{file}: {group}: must be settings by name (got {changes!r})")
        for name in changes:
            if name not in known:
                raise SettingsError(
                    f"{file}: {group}.{name}: does not decide when a retraining begins; known here: {', '.join(known)}"
                )
    return Policy(file.stem, found, file)
