"""A small model in int8, served by the real vLLM on the processor: run by `make quantize-check`, not by the suite."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from random import Random

import pytest

from producers.language import generate
from retrain.derived.quantize import quantize
from retrain.model.base import train_base
from tests.quantize.engine import serving
from tidemill.local.corpus import jsonl
from tidemill.local.places import quantize_python

pytestmark = pytest.mark.timeout(900)
QUESTIONS = 100
LEAST = 0.9


def asked(url: str, prompt: str) -> str:
    body = {"model": "base", "messages": [{"role": "user", "content": prompt}], "temperature": 0, "max_tokens": 16}
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as reply:
        return str(json.loads(reply.read())["choices"][0]["message"]["content"]).strip()


def test_int8_is_served_and_answers_as_the_model_did(tmp_path: Path) -> None:
    from retrain.model.answers import Answerer

    said = generate("support", "plain", Random(0), 600)
    (tmp_path / "rows.jsonl").write_bytes(jsonl(said))
    train_base(tmp_path / "rows.jsonl", tmp_path / "base", steps=150, batch=32, threads=1)
    prompts = [each.text for each in said[:QUESTIONS]]
    told = quantize(
        tmp_path / "base", tmp_path / "int8", prompts, python=quantize_python(), least=LEAST, max_tokens=16, threads=1
    )
    config = json.loads((tmp_path / "int8" / "config.json").read_text())
    assert config["quantization_config"]["quant_method"] == "compressed-tensors"
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("base", "int8")]
    assert sizes[1] < sizes[0]
    before = Answerer(tmp_path / "base").answers(prompts, 16)
    with serving(tmp_path / "int8", "base", tmp_path) as url:
        served = [asked(url, prompt) for prompt in prompts]
    equal = sum(one == other for one, other in zip(before, served, strict=True))
    print(json.dumps({"asked": QUESTIONS, "equal_in_torch": told["equal"], "equal_served": equal, "bytes": sizes}))
    assert equal >= LEAST * QUESTIONS
