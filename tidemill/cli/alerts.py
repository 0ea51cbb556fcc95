"""``tidemill alerts``: the deployment's alerts as Prometheus and Alertmanager want them told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from tidemill.cli import context
from tidemill.errors import Stop
from tidemill.io.modes import write_private
from tidemill.settings import Settings

app = typer.Typer(help="Alerts beside Prometheus and Alertmanager.", no_args_is_help=True)


@app.callback()
def options() -> None:
    """Alerts beside Prometheus and Alertmanager."""


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
