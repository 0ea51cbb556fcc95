"""Scores candidate and champion now, by the same program on the same data; torch lives in this process only.

python -m retrain.evaluate --spec SPEC.json
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from retrain import adapter
from retrain.rows import Row
from retrain.snapshot import read_rows
from retrain.work import run_work, say
from tidemill.scoring import METRIC_VERSIONS, score

Answers = Callable[[Sequence[str]], list[str]]


class EvaluateSpec(Struct, frozen=True, kw_only=True):
    """One scoring. Folders and files are absolute; ``champion`` is empty when the base itself serves."""

    base: str
    base_digest: str
    champion: str
    candidate: str
    candidate_digest: str
    rank: int
    sets: dict[str, str]
    """JSON Lines file by data set name (verified, golden)."""
    metric: str
    max_tokens: int
    parity_samples: int
    threads: int = 1


def evaluate(spec: EvaluateSpec) -> dict[str, Any]:
    """Scores by ``<model>/<data set>``, the candidate's answers to compare with the engine's, and problems found.

    With problems in the adapter or the base nothing is loaded and there are no scores.
    """
    problems = adapter.problems(Path(spec.candidate), digest=spec.candidate_digest, rank=spec.rank)
    if adapter.base_digest(Path(spec.base)) != spec.base_digest:
        problems.append("the base model is not the one the adapter was trained on (digest differs)")
    if spec.metric not in METRIC_VERSIONS:
        problems.append(f"quality.metric {spec.metric!r} compares no answers; use {', '.join(METRIC_VERSIONS)}")
    if problems:
        return {"problems": problems, "scores": {}, "samples": []}
    return scores(spec, lambda folder: _loaded(spec, folder))


def scores(spec: EvaluateSpec, load: Callable[[str], Answers]) -> dict[str, Any]:
    """The scoring itself; ``load`` gives the answers of one adapter folder ("" is the base alone)."""
    sets = {name: read_rows(Path(file)) for name, file in spec.sets.items()}
    made: dict[str, dict[str, Any]] = {}
    samples: list[dict[str, str]] = []
    for done, (model, folder) in enumerate((("champion", spec.champion), ("candidate", spec.candidate))):
        say(step=done, of=2, note=f"scoring the {model}")
        answer = load(folder)
        for name, rows in sets.items():
            answers = answer([row.prompt for row in rows]) if rows else []
            made[f"{model}/{name}"] = mean_score(spec.metric, answers, rows)
            if model == "candidate":
                samples += [{"prompt": row.prompt, "answer": a} for row, a in zip(rows, answers, strict=True)]
    say(step=2, of=2, note="scored")
    return {"problems": [], "scores": made, "samples": spread(samples, spec.parity_samples)}


def mean_score(metric: str, answers: Sequence[str], rows: Sequence[Row]) -> dict[str, Any]:
    """``n`` comparable answers and their mean score; None when there is none."""
    values = [score(metric, answer, row.completion) for answer, row in zip(answers, rows, strict=True)]
    known = [value for value in values if value is not None]
    return {"n": len(known), "mean": sum(known) / len(known) if known else None}


def spread(samples: Sequence[dict[str, str]], count: int) -> list[dict[str, str]]:
    """At most ``count`` of them, evenly over the whole list, so that every data set has its share."""
    if len(samples) <= count:
        return list(samples)
    return [samples[index * len(samples) // count] for index in range(count)]


def _loaded(spec: EvaluateSpec, folder: str) -> Answers:
    from retrain.model.answers import Answerer

    answerer = Answerer(Path(spec.base), Path(folder) if folder else None, threads=spec.threads)
    return lambda prompts: answerer.answers(prompts, max_new_tokens=spec.max_tokens)


if __name__ == "__main__":
    run_work("evaluate", EvaluateSpec, evaluate, time.sleep)
