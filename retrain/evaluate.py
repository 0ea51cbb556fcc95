"""Scores candidate and champion now, by the same program on the same data; torch lives in this process only.

python -m retrain.evaluate --spec SPEC.json
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from retrain import adapter
from retrain.datasets.rows import Row
from retrain.datasets.suites import SuiteRow, judged, read_suite
from retrain.gate import gate
from retrain.gate.gate import SUITE
from retrain.model.answers import Told
from retrain.snapshot import read_rows
from retrain.work import run_work, say
from tidemill.answers import Check
from tidemill.scoring import METRIC_VERSIONS, score
from tidemill.settings import SuiteSettings
from tidemill.settings.output import OutputFormatSettings

Answers = Callable[[Sequence[str]], list[Told]]
Values = list[float | None]


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
    suites: list[dict[str, Any]] = []
    """Each a SuiteSettings whose ``file`` is absolute."""
    output_format: dict[str, Any] = {}


class Asked(Struct, frozen=True, kw_only=True):
    """One data set: its prompts, and how the answers to them are judged."""

    prompts: list[str]
    judge: Callable[[Sequence[str]], Values]


def evaluate(spec: EvaluateSpec) -> dict[str, Any]:
    """``paired`` scores by data set, ``certain`` answers, the candidate's answers to compare with the engine's, and
    problems found.

    With problems in the adapter or the base nothing is loaded and there are no scores. Raises Refused where a suite's
    file is none.
    """
    candidate = Path(spec.candidate)
    problems = adapter.problems(candidate, digest=spec.candidate_digest, rank=spec.rank, base=spec.base_digest)
    if adapter.base_digest(Path(spec.base)) != spec.base_digest:
        problems.append("the base model is not the one the adapter was trained on (digest differs)")
    if spec.metric not in METRIC_VERSIONS:
        problems.append(f"quality.metric {spec.metric!r} compares no answers; use {', '.join(METRIC_VERSIONS)}")
    if problems:
        return {"problems": problems, "paired": {}, "scores": {}, "certain": {}, "samples": []}
    return scores(spec, lambda folder: _loaded(spec, folder))


def scores(spec: EvaluateSpec, load: Callable[[str], Answers]) -> dict[str, Any]:
    """The scoring itself; ``load`` gives the answers of one adapter folder ("" is the base alone).

    ``paired``: by data set, for each row that both models' answers can be compared on, the candidate's score and the
    champion's. ``scores``: their means by ``<model>/<data set>``. ``certain``: by model, certainty and score of each
    such verified row.
    """
    sets = asked(spec)
    told: dict[str, dict[str, list[Told]]] = {}
    for done, (model, folder) in enumerate((("champion", spec.champion), ("candidate", spec.candidate))):
        say(step=done, of=2, note=f"scoring the {model}")
        answer = load(folder)
        told[model] = {name: answer(each.prompts) if each.prompts else [] for name, each in sets.items()}
    say(step=2, of=2, note="scored")
    paired: dict[str, list[tuple[float, float]]] = {}
    certain: dict[str, list[tuple[float, float]]] = {"candidate": [], "champion": []}
    samples: list[dict[str, str]] = []
    for name, each in sets.items():
        ours, theirs = told["candidate"][name], told["champion"][name]
        values = [each.judge([one.answer for one in answers]) for answers in (ours, theirs)]
        paired[name] = [(a, b) for a, b in zip(*values, strict=True) if a is not None and b is not None]
        samples += [{"prompt": p, "answer": one.answer} for p, one in zip(each.prompts, ours, strict=True)]
        if name == "verified" and all(one.certainty is not None for one in (*ours, *theirs)):
            for model, answers, scored in (("candidate", ours, values[0]), ("champion", theirs, values[1])):
                certain[model] = [
                    (one.certainty or 0.0, value)
                    for one, value, mine, other in zip(answers, scored, *values, strict=True)
                    if value is not None and mine is not None and other is not None
                ]
    chosen = spread(samples, spec.parity_samples)
    means = msgspec.to_builtins(gate.scores(paired))
    return {"problems": [], "paired": paired, "scores": means, "certain": certain, "samples": chosen}


def asked(spec: EvaluateSpec) -> dict[str, Asked]:
    """What both models are asked, by data set. Raises Refused."""
    made: dict[str, Asked] = {}
    for name, file in spec.sets.items():
        rows = read_rows(Path(file))
        made[name] = Asked(prompts=[row.prompt for row in rows], judge=_by_label(spec.metric, rows))
    form = OutputFormatSettings.model_validate(spec.output_format).check
    for given in spec.suites:
        suite = SuiteSettings.model_validate(given)
        lines = read_suite(suite, Path(suite.file))
        judge = _by_suite(suite, lines, spec.metric, form)
        made[SUITE + suite.name] = Asked(prompts=[row.prompt for row in lines], judge=judge)
    return made


def _by_label(metric: str, rows: Sequence[Row]) -> Callable[[Sequence[str]], Values]:
    return lambda answers: [score(metric, answer, row.completion) for answer, row in zip(answers, rows, strict=True)]


def _by_suite(
    suite: SuiteSettings, rows: Sequence[SuiteRow], metric: str, form: Check | None
) -> Callable[[Sequence[str]], Values]:
    return lambda answers: judged(suite, rows, answers, metric, form)


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
    return lambda prompts: answerer.told(prompts, max_new_tokens=spec.max_tokens)


if __name__ == "__main__":
    run_work("evaluate", EvaluateSpec, evaluate, time.sleep)
