"""The gate's report of one job: what was checked, on how many rows, what came of it. As JSON, and as a page. Pure.

Every text is escaped; the page runs no script and loads nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape
from typing import Any

import msgspec

from retrain.gate.gate import outcome, refusal
from tidemill.events import JobState
from tidemill.settings import GateSettings

JSON_FILE, PAGE_FILE = "report.json", "report.html"
_WHEN_ASKED = ("latency", "cost")


def report(job: JobState, gate: GateSettings, notes: Iterable[str] = ()) -> dict[str, Any]:
    """The whole report; depends on the job's state, its settings and its data set's notes alone."""
    return {
        "job_id": job.job_id,
        "pipeline": job.pipeline,
        "outcome": outcome(job.verdicts),
        "reason": refusal(job.verdicts) or "every check passed",
        "judged_ms": max((verdict.time_ms for verdict in job.verdicts), default=job.time_ms),
        "champion": job.champion_version,
        "alarm_id": job.alarm_id,
        "digests": {"data": job.data_digest, "base": job.base_digest, "adapter": job.adapter_digest},
        "checks": msgspec.to_builtins(job.verdicts),
        "not_measured": not_measured(job, gate),
        "scores": msgspec.to_builtins(job.scores),
        "data_counts": job.data_counts,
        "data_notes": list(notes),
        "training": {name: value for name, value in job.figures.items() if name.startswith("train_")},
        "alpha": gate.alpha,
    }


def not_measured(job: JobState, gate: GateSettings) -> dict[str, str]:
    """Checks of the settings that have no verdict, and why."""
    made = {verdict.check for verdict in job.verdicts}
    why: dict[str, str] = {}
    if gate.max_calibration_loss < 1 and "calibration" not in made and "verified_gain" in made:
        why["calibration"] = "too few verified answers, or their probabilities are not known"
    if "parity" not in made:
        return why | dict.fromkeys(("parity", *_WHEN_ASKED), "the engine was not asked: an earlier check did not pass")
    for check in _WHEN_ASKED:
        if check not in made and gate.smoke_samples:
            why[check] = "the engine gave nothing to compare with the champion"
    return why


def page(made: dict[str, Any]) -> str:
    """The report as HTML."""
    when = datetime.fromtimestamp(made["judged_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    checks = "".join(
        _row(each["check"], each["outcome"], each["reason"], _figures(each["figures"])) for each in made["checks"]
    )
    checks += "".join(_row(check, "not measured", why, "") for check, why in made["not_measured"].items())
    scores = "".join(
        _row(name, str(each["n"]), "–" if each["mean"] is None else f"{each['mean']:.3f}")
        for name, each in sorted(made["scores"].items())
    )
    parts = [
        f"<h1>{escape(made['pipeline'])}: the gate says {escape(made['outcome'])}</h1>",
        f"<p>{escape(made['reason'])}</p>",
        f"<p>Job {escape(made['job_id'])}, {when}, against {escape(made['champion'] or 'no champion')}.</p>",
        "<h2>Checks</h2>",
        _table(("check", "outcome", "why", "figures"), checks),
        f"<p>Paired tests at alpha = {made['alpha']:g} each; candidate and champion answered the same rows.</p>",
        "<h2>Scores</h2>",
        _table(("model and data", "rows", "mean"), scores),
        "<h2>Data</h2>",
        "".join(f"<p>{escape(note)}</p>" for note in made["data_notes"]),
        _table(("what", "how many"), "".join(_row(*map(str, each)) for each in sorted(made["data_counts"].items()))),
        "<h2>Training and digests</h2>",
        _table(("figure", "value"), "".join(_row(*map(str, each)) for each in sorted(made["training"].items()))),
        _table(("of", "SHA-256"), "".join(_row(*each) for each in sorted(made["digests"].items()))),
    ]
    return _HEAD.format(title=escape(f"{made['pipeline']}: gate")) + "\n".join(parts) + "\n"


_HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; }} td, th {{ padding: .25rem .75rem .25rem 0; text-align: left; vertical-align: top;
border-bottom: 1px solid #e2e8f0; }}</style>
"""


def _figures(figures: dict[str, float | None]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items() if value is not None)


def _row(*cells: str) -> str:
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _table(heads: Iterable[str], rows: str) -> str:
    return f"<table><tr>{''.join(f'<th>{escape(head)}</th>' for head in heads)}</tr>{rows}</table>" if rows else ""
