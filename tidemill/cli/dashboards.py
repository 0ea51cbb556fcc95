"""``tidemill dashboards``: Grafana dashboards as code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from tidemill.errors import Stop

app = typer.Typer(help="Grafana dashboards as code.", no_args_is_help=True)
TOKEN_VARIABLE = "GRAFANA_TOKEN"


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Where to write them.")] = Path("dashboards/grafana/exported"),
) -> None:
    """Write the dashboards as JSON files, for Grafana's file provisioning.

    Example: tidemill dashboards export /etc/grafana/dashboards
    """
    from dashboards.grafana.push import export as write

    for file in write(folder):
        typer.echo(f"written: {file}")


@app.command()
def push(
    url: Annotated[str, typer.Option(help="Grafana's address.")] = "http://127.0.0.1:3000",
) -> None:
    """Create or replace the dashboards in a running Grafana, with the token in GRAFANA_TOKEN.

    Example: GRAFANA_TOKEN=… tidemill dashboards push --url http://127.0.0.1:3000
    """
    from dashboards.grafana.push import push as send

    token = os.environ.get(TOKEN_VARIABLE)
    if not token:
        raise Stop(f"{TOKEN_VARIABLE} is not set: make a service account token in Grafana and put it there")
    for address in send(url, token):
        typer.echo(f"saved: {address}")
