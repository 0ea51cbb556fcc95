"""`tidemill quantize` asks for its environment, and hands on what llm-compressor says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from retrain.derived import quantize
from retrain.work import Refused

PROMPTS = [f"question {number}" for number in range(30)]


def made(model: Path, out: Path, python: Path) -> None:
    quantize.quantize(model, out, PROMPTS, python=python, least=0.95, max_tokens=4, threads=1)


def test_a_missing_environment_is_named_with_the_way_to_it(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"deploy/setup\.py --quantize"):
        made(tmp_path, tmp_path / "out", tmp_path / "python")


def test_an_error_of_the_program_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "program.py"
    program.write_text("raise SystemExit('no such layer')\n")
    monkeypatch.setattr(quantize, "PROGRAM", program)
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"weights")
    with pytest.raises(Refused, match="ended with code 1: no such layer"):
        made(model, tmp_path / "out", Path(sys.executable))
    assert not (tmp_path / "out").exists()
