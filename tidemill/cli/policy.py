"""``tidemill policy``: what another trigger policy would have done."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from tidemill.cli import context
from tidemill.cli.times import epoch_ms
from tidemill.clock import SystemClock
from tidemill.errors import Retry, SettingsError, Stop

if TYPE_CHECKING:
    from retrain.replay.compare import Compared
    from retrain.replay.falls import Said
    from retrain.replay.history import History
    from retrain.replay.turns import Turn
    from tidemill.io.clickhouse import Store
    from tidemill.settings import GpuSettings, Settings

app = typer.Typer(help="Trigger policies: when a pipeline is retrained.", no_args_is_help=True)
QUERY_TIMEOUT_S = 600.0
"""Long histories are read, and somebody waits who can end it."""
COLUMNS = (
    *("policy", "alarms (false)", "trainings (false)", "missed", "alarm after s", "training after s"),
    *("GPU h", "USD", "loss", "avoided"),
)


@app.command()
def replay(
    since: Annotated[
        str, typer.Option("--from", help="Start: 2026-11-27T16:00 (UTC), 7d (ago) or epoch milliseconds.")
    ],
    until: Annotated[str, typer.Option("--to", help="End, likewise; 0s is now.")] = "0s",
    policy: Annotated[list[Path] | None, typer.Option(help="File of a policy to compare; may be given again.")] = None,
    pipeline: Annotated[list[str] | None, typer.Option(help="Only this pipeline; may be given again.")] = None,
    truth: Annotated[
        Path | None, typer.Option(help="File that names the falls; without: those in the measured quality.")
    ] = None,
    train_s: Annotated[
        float | None, typer.Option(help="Seconds of GPU a training takes; without: as recorded.", min=1)
    ] = None,
    takeover_s: Annotated[
        float | None, typer.Option(help="Seconds from there to the new champion; without: as recorded.", min=0)
    ] = None,
    gpu_usd_per_hour: Annotated[
        float | None, typer.Option(help="Price of the GPU; without: gpu.usd_per_hour.", min=0)
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a picture (.png, .svg, .pdf).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Only one JSON line.")] = False,
) -> None:
    """Run trigger policies over history: alarms, false and missed trainings, delay, cost, loss avoided.

    Example: tidemill policy replay --from 7d --policy eager.yaml --gpu-usd-per-hour 2
    """
    from retrain.replay.plot import needs
    from retrain.replay.plot import plot as draw
    from retrain.replay.policies import AS_SET, Policy, read_policy
    from tidemill.codec import encode
    from tidemill.io.clickhouse import Store, StoreError

    now_ms = SystemClock().now_ms()
    since_ms, until_ms = epoch_ms("--from", since, now_ms), epoch_ms("--to", until, now_ms)
    if since_ms >= until_ms:
        raise Stop(f"--from {since} is not before --to {until}")
    settings = context.settings()
    context.needs_pipelines(settings)
    for name in pipeline or ():
        context.needs_pipeline(settings, name)
    names = _trained_here(settings, list(dict.fromkeys(pipeline or settings.pipelines)))
    policies = [Policy(AS_SET, {}), *(read_policy(file) for file in policy or ())]
    _check([each.name for each in policies])
    for each in policies:
        for name in names:
            each.over(settings.pipelines[name])
    said = None if truth is None else read_truth(truth, now_ms)
    if plot is not None:
        needs(plot)
    if not settings.clickhouse.url:
        context.needs_stack(settings)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        try:
            store = Store(settings, query_timeout_s=QUERY_TIMEOUT_S)
            histories = _read(store, settings, names, since_ms, until_ms, bar, only=pipeline is not None)
        except (Retry, StoreError) as error:
            raise context.no_store(settings, error) from error
        turns = [_turn(history, histories, train_s, takeover_s) for history in histories]
        gpu = settings.gpu if gpu_usd_per_hour is None else _priced(settings.gpu, gpu_usd_per_hour)
        compared = _compare(settings, histories, turns, policies, said, gpu, bar)
    if plot is not None:
        draw(compared, plot)
    if not as_json:
        _show(compared)
    line = {
        "since_ms": since_ms,
        "until_ms": until_ms,
        "truth": "measured" if truth is None else str(truth),
        "gpu_usd_per_hour": gpu.usd_per_hour,
        "results": [result for one in compared for result in one.results],
    }
    typer.echo(encode(line).decode())


def read_truth(file: Path, now_ms: int) -> dict[str, list[Said]]:
    """The falls of a file by pipeline: a YAML list of {pipeline, from, to}. Raises SettingsError."""
    import yaml

    from retrain.replay.falls import Said

    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"{file}: no such file") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{file}: cannot be read: {error}") from error
    falls: dict[str, list[Said]] = {}
    for entry in found if isinstance(found, list) else [found]:
        if not isinstance(entry, dict) or not {"pipeline", "from"} <= entry.keys() <= {"pipeline", "from", "to"}:
            raise SettingsError(f"{file}: {entry!r} is no fall: give a list of pipeline, from and (once it ended) to")
        start, end = epoch_ms(f"{file}: from", str(entry["from"]), now_ms), None
        if entry.get("to") is not None:
            end = epoch_ms(f"{file}: to", str(entry["to"]), now_ms)
            if end <= start:
                raise SettingsError(f"{file}: {entry!r} ends before it begins")
        falls.setdefault(str(entry["pipeline"]), []).append(Said(start, end))
    return falls


def _priced(gpu: GpuSettings, usd_per_hour: float) -> GpuSettings:
    return gpu.model_copy(update={"usd_per_hour": usd_per_hour})


def _trained_here(settings: Settings, names: list[str]) -> list[str]:
    """Those whose models can be retrained; the others have no trigger. Raises Stop where none can."""
    found = [name for name in names if settings.engines[settings.pipelines[name].engine].kind == "vllm"]
    if not found:
        raise Stop(f"nothing is trained here: the engines of {', '.join(names)} are providers (engines.<name>.kind)")
    return found


def _check(policies: Sequence[str]) -> None:
    from retrain.replay.report import RECORDED

    if twice := sorted({name for name in policies if policies.count(name) > 1 or name == RECORDED}):
        raise Stop(f"policies are named as their files: {', '.join(twice)} is taken; rename one")


def _read(
    store: Store, settings: Settings, names: Sequence[str], since_ms: int, until_ms: int, bar: Progress, *, only: bool
) -> list[History]:
    """Raises Stop where no pipeline, or one that was asked for, has history."""
    from retrain.replay.source import read

    found, missing = [], []
    for name in names:
        task = bar.add_task(f"{name}: days read", total=None)
        try:
            metric = settings.pipelines[name].quality.metric
            found.append(read(store, name, metric, since_ms, until_ms, partial(_days, bar, task)))
        except Stop as error:
            missing.append(error)
        bar.remove_task(task)
    if missing and (only or not found):
        raise Stop("\n".join(map(str, missing)))
    return found


def _days(bar: Progress, task: TaskID, done: int, of: int) -> None:
    bar.update(task, completed=done, total=of)


def _turn(history: History, others: Sequence[History], train_s: float | None, takeover_s: float | None) -> Turn:
    """As given, else as the pipeline's own recorded ones, else as those of all pipelines."""
    from retrain.replay.report import usual_turn
    from retrain.replay.turns import Turn

    given = [None if seconds is None else round(seconds * 1000) for seconds in (train_s, takeover_s)]
    train_ms, takeover_ms = (
        next((ms for ms in known if ms is not None), None)
        for known in zip(given, usual_turn([history]), usual_turn(others), strict=True)
    )
    if train_ms is None or takeover_ms is None:
        option, what = ("--train-s", "training") if train_ms is None else ("--takeover-s", "new champion")
        raise Stop(f"no {what} is recorded in this time, so nobody knows how long one takes: say it with {option}")
    return Turn(train_ms, takeover_ms)


def _compare(
    settings: Settings,
    histories: Sequence[History],
    turns: Sequence[Turn],
    policies: Sequence[Any],
    said: dict[str, list[Said]] | None,
    gpu: GpuSettings,
    bar: Progress,
) -> list[Compared]:
    from retrain.replay.compare import compare
    from streams.detectors.replayed import with_budget_of

    compared = []
    for history, turn in zip(histories, turns, strict=True):
        task = bar.add_task("", total=len(history.scores) + len(history.estimates))

        def told(name: str, done: int, task: TaskID = task, of: str = history.pipeline) -> None:
            bar.update(task, description=f"{of}: {name}", completed=done)

        falls = None if said is None else said.get(history.pipeline, ())
        pipeline = settings.pipelines[history.pipeline]
        compared.append(
            compare(
                history,
                pipeline,
                policies,
                turn,
                with_budget_of(settings, history.pipeline),
                truth=falls,
                gpu=gpu,
                progress=told,
            )
        )
        bar.remove_task(task)
    return compared


def _show(compared: Sequence[Compared]) -> None:
    console = Console(highlight=False)
    for one in compared:
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
        for column in COLUMNS:
            justify: Literal["left", "right"] = "left" if column == "policy" else "right"
            table.add_column(column, justify=justify, min_width=max(map(len, column.split())))
        for r in one.results:
            table.add_row(
                escape(r.policy),
                f"{r.alarms:,} ({r.false_alarms:,})",
                f"{r.triggers:,} ({r.false_triggers:,})",
                f"{r.missed:,}",
                _number(r.alarm_delay_s, 1),
                _number(r.trigger_delay_s, 1),
                _number(r.gpu_hours),
                _number(r.gpu_cost_usd),
                ("~" if r.loss_assumed else "") + _number(r.loss, 0),
                _number(r.loss_avoided, 0),
            )
        falls = f"{len(one.falls)} falls of quality" if len(one.falls) != 1 else "1 fall of quality"
        train_s, takeover_s = (ms / 1000 for ms in one.turn)
        estimates = f"{len(one.history.estimates):,} estimates, " if one.history.estimates else ""
        console.print(
            f"[bold]{escape(one.history.pipeline)}[/bold]: {len(one.history.scores):,} scores, {estimates}{falls}; "
            f"a training takes {train_s:,.0f} s of GPU, its takeover {takeover_s:,.0f} s"
        )
        console.print(table)
    console.print(
        "Assumed: a training that begins during a fall ends it. ~ marks losses beyond what was measured. "
        "What each column means: docs/how-to/policy-replay.md"
    )


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"
