"""``tidemill data``: the data sets that jobs have made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console

from tidemill.cli import context
from tidemill.cli.data_told import plain, pushed, table_of, tell
from tidemill.cli.times import shown_time
from tidemill.errors import Retry, Stop

if TYPE_CHECKING:
    from retrain.datasets.remote import Kept
    from retrain.datasets.rows import Row
    from retrain.datasets.snapshots import Difference, Snapshot
    from tidemill.settings import Settings

app = typer.Typer(help="Data sets: what jobs train on and are judged by.", no_args_is_help=True)
FORMS = ("prompt", "chat")
Name = Annotated[str, typer.Argument(help="A job (its id, or how it begins) or a version, such as schedule-v2.")]
Content = Annotated[bool, typer.Option("--content", help="With prompts and labels.")]
Limit = Annotated[int, typer.Option(help="With --content: at most so many rows of each kind.", min=1)]
Json = Annotated[bool, typer.Option("--json", help="One JSON object instead of words.")]


@app.callback()
def _group() -> None:
    """Data sets: what jobs train on and are judged by."""


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help=f"{Name.__metadata__[0].help} Without: all data sets.")] = "",
    content: Content = False,
    limit: Limit = 5,
    as_json: Json = False,
) -> None:
    """Show a data set: what was counted, left out and why, whose labels they are, by which rules it was made.

    Example: tidemill data show schedule-v2
    """
    from retrain.datasets.remote import kept
    from retrain.datasets.snapshots import PARTS, find, known

    settings = context.settings()
    if not name and (every := known(settings)):
        _list(settings, every, as_json)
        return
    found = find(settings, name)
    examples = {part: found.rows(part)[:limit] for part in PARTS} if content else {}
    in_remote = kept(settings, found.job_id)
    if as_json:
        told = msgspec.to_builtins(found) | {"intact": found.intact(), "dvc": msgspec.to_builtins(in_remote)}
        typer.echo(msgspec.json.encode(told | ({"examples": examples} if content else {})).decode())
        return
    console = Console(highlight=False)
    tell(console, found)
    console.print(_remote_line(settings, in_remote), markup=False, soft_wrap=True)
    for part, rows in examples.items():
        _examples(console, part, rows)


@app.command("diff")
def diff(
    first: Name,
    second: Name,
    content: Content = False,
    limit: Limit = 5,
    as_json: Json = False,
) -> None:
    """Compare two data sets: rows that one alone has, labels, pairs and thumbs that differ, and the rules that do.

    Example: tidemill data diff schedule-v2 schedule-v3 --content
    """
    from retrain.datasets.snapshots import PARTS, difference, find

    settings = context.settings()
    one, other = find(settings, first), find(settings, second)
    parts = {part: difference(one.rows(part), other.rows(part)) for part in PARTS}
    rules = _differing(one.manifest.get("rules", {}), other.manifest.get("rules", {}))
    if as_json:
        told = {
            "first": one.job_id,
            "second": other.job_id,
            "rules": rules,
            **{part: _figures(each) | (_rows(each, limit) if content else {}) for part, each in parts.items()},
        }
        typer.echo(msgspec.json.encode(told).decode())
        return
    console = Console(highlight=False)
    table = table_of("part", "same", f"only {first}", f"only {second}", "changed")
    for part, each in parts.items():
        figures = _figures(each)
        table.add_row(part, *(f"{figures[key]:,}" for key in ("same", "only_first", "only_second", "changed")))
    console.print(table)
    for rule, (before, after) in rules.items():
        console.print(f"{rule}: {before}, then {after}", markup=False)
    if content:
        for part, each in parts.items():
            _examples(console, f"{part}, only {first}", each.only_first[:limit])
            _examples(console, f"{part}, only {second}", each.only_second[:limit])
            for changed in each.changed[:limit]:
                before, after = (" | ".join(map(_answer, rows)) for rows in (changed.before, changed.after))
                console.print(f"{part}, changed: {changed.prompt} => {before} -> {after}", markup=False)


@app.command("export")
def export(
    name: Name,
    out: Annotated[Path, typer.Option("--out", help="Folder to make; it must not be there yet.")],
    form: Annotated[
        str, typer.Option("--format", help="prompt: rows as they are. chat: messages, in TRL's columns.")
    ] = "prompt",
    as_json: Json = False,
) -> None:
    """Write a data set as JSON Lines with its manifest: train.jsonl, verified.jsonl, manifest.json.

    Example: tidemill data export schedule-v2 --out rows --format chat
    """
    from retrain.datasets.snapshots import export as write
    from retrain.datasets.snapshots import find

    if form not in FORMS:
        raise Stop(f"--format {form!r}: choose {' or '.join(FORMS)}")
    found = find(context.settings(), name)
    folder = write(found, out, form)  # type: ignore[arg-type]
    counts = {part: found.manifest["counts"].get(part, 0) for part in ("train", "verified")}
    if as_json:
        typer.echo(msgspec.json.encode({"folder": str(folder), "digest": found.manifest["digest"], **counts}).decode())
    else:
        typer.echo(f"{folder}: {counts['train']} rows to train on, {counts['verified']} to judge by, manifest.json")


@app.command("push")
def push(
    name: Annotated[str, typer.Argument(help=f"{Name.__metadata__[0].help} Without: all that it lacks.")] = "",
    as_json: Json = False,
) -> None:
    """Push data sets to dvc.remote that it does not have yet, or one once more, and tell MLflow of them.

    Example: tidemill data push schedule-v2
    """
    from retrain.datasets import dvc, remote
    from retrain.datasets.snapshots import find, known

    settings = context.settings()
    if not settings.dvc.remote:
        raise Stop("dvc.remote is empty: name a folder or a URL that DVC knows, as s3://bucket/data-sets")
    if fault := dvc.fault(settings.dvc):
        raise Stop(fault)
    every = [find(settings, name)] if name else [e for e in known(settings) if remote.lacks(settings, e.job_id)]
    done, failed, untold = [], {}, {}
    for each in every:
        try:
            done.append(remote.push(settings, each))
        except Stop as error:
            failed[each.job_id] = str(error)
            continue
        except Retry as error:  # away for the others, too
            failed[each.job_id] = str(error)
            break
        if not as_json:
            typer.echo(pushed(done[-1]))
        try:
            remote.tell_registry(settings, each.job_id)
        except (Retry, Stop) as error:
            untold[each.job_id] = str(error)
    if as_json:
        typer.echo(msgspec.json.encode({"pushed": done, "failed": failed, "untold": untold}).decode())
    elif not every:
        typer.echo(f"{settings.dvc.remote} has every data set")
    if failed or untold:
        told = [f"job {job[:8]}: {why}" for job, why in failed.items()]
        told += [f"job {job[:8]} is pushed, but MLflow does not know: {why}" for job, why in untold.items()]
        raise Stop(f"{len(done)} of {len(every)} data sets were pushed; {'; '.join(told)}")


@app.command("pull")
def pull(
    name: Annotated[str, typer.Argument(help="A version, a job, or the digest or DVC's hash of a data set.")],
    remote: Annotated[str, typer.Option(help="Folder or URL in place of the remote it was pushed to.")] = "",
    as_json: Json = False,
) -> None:
    """Bring a data set whose folder is gone back from the remote, into its job's folder, and compare its digest.

    Example: tidemill data pull schedule-v2
    """
    from retrain.datasets.remote import bring_back

    found = bring_back(context.settings(), name, remote)
    if as_json:
        told = {"job_id": found.job_id, "folder": found.folder, "digest": found.manifest["digest"]}
        typer.echo(msgspec.json.encode(told).decode())
    else:
        typer.echo(f"{found.folder}: digest {found.manifest['digest']}, as it was made")


def _list(settings: Settings, every: list[Snapshot], as_json: bool) -> None:
    from retrain.datasets.remote import kept

    lines = [_line(each) | {"dvc": found.hash if (found := kept(settings, each.job_id)) else None} for each in every]
    if as_json:
        typer.echo(msgspec.json.encode({"data_sets": lines}).decode())
        return
    table = table_of("made (UTC)", "job", "version", "pipeline", "train", "verified", "digest", "DVC")
    for line in lines:
        made = [shown_time(line["until_ms"]), line["job_id"][:8], line["version"], line["pipeline"]]
        table.add_row(*made, str(line["train"]), str(line["verified"]), line["digest"][:12], (line["dvc"] or "")[:12])
    Console(highlight=False).print(table)


def _line(each: Snapshot) -> dict[str, Any]:
    manifest = each.manifest
    return {
        "job_id": each.job_id,
        "version": each.version,
        "pipeline": manifest.get("pipeline", ""),
        "until_ms": manifest.get("until_ms", 0),
        "train": manifest["counts"].get("train", 0),
        "verified": manifest["counts"].get("verified", 0),
        "digest": manifest["digest"],
    }


def _remote_line(settings: Settings, found: Kept | None) -> str:
    if found is not None:
        return f"DVC: {found.hash} in {found.remote}"
    return "DVC: NOT IN THE REMOTE YET; `tidemill data push`" if settings.dvc.remote else "DVC: no remote is set"


def _examples(console: Console, title: str, rows: list[Row] | tuple[Row, ...]) -> None:
    for row in rows:
        console.print(f"{title}: {row.prompt} => {_answer(row)}", markup=False)


def _answer(row: Row) -> str:
    if row.liked is not None:
        return f"{row.completion} ({'liked' if row.liked else 'disliked'})"
    return f"{row.completion} (rather than {row.rejected})" if row.rejected else row.completion


def _figures(each: Difference) -> dict[str, int]:
    return {
        "same": each.same,
        "only_first": len(each.only_first),
        "only_second": len(each.only_second),
        "changed": len(each.changed),
    }


def _rows(each: Difference, limit: int) -> dict[str, Any]:
    return {
        "rows_only_first": each.only_first[:limit],
        "rows_only_second": each.only_second[:limit],
        "rows_changed": each.changed[:limit],
    }


def _differing(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[str, str]]:
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return {name: (plain(before.get(name)), plain(after.get(name))) for name in names}
