"""``tidemill rollout``: what serves each pipeline, where its last rollout stands, and a rollback by order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from tidemill.cli import context
from tidemill.errors import Retry, Stop
from tidemill.events import RolloutState, Route
from tidemill.settings import Settings
from tidemill.topics import ROLLOUTS, ROUTES, Topic

if TYPE_CHECKING:
    from serving.rollout.orders import RollbackOrder

app = typer.Typer(help="Rollouts: what serves, and where candidates stand.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Rollouts: what serves, and where candidates stand."""


@app.command("status")
def status(
    pipeline: Annotated[str, typer.Argument(help="Only this pipeline.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Show each pipeline's route and its last rollout.

    Example: tidemill rollout status schedule
    """
    settings = context.settings()
    if pipeline:
        context.needs_pipeline(settings, pipeline)
    context.needs_stack(settings)
    routes, rollouts = last_states(settings)
    names = sorted(name for name in {*settings.pipelines, *routes} if pipeline in ("", name))
    if as_json:
        found = {name: {"route": routes.get(name), "rollout": rollouts.get(name)} for name in names}
        typer.echo(msgspec.json.encode(found).decode())
    else:
        _show(names, routes, rollouts)
    if not names:
        raise typer.Exit(1)


@app.command("rollback")
def rollback(
    pipeline: Annotated[str, typer.Argument(help="A pipeline with a rollout under way.")],
    reason: Annotated[str, typer.Option(help="Why; it stands in the rollout's log and in the registry.")],
) -> None:
    """End the rollout under way: its champion takes all traffic again, the candidate is rejected.

    Example: tidemill rollout rollback schedule --reason "answers in the wrong language"
    """
    from serving.rollout.orders import place

    settings = context.settings()
    context.needs_pipeline(settings, pipeline)
    context.needs_stack(settings)
    order = rollback_order(pipeline, last_states(settings)[1].get(pipeline), reason)
    place(settings, order)
    typer.echo(f"rollback of {pipeline} ordered; the rollout role on this data_dir takes it within a second")


def rollback_order(pipeline: str, state: RolloutState | None, reason: str) -> RollbackOrder:
    """The order that ends this rollout. Raises Stop where there is nothing to end, or no way back."""
    from serving.rollout.decide import OPEN, WITHDRAWABLE
    from serving.rollout.orders import MOST_REASON, RollbackOrder

    if not reason.strip():
        raise Stop("a rollback needs a reason: --reason TEXT")
    if state is None or state.phase not in OPEN:
        raise Stop(f"pipeline {pipeline!r} has no rollout under way; see `tidemill rollout status`")
    if state.phase not in WITHDRAWABLE:
        raise Stop(
            f"{state.candidate_version} takes all traffic already; `tidemill train {pipeline}` makes the next one"
        )
    return RollbackOrder(rollout_id=state.rollout_id, reason=reason.strip()[:MOST_REASON])


def last_states(settings: Settings) -> tuple[dict[str, Route], dict[str, RolloutState]]:
    """The route in force and the newest rollout of each pipeline. Blocks; raises Stop when Kafka is away."""
    routes: dict[str, Route] = {}
    route: Route
    for route in content(settings, ROUTES):
        routes[route.pipeline] = route
    rollouts: dict[str, RolloutState] = {}
    state: RolloutState
    for state in content(settings, ROLLOUTS):
        known = rollouts.get(state.pipeline)
        if known is None or (state.created_ms, state.seq) >= (known.created_ms, known.seq):
            rollouts[state.pipeline] = state
    return routes, rollouts


def content(settings: Settings, topic: Topic) -> Iterator[Any]:
    """The events of a topic from its beginning to its end. Raises Stop when Kafka does not answer."""
    from confluent_kafka import KafkaException

    from tidemill.io.kafka import follower, read_to_end

    try:
        reader = follower(context.quiet(settings), "tidemill-cli", topic)
    except Retry as error:
        if isinstance(error.__cause__, KafkaException):
            raise context.no_kafka(settings) from error
        raise
    decode = topic.decoder()
    for message in read_to_end(reader):
        yield decode(message.value())
    reader.close()


def _show(names: list[str], routes: dict[str, Route], rollouts: dict[str, RolloutState]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("pipeline", "epoch", "serves", "shadow", "last rollout", "candidate", "why"):
        table.add_column(column, overflow="fold")
    for name in names:
        route, state = routes.get(name), rollouts.get(name)
        table.add_row(
            name,
            str(route.epoch) if route else "none",
            ", ".join(f"{arm.model_version} {arm.weight} %" for arm in route.arms) if route else "nothing yet",
            route.shadow.model_version if route and route.shadow else "",
            state.phase if state else "",
            state.candidate_version if state else "",
            state.reason if state else "",
        )
    Console(highlight=False).print(table)
