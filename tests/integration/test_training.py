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
from typer.testing import CliRunner

from benchmarks.shared import pipeline
from producers.language import generate
from retrain import adapter
from retrain.datasets.dataset import DataSet
from retrain.datasets.rows import Row
from retrain.reproduce.compare import made_with
from retrain.shared.figures import findings
from retrain.shared.run import compare
from retrain.snapshot import write_folder
from retrain.whole import write_json
from tests.waiting import until
from tidemill.cli import context
from tidemill.cli.main import app
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


def test_a_version_is_trained_again_to_the_same_bits_and_scores(base: Path, tmp_path: Path) -> None:
    """The job as the controller leaves it, by the real trainer and the real scoring; a changed seed differs."""
    job = tmp_path / "jobs" / "aa11"
    said = generate("schedule", "words", Random(1), 96)
    rows = tuple(Row(prompt=each.text, completion=each.truth) for each in said)
    made = DataSet(train=rows[:64], verified=rows[64:])
    manifest = {"digest": made.digest, "counts": {}, "pipeline": "s", "until_ms": 1}
    write_folder(job / "data", made, manifest | {"base_digest": adapter.base_digest(base)})
    trained = {"base": str(base), "dataset": str(job / "data" / "train.jsonl"), "out": str(job / "adapter")}
    for name, content in (
        ("train/spec.json", trained | {"steps": 4, "batch": 8, "rank": 4, "seed": 7}),
        ("register/result.json", {"version": "s-v2", "made_with": made_with()}),
    ):
        (job / name).parent.mkdir()
        write_json(job / name, content)
    run("retrain.train.run", f"--spec={job / 'train' / 'spec.json'}")
    spec = {
        **{"base": str(base), "base_digest": adapter.base_digest(base), "champion": "", "metric": "exact_match"},
        **{"candidate": str(job / "adapter"), "rank": 4, "max_tokens": 4, "parity_samples": 1},
        **{"candidate_digest": adapter.file_digest(job / "adapter" / adapter.WEIGHTS)},
        **{"sets": {"verified": str(job / "data" / "verified.jsonl")}},
    }
    (job / "evaluate").mkdir()
    write_json(job / "evaluate" / "spec.json", spec)
    run("retrain.evaluate", f"--spec={job / 'evaluate' / 'spec.json'}")
    file = tmp_path / "tidemill.yaml"
    pipelines = "pipelines: {s: {engine: local, champion: s-v1}}"
    file.write_text(f"data_dir: {tmp_path}\nengines: {{local: {{}}}}\n{pipelines}\n")
    command = ["--settings", str(file), "reproduce", "s-v2"]
    done = CliRunner().invoke(app, [*command, "--json"], catch_exceptions=False)
    found = json.loads(done.output)
    assert (done.exit_code, found["same"], found["differences"]) == (0, True, []), found
    assert found["weights"]["recorded"] == found["weights"]["again"]
    assert found["scores"]["candidate/verified"][0] == found["scores"]["candidate/verified"][1] is not None

    write_json(job / "train" / "spec.json", trained | {"steps": 4, "batch": 8, "rank": 4, "seed": 8})
    other = CliRunner().invoke(app, [*command, "--no-scores"], catch_exceptions=False)
    context.use(None)
    assert other.exit_code == 1 and "NOT THE SAME" in other.output and "tensors differ" in other.output


def test_a_shared_base_and_separate_models_are_compared_for_real(base: Path, tmp_path: Path) -> None:
    both = [pipeline(name, 20, 10, 6, steps=2) for name in ("schedule", "support")]
    found = compare(both, base, tmp_path, lambda _: None)
    assert found.pipelines == ("schedule", "support")
    for arrangement in ("shared", "separate"):
        serving = found.serving[arrangement]
        assert serving.mixed_per_s > 0 and all(len(each.scores) == 6 for each in serving.pipelines.values())
    adapters, models = found.training["shared"], found.training["separate"]
    assert all(adapters[name].version_mb < models[name].version_mb for name in adapters)
    assert {each.aspect: each.better for each in findings(found) if not each.pipeline}["weights"] == "shared"
