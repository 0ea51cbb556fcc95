"""A whole turn by itself on real questions, on a running deployment: what `tidemill demo --texts` comes to.

BANKING77 as `support`, half of its intents held back until the change; everything from the alarm to the new champion
is the product's own doing. Some twenty minutes on two quiet cores.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from math import sqrt
from typing import Any

from benchmarks import drift_corpus
from benchmarks.frame import DOCS, Goal, Result, Table
from tidemill.errors import Stop

PAGE = DOCS / "results.md"
WORDS = {"before": "before the change", "changed": "after it, the old champion", "after": "the new champion"}
NOTE = (
    "BANKING77 as the users of `support`, half of its 77 intents held back until the change. Qualities are exact match "
    "on trusted labels of clients' answers, ± a standard error; before and after, on texts that no training held. The "
    "users are `tidemill demo --texts`'; nobody gave an order."
)


def measure(*, long: bool) -> Result:
    """One turn; ``long`` changes nothing. Raises Stop where the texts are not there or the demo did not run."""
    file = drift_corpus.DATA / "banking77_train.csv"
    if not drift_corpus.available():
        raise Stop(f"{file} is not there; BANKING77_DIR names the folder of banking77_train.csv")
    command = [
        sys.executable,
        "-m",
        "tidemill.cli.main",
        "demo",
        "--json",
        f"--texts={file}",
        "--label-column=category",
    ]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
    if not told:
        raise Stop("the demo did not come to its end; what it said stands above")
    return result(json.loads(told.splitlines()[-1]))


def result(told: Mapping[str, Any]) -> Result:
    """Tables and goals of the demo's JSON line."""
    figures = told["figures"]
    turn, calls, rows = figures["turns"][0], figures["calls"], figures["rows"]
    goals = [Goal(g["name"], g["value"], g["unit"], g["goal"], g["better"]) for g in told["goals"]]
    qualities = [
        (words, *(_quality(turn[labels][span]) for labels in ("held_back", "known"))) for span, words in WORDS.items()
    ]
    stations = turn["stations_s"]
    counted = [
        ("calls sent, failed", f"{calls['sent']:,}, {calls['failed']:,}"),
        ("answered calls without their row, rows twice", f"{rows['lost']}, {rows['duplicates']}"),
        ("set-up, seconds", f"{figures['setup_s']:.0f} (models {figures['models']})"),
    ]
    tables = [
        Table("Quality by labels", ("", "held-back labels", "known labels"), qualities),
        Table("Seconds at each station", tuple(stations), [tuple(f"{s:.0f}" for s in stations.values())]),
        Table("What was counted", ("", ""), counted),
    ]
    return Result("live", dict(figures), goals, tables=tables, notes=[turn["reason"], NOTE], page=PAGE)


def _quality(found: Mapping[str, Any]) -> str:
    """A mean of zeros and ones with its standard error."""
    mean, n = found["quality"], found["scores"]
    return f"– ({n})" if mean is None else f"{mean:.3f} ± {sqrt(mean * (1 - mean) / n):.3f} ({n:,} scores)"
