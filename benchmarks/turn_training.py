"""What the turn's trainings have in common: BANKING77 with half of its intents unseen, the demo's models and recipe.

The base and champion are those of `tidemill demo --texts`; each training is the product's own process. Scored are the
file's own test questions, which no training holds.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from benchmarks.drift_corpus import DATA
from producers.language import TextSource, read_csv
from retrain.controller.works import training
from retrain.datasets.rows import Row
from retrain.evaluate import mean_score
from tidemill.io.checkout import project_root
from tidemill.local.demo.overrides import with_overrides
from tidemill.local.demo.place import models_cache
from tidemill.local.demo.scenario import on_texts
from tidemill.local.models import prepare
from tidemill.settings import RetrainSettings, load_settings

Say = Callable[[str], None]
Spec = dict[str, Any]


class Ground(NamedTuple):
    """What every turn starts from."""

    texts: TextSource
    base: Path
    champion: Path
    seed: int
    threads: int


def ground(seed: int, threads: int, tell: Say) -> Ground:
    """The texts and the demo's models; makes these where they are not there (minutes)."""
    texts = read_csv(DATA / "banking77_train.csv", "text", "category", 0.5, seed)
    models = prepare(models_cache(), lambda what, facts: tell(f"{what}: {facts}"), texts, threads)
    return Ground(texts, models.base_dir, models.adapters["support"], seed, threads)


def recipe() -> RetrainSettings:
    """How the demo on real texts trains."""
    settings = load_settings(project_root() / "tidemill.yaml", {})
    return with_overrides(settings, on_texts(1.0, 10).settings).pipelines["support"].retrain


def spec_of(policy: RetrainSettings, at: Ground) -> Spec:
    """A training's spec without its data, champion and place."""
    return training(policy) | {
        "base": str(at.base),
        "seed": at.seed,
        "threads": at.threads,
        "max_seconds": 3_600,
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    """What a training by hand may have otherwise than the recipe."""
    parser.add_argument("--steps", type=int)
    parser.add_argument("--keep-weight", type=float)
    parser.add_argument("--start", choices=("base", "champion"))
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)


def asked_spec(asked: argparse.Namespace, at: Ground) -> Spec:
    """The recipe's spec with the options that were given."""
    given = {name: getattr(asked, name) for name in ("steps", "keep_weight", "start")} | {"lr": asked.learning_rate}
    return spec_of(recipe(), at) | {name: value for name, value in given.items() if value is not None}


def rows_of(at: Ground, labels: Collection[str], *, name: str, most: int | None = None) -> list[Row]:
    """Questions of these intents, from the file's training part, in an order of ``name``'s own: of unseen intents any,
    of known ones what is not reserved."""
    known = [row for row in at.texts.of(held_back=False, reserved=False) if row[1] in labels]
    unseen = [row for row in at.texts.rows if row[1] in labels and row[1] in at.texts.held_back]
    drawn = Random(f"{name}:{at.seed}").sample(known + unseen, len(known) + len(unseen))
    return [Row(prompt=text, completion=label) for text, label in drawn[:most]]


def tests_of(at: Ground, labels: Collection[str]) -> list[Row]:
    """The file's own test questions of these intents."""
    with (DATA / "banking77_test.csv").open(encoding="utf-8", newline="") as lines:
        rows = [(row["text"].strip(), row["category"]) for row in csv.DictReader(lines)]
    trained_on = {text for text, _ in at.texts.rows}
    return [Row(prompt=text, completion=label) for text, label in rows if label in labels and text not in trained_on]


def trained(folder: Path, spec: Spec, champion: Path, rows: list[Row]) -> tuple[Path, dict[str, Any]]:
    """Adapter folder and result of one training process in ``folder``. Blocks for minutes."""
    folder.mkdir(parents=True, exist_ok=True)
    dataset, out, file = folder / "train.jsonl", folder / "adapter", folder / "spec.json"
    dataset.write_text("".join(json.dumps({"prompt": row.prompt, "completion": row.completion}) + "\n" for row in rows))
    file.write_text(json.dumps(spec | {"dataset": str(dataset), "out": str(out), "champion": str(champion)}))
    command = [sys.executable, "-m", "retrain.train.run", "--spec", str(file)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return out, json.loads((out / "result.json").read_text())


def exact_match(at: Ground, adapter: Path, tests: list[list[Row]]) -> list[float]:
    """Share of answers that are the very label, of each list of questions."""
    from retrain.model.answers import Answerer

    answerer = Answerer(at.base, adapter, at.threads)
    return [
        mean_score("exact_match", answerer.answers([row.prompt for row in rows]), rows)["mean"] or 0.0 for rows in tests
    ]
