"""How many fresh labels bring a pipeline back: the learning curve behind `min_fresh_labels`.

    python -m benchmarks.learning_curve [--base DIR] [--adapters pipeline=DIR,...] [--labels 75,150,300,600] [--json]

For each pipeline and label count: draw fresh labels in the changed way of speaking, mix in old examples, train one
adapter as the retraining does, then score 300 unseen texts of the new and of the old way.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from producers.language import Utterance, corrupt, generate
from retrain.datasets.rows import Row
from retrain.evaluate import mean_score

CHANGES = {"schedule": "words", "support": "novel"}
TESTS = 300
BASE = ".tidemill/models/base"
CHAMPIONS = ",".join(f"{pipeline}=.tidemill/adapters/{pipeline}-v1" for pipeline in CHANGES)


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning_curve", description="Learning curves.")
    parser.add_argument("--base", type=base_folder, default=BASE, help="base model folder (tidemill models makes it)")
    parser.add_argument("--pipelines", default="schedule,support")
    parser.add_argument("--adapters", default=CHAMPIONS, help="pipeline=DIR,...: champions, scored")
    parser.add_argument("--labels", default="75,150,300,600")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--replay", type=float, default=0.3, help="share of old examples in the training set")
    parser.add_argument("--corrupt", type=float, default=0.0, help="share of wrong fresh labels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="only the last line, as JSON")
    asked = parser.parse_args()
    rows = []
    for row in curves(asked):
        rows.append(row)
        if not asked.json:
            print(json.dumps(row), flush=True)
    print(json.dumps({"bench": "learning_curve", "rows": rows}))


def curves(asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row per pipeline and label count; label count 0 is the champion before retraining."""
    adapters = dict(pair.split("=", 1) for pair in asked.adapters.split(",") if pair)
    for pipeline in asked.pipelines.split(","):
        way = CHANGES[pipeline]
        new = generate(pipeline, way, Random(f"test:{asked.seed}"), TESTS)
        old = generate(pipeline, "plain", Random(f"test-old:{asked.seed}"), TESTS)
        champion = Path(adapters[pipeline]) if pipeline in adapters else None
        before = scored(asked.base, champion, (new, old), asked.threads)
        yield {"pipeline": pipeline, "labels": 0, "new": before[0], "old": before[1]}
        for count in map(int, asked.labels.split(",")):
            fresh = generate(pipeline, way, Random(f"fresh:{asked.seed}"), count, {each.text for each in new})
            noise = Random(f"noise:{asked.seed}")
            fresh = [corrupt(each, noise) if noise.random() < asked.corrupt else each for each in fresh]
            old_count = round(count * asked.replay / (1 - asked.replay))
            replay = generate(pipeline, "plain", Random(f"replay:{asked.seed}"), old_count, {each.text for each in old})
            with tempfile.TemporaryDirectory() as folder:
                spec = {
                    "base": str(asked.base),
                    "steps": asked.steps,
                    "rank": asked.rank,
                    "alpha": 2 * asked.rank,
                    "lr": asked.lr,
                    "batch": asked.batch,
                    "seed": asked.seed,
                    "threads": asked.threads,
                }
                adapter, result = trained(Path(folder), spec, fresh + replay)
                began = time.monotonic()
                after = scored(asked.base, adapter, (new, old), asked.threads)
                yield {
                    "pipeline": pipeline,
                    "labels": count,
                    "new": after[0],
                    "old": after[1],
                    "train_s": result["seconds"],
                    "train_cpu_s": result["cpu_seconds"],
                    "total_s": result["total_seconds"],
                    "score_s": round(time.monotonic() - began, 1),
                    "loss": result["loss"],
                }


def trained(folder: Path, spec: dict[str, Any], rows: list[Utterance]) -> tuple[Path, dict[str, Any]]:
    """Adapter folder and result of one training process."""
    dataset, out = folder / "train.jsonl", folder / "adapter"
    dataset.write_text("".join(json.dumps({"prompt": each.text, "completion": each.truth}) + "\n" for each in rows))
    (folder / "spec.json").write_text(json.dumps({**spec, "dataset": str(dataset), "out": str(out)}))
    subprocess.run(
        [sys.executable, "-m", "retrain.train.run", "--spec", str(folder / "spec.json")],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": str(spec["threads"])},
    )
    return out, json.loads((out / "result.json").read_text())


def base_folder(folder: str) -> Path:
    """A base model's folder, for argparse."""
    if not (Path(folder) / "config.json").is_file():
        raise argparse.ArgumentTypeError(f"{folder}: no base model is there; make the demo's with: tidemill models")
    return Path(folder)


def scored(base: Path, adapter: Path | None, tests: tuple[list[Utterance], ...], threads: int) -> list[float]:
    """Exact match of each test set."""
    from retrain.model.answers import Answerer

    answerer = Answerer(base, adapter, threads)
    shares = []
    for test in tests:
        rows = [Row(prompt=each.text, completion=each.truth) for each in test]
        answers = answerer.answers([row.prompt for row in rows])
        shares.append(round(mean_score("exact_match", answers, rows)["mean"] or 0.0, 3))
    return shares


if __name__ == "__main__":
    main()
