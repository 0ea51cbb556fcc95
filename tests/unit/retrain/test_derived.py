"""A model made of another: kept where it answers alike, else nothing is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retrain.derived.derived import adapter_of, derive, prompts_for
from retrain.work import Refused
from tests.unit.retrain.made import pipeline
from tidemill.settings import Settings
from tidemill.settings.model import EngineSettings

SAID = [f"answer {n}" for n in range(50)]


def source(folder: Path) -> Path:
    made = folder / "base"
    made.mkdir()
    (made / "model.safetensors").write_bytes(b"weights")
    return made


def test_what_answers_alike_is_kept_with_what_it_was_made_of(tmp_path: Path) -> None:
    def make(folder: Path) -> tuple[list[str], list[str]]:
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"others")
        return SAID, [*SAID[:-1], "another"]

    told = derive(source(tmp_path), tmp_path / "out", make, 0.98, {"made_by": "merge"})
    assert (told["asked"], told["equal"]) == (50, 49)
    assert json.loads((tmp_path / "out" / "derived.json").read_text()) == told
    assert told["digest"] != told["source_digest"]
    with pytest.raises(Refused, match="is there already"):
        derive(tmp_path / "base", tmp_path / "out", make, 0.98, {})


def test_what_answers_otherwise_is_not_kept(tmp_path: Path) -> None:
    def make(folder: Path) -> tuple[list[str], list[str]]:
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"others")
        return SAID, [*SAID[:-2], "another", "yet another"]

    with pytest.raises(Refused, match=r"48 of 50 answers are the same as before, 98% are needed"):
        derive(source(tmp_path), tmp_path / "out", make, 0.98, {})
    assert [each.name for each in tmp_path.iterdir()] == ["base"]


def deployment(folder: Path) -> Settings:
    return Settings(data_dir=folder, engines={"local": EngineSettings()}, pipelines={"schedule": pipeline()})


def test_too_few_prompts_judge_nothing(tmp_path: Path) -> None:
    file = tmp_path / "golden.jsonl"
    file.write_text('{"prompt":"q","completion":"a"}\n' * 19)
    with pytest.raises(Refused, match=r"19 prompts to compare answers by, at least 20"):
        prompts_for(deployment(tmp_path), "schedule", file)
    file.write_text('{"prompt":"q","completion":"a"}\n' * 30)
    assert len(prompts_for(deployment(tmp_path), "schedule", file)) == 30


def test_only_a_version_with_an_adapter_can_be_merged(tmp_path: Path) -> None:
    settings = deployment(tmp_path)
    for version, words in (
        ("elsewhere-v2", "is no version"),
        ("schedule-v1", "is the base itself"),
        ("schedule-v2", "holds no adapter"),
    ):
        with pytest.raises(Refused, match=words):
            adapter_of(settings, version)
    folder = tmp_path / "adapters" / "schedule-v2"
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(b"")
    assert adapter_of(settings, "schedule-v2") == ("schedule", folder)
