"""The ``tidemill`` command. Each group of commands lives in a file of its own; this one only puts them together."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from tidemill.cli import (
    alerts,
    audit,
    backfill,
    bench,
    compare,
    context,
    dashboards,
    data,
    demo,
    dlq,
    init,
    lineage,
    merge,
    models,
    policy,
    quantize,
    replay,
    reproduce,
    retrain,
    rollout,
    rules,
    run,
    silence,
    status,
    traffic,
    train,
    up,
)
from tidemill.errors import TidemillError
from tidemill.io.modes import keep_private

app = typer.Typer(
    name="tidemill",
    help="Keeps LLM pipelines good in production: alarm, retraining, rollout, or back.",
    epilog="Start with: tidemill up",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"tidemill {metadata.version('tidemill')}")
        raise typer.Exit


@app.callback()
def options(
    settings: Annotated[
        Path | None, typer.Option("--settings", help="Settings file.", envvar="TIDEMILL_SETTINGS", show_default=False)
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and end.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Keeps LLM pipelines good in production: alarm, retraining, rollout, or back."""
    context.use(settings)


PANELS: dict[str, dict[str, Callable[..., None] | typer.Typer]] = {
    "Start here": {"up": up.up, "demo": demo.demo, "status": status.status, "down": status.down},
    "Operate": {
        "train": train.train,
        "merge": merge.merge,
        "retrain": retrain.app,
        "quantize": quantize.quantize,
        "rollout": rollout.app,
        "silence": silence.app,
        "dlq": dlq.app,
        "audit": audit.audit,
        "backfill": backfill.backfill,
        "rules": rules.app,
        "policy": policy.app,
    },
    "Data": {
        "data": data.app,
        "lineage": lineage.lineage,
        "reproduce": reproduce.reproduce,
        "traffic": traffic.traffic,
        "replay": replay.replay,
    },
    "Measure": {"bench": bench.bench, "compare": compare.app},
    "Deploy": {
        "init": init.init,
        "run": run.run,
        "models": models.models,
        "dashboards": dashboards.app,
        "alerts": alerts.app,
    },
}
"""The commands as people meet them."""

for panel, commands in PANELS.items():
    for name, command in commands.items():
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, rich_help_panel=panel)
        else:
            app.command(name, rich_help_panel=panel)(command)


def main() -> None:
    """Entry point: errors raised on purpose become one clear line and exit code 1."""
    keep_private()
    try:
        app()
    except TidemillError as error:
        print(f"tidemill: {error}", file=sys.stderr)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
