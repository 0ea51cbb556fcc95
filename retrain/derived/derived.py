"""A model made of another one, merged with an adapter or quantized, and the gate before it: it has to answer alike."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from retrain import adapter, places
from retrain.adapter import base_digest
from retrain.snapshot import golden, read_rows
from retrain.whole import write_json
from retrain.work import Refused
from tidemill.ids import pipeline_and_number
from tidemill.io.modes import let_engines_read
from tidemill.settings import Settings

FACTS_FILE = "derived.json"
LEAST_ASKED = 20
MOST_ASKED = 500

Made = tuple[Sequence[str], Sequence[str]]
"""Answers before and after, to the same prompts."""


def prompts_for(settings: Settings, pipeline: str, file: Path | None) -> list[str]:
    """What both models are asked: the file's prompts, else the pipeline's golden set. Raises Refused where that is less
    than anything could be judged by."""
    rows = read_rows(file) if file else golden(settings, pipeline)
    if len(rows) < LEAST_ASKED:
        raise Refused(
            f"{len(rows)} prompts to compare answers by, at least {LEAST_ASKED} are needed; set "
            f"pipelines.{pipeline}.gate.golden_set, or name a file of rows (prompt, completion) with --prompts"
        )
    return [row.prompt for row in rows[:MOST_ASKED]]


def derive(
    source: Path, out: Path, make: Callable[[Path], Made], least: float, facts: dict[str, Any]
) -> dict[str, Any]:
    """Make the model in ``out``, whole or not at all, and only where the share of equal answers is at least ``least``.

    ``make`` writes a folder and gives both models' answers. What it was made of is in derived.json beside the weights.
    Raises Refused.
    """
    if out.exists():
        raise Refused(f"{out} is there already, and a model's folder never changes; name another one")
    unfinished = out.with_name(out.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        before, after = make(unfinished)
        equal = sum(one == other for one, other in zip(before, after, strict=True))
        told = facts | {"asked": len(before), "equal": equal, "source_digest": base_digest(source)}
        if equal < least * len(before):
            raise Refused(
                f"{equal} of {len(before)} answers are the same as before, {least:.0%} are needed; nothing was kept"
            )
        told["digest"] = base_digest(unfinished)
        write_json(unfinished / FACTS_FILE, told)
        let_engines_read(unfinished)
        unfinished.rename(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return told


def adapter_of(settings: Settings, version: str) -> tuple[str, Path]:
    """Pipeline and adapter folder of a version. Raises Refused where there is none."""
    pipeline = pipeline_and_number(version)[0]
    if pipeline not in settings.pipelines:
        raise Refused(f"{version!r} is no version: give <pipeline>-v<N>, of {', '.join(settings.pipelines)}")
    folder = places.champion_dir(settings, pipeline, version)
    if folder is None:
        raise Refused(f"{version} is the base itself, so there is nothing to merge")
    if not (folder / adapter.WEIGHTS).is_file():
        raise Refused(f"{folder} holds no adapter; see `tidemill lineage {version}`")
    return pipeline, folder
