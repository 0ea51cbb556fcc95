"""``tidemill rollout``: what serves each pipeline, where its last rollout stands, and orders to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from tidemill.cli import context
from tidemill.clock import SystemClock
from tidemill.errors import Retry, Stop
from tidemill.events import RolloutState, Route
from tidemill.events.lifecycle import OrderAct
from tidemill.ids import derived_id
from tidemill.settings import Settings
from tidemill.topics import JOBS, ROLLOUTS, ROUTES, Topic

if TYPE_CHECKING:
    from serving.rollout.orders import Order

app = typer.Typer(help="Rollouts: what serves, and where candidates stand.", no_args_is_help=True)


_Pipeline = Annotated[str, typer.Argument(help="A pipeline of the settings.")]


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
    routes, rollouts = last_states(settings, refused=True)
    names = sorted(name for name in {*settings.pipelines, *routes} if pipeline in ("", name))
    if as_json:
        found = {name: {"route": routes.get(name), "rollout": rollouts.get(name)} for name in names}
        typer.echo(msgspec.json.encode(found).decode())
    else:
        _show(names, routes, rollouts)
    if not names:
        raise typer.Exit(1)


@app.command("report")
def report(pipeline: _Pipeline) -> None:
    """Tell the pipeline's last turn as Markdown: what changed, what it cost, what it gained, each verdict and order.

    Also a turn that has come to no rollout: what the gate said, and why it ended.

    Example: tidemill rollout report schedule
    """
    from serving.rollout.report import last_turn, page, page_of_job

    settings = context.settings()
    context.needs_pipeline(settings, pipeline)
    context.needs_stack(settings)
    state, job = last_turn(pipeline, content(settings, ROLLOUTS), content(settings, JOBS))
    if state is not None:
        typer.echo(page(state, job, settings.gpu.usd_per_hour))
    elif job is not None:
        typer.echo(page_of_job(job, settings.gpu.usd_per_hour))
    else:
        raise Stop(f"pipeline {pipeline!r} has had no turn yet, no job and no rollout; see `tidemill rollout status`")


_Reason = Annotated[str, typer.Option(help="Why; it stands in the rollout's log.")]
_By = Annotated[str, typer.Option(help="Who gives the order; without it, the user of this machine.")]
_AtOnce = Annotated[bool, typer.Option("--at-once", help="All traffic now, without the steps between.")]
_Despite = Annotated[bool, typer.Option("--despite-freeze", help="Also in a freeze window.")]


@app.command("pause")
def pause(pipeline: _Pipeline, reason: _Reason, by: _By = "") -> None:
    """Take no step forward until it is resumed; harm takes the candidate back all the same.

    Example: tidemill rollout pause schedule --reason "looking at the answers first"
    """
    _order("pause", pipeline, reason, by)


@app.command("resume")
def resume(pipeline: _Pipeline, reason: _Reason, by: _By = "") -> None:
    """Let a paused rollout go on where it stands.

    Example: tidemill rollout resume schedule --reason "the answers are fine"
    """
    _order("resume", pipeline, reason, by)


@app.command("promote")
def promote(
    pipeline: _Pipeline, reason: _Reason, by: _By = "", at_once: _AtOnce = False, despite_freeze: _Despite = False
) -> None:
    """Take the next step now, without waiting for more scores; with --at-once all that are left.

    Example: tidemill rollout promote schedule --reason "labels come slowly today"
    """
    _order("promote", pipeline, reason, by, at_once=at_once, despite_freeze=despite_freeze)


@app.command("rollback")
def rollback(pipeline: _Pipeline, reason: _Reason, by: _By = "") -> None:
    """Give all traffic back to the champion from before the last rollout, wherever that stands.

    Example: tidemill rollout rollback schedule --reason "answers in the wrong language"
    """
    _order("rollback", pipeline, reason, by)


@app.command("abort")
def abort(pipeline: _Pipeline, reason: _Reason, by: _By = "") -> None:
    """End the rollout under way, unless its candidate takes all traffic already (then it is left alone).

    Example: tidemill rollout abort schedule --reason "a better candidate is on its way"
    """
    _order("abort", pipeline, reason, by)


@app.command("start")
def start(
    pipeline: _Pipeline,
    version: Annotated[str, typer.Argument(help="A version of the pipeline, <pipeline>-v<N>.")],
    reason: _Reason,
    by: _By = "",
    at_once: _AtOnce = False,
    despite_freeze: _Despite = False,
) -> None:
    """Start the rollout of a version, by the pipeline's plan.

    Example: tidemill rollout start schedule schedule-v3 --reason "was better before the change"
    """
    _order("start", pipeline, reason, by, version=version, at_once=at_once, despite_freeze=despite_freeze)


def _order(
    act: OrderAct,
    pipeline: str,
    reason: str,
    by: str,
    *,
    version: str = "",
    at_once: bool = False,
    despite_freeze: bool = False,
) -> None:
    from serving.rollout.moves import OPEN
    from serving.rollout.orders import place

    settings = context.settings()
    context.needs_pipeline(settings, pipeline)
    context.needs_stack(settings, ", so nobody would take the order")
    now_ms = SystemClock().now_ms()
    freeze = _frozen(settings, pipeline, now_ms)
    if act == "start" and freeze and at_once and not despite_freeze:
        raise Stop(f"{freeze}; order it with --despite-freeze")
    last = last_states(settings)[1].get(pipeline)
    if act == "start" and last is not None and last.phase in OPEN:
        raise Stop(f"the rollout of {last.candidate_version} is under way; end it with `abort`")
    state = None if act == "start" else last
    order = order_of(
        act,
        pipeline,
        state,
        reason,
        context.who(by),
        now_ms,
        freeze,
        version=version,
        at_once=at_once,
        despite_freeze=despite_freeze,
    )
    try:
        place(settings, order)
    except OSError as error:
        raise Stop(f"the order cannot be left: {error}; give it as the user of the rollout role") from error
    said = f"{order.act} of {order.version}" if order.version else order.act
    typer.echo(f"{said} ordered for {pipeline}; the rollout role on this data_dir takes it within a second")


def order_of(
    act: OrderAct,
    pipeline: str,
    state: RolloutState | None,
    reason: str,
    by: str,
    now_ms: int,
    freeze: str,
    *,
    version: str = "",
    at_once: bool = False,
    despite_freeze: bool = False,
) -> Order:
    """The order. Raises Stop where it could not be carried out as things stand.

    Back from a champion whose watch is over means to start the one before, at once.
    """
    from serving.rollout.ordered import refusal
    from serving.rollout.orders import MOST_TEXT, Order

    if not reason.strip():
        raise Stop(f"an order to {act} needs a reason: --reason TEXT")
    if act != "start" and state is None:
        raise Stop(f"pipeline {pipeline!r} has no rollout; see `tidemill rollout status`")
    if act == "rollback" and state is not None and state.phase == "champion" and state.watch != "open":
        act, version, at_once, despite_freeze, state = "start", state.champion_version, True, True, None
    order = Order(
        order_id=derived_id("order", pipeline, act, now_ms, os.getpid()),
        act=act,
        pipeline=pipeline,
        by=by[:MOST_TEXT],
        reason=reason.strip()[:MOST_TEXT],
        time_ms=now_ms,
        rollout_id=state.rollout_id if state is not None else "",
        version=version,
        at_once=at_once,
        despite_freeze=despite_freeze,
    )
    if state is not None and (why := refusal(order, state, freeze)):
        raise Stop(why)
    return order


def _frozen(settings: Settings, pipeline: str, now_ms: int) -> str:
    from serving.rollout.freeze import frozen

    return frozen(settings.pipelines[pipeline].rollout, now_ms)


def last_states(settings: Settings, *, refused: bool = False) -> tuple[dict[str, Route], dict[str, RolloutState]]:
    """The route in force and the last rollout (see ``last_of``) by pipeline. Blocks; raises Stop when Kafka is away."""
    from serving.rollout.moves import last_of

    routes: dict[str, Route] = {}
    route: Route
    for route in content(settings, ROUTES):
        routes[route.pipeline] = route
    return routes, last_of(content(settings, ROLLOUTS), refused=refused)


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
            f"{state.phase}{f' ({state.hold})' if state.hold else ''}" if state else "",
            state.candidate_version if state else "",
            state.reason if state else "",
        )
    Console(highlight=False).print(table)
