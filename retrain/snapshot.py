"""Takes the data set of one job out of the store and freezes it: rows, counts, digest, how it was asked for.

python -m retrain.snapshot --spec SPEC.json
"""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from retrain import adapter, places
from retrain.datasets import lessons, remote
from retrain.datasets.dataset import DataSet, TooSmall, build
from retrain.datasets.fetch import Fetcher
from retrain.datasets.rows import Row
from retrain.datasets.rules import rules_of
from retrain.datasets.snapshots import Snapshot
from retrain.datasets.suites import read_suite
from retrain.whole import json_lines, write_json
from retrain.work import Refused, load_settings, run_work, say
from tidemill.io.clickhouse import Store
from tidemill.settings import PipelineSettings, Settings

MOST_FRESH = 50_000
MOST_OLDER = 50_000
MOST_UNLABELLED = 10_000
"""Questions without a label that a teacher is asked."""
OLDER_MS = 30 * 86_400_000
"""How far back labels are replayed from."""


class SnapshotSpec(Struct, frozen=True, kw_only=True):
    """One snapshot. ``change_ms`` parts fresh from older labels; ``until_ms`` freezes the end."""

    settings: str
    job_id: str
    pipeline: str
    change_ms: int
    until_ms: int


def take(spec: SnapshotSpec) -> dict[str, Any]:
    """Make the data set's folder, and push it where ``dvc.remote`` is set; the same rows give the same digest.

    Raises Retry (store away) or Refused. A remote that is away holds nothing up: it is one of the notes.
    """
    settings = load_settings(spec.settings)
    pipeline = settings.pipelines[spec.pipeline]
    fetcher = Fetcher(Store(settings), spec.pipeline, spec.until_ms)
    say(note="reading labelled calls")
    rules, frozen = rules_of(pipeline), golden(settings, spec.pipeline)
    try:
        made = collected(fetcher, spec, pipeline, frozen)
        base = adapter.base_digest(places.base_dir(settings, spec.pipeline))
    except (TooSmall, FileNotFoundError) as error:
        raise Refused(str(error)) from error
    folder = places.data_dir(settings, spec.job_id)
    manifest = {
        "digest": made.digest,
        "counts": made.counts,
        "notes": made.notes,
        "change_ms": spec.change_ms,
        "until_ms": spec.until_ms,
        "pipeline": spec.pipeline,
        "origins": made.origins,
        "offsets": fetcher.offsets(),
        "base_digest": base,
        "rules": rules,
        "recipe": pipeline.retrain.recipe.kind,
        "queries": fetcher.queries,
    }
    write_folder(folder, made, manifest)
    frozen_set = Snapshot(job_id=spec.job_id, version="", folder=str(folder), manifest=manifest)
    if settings.dvc.remote:
        say(note="pushing the data set")
    not_pushed = remote.tried(settings, frozen_set)
    told = {"digest": made.digest, "counts": made.counts, "notes": [*made.notes, *([not_pushed] if not_pushed else [])]}
    return told | {"base_digest": base, "folder": str(folder)}


def collected(fetcher: Fetcher, spec: SnapshotSpec, pipeline: PipelineSettings, golden: list[Row]) -> DataSet:
    """The data set that labels make, with the rows that the pipeline's recipe learns from. Raises TooSmall or Retry."""
    kind, rules, change, until = pipeline.retrain.recipe.kind, rules_of(pipeline), spec.change_ms, spec.until_ms
    replaying = pipeline.retrain.replay_share > 0
    since = max(0, change - OLDER_MS) if replaying else change
    fresh = fetcher.labelled(change, until, MOST_FRESH)
    older = fetcher.labelled(since, change, MOST_OLDER) if replaying else []
    made = build(fresh, older, golden, rules)
    if kind == "dpo":
        made = lessons.pairs(made, fetcher.answers(since, until), golden, rules)
    elif kind == "kto":
        made = lessons.thumbs(made, fetcher.judged(since, until, MOST_FRESH), golden, change, rules)
    elif kind == "distill":
        made = lessons.unlabelled(made, fetcher.asked(change, until, MOST_FRESH), golden, MOST_UNLABELLED, rules)
    left_out = fetcher.several_turns["labelled_calls"] + fetcher.several_turns["thumbed_calls"]
    return replace(made, counts=made.counts | {"several_turns_left_out": left_out})


def golden(settings: Settings, pipeline: str) -> list[Row]:
    """What no training may see: the frozen golden set and the suites. Raises Refused when one cannot be read."""
    gate = settings.pipelines[pipeline].gate
    rows = read_rows(settings.resolve(gate.golden_set)) if gate.golden_set else []
    for suite in gate.suites:
        found = read_suite(suite, settings.resolve(suite.file))
        rows += [Row(prompt=row.prompt, completion=row.completion or "") for row in found]
    return rows


def read_rows(file: Path) -> list[Row]:
    """Rows of a JSON Lines file. Raises Refused naming the file, the line and what is wrong."""
    try:
        return [row for _, row in json_lines(file, Row)]
    except OSError as error:
        raise Refused(f"{file.name} cannot be read ({error.strerror}); see gate.golden_set") from error
    except ValueError as error:
        raise Refused(f"{file.name}, {error}; a row needs prompt and completion") from error


def write_folder(folder: Path, made: DataSet, manifest: dict[str, Any]) -> None:
    """The data set's files, whole or not at all; replaces an unfinished or older try, and what was said of it."""
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for name, rows in ((places.TRAIN_FILE, made.train), (places.VERIFIED_FILE, made.verified)):
        (unfinished / name).write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    write_json(unfinished / places.MANIFEST_FILE, manifest)
    folder.with_name(places.POINTER_FILE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


if __name__ == "__main__":
    run_work("snapshot", SnapshotSpec, take, time.sleep)
