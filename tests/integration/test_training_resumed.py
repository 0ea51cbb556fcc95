"""A training whose process is killed goes on from its checkpoint, to the very same weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from producers.language import generate
from retrain.controller.works import TRAINER
from retrain.launchers.folder import CHECKPOINT, checkpoint_step
from tests.integration.retrain_world import make_base
from tests.waiting import until
from tidemill.local.corpus import jsonl

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
STEPS, EVERY = 40, 5


def spec(folder: Path, name: str, **changed: Any) -> Path:
    """The same training each time but for where it writes."""
    facts = {"base": str(folder / "base"), "dataset": str(folder / "rows.jsonl"), "out": str(folder / name), "rank": 4}
    file = folder / f"{name}.json"
    file.write_text(json.dumps({**facts, "steps": STEPS, "batch": 4, **changed}))
    return file


def run(file: Path) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", TRAINER, f"--spec={file}"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=ONE_THREAD, timeout=200)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b'{"')]


@pytest.mark.timeout(600)
def test_a_training_that_is_killed_ends_with_the_same_bytes(tmp_path: Path) -> None:
    make_base(tmp_path)
    (tmp_path / "rows.jsonl").write_bytes(jsonl(generate("schedule", "words", Random(1), 64)))
    whole = run(spec(tmp_path, "whole"))[-1]

    told = spec(tmp_path, "killed", checkpoint=str(tmp_path / CHECKPOINT), checkpoint_steps=EVERY)
    command = [sys.executable, "-m", TRAINER, f"--spec={told}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=ONE_THREAD) as first:
        until(lambda: checkpoint_step(tmp_path), within_s=200, every_s=0.01, what="a checkpoint is written")
        first.kill()
    assert not (tmp_path / "killed").exists()
    at = checkpoint_step(tmp_path)
    assert EVERY <= at < STEPS

    said = run(told)
    assert said[-1]["adapter_sha256"] == whole["adapter_sha256"]
    assert (said[-1]["loss"], said[-1]["tokens"]) == (whole["loss"], whole["tokens"])
    assert {"stage": f"going on from step {at}"} in said
    assert min(line["step"] for line in said if "step" in line) == at + 1
    assert not (tmp_path / CHECKPOINT).exists(), "what is done needs no checkpoint"

    (tmp_path / CHECKPOINT).write_bytes(b"\0" * 100)
    assert run(told)[-1]["adapter_sha256"] == whole["adapter_sha256"], "an unreadable one is as none"
