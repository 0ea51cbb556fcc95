"""Adapters are judged by their bytes; every way of being wrong is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from retrain import adapter

LAYER = "base_model.model.model.layers.0.self_attn.q_proj"


def write(folder: Path, tensors: dict[str, NDArray[np.float32]], rank: int = 4) -> str:
    """An adapter folder in safetensors' own layout; the digest of its weights."""
    folder.mkdir(exist_ok=True)
    header, data = {}, b""
    for name, values in tensors.items():
        start = len(data)
        data += values.astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [start, len(data)]}
    head = json.dumps(header).encode()
    (folder / adapter.WEIGHTS).write_bytes(len(head).to_bytes(8, "little") + head + data)
    (folder / adapter.CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": rank}))
    return adapter.file_digest(folder / adapter.WEIGHTS)


def good(rank: int = 4) -> dict[str, NDArray[np.float32]]:
    return {
        f"{LAYER}.lora_A.weight": np.ones((rank, 8), np.float32),
        f"{LAYER}.lora_B.weight": np.ones((8, rank), np.float32),
    }


def test_a_good_adapter_has_no_problems(tmp_path: Path) -> None:
    digest = write(tmp_path / "a", good())
    assert adapter.problems(tmp_path / "a", digest=digest, rank=4) == []


def test_other_bytes_than_the_training_wrote(tmp_path: Path) -> None:
    write(tmp_path / "a", good())
    assert "sha256 differs" in adapter.problems(tmp_path / "a", digest="0" * 64, rank=4)[0]


@pytest.mark.parametrize("name", ["adapter_model.bin", "pytorch_model.pt", "optimizer.pkl"])
def test_files_that_could_run_code_are_not_taken(tmp_path: Path, name: str) -> None:
    digest = write(tmp_path / "a", good())
    (tmp_path / "a" / name).write_bytes(b"x")
    assert adapter.problems(tmp_path / "a", digest=digest, rank=4) == [f"unexpected file {name}"]


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"lm_head.weight": np.ones((4, 4), np.float32)}, "is no LoRA weight"),
        (good(rank=8), "expected rank 4"),
        ({f"{LAYER}.lora_A.weight": np.full((4, 8), np.nan, np.float32)}, "not finite"),
        ({}, "no tensors"),
    ],
)
def test_wrong_tensors(tmp_path: Path, tensors: dict[str, NDArray[np.float32]], words: str) -> None:
    digest = write(tmp_path / "a", tensors)
    assert any(words in problem for problem in adapter.problems(tmp_path / "a", digest=digest, rank=4))


def test_garbage_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    write(tmp_path / "a", good())
    (tmp_path / "a" / adapter.WEIGHTS).write_bytes(b"\xff" * 64)
    digest = adapter.file_digest(tmp_path / "a" / adapter.WEIGHTS)
    assert "no safetensors" in adapter.problems(tmp_path / "a", digest=digest, rank=4)[-1]


def test_a_wrong_rank_in_the_configuration(tmp_path: Path) -> None:
    digest = write(tmp_path / "a", good(), rank=64)
    assert "of rank 64, expected LORA of 4" in adapter.problems(tmp_path / "a", digest=digest, rank=4)[0]


def test_another_base_than_its_training_bound_it_to(tmp_path: Path) -> None:
    digest = write(tmp_path / "a", good())
    (tmp_path / "a" / adapter.RESULT).write_text(json.dumps({"base_digest": "1" * 64}))
    assert adapter.problems(tmp_path / "a", digest=digest, rank=4, base="1" * 64) == []
    (problem,) = adapter.problems(tmp_path / "a", digest=digest, rank=4, base="2" * 64)
    assert problem == "result.json binds it to the base 111111111111, expected 222222222222"


def test_whole_modules_are_no_adapter(tmp_path: Path) -> None:
    digest = write(tmp_path / "a", good())
    config = {"peft_type": "LORA", "r": 4, "modules_to_save": ["lm_head"]}
    (tmp_path / "a" / adapter.CONFIG).write_text(json.dumps(config))
    (problem,) = adapter.problems(tmp_path / "a", digest=digest, rank=4)
    assert "saves whole modules ['lm_head']" in problem


def test_bytes_that_belong_to_no_tensor(tmp_path: Path) -> None:
    write(tmp_path / "a", good())
    weights = tmp_path / "a" / adapter.WEIGHTS
    weights.write_bytes(weights.read_bytes() + b"code")
    (problem,) = adapter.problems(tmp_path / "a", digest=adapter.file_digest(weights), rank=4)
    assert problem == "adapter_model.safetensors: 260 bytes of tensors, 256 of them spoken for"


def test_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert "is missing" in adapter.problems(tmp_path / "a", digest="", rank=4)[0]


def test_the_base_is_named_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="no base model"):
        adapter.base_digest(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"1")
    first = adapter.base_digest(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"2")
    assert adapter.base_digest(tmp_path) != first
