"""What one tenant's wrong labels do to a candidate, with and without limits on its influence.

Users of the demo's `schedule` change how they speak; a share of calls comes from one tenant that tells a share of its
labels wrongly, with a pattern; reviewers label some of all calls, too. A data set is made with and without limits, an
adapter is trained on each, and scored on the rows that the gate would judge by, on other new questions and on old ones.
A training takes half a minute of CPU.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.learning_curve import BASE, base_folder, scored, trained
from producers.language import Utterance, corrupt, generate
from retrain.datasets.dataset import DataSet, build
from retrain.datasets.rows import LabelledCall, Row
from retrain.datasets.rules import rules_of
from tidemill.settings import GateSettings, PipelineSettings, RetrainSettings

PIPELINE = "schedule"
BAD, GOOD = "bad", ("a", "b", "c")
SESSIONS = 60
TESTS = 300
RULES = rules_of(
    PipelineSettings(
        engine="local",
        champion=f"{PIPELINE}-v1",
        retrain=RetrainSettings(replay_share=0.3, min_fresh_labels=300),
        gate=GateSettings(),
    )
)
WITHOUT = replace(RULES, max_tenant_share=1.0, max_contradiction=1.0, max_wrong_share=1.0)


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.poisoned_labels", description="Poisoned labels.")
    parser.add_argument("--base", type=base_folder, default=BASE, help="base model folder (tidemill models makes it)")
    parser.add_argument("--traffic", type=float, default=0.5, help="the bad tenant's share of the calls")
    parser.add_argument("--wrong", type=float, default=0.3, help="share of its labels that are wrong")
    parser.add_argument("--reviewed", type=float, default=0.35, help="share of all calls that reviewers label, too")
    parser.add_argument("--fresh", type=int, default=300, help="labelled calls since the change")
    parser.add_argument("--older", type=int, default=2_000, help="labelled calls before it")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    for row in compared(parser.parse_args()):
        print(json.dumps(row), flush=True)


def compared(asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row without and one with limits: wrong rows among those trained on, and exact match of the candidate."""
    rng = Random(f"poison:{asked.seed}")
    older, old_truth = labelled(asked, "plain", asked.older, 0, rng)
    fresh, new_truth = labelled(asked, "words", asked.fresh, asked.older, rng)
    truth = old_truth | new_truth
    tests = [[as_said(row) for row in _tests(way, asked.seed, truth)] for way in ("words", "plain")]
    for name, rules in (("without limits", WITHOUT), ("with limits", RULES)):
        made = build(fresh, older, [], rules)
        yield {"data": name, **_figures(made, truth), **_scores(asked, made, tests)}


def labelled(
    asked: argparse.Namespace, way: str, count: int, first: int, rng: Random
) -> tuple[list[LabelledCall], dict[str, str]]:
    """Users' labels and reviewers' of ``count`` calls from number ``first`` on, and the right answer by prompt."""
    calls: list[LabelledCall] = []
    said = generate(PIPELINE, way, Random(f"{way}:{asked.seed}"), count)
    for number, right in enumerate(said, start=first):
        tenant = BAD if rng.random() < asked.traffic else rng.choice(GOOD)
        told = corrupt(right, rng) if tenant == BAD and rng.random() < asked.wrong else right
        session = f"{tenant}-{rng.randrange(SESSIONS)}"
        calls.append(_call(number, tenant, session, told))
        if rng.random() < asked.reviewed:
            calls.append(_call(number, tenant, session, right, "audit"))
    return calls, {each.text: each.truth for each in said}


def as_said(row: Row) -> Utterance:
    """A row as the learning curve's functions take it."""
    return Utterance(pipeline=PIPELINE, text=row.prompt, truth=row.completion, way="", fields={})


def _call(number: int, tenant: str, session: str, said: Utterance, source: str = "user") -> LabelledCall:
    return LabelledCall(
        call_id=f"call-{number}",
        call_time_ms=number,
        label_time_ms=number + (source == "audit"),
        session=session,
        tenant=tenant,
        source=source,
        prompt=said.text,
        label=said.truth,
    )


def _tests(way: str, seed: int, truth: dict[str, str]) -> list[Row]:
    said = generate(PIPELINE, way, Random(f"test:{way}:{seed}"), TESTS, set(truth))
    return [Row(prompt=each.text, completion=each.truth) for each in said]


def _figures(made: DataSet, truth: dict[str, str]) -> dict[str, Any]:
    wrong = sum(truth[row.prompt] != row.completion for row in made.train)
    counts = {name: made.counts[name] for name in ("train", "fresh_train", "verified", "tenants_left_out")}
    return counts | {"wrong_rows": round(wrong / len(made.train), 3), "notes": made.notes}


def _scores(asked: argparse.Namespace, made: DataSet, tests: list[list[Utterance]]) -> dict[str, float]:
    spec = {"base": str(asked.base), "steps": asked.steps, "rank": 16, "alpha": 32, "lr": 5e-3, "batch": 16}
    with tempfile.TemporaryDirectory() as folder:
        rows = [as_said(row) for row in made.train]
        adapter, _ = trained(Path(folder), spec | {"seed": asked.seed, "threads": 1}, rows)
        verified = [as_said(row) for row in made.verified]
        shares = scored(asked.base, adapter, (verified, *tests), 1)
    return dict(zip(("score_verified", "score_new", "score_old"), shares, strict=True))


if __name__ == "__main__":
    main()
