"""A base, an adapter and its answers, for real but tiny: the whole training road in few steps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from producers.language import generate
from tests.waiting import until
from tidemill.local.corpus import jsonl

pytestmark = pytest.mark.timeout(600)
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def run(module: str, *options: str) -> list[dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-m", module, *options], check=True, stdout=subprocess.PIPE, env=ONE_THREAD, timeout=300
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b'{"')]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    rows = generate("schedule", "plain", Random(0), 200) + generate("support", "plain", Random(0), 100)
    (folder / "rows.jsonl").write_bytes(jsonl(rows))
    said = run(
        "retrain.model.base",
        f"--corpus={folder / 'rows.jsonl'}",
        f"--out={folder / 'model'}",
        "--steps=5",
        "--batch=16",
        "--threads=1",
    )
    assert said[0]["step"] == 1
    assert said[-1]["done"] is True
    return folder / "model"


def spec(base: Path, folder: Path, name: str, **changed: object) -> Path:
    dataset = folder / "train.jsonl"
    dataset.write_bytes(jsonl(generate("schedule", "words", Random(1), 64)))
    file = folder / f"{name}.json"
    facts = {"base": str(base), "dataset": str(dataset), "out": str(folder / name), "steps": 5, "batch": 8, **changed}
    file.write_text(json.dumps(facts))
    return file


def test_the_base_is_a_folder_an_engine_can_serve(base: Path) -> None:
    names = {file.name for file in base.iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    text = tokenizer.apply_chat_template(
        [{"role": "system", "content": "x"}, {"role": "user", "content": "hi"}],
        tokenize=False,
        add_generation_prompt=True,
    )
    assert text == "<s><|user|>hi<|assistant|>"


def test_the_same_spec_gives_the_same_adapter_and_it_answers(base: Path, tmp_path: Path) -> None:
    first = run("retrain.train.run", f"--spec={spec(base, tmp_path, 'one')}")[-1]
    second = run("retrain.train.run", f"--spec={spec(base, tmp_path, 'two')}")[-1]
    assert first["adapter_sha256"] == second["adapter_sha256"]
    assert json.loads((tmp_path / "one" / "result.json").read_text())["steps"] == 5
    assert {file.name for file in (tmp_path / "one").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "result.json",
    }
    asked = tmp_path / "asked.jsonl"
    asked.write_text('{"prompt":"book launch"}\n{"prompt":"where is my order?"}\n')
    run(
        "retrain.model.answers",
        f"--base={base}",
        f"--adapter={tmp_path / 'one'}",
        f"--prompts={asked}",
        f"--out={tmp_path / 'answers.jsonl'}",
    )
    answered = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert [row["prompt"] for row in answered] == ["book launch", "where is my order?"]


def test_an_answer_that_is_too_long_is_left_out_and_a_data_set_of_them_refused(base: Path, tmp_path: Path) -> None:
    file = spec(base, tmp_path, "odd")
    with (tmp_path / "train.jsonl").open("a") as rows:
        rows.write(json.dumps({"prompt": "why?", "completion": "because " * 400}) + "\n")
    done = run("retrain.train.run", f"--spec={file}")[-1]
    assert (done["rows"], done["too_long_left_out"]) == (64, 1)
    (tmp_path / "train.jsonl").write_text(json.dumps({"prompt": "why?", "completion": "because " * 400}) + "\n")
    refused = str(run("retrain.train.run", f"--spec={file}")[-1]["refused"])
    assert "1 answers are too long" in refused
    assert json.loads((tmp_path / "odd" / "result.json").read_text()) == {"refused": refused}


def test_time_ends_a_training_and_keeps_the_adapter(base: Path, tmp_path: Path) -> None:
    said = run("retrain.train.run", f"--spec={spec(base, tmp_path, 'late', steps=100_000, max_seconds=2)}")
    assert said[-1]["stopped_by"] == "time"
    assert (tmp_path / "late" / "adapter_model.safetensors").is_file()


def test_sigterm_leaves_nothing_half_done(base: Path, tmp_path: Path) -> None:
    told = spec(base, tmp_path, "killed", steps=100_000)
    command = [sys.executable, "-m", "retrain.train.run", f"--spec={told}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=ONE_THREAD) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, b"")
        until(lambda: next(lines).startswith(b'{"step"'), within_s=200)
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
    assert process.returncode == 128 + signal.SIGTERM
    assert b"SIGTERM" in rest
    assert not (tmp_path / "killed").exists()
    assert not (tmp_path / "killed.unfinished").exists()
