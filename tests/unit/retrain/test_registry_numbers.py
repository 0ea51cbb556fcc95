"""The registry's numbers and the versions that the settings declare never mean two models by one name."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from retrain import registry
from tests.unit.retrain.made import pipeline
from tidemill.errors import Stop
from tidemill.settings import Settings
from tidemill.settings.model import EngineSettings


class Numbers:
    """A registry that numbers versions, and may have deleted some."""

    def __init__(self, *, deleted: int = 0) -> None:
        self.versions = [SimpleNamespace(version="1", tags={})]
        self.deleted = deleted
        self.aliases: dict[str, str] = {}

    def create_registered_model(self, name: str, description: str) -> None:
        pass

    def search_model_versions(self, query: str, max_results: int = 0) -> list[Any]:
        return self.versions

    def get_run(self, run_id: str) -> Any:
        return SimpleNamespace(info=SimpleNamespace(artifact_uri="file:///run"))

    def create_model_version(self, name: str, source: str, run_id: str, tags: dict[str, str]) -> Any:
        self.versions.append(SimpleNamespace(version=str(len(self.versions) + 1 + self.deleted), tags=tags))
        return self.versions[-1]

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        self.aliases[alias] = version


def settings_of(folder: Path, *declared: str) -> Settings:
    versions = {name: {"kind": "prompt", "prompt_version": "2"} for name in declared}
    made = pipeline(versions=versions)
    return Settings(data_dir=folder, engines={"local": EngineSettings()}, pipelines={"schedule": made})


@pytest.mark.parametrize("deleted", [0, 3])
def test_a_number_that_the_settings_declare_is_refused(
    tmp_path: Path, deleted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers, taken = Numbers(deleted=deleted), f"schedule-v{2 + deleted}"
    monkeypatch.setattr(registry, "client", lambda settings: numbers)
    settings = settings_of(tmp_path, taken)
    for _ in range(2):
        with pytest.raises(Stop, match=rf"pipelines\.schedule\.versions\.{taken} declares as another one; give that"):
            registry.register(settings, "schedule", "run-1", "job-1", {})
    assert numbers.aliases == {} and len(numbers.versions) == (1 if not deleted else 2)


def test_a_number_that_nobody_declares_is_registered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = Numbers()
    monkeypatch.setattr(registry, "client", lambda settings: numbers)
    settings = settings_of(tmp_path, "schedule-v3")
    for _ in range(2):
        assert registry.register(settings, "schedule", "run-1", "job-1", {}) == "schedule-v2"
    assert numbers.aliases == {registry.CANDIDATE: "2"} and len(numbers.versions) == 2
