"""How good a candidate is on real questions, by the labels it was trained on: BANKING77, half of the intents unseen.

    python -m benchmarks.turn_labels [--labels 150,600,1500,all] [--steps N --keep-weight W]

The base and champion of `tidemill demo --texts`, its recipe and its training process; one training for each number of
fresh labels of unseen intents, with as many of the known ones. Scored are the file's own test questions, which no
training holds. One JSON line for each.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from benchmarks.drift_corpus import DATA
from producers.language import TextSource, read_csv
from retrain.controller.works import training
from retrain.evaluate import mean_score
from retrain.rows import Row
from tidemill.local.demo.overrides import with_overrides
from tidemill.local.demo.place import models_cache
from tidemill.local.demo.scenario import on_texts
from tidemill.local.models import prepare
from tidemill.local.places import project_root
from tidemill.settings import RetrainSettings, load_settings

LABELS = (150, 600, 1_500, None)
"""Fresh labels of unseen intents; None: all there are."""


class Point(NamedTuple):
    """What a training on so many fresh labels gave: exact match on unseen and on known intents."""

    labels: int
    rows: int
    unseen: float
    known: float
    seconds: float
    cpu_seconds: float
    tokens_per_s: float


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.turn_labels", description="Labels and what they give.")
    parser.add_argument("--labels", default="150,600,1500,all")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--keep-weight", type=float)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    policy = recipe().model_copy(update={"threads": asked.threads})
    given = {"steps": asked.steps, "keep_weight": asked.keep_weight, "lr": asked.learning_rate}
    spec = training(policy) | {name: value for name, value in given.items() if value is not None}
    labels = [None if part == "all" else int(part) for part in asked.labels.split(",")]
    for point in curve(labels, spec, asked.seed, lambda said: print(said, file=sys.stderr, flush=True)):
        print(json.dumps(point._asdict() | {"steps": spec["steps"], "keep_weight": spec["keep_weight"]}), flush=True)


def recipe() -> RetrainSettings:
    """How the demo on real texts trains."""
    settings = load_settings(project_root() / "tidemill.yaml", {})
    return with_overrides(settings, on_texts(1.0, 10).settings).pipelines["support"].retrain


def curve(
    labels: Sequence[int | None], spec: dict[str, Any], seed: int, tell: Callable[[str], None]
) -> Iterator[Point]:
    """The champion, with no labels, then a point for each number. Blocks for minutes at each."""
    texts = read_csv(DATA / "banking77_train.csv", "text", "category", 0.5, seed)
    models = prepare(models_cache(), lambda what, facts: tell(f"{what}: {facts}"), texts, spec["threads"])
    champion = models.adapters["support"]
    tests = {held_back: _tests(texts, held_back) for held_back in (True, False)}
    yield Point(0, 0, *_scores(models.base_dir, champion, tests, spec["threads"]), 0.0, 0.0, 0.0)
    for count in labels:
        fresh, known = _drawn(texts, True, count, seed), _drawn(texts, False, count, seed)
        rows = fresh + known[: len(fresh)]
        tell(f"training on {len(rows)} rows")
        with tempfile.TemporaryDirectory() as folder:
            places = {"base": str(models.base_dir), "champion": str(champion), "seed": seed, "max_seconds": 3_600}
            adapter, result = _trained(Path(folder), spec | places, rows)
            scores = _scores(models.base_dir, adapter, tests, spec["threads"])
        times = (result["seconds"], result["cpu_seconds"], result["tokens_per_s"])
        yield Point(len(fresh), len(rows), *scores, *times)


def _drawn(texts: TextSource, held_back: bool, count: int | None, seed: int) -> list[Row]:
    """Of unseen intents any question of the file's training part; of known ones what the champion has learnt, too."""
    rows = texts.of(held_back=held_back, reserved=False) + (
        texts.of(held_back=True, reserved=True) if held_back else []
    )
    chosen = Random(f"labels:{seed}:{held_back}").sample(rows, len(rows))[:count]
    return [Row(prompt=text, completion=label) for text, label in chosen]


def _tests(texts: TextSource, held_back: bool) -> list[Row]:
    labels = texts.held_back if held_back else texts.known
    with (DATA / "banking77_test.csv").open(encoding="utf-8", newline="") as lines:
        rows = [(row["text"].strip(), row["category"]) for row in csv.DictReader(lines)]
    trained = {text for text, _ in texts.rows}
    return [Row(prompt=text, completion=label) for text, label in rows if label in labels and text not in trained]


def _trained(folder: Path, spec: dict[str, Any], rows: list[Row]) -> tuple[Path, dict[str, Any]]:
    dataset, out, file = folder / "train.jsonl", folder / "adapter", folder / "spec.json"
    dataset.write_text("".join(json.dumps({"prompt": row.prompt, "completion": row.completion}) + "\n" for row in rows))
    file.write_text(json.dumps(spec | {"dataset": str(dataset), "out": str(out)}))
    command = [sys.executable, "-m", "retrain.train.run", "--spec", str(file)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return out, json.loads((out / "result.json").read_text())


def _scores(base: Path, adapter: Path, tests: dict[bool, list[Row]], threads: int) -> tuple[float, float]:
    """Exact match on unseen and on known intents."""
    from retrain.model.answers import Answerer

    answerer = Answerer(base, adapter, threads)
    found = [
        mean_score("exact_match", answerer.answers([r.prompt for r in tests[new]]), tests[new]) for new in (True, False)
    ]
    return found[0]["mean"], found[1]["mean"]


if __name__ == "__main__":
    main()
