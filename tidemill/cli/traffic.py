"""``tidemill traffic``: seeded users that call the gateway."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli import context
from tidemill.errors import Stop
from tidemill.settings import Settings

if TYPE_CHECKING:
    from producers.traffic.traffic import Tally

_PROBE_S = 3.0


def traffic(
    seed: Annotated[int, typer.Option(help="Same seed, same users.")] = 0,
    quiet_s: Annotated[float, typer.Option(help="Seconds before the users change.", min=0)] = 60.0,
    steady: Annotated[bool, typer.Option("--steady", help="Nothing ever changes.")] = False,
    duration_s: Annotated[float, typer.Option(help="Stop after so many seconds; 0: never.", min=0)] = 0,
    patient: Annotated[bool, typer.Option("--patient", help="Call on while the gateway is away.", hidden=True)] = False,
) -> None:
    """Be the users of the demo's pipelines: calls and feedback, with planned changes.

    Example: tidemill traffic --seed 7 --quiet-s 120
    """
    from producers.traffic import main as users
    from producers.traffic.story import demo_changes

    settings = context.settings()
    if not patient:
        needs_gateway(settings)
    changes = [] if steady else demo_changes(quiet_s)
    typer.echo(counts(users.run(settings, seed=seed, changes=changes, duration_s=duration_s)))


def needs_gateway(settings: Settings) -> None:
    """Raises Stop when nothing speaks HTTP where the gateway should be. Blocks for seconds at most."""
    connection = http.client.HTTPConnection("127.0.0.1", settings.gateway_port, timeout=_PROBE_S)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        raise Stop(
            f"the gateway at http://127.0.0.1:{settings.gateway_port}/v1 does not answer; "
            "start it with `tidemill up --no-traffic`"
        ) from error
    finally:
        connection.close()


def counts(tally: Tally) -> str:
    """What the users saw, in one line for people."""
    sent, answered, failed = (sum(each.values()) for each in (tally.sent, tally.answered, tally.failed))
    why = ", ".join(f"{count:,} {reason}" for reason, count in tally.failed.most_common(3))
    given = f"feedback: {tally.feedback_given:,} given, {tally.feedback_refused:,} refused"
    return f"calls: {sent:,} sent, {answered:,} answered, {failed:,} failed{f' ({why})' if why else ''}; {given}"
