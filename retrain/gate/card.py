"""A model card: what a judged candidate is, what it was made of, what it scored, what it is not good for. Pure.

Markdown that MLflow shows as a version's description. No prompts, labels or answers stand in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

from msgspec import Struct

MOST_NOTES = 20


class Judged(Struct, frozen=True, kw_only=True):
    """What a card is written from. ``version`` is empty where the gate refused it."""

    pipeline: str
    job_id: str
    version: str
    tags: dict[str, str]
    """The lineage, as registered (tidemill.alarm_id …)."""
    params: dict[str, str]
    metrics: dict[str, float]
    scores: dict[str, Any]
    """By <model>/<data set>: n and mean."""
    verdicts: list[dict[str, Any]]
    manifest: dict[str, Any]
    spec: dict[str, Any]
    """What the training was told."""


def card(judged: Judged) -> str:
    """The card's text."""
    parts = (_what(judged), _data(judged), _recipe(judged), _scores(judged), _limits(judged), _again(judged))
    return "\n\n".join(parts) + "\n"


def _what(judged: Judged) -> str:
    title = judged.version or f"{judged.pipeline}: refused candidate of job {judged.job_id[:8]}"
    tag = judged.tags.get
    return "\n".join(
        (
            f"# {_plain(title)}",
            "",
            f"A candidate for pipeline `{judged.pipeline}`, trained by job `{judged.job_id}` "
            f"because of `{tag('tidemill.alarm_id', 'unknown')}`, beside champion "
            f"`{tag('tidemill.champion', '') or 'none'}`.",
            "",
            f"- Gate: **{tag('tidemill.verdict', 'unknown')}** ({_plain(tag('tidemill.reason', ''))})",
            f"- Base: sha256 `{tag('tidemill.base_digest', 'unknown')}`",
            f"- Weights: sha256 `{tag('tidemill.adapter_digest', 'unknown')}`",
        )
    )


def _data(judged: Judged) -> str:
    manifest, counts = judged.manifest, judged.manifest.get("counts", {})
    lines = ["## Data", "", f"Digest `{judged.tags.get('tidemill.data_digest', 'unknown')}`."]
    if kept := judged.tags.get("tidemill.dvc"):
        where = f" in {_plain(judged.tags['tidemill.dvc_remote'])}" if "tidemill.dvc_remote" in judged.tags else ""
        lines += ["", f"DVC: `{kept}`{where}."]
    if counts:
        lines += ["", "| counted | |", "|---|---|", *(f"| {_plain(name)} | {n:,} |" for name, n in counts.items())]
    sources = manifest.get("origins", {}).get("sources", {})
    if sources:
        lines += ["", "| source | labels and thumbs | trained on | licence | |", "|---|---|---|---|---|"]
        lines += [_source(name, each) for name, each in sources.items()]
    return "\n".join(lines)


def _source(name: str, each: Mapping[str, Any]) -> str:
    standing = "left out" if each.get("left_out") else "trusted" if each.get("trusted") else ""
    figures = f"{each.get('labels', 0) + each.get('thumbs', 0):,} | {each.get('train', 0):,}"
    return f"| {_plain(name or '(none)')} | {figures} | {_plain(each.get('licence', 'not stated'))} | {standing} |"


def _recipe(judged: Judged) -> str:
    told = {name: value for name, value in judged.params.items() if not name.startswith("data.")}
    told |= {name: f"{judged.spec[name]}" for name in ("seed",) if name in judged.spec}
    took = {name: f"{value:g}" for name, value in judged.metrics.items() if name.startswith("train_")}
    rows = [f"| {_plain(name)} | {_plain(value)} |" for name, value in (told | took).items()]
    return "\n".join(("## Recipe", "", "| | |", "|---|---|", *rows))


def _scores(judged: Judged) -> str:
    lines = ["## Scores", ""]
    sets = sorted({name.partition("/")[2] for name in judged.scores})
    if sets:
        lines += ["| data set | rows | candidate | champion | difference |", "|---|---|---|---|---|"]
        lines += [_beside(name, judged.scores) for name in sets]
    else:
        lines += ["None: the gate refused the files before anything was scored."]
    if judged.verdicts:
        lines += ["", "| check | verdict | |", "|---|---|---|"]
        told = ((each.get("check", ""), each.get("outcome", ""), each.get("reason", "")) for each in judged.verdicts)
        lines += ["| " + " | ".join(map(_plain, each)) + " |" for each in told]
    return "\n".join(lines)


def _beside(name: str, scores: Mapping[str, Any]) -> str:
    own, other = scores.get(f"candidate/{name}", {}), scores.get(f"champion/{name}", {})
    mean, base = own.get("mean"), other.get("mean")
    gain = f"{mean - base:+.3f}" if mean is not None and base is not None else "unknown"
    return f"| {_plain(name)} | {own.get('n', 0):,} | {_mean(mean)} | {_mean(base)} | {gain} |"


def _mean(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _limits(judged: Judged) -> str:
    notes = [str(note) for note in judged.manifest.get("notes", ())][:MOST_NOTES]
    lines = [
        "It was judged by the pipeline's own metric, on labels of the same time as those it learned from, in sessions "
        "it did not see. Questions of another kind, and what no label tells, are not judged by it.",
    ]
    fresh = judged.scores.get("candidate/verified", {})
    if fresh.get("n") and fresh.get("mean") is not None:
        give = 1.96 * sqrt(max(fresh["mean"] * (1 - fresh["mean"]), 0.0) / fresh["n"])
        lines += [f"{fresh['n']:,} verified labels leave about {give:.2f} either way (95 %, scores of 0 and 1)."]
    unlicensed = _unlicensed(judged.manifest.get("origins", {}).get("sources", {}))
    if unlicensed:
        lines += [f"Under which licence these sources' labels stand is not stated: {_plain(', '.join(unlicensed))}."]
    return "\n".join(("## Limits", "", *(f"- {line}" for line in lines), *(f"- {_plain(note)}" for note in notes)))


def _unlicensed(sources: Mapping[str, Mapping[str, Any]]) -> Sequence[str]:
    return [name for name, each in sources.items() if each.get("train") and each.get("licence") == "not stated"]


def _again(judged: Judged) -> str:
    name = judged.version or judged.job_id
    return "\n".join(
        (
            "## Again",
            "",
            "```",
            f"tidemill lineage {name}     # alarm, data, job, scores, rollout",
            f"tidemill data show {name}   # the rows it was made of",
            f"tidemill reproduce {name}   # the same training again, and what differs",
            "```",
        )
    )


def _plain(text: object) -> str:
    """A text in one line that is no markup: names and reasons may come from outside."""
    flat = " ".join(str(text).split())
    for sign in "\\`*_|<>[]#":
        flat = flat.replace(sign, f"\\{sign}")
    return flat
