"""``tidemill retrain``: jobs, their logs, and the end of one by order. (``tidemill train`` orders one.)"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tidemill.cli import context
from tidemill.cli.rollout import content
from tidemill.cli.times import shown_time
from tidemill.errors import Stop
from tidemill.events import JobState
from tidemill.events.lifecycle import OPEN_JOBS
from tidemill.settings import Settings
from tidemill.topics import JOBS

app = typer.Typer(help="Jobs: where retrainings stand, what they say, and how to end one.", no_args_is_help=True)
By = Annotated[str, typer.Option(help="Who says so; else your account's name.")]
Job = Annotated[str, typer.Argument(help="A job: its id, or how it begins (`tidemill retrain list`).")]
LINES = 40


@app.callback()
def _group() -> None:
    """Jobs: where retrainings stand, what they say, and how to end one."""


@app.command("list")
def list_(
    pipeline: Annotated[str, typer.Argument(help="Only this pipeline.")] = "",
    declined: Annotated[bool, typer.Option("--declined", help="Decisions against a job, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Show the jobs, newest first: their phase, what they held, and why they are where they are.

    Example: tidemill retrain list schedule
    """
    settings = context.settings()
    if pipeline:
        context.needs_pipeline(settings, pipeline)
    context.needs_stack(settings)
    found = [
        job
        for job in jobs(settings)
        if pipeline in ("", job.pipeline) and (declined or job.phase != "declined" or job.data_digest)
    ]
    if as_json:
        typer.echo(msgspec.json.encode({"jobs": found}).decode())
        return
    table = Table(box=None, pad_edge=False)
    for column in ("opened (UTC)", "job", "pipeline", "phase", "GPU s", "version", "why"):
        table.add_column(column, overflow="fold")
    for job in found:
        held = job.figures.get("gpu_seconds")
        gpu = "" if held is None else f"{held:.0f}"
        cells = (job.job_id[:8], job.pipeline, job.phase, gpu, job.candidate_version, job.reason)
        table.add_row(shown_time(job.created_ms), *map(escape, cells))
    Console(highlight=False).print(table)


@app.command("logs")
def logs(
    job: Job,
    work: Annotated[str, typer.Option(help="Only of this: snapshot, train, evaluate, parity or register.")] = "",
    lines: Annotated[int, typer.Option(help="The last lines of each.", min=1)] = LINES,
) -> None:
    """Show what a job's work has logged, on every try; Ray's and Kubernetes' words are among it.

    Example: tidemill retrain logs 3f2a --work train
    """
    from retrain.controller.advance import WORKS
    from retrain.launchers import folder as places
    from retrain.places import jobs_dir

    if work and work not in WORKS:
        raise Stop(f"--work {work!r}: choose {', '.join(WORKS[:-1])} or {WORKS[-1]}")
    folder = _folder(jobs_dir(context.settings()), job)
    shown = False
    for name in (work,) if work else WORKS:
        text = places.tail(folder / name / places.LOG).decode(errors="replace")
        tries = places.attempts(folder / name)
        if tries or text:
            shown = True
            where = f", the last one by {tries[-1].launcher} {tries[-1].name}".rstrip() if tries else ""
            typer.echo(f"== {name}: {len(tries)} tries{where}")
            typer.echo("\n".join(text.splitlines()[-lines:]))
    if not shown:
        raise Stop(f"job {folder.name} has not started {work or 'anything'} yet")


@app.command("cancel")
def cancel(
    job: Job,
    reason: Annotated[str, typer.Option(help="Why; it stands in the job's log.")],
) -> None:
    """End a job that is under way, and whatever runs for it. Its alarm causes no other one.

    Example: tidemill retrain cancel 3f2a --reason "labels of the wrong tenant"
    """
    from retrain.cancel import MOST_REASON, Cancel, place

    settings = context.settings()
    if not reason.strip():
        raise Stop("a cancellation needs a reason: --reason TEXT")
    context.needs_stack(settings, ", so nobody would take the order")
    found = one(jobs(settings), job)
    if found.phase not in OPEN_JOBS:
        raise Stop(f"job {found.job_id[:8]} is over already: {found.phase}, {found.reason}")
    place(settings, Cancel(job_id=found.job_id, reason=reason.strip()[:MOST_REASON]))
    typer.echo(
        f"cancellation of job {found.job_id[:8]} ordered; the retrain role on this data_dir takes it in a second"
    )


@app.command("approve")
def approve(
    job: Job, reason: Annotated[str, typer.Option(help="Why; it stands in the job's log.")] = "", by: By = ""
) -> None:
    """Approve the candidate of a job that waits for it (retrain.approval); it becomes a version and is rolled out.

    Example: tidemill retrain approve 3f2a
    """
    _rule(job, True, reason, by)


@app.command("reject")
def reject(
    job: Job, reason: Annotated[str, typer.Option(help="Why; it stands in the job's log.")], by: By = ""
) -> None:
    """Reject the candidate of a job that waits for approval (retrain.approval).

    Example: tidemill retrain reject 3f2a --reason "not before the fair"
    """
    _rule(job, False, reason, by)


def _rule(job: str, approved: bool, reason: str, by: str) -> None:
    from tidemill.io.rulings import MOST_TEXT, Ruling, place

    settings = context.settings()
    context.needs_stack(settings, ", so nobody would take it")
    found = one(jobs(settings), job)
    if found.phase != "approving":
        raise Stop(f"job {found.job_id[:8]} does not wait for approval: {found.phase}, {found.reason}")
    ruling = Ruling(job_id=found.job_id, approved=approved, by=context.who(by), why=reason.strip()[:MOST_TEXT])
    if not place(settings, ruling):
        raise Stop(f"job {found.job_id[:8]} has been decided already; see `tidemill retrain list`")
    word = "approved" if approved else "rejected"
    typer.echo(f"job {found.job_id[:8]} {word}; the retrain role on this data_dir takes it in a second")


def jobs(settings: Settings) -> list[JobState]:
    """Every job's last state, newest first. Blocks; raises Stop when Kafka is away."""
    found: dict[str, JobState] = {}
    state: JobState
    for state in content(settings, JOBS):
        known = found.get(state.job_id)
        if known is None or state.seq >= known.seq:
            found[state.job_id] = state
    return sorted(found.values(), key=lambda job: (-job.created_ms, job.job_id))


def one(found: list[JobState], named: str) -> JobState:
    """The job whose id begins so. Raises Stop where there is none, or several."""
    fitting = [job for job in found if named and job.job_id.startswith(named)]
    if len(fitting) != 1:
        raise Stop(_not_one(named, len(fitting)))
    return fitting[0]


def _folder(jobs_folder: Path, named: str) -> Path:
    fitting = sorted(each for each in jobs_folder.glob("*") if named and each.name.startswith(named))
    if len(fitting) != 1:
        raise Stop(_not_one(named, len(fitting)))
    return fitting[0]


def _not_one(named: str, count: int) -> str:
    return f"{count or 'no'} jobs begin with {named!r}; see `tidemill retrain list`"
