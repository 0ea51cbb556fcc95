"""Takes the data set of one job out of the store and freezes it: rows, counts, digest, how it was asked for.

python -m retrain.snapshot --spec SPEC.json
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from retrain import adapter, lessons, places, remote
from retrain.dataset import DataSet, TooSmall, build
from retrain.rows import AskedCall, JudgedCall, LabelledCall, Row
from retrain.rules import rules_of
from retrain.snapshots import Snapshot
from retrain.suites import read_suite
from retrain.whole import write_json
from retrain.work import Refused, load_settings, run_work, say
from tidemill import sql
from tidemill.events import Message
from tidemill.io.clickhouse import Store
from tidemill.settings import PipelineSettings, Settings

MOST_FRESH = 50_000
MOST_OLDER = 50_000
MOST_UNLABELLED = 10_000
"""Questions without a label that a teacher is asked."""
C = TypeVar("C", AskedCall, JudgedCall)
OLDER_MS = 30 * 86_400_000
"""How far back labels are replayed from."""
_END_MS = 4_102_444_800_000
_messages = msgspec.json.Decoder(tuple[Message, ...])


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
    store = Store(settings)
    say(note="reading labelled calls")
    change, until, since = spec.change_ms, spec.until_ms, max(0, spec.change_ms - OLDER_MS)
    fresh, fresh_left = labelled(store, spec.pipeline, change, until, MOST_FRESH, until)
    replaying = pipeline.retrain.replay_share > 0
    older, older_left = labelled(store, spec.pipeline, since, change, MOST_OLDER, until) if replaying else ([], 0)
    rules, frozen = rules_of(pipeline), golden(settings, spec.pipeline)
    try:
        made = taught(build(fresh, older, frozen, rules), store, spec, pipeline, frozen, since if replaying else change)
        base = adapter.base_digest(places.base_dir(settings, spec.pipeline))
    except (TooSmall, FileNotFoundError) as error:
        raise Refused(str(error)) from error
    counts = made.counts | {"several_turns_left_out": fresh_left + older_left}
    folder = places.data_dir(settings, spec.job_id)
    manifest = {
        "digest": made.digest,
        "counts": counts,
        "notes": made.notes,
        "change_ms": change,
        "until_ms": until,
        "pipeline": spec.pipeline,
        "origins": made.origins,
        "offsets": store.rows(
            sql.query("labelled_extent"), _asked(spec.pipeline, since if replaying else change, until, until)
        ),
        "base_digest": base,
        "rules": rules,
        "recipe": pipeline.retrain.recipe.kind,
        "query": sql.query("labelled_calls"),
    }
    write_folder(folder, made, manifest)
    frozen_set = Snapshot(job_id=spec.job_id, version="", folder=str(folder), manifest=manifest)
    if settings.dvc.remote:
        say(note="pushing the data set")
    not_pushed = remote.tried(settings, frozen_set)
    told = {"digest": made.digest, "counts": counts, "notes": [*made.notes, *([not_pushed] if not_pushed else [])]}
    return told | {"base_digest": base, "folder": str(folder)}


def taught(
    made: DataSet, store: Store, spec: SnapshotSpec, pipeline: PipelineSettings, golden: list[Row], since: int
) -> DataSet:
    """The data set with the rows that the pipeline's recipe learns from. Raises TooSmall or Retry."""
    kind, rules, until = pipeline.retrain.recipe.kind, rules_of(pipeline), spec.until_ms
    if kind == "dpo":
        asked = _asked(spec.pipeline, since, until, until)
        answers = {row["call_id"]: row["answer"] for row in store.rows(sql.query("answers_of_labelled"), asked)}
        return lessons.pairs(made, answers, rules)
    if kind == "kto":
        asked = _asked(spec.pipeline, since, until, until) | {"most": MOST_FRESH}
        return lessons.thumbs(made, _calls(store, "thumbed_calls", asked, JudgedCall), golden, rules)
    if kind == "distill":
        asked = {"pipeline": spec.pipeline, "since": spec.change_ms, "until": min(until, _END_MS), "most": MOST_FRESH}
        return lessons.unlabelled(made, _calls(store, "asked_calls", asked, AskedCall), golden, MOST_UNLABELLED, rules)
    return made


def _calls(store: Store, query: str, asked: dict[str, Any], kind: type[C]) -> list[C]:
    """Calls of one question; those of several turns are left out."""
    rows = store.rows(sql.query(query), asked)
    told = ((question(row.pop("messages")), row) for row in rows)
    return [msgspec.convert(row | {"prompt": prompt}, kind, strict=False) for prompt, row in told if prompt is not None]


def labelled(
    store: Store, pipeline: str, since: int, until: int, most: int, told_until: int
) -> tuple[list[LabelledCall], int]:
    """Labelled single-turn calls made in [since, until), and how many of several turns were left out.

    Labels told from ``told_until`` on do not count: whenever a snapshot is taken, it knows no later ones.
    """
    parameters = _asked(pipeline, since, until, told_until) | {"most": most}
    found, left_out = [], 0
    for row in store.rows(sql.query("labelled_calls"), parameters):
        prompt = question(row.pop("messages"))
        if prompt is None:
            left_out += 1
        else:
            found.append(LabelledCall(prompt=prompt, **row))
    return found, left_out


def _asked(pipeline: str, since: int, until: int, told_until: int) -> dict[str, Any]:
    ends = {"until": min(until, _END_MS), "told_until": min(told_until, _END_MS)}
    return {"pipeline": pipeline, "since": since} | ends


def question(messages: str) -> str | None:
    """What the user asked, without the system prompt; None for a conversation of several turns."""
    turns = [message for message in _messages.decode(messages) if message.role != "system"]
    return turns[0].content if len(turns) == 1 and turns[0].role == "user" else None


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
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise Refused(f"{file.name} cannot be read ({error.strerror}); see gate.golden_set") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                rows.append(msgspec.json.decode(line, type=Row))
            except msgspec.DecodeError as error:
                raise Refused(f"{file.name}, line {number}: {error}; a row needs prompt and completion") from error
    return rows


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
