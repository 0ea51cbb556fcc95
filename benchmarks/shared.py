"""One shared base with an adapter a pipeline, beside a model of its own for each: the demo's two pipelines.

Both learn the same fresh labels of a changed way of speaking, and old ones beside them; both are asked the same
questions of the new way and the old. What is compared, and what is called better, is ``retrain.shared``'s.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from benchmarks.frame import DOCS, Result, Table
from producers.language import Utterance, generate
from retrain.datasets.rows import Row
from retrain.shared.figures import Compared, Finding, advice, busy, findings, growth
from retrain.shared.run import Pipeline, compare
from tidemill.local.demo.place import models_cache
from tidemill.local.models import prepare

PAGE = DOCS / "explanation" / "shared-or-separate.md"
CHANGES = {"schedule": "words", "support": "novel"}
LABELS, OLD, TESTS, STEPS = 300, 130, 150, 150
LONG_LABELS, LONG_OLD, LONG_TESTS = 1_500, 650, 500
SEED = 0


def measure(*, long: bool) -> Result:
    """Some five minutes on two quiet cores; with ``long`` five times as many labels, and more questions."""
    sizes = (LONG_LABELS, LONG_OLD, LONG_TESTS) if long else (LABELS, OLD, TESTS)
    base = prepare(models_cache(), _say).base_dir
    with tempfile.TemporaryDirectory(prefix="tidemill-shared-") as scratch:
        compared = compare([pipeline(name, *sizes) for name in CHANGES], base, Path(scratch), _told)
    return result(compared, sizes)


def pipeline(name: str, labels: int, old: int, tests: int, steps: int = STEPS) -> Pipeline:
    """One of the demo's pipelines after a change of its users."""
    way = CHANGES[name]
    asked = [
        *generate(name, way, Random(f"test:{SEED}"), tests - tests // 3),
        *generate(name, "plain", Random(f"test-old:{SEED}"), tests // 3),
    ]
    unseen = {each.text for each in asked}
    fresh = generate(name, way, Random(f"fresh:{SEED}"), labels, unseen)
    replayed = generate(name, "plain", Random(f"replay:{SEED}"), old, unseen)
    told = {"steps": steps, "rank": 16, "alpha": 32, "lr": 5e-3, "batch": 16, "seed": SEED, "threads": 1}
    train, test = _rows([*fresh, *replayed]), _rows(asked)
    return Pipeline(name=name, train=train, test=test, metric="exact_match", max_tokens=24, training=told)


def result(compared: Compared, sizes: Sequence[int]) -> Result:
    """Tables and the JSON line."""
    found = findings(compared)
    figures: dict[str, Any] = {
        "labels": sizes[0],
        "questions": sizes[2],
        "findings": msgspec.to_builtins(found),
        "advice": advice(found),
        "weights_mb": {str(count): both for count, both in growth(compared).items()},
    }
    more = [(f"{n:,}", f"{both[0]:,.1f} MB", f"{both[1]:,.1f} MB") for n, both in growth(compared).items()]
    tables = [
        Table("One base with adapters, and separate models", COLUMNS, [_row(each) for each in found]),
        Table("Weights of so many pipelines like these", ("pipelines", "shared base", "separate models"), more),
    ]
    return Result(
        "shared",
        figures,
        (),
        tables=tables,
        notes=[*advice(found), *filter(None, [busy(compared)]), NOTE.format(*sizes)],
        page=PAGE,
    )


COLUMNS = ("pipeline", "", "shared base", "separate models", "better", "by")
NOTE = (
    "Each pipeline: {0:,} fresh labels of a changed way of speaking and {1:,} old ones, 150 steps of 16 rows; {2:,} "
    "questions, two thirds of the new way. Greedy answers by transformers in float32, one thread; adapters beside "
    "their base, unmerged, as an engine holds them that serves several. Times and memory that are within a tenth of "
    "each other, and scores whose paired difference is within 1.96 standard errors, are called equal. In vLLM a shared "
    "base also shares its key-value cache's memory and its batches; that is not measured here."
)


def _row(each: Finding) -> tuple[str, ...]:
    better = "" if each.better == "neither" else each.better
    return each.pipeline or "together", each.aspect, each.shared, each.separate, better, each.why


def _rows(said: Sequence[Utterance]) -> list[Row]:
    return [Row(prompt=each.text, completion=each.truth) for each in said]


def _told(line: dict[str, Any]) -> None:
    if note := line.get("note"):
        sys.stderr.write(f"{note}\n")


def _say(name: str, facts: Any) -> None:
    if "step" in facts and facts["step"] % 100 == 0:
        sys.stderr.write(f"making {name}: step {facts['step']}\n")
