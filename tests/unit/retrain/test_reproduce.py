"""What differs between a training and the same again is said, and what cannot be trained again, too."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from retrain import adapter
from retrain.datasets.dataset import build
from retrain.reproduce.compare import Weights, differences, made_with, weights
from retrain.reproduce.run import means, reproduce
from retrain.snapshot import write_folder
from retrain.whole import write_json
from tests.unit.retrain.made import NOW, rules
from tests.unit.retrain.poisoned import call
from tidemill.errors import Stop
from tidemill.settings import Settings

SAME = Weights(recorded="a", again="a")
OTHER = Weights(recorded="a", again="b", tensors=4, differing=2, largest=0.001)


def tensors(file: Path, **values: Any) -> Path:
    save_file({name: np.asarray(value, dtype=np.float32) for name, value in values.items()}, file)
    return file


def test_the_same_digests_need_no_look_at_the_files(tmp_path: Path) -> None:
    found = weights(tmp_path / "gone", tmp_path / "gone", ("a", "a"))
    assert found.equal and found.differing == 0


def test_weights_that_differ_say_where_and_by_how_much(tmp_path: Path) -> None:
    one = tensors(tmp_path / "one", a=[1.0, 2.0], b=[3.0])
    other = tensors(tmp_path / "other", a=[1.0, 2.5], b=[3.0])
    found = weights(one, other, ("a", "b"))
    assert (found.equal, found.tensors, found.differing, found.largest) == (False, 2, 1, 0.5)
    shapes = weights(one, tensors(tmp_path / "third", a=[1.0, 2.0, 3.0], b=[3.0]), ("a", "b"))
    assert (shapes.differing, shapes.largest) == (1, None)
    gone = weights(tmp_path / "gone", other, ("a", "b"))
    assert (gone.tensors, gone.differing, gone.largest) == (2, 2, None)


@pytest.mark.parametrize(
    ("found", "recorded", "again", "scores", "before", "said"),
    [
        (SAME, {"loss": 0.5, "seconds": 9}, {"loss": 0.5, "seconds": 3}, {"candidate/v": (0.5, 0.5)}, {}, []),
        (OTHER, {}, {}, {}, {}, ["weights: 2 of 4 tensors differ, by at most 0.001"]),
        (SAME, {"steps": 9}, {"steps": 8}, {}, {}, ["steps of the training: 9, again 8"]),
        (SAME, {}, {}, {"candidate/v": (0.5, None)}, {}, ["score candidate/v: 0.5000, again unknown"]),
        (SAME, {}, {}, {}, {"torch": "0.1"}, ["made with torch 0.1, now"]),
        (OTHER, {"stopped_by": "time"}, {"stopped_by": "time"}, {}, {}, ["a training that its time limit", "weights"]),
    ],
)
def test_differences_are_said(
    found: Weights, recorded: Any, again: Any, scores: Any, before: dict[str, str], said: list[str]
) -> None:
    told = differences(found, recorded, again, scores, (before, made_with()))
    assert len(told) == len(said) and all(each.startswith(words) for each, words in zip(told, said, strict=True)), told


def test_scores_are_means_of_what_both_models_got() -> None:
    found = means({"paired": {"verified": [[1.0, 0.0], [0.0, 0.0]], "golden": []}})
    assert found == {
        **{"candidate/verified": 0.5, "champion/verified": 0.0},
        **{"candidate/golden": None, "champion/golden": None},
    }
    assert means({}) == {}


def test_what_decides_the_bits_is_known() -> None:
    assert {"python", "machine", "torch", "transformers", "peft", "trl"} <= made_with().keys()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A deployment with one job that could be trained again."""
    base = tmp_path / "models" / "base"
    base.mkdir(parents=True)
    (base / "model.safetensors").write_bytes(b"weights")
    job = tmp_path / "jobs" / "aa11"
    made = build([call(n, "acme", f"label {n}", "audit") for n in range(120)], [], [], rules())
    manifest = {"digest": made.digest, "counts": made.counts, "pipeline": "s", "until_ms": NOW}
    write_folder(job / "data", made, manifest | {"base_digest": adapter.base_digest(base)})
    for name, content in (
        ("train/spec.json", {"base": str(base)}),
        ("adapter/result.json", {"adapter_sha256": "a"}),
        ("register/result.json", {"version": "s-v2"}),
    ):
        (job / name).parent.mkdir()
        write_json(job / name, content)
    pipelines = {"s": {"engine": "local", "champion": "s-v1"}}
    return Settings.model_validate({"data_dir": str(tmp_path), "engines": {"local": {}}, "pipelines": pipelines})


def test_what_cannot_be_trained_again_says_why(settings: Settings, tmp_path: Path) -> None:
    job, base = tmp_path / "jobs" / "aa11", tmp_path / "models" / "base"

    def said(name: str = "s-v2") -> str:
        with pytest.raises(Stop) as stopped:
            reproduce(settings, name, tmp_path, lambda _: None)
        return str(stopped.value)

    assert "no data set of a job or version 's-v9'" in said("s-v9")
    (base / "model.safetensors").write_bytes(b"others")
    assert "is another base" in said() and "than the version was trained on" in said()
    shutil.rmtree(base)
    assert "the base is gone" in said()
    base.mkdir()
    (base / "model.safetensors").write_bytes(b"weights")
    (job / "data" / "train.jsonl").write_bytes(b"")
    assert "not what its manifest's digest says" in said()
    write_json(job / "adapter" / "result.json", {"refused": "too few rows"})
    assert "trained nothing: too few rows" in said()
    (job / "train" / "spec.json").unlink()
    assert "train/spec.json is gone" in said()
