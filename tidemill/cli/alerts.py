"""``tidemill alerts``: a test alert, and the deployment's alerts as Prometheus and Alertmanager want them told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from tidemill.cli import context
from tidemill.errors import Stop
from tidemill.io.modes import write_private
from tidemill.settings import Settings

app = typer.Typer(help="Test alerts, and alerts beside Prometheus and Alertmanager.", no_args_is_help=True)


@app.callback()
def options() -> None:
    """Test alerts, and alerts beside Prometheus and Alertmanager."""


@app.command()
def export(
    what: Annotated[str, typer.Argument(help="Whose configuration: prometheus or alertmanager.")],
    out: Annotated[Path | None, typer.Option(help="File to write; else it is printed.", show_default=False)] = None,
) -> None:
    """Write alert rules for Prometheus, or a configuration of Alertmanager with the webhooks as receivers.

    Example: tidemill alerts export prometheus --out rules.yml
    """
    from dashboards.prometheus import receivers, rules

    exports: dict[str, Callable[[Settings], tuple[str, list[str]]]] = {
        "prometheus": rules.export,
        "alertmanager": receivers.export,
    }
    if what not in exports:
        raise Stop(f"{what!r}: choose {' or '.join(exports)}")
    text, left_out = exports[what](context.settings())
    for each in left_out:
        typer.echo(f"left out: {each}", err=True)
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        if what == "alertmanager":  # addresses of webhooks may be secrets
            write_private(out, text)
        else:
            out.write_text(text)
    except OSError as error:
        raise Stop(f"{out} cannot be written: {error.strerror}") from error
    typer.echo(f"written: {out}")


@app.command()
def test(
    webhook: Annotated[
        str | None, typer.Argument(help="Its name in alerts.webhooks; none: each.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Only the JSON line.")] = False,
) -> None:
    """Send a test alert, and its end, to the webhooks: formatted and signed as an alarm is, tried once.

    Nothing is written to Kafka; silences do not count. Exit code 1 where one was not taken.

    Example: tidemill alerts test pager
    """
    from consumers.alerts.trial import trials
    from tidemill.clock import SystemClock

    settings = context.settings()
    asked = [each for each in settings.alerts.webhooks if webhook in (None, each.name)]
    if not asked:
        names = ", ".join(each.name for each in settings.alerts.webhooks) or "there is none"
        raise Stop(f"alerts.webhooks has no {webhook!r}: {names}" if webhook else "alerts.webhooks is empty")
    found = [trial for each in asked for trial in trials(settings, each, SystemClock())]
    if as_json:
        typer.echo(json.dumps([trial._asdict() for trial in found]))
    else:
        for trial in found:
            typer.echo(f"{trial.webhook}: {trial.state}: {'taken' if trial.delivered else 'not taken'}, {trial.said}")
    if not all(trial.delivered for trial in found):
        raise typer.Exit(1)
