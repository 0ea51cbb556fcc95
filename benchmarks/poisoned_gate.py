"""How often a candidate that one tenant's wrong labels made worse passes, and how often clean labels are refused.

    python -m benchmarks.poisoned_gate [--runs 200] [--json]

Each run makes a data set by the product's own code out of drawn labels, and has its candidate judged by the gate's own
tests. What a training makes of the rows is not trained but drawn: answers are right as often as those of real
trainings on such a share of wrong rows were (docs/decisions/0010). "Harmful": the candidate answers new or old
questions at least ``HARM`` less often rightly than one trained on honest labels.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any

import numpy as np

from retrain.datasets.dataset import DataSet, TooSmall, build
from retrain.datasets.rows import LabelledCall, Row
from retrain.datasets.rules import Rules, rules_of
from retrain.gate import gate
from tidemill.settings import GateSettings, PipelineSettings, RetrainSettings

BAD, GOOD = "bad", ("a", "b", "c")
ANSWERS = tuple(f"answer {n}" for n in range(12))
SESSIONS, GOLDEN = 60, 300
HARM = 0.05
HONEST = 0.01
"""Share of honest labels that are wrong."""
WRONG_ROWS = (0.0, 0.13, 0.36, 0.51)
NEW, OLD = (0.77, 0.71, 0.29, 0.17), (0.98, 0.90, 0.59, 0.32)
"""Exact match of trainings on such shares of wrong rows, on new questions and on old ones."""
CHAMPION_NEW, CHAMPION_OLD = 0.04, 0.99


@dataclass(frozen=True)
class World:
    """One tenant's part of the calls and of wrong labels; how many labels there are, and what reviewers see of them."""

    traffic: float
    wrong: float
    reviewed: float
    fresh: int = 300
    older: int = 1_000


WORLDS = (
    *(World(traffic, wrong, 0.35) for wrong in (0.3, 1.0) for traffic in (0.1, 0.25, 0.5, 0.8)),
    *(World(traffic, 0.3, 0.1, fresh=1_000) for traffic in (0.1, 0.5, 0.8)),
    *(World(0.25, HONEST, reviewed, fresh) for reviewed, fresh in ((0.35, 300), (0.35, 1_000), (0.1, 1_000))),
)


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.poisoned_gate", description="Poison at the gate.")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--json", action="store_true", help="only the last line, as JSON")
    asked = parser.parse_args()
    rows = []
    for row in judged(asked.runs):
        rows.append(row)
        if not asked.json:
            print(json.dumps(row), flush=True)
    print(json.dumps({"bench": "poisoned_gate", "runs": asked.runs, "rows": rows} | total(rows)))


def total(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The figures over all worlds, with limits; ``poisoned_passed`` counts harmful candidates that passed."""
    ours = [row for row in rows if row["data"] == "with limits"]
    return {
        "poisoned_passed": sum(row["harmful_passed"] for row in ours if row["wrong"] > HONEST),
        "poisoned_runs": sum(row["runs"] for row in ours if row["wrong"] > HONEST),
        "clean_refused": sum(row["runs"] - row["passed"] for row in ours if row["wrong"] <= HONEST),
        "clean_runs": sum(row["runs"] for row in ours if row["wrong"] <= HONEST),
    }


def judged(runs: int, only: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """One row a world and way of making data sets (all, or those named)."""
    for world in WORLDS:
        for name, rules in ways():
            if only and name not in only:
                continue
            yield _row(world, name, [outcome(world, rules, seed) for seed in range(runs)])


@cache
def pipeline() -> PipelineSettings:
    """The demo's, with the product's defaults."""
    return PipelineSettings(
        engine="local",
        champion="support-v1",
        retrain=RetrainSettings(replay_share=0.3, near_duplicate=1),
        gate=GateSettings(golden_set="golden.jsonl"),
    )


def ways() -> Iterator[tuple[str, Rules]]:
    """Rules by name: no limits, those on surely wrong ones and on shares, all."""
    rules = rules_of(pipeline())
    yield "without limits", replace(rules, max_tenant_share=1.0, max_contradiction=1.0, max_wrong_share=1.0)
    yield "without doubt", replace(rules, max_wrong_share=1.0)
    yield "with limits", rules


@dataclass(frozen=True)
class Outcome:
    """What came of one run. ``wrong_rows`` is None where there was no data set to train on."""

    passed: bool
    harmful: bool
    wrong_rows: float | None
    trained: int


def outcome(world: World, rules: Rules, seed: int) -> Outcome:
    """One turn, from labels to verdict."""
    rng = Random(f"{world}:{seed}")
    older, fresh = _told(world, world.older, 0, rng), _told(world, world.fresh, world.older, rng)
    try:
        made = build(fresh, older, [], rules)
    except TooSmall:
        return Outcome(False, False, None, 0)
    wrong = wrong_share(made)
    new, old = (float(np.interp(wrong, WRONG_ROWS, curve)) for curve in (NEW, OLD))
    usual = [float(np.interp(HONEST, WRONG_ROWS, curve)) for curve in (NEW, OLD)]
    harmful = usual[0] - new >= HARM or usual[1] - old >= HARM
    paired = {
        "verified": _answers(new, CHAMPION_NEW, len(made.verified), rng),
        "golden": _answers(old, CHAMPION_OLD, GOLDEN, rng),
    }
    return Outcome(gate.passes(gate.scored(paired, pipeline().gate, 0)), harmful, wrong, len(made.train))


def wrong_share(made: DataSet) -> float:
    """The share of rows to train on whose label is wrong."""
    return sum(not _is_right(row) for row in made.train) / len(made.train)


def _told(world: World, count: int, first: int, rng: Random) -> list[LabelledCall]:
    made: list[LabelledCall] = []
    for number in range(first, first + count):
        tenant = BAD if rng.random() < world.traffic else rng.choice(GOOD)
        right = ANSWERS[number * 7 % len(ANSWERS)]
        wrong = rng.random() < (world.wrong if tenant == BAD else HONEST)
        label = ANSWERS[(number * 7 + 1) % len(ANSWERS)] if wrong else right
        session = f"{tenant}-{rng.randrange(SESSIONS)}"
        made.append(_call(number, tenant, session, "user", label))
        if rng.random() < world.reviewed:
            made.append(_call(number, tenant, session, "audit", right))
    return made


def _call(number: int, tenant: str, session: str, source: str, label: str) -> LabelledCall:
    return LabelledCall(
        call_id=f"call-{number}",
        call_time_ms=number,
        label_time_ms=number + (source == "audit"),
        session=session,
        tenant=tenant,
        source=source,
        prompt=f"question {number}",
        label=label,
    )


def _is_right(row: Row) -> bool:
    return row.completion == ANSWERS[int(row.prompt.removeprefix("question ")) * 7 % len(ANSWERS)]


def _answers(ours: float, theirs: float, count: int, rng: Random) -> list[tuple[float, float]]:
    """Both models' scores on the same rows: what the worse one answers rightly, the better one mostly does, too."""
    made = []
    for _ in range(count):
        luck = rng.random()
        made.append((float(luck < ours), float(luck < theirs)))
    return made


def _row(world: World, name: str, found: Sequence[Outcome]) -> dict[str, Any]:
    shares = [each.wrong_rows for each in found if each.wrong_rows is not None]
    return {
        "traffic": world.traffic,
        "wrong": world.wrong,
        "reviewed": world.reviewed,
        "fresh": world.fresh,
        "data": name,
        "runs": len(found),
        "passed": sum(each.passed for each in found),
        "harmful": sum(each.harmful for each in found),
        "harmful_passed": sum(each.passed and each.harmful for each in found),
        "no_data_set": len(found) - len(shares),
        "wrong_rows": round(float(np.mean(shares)), 3) if shares else None,
        "wrong_rows_most": round(max(shares), 3) if shares else None,
        "trained": round(float(np.mean([each.trained for each in found]))),
    }


if __name__ == "__main__":
    main()
