"""Many turns of the wheel, one after the other: what is left of what a pipeline had learnt before.

    python -m benchmarks.turn_drifts [--turns 4] [--steps N --keep-weight W]

BANKING77's unseen intents come in as many parts as there are turns. Each turn goes on from the champion's adapter, on
all questions of the new part and four times as many of all earlier intents, held to what the champion says; the
candidate is the next champion. One JSON line a turn.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from benchmarks.turn_labels import say
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

REPLAY_SHARE = 0.8
MANY: Spec = {"start": "champion"}
"""Where many turns follow each other a champion knows more with each: more of what a turn trains on is old, and the
training goes on from the champion (``retrain.replay_share``, ``retrain.recipe.start``)."""
LEAST_STEPS = 0.4
"""A turn with few rows takes at least this share of the recipe's steps."""


class Turn(NamedTuple):
    """Exact match after a turn, on each domain: the known intents, then each part, those to come among them."""

    turn: int
    scores: tuple[float, ...]
    cpu_seconds: float


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.turn_drifts", description="Turns one after the other.")
    parser.add_argument("--turns", type=int, default=4)
    add_options(parser)
    parser.set_defaults(start=MANY["start"])
    parser.add_argument("--replay-share", type=float, default=REPLAY_SHARE)
    asked = parser.parse_args()
    at = ground(asked.seed, asked.threads, say)
    spec = asked_spec(asked, at)
    turns = []
    for turn in drifts(at, spec, asked.turns, say, asked.replay_share):
        turns.append(turn)
        print(json.dumps(turn._asdict()), flush=True)
    print(json.dumps({"forgotten": forgotten(turns)}))


def drifts(at: Ground, spec: Spec, turns: int, tell: Say, replay_share: float = REPLAY_SHARE) -> Iterator[Turn]:
    """The champion before, then every turn. Blocks for minutes at each."""
    unseen = Random(f"parts:{at.seed}").sample(sorted(at.texts.held_back), len(at.texts.held_back))
    domains = [at.texts.known, *(frozenset(unseen[part::turns]) for part in range(turns))]
    tests = [tests_of(at, domain) for domain in domains]
    rows_at_all = 2 * len(rows_of(at, at.texts.held_back, name="all"))
    champion = at.champion
    yield Turn(0, tuple(exact_match(at, champion, tests)), 0.0)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, turns + 1):
            fresh = rows_of(at, domains[number], name="fresh")
            earlier = frozenset().union(*domains[:number])
            replayed = round(len(fresh) * replay_share / (1 - replay_share))
            rows = fresh + rows_of(at, earlier, name=f"earlier-{number}", most=replayed)
            steps = round(spec["steps"] * max(LEAST_STEPS, len(rows) / rows_at_all))
            tell(f"turn {number} of {turns}: {len(rows)} rows, {steps} steps")
            champion, result = trained(Path(folder) / str(number), spec | {"steps": steps}, champion, rows)
            yield Turn(number, tuple(exact_match(at, champion, tests)), result["cpu_seconds"])


def forgotten(turns: Sequence[Turn]) -> float:
    """The largest share of any earlier domain's best score that is lost after the last turn."""
    last = turns[-1]
    lost = []
    for domain in range(last.turn):
        peak = max(turn.scores[domain] for turn in turns[domain:])
        lost.append(1 - last.scores[domain] / peak if peak else 0.0)
    return max(lost, default=0.0)


if __name__ == "__main__":
    main()
