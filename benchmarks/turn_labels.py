"""How good a candidate is on real questions, by the labels it was trained on: BANKING77, half of the intents unseen.

    python -m benchmarks.turn_labels [--labels 150,600,1500,all] [--steps N --keep-weight W]

One training for each number of fresh labels of unseen intents, with as many of the known ones. One JSON line for each.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.turn_training import (
    Ground,
    Say,
    Spec,
    add_options,
    asked_spec,
    exact_match,
    ground,
    rows_of,
    tests_of,
    trained,
)

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
    add_options(parser)
    asked = parser.parse_args()
    at = ground(asked.seed, asked.threads, say)
    spec = asked_spec(asked, at)
    labels = [None if part == "all" else int(part) for part in asked.labels.split(",")]
    for point in curve(at, spec, labels, say):
        print(
            json.dumps(point._asdict() | {name: spec[name] for name in ("steps", "keep_weight", "start")}), flush=True
        )


def curve(at: Ground, spec: Spec, labels: Sequence[int | None], tell: Say) -> Iterator[Point]:
    """The champion, with no labels, then a point for each number. Blocks for minutes at each."""
    tests = [tests_of(at, at.texts.held_back), tests_of(at, at.texts.known)]
    before = exact_match(at, at.champion, tests)
    yield Point(0, 0, before[0], before[1], 0.0, 0.0, 0.0)
    for count in labels:
        fresh = rows_of(at, at.texts.held_back, name="fresh", most=count)
        rows = fresh + rows_of(at, at.texts.known, name="known", most=len(fresh))
        tell(f"training on {len(rows)} rows")
        with tempfile.TemporaryDirectory() as folder:
            adapter, result = trained(Path(folder), spec, at.champion, rows)
            unseen, known = exact_match(at, adapter, tests)
        times = (result["seconds"], result["cpu_seconds"], result["tokens_per_s"])
        yield Point(len(fresh), len(rows), unseen, known, *times)


def say(line: str) -> None:
    """What goes on, on stderr."""
    print(f"turn: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
