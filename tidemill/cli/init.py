"""``tidemill init``: keys, topics and tables, safe to repeat."""

from __future__ import annotations

import typer

from tidemill.cli import context
from tidemill.settings import Settings


def init() -> None:
    """Make keys, topics and tables; safe to repeat.

    Example: tidemill init
    """
    for line in initialise(context.settings()):
        typer.echo(line)


def initialise(settings: Settings) -> list[str]:
    """Make what is missing; give back a line for each kind of thing."""
    from tidemill.io.clickhouse import Store
    from tidemill.io.secrets import make_secrets
    from tidemill.io.topic_admin import ensure_topics

    return [
        _say("keys", make_secrets(settings)),
        _say("topics", ensure_topics(settings)),
        _say("migrations", Store(settings).migrate()),
    ]


def _say(what: str, made: list[str]) -> str:
    return f"{what}: {', '.join(made)} made" if made else f"{what}: nothing missing"
