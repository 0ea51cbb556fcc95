"""``tidemill silence``: alarms that match are not told for a while; it counts within seconds, without a restart."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tidemill.cli import context
from tidemill.cli.silence_given import known_alerts, matching, span
from tidemill.clock import SystemClock
from tidemill.errors import Retry, Stop
from tidemill.events import Silence
from tidemill.ids import derived_id
from tidemill.settings import Settings
from tidemill.silences import MOST_OPEN, SETTINGS, Mutes, Placed, Silences
from tidemill.topics import SILENCES

CLIENT = "tidemill-cli"
app = typer.Typer(
    help="Silences: alarms that match are not told for a while. They are raised, and start retrainings, as ever.",
    epilog="""
Examples:

tidemill silence add --pipeline support --alert latency --for 2h --comment "provider is down, ticket 4711"

tidemill silence add --match 'pipeline=support|schedule' --match severity=ticket --comment "load test"

tidemill silence list

tidemill silence expire 3f9a1c07
""",
    no_args_is_help=True,
)


@app.callback()
def _group() -> None:
    """Silences: alarms that match are not told for a while."""


@app.command("add")
def add(
    comment: Annotated[str, typer.Option(help="Why; people read it beside what is silent.")],
    pipeline: Annotated[str, typer.Option(help="Alarms of this pipeline.")] = "",
    alert: Annotated[str, typer.Option(help="Alarms of this name: a rule's, or `quality`.")] = "",
    match: Annotated[
        list[str] | None,
        typer.Option(help="LABEL=REGEX, for a label's whole value; may be given again.", metavar="L=REGEX"),
    ] = None,
    lasts: Annotated[str, typer.Option("--for", help="How long: 30m, 2h, 7d (the longest).")] = "",
    start: Annotated[str, typer.Option(help="From when on, 2026-01-31T12:00 (UTC); else from now on.")] = "",
    end: Annotated[str, typer.Option(help="Until when; instead of --for.")] = "",
    by: Annotated[str, typer.Option(help="Who silences; else the name you are logged in by.")] = "",
) -> None:
    """Make a silence; its id is printed. It lasts an hour unless you say so.

    Example: tidemill silence add --pipeline support --alert latency --for 2h --comment "provider is down, ticket 4711"
    """
    settings, now_ms = context.settings(), SystemClock().now_ms()
    labels, doubts = matching(settings, pipeline, alert, match or [], known_alerts(settings))
    start_ms, end_ms = span(lasts, start, end, now_ms)
    context.needs_stack(settings)
    with _kafka(settings) as quiet:
        from tidemill.io.silences import read, write

        table = read(quiet, SILENCES, CLIENT)
        made = new(table, labels, (start_ms, end_ms), comment, context.who(by), now_ms)
        write(quiet, SILENCES, CLIENT, {made.silence_id: made} | forgotten(table, now_ms))
    for doubt in doubts:
        typer.echo(f"tidemill: {doubt}", err=True)
    about = ", ".join(f"{label}={pattern}" for label, pattern in made.match.items())
    when = f"from {_time(start_ms)} " if start_ms > now_ms else ""
    typer.echo(f"silent {when}until {_time(end_ms)}: {about}", err=True)
    typer.echo(made.silence_id)


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Those that have ended, too.")] = False,
) -> None:
    """Show the silences that hold or will hold, and what of the settings mutes alarms now.

    Example: tidemill silence list --all
    """
    settings, now_ms = context.settings(), SystemClock().now_ms()
    context.needs_stack(settings)
    with _kafka(settings) as quiet:
        from tidemill.io.silences import read

        table = read(quiet, SILENCES, CLIENT)
    rows = shown(settings, table.all() if all_ else table.open(now_ms), now_ms)
    if as_json:
        typer.echo(msgspec.json.encode({"silences": rows}).decode())
    else:
        _show(rows)


@app.command("expire")
def expire(silence_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, or how it begins.")]) -> None:
    """End a silence now: what it holds back and still fires is told within seconds.

    Example: tidemill silence expire 3f9a1c07
    """
    settings, now_ms = context.settings(), SystemClock().now_ms()
    context.needs_stack(settings)
    with _kafka(settings) as quiet:
        from tidemill.io.silences import read, write

        table = read(quiet, SILENCES, CLIENT)
        ended = expired(chosen(table, silence_id, now_ms))
        write(quiet, SILENCES, CLIENT, {ended.silence_id: ended} | forgotten(table, now_ms))
    typer.echo(f"{ended.silence_id} ({ended.comment}) is ended; what still fires is told within seconds")


def new(
    table: Silences, match: Mapping[str, str], between_ms: tuple[int, int], comment: str, by: str, now_ms: int
) -> Silence:
    """The silence to write. Raises Stop where there are too many, or a text is missing or too long."""
    if len(table.open(now_ms)) >= MOST_OPEN:
        raise Stop(f"there are {MOST_OPEN} silences already; end some (`tidemill silence list`) or match more with one")
    for option, text, most in (("--comment", comment, 1_000), ("--by", by, 256)):
        if not 0 < len(text.strip()) <= most:
            raise Stop(f"{option} has {len(text.strip())} characters; give 1 to {most}")
    taken = {each.silence.silence_id for each in table.all()}
    whole = derived_id(now_ms, by, comment, *sorted(match.items()), *between_ms)
    name = next(whole[:length] for length in (8, 16, 32) if whole[:length] not in taken or length == 32)
    start_ms, end_ms = between_ms
    return Silence(
        silence_id=name,
        match=dict(match),
        start_ms=start_ms,
        end_ms=end_ms,
        comment=comment.strip(),
        created_by=by.strip(),
    )


def chosen(table: Silences, name: str, now_ms: int) -> Placed:
    """The silence that is meant by its id or by how it begins. Raises Stop where none or several are, or it is over."""
    found = [each for each in table.all() if each.silence.silence_id.startswith(name)]
    exact = [each for each in found if each.silence.silence_id == name]
    still = [each for each in exact or found if each.state(now_ms) != "ended" and not each.silence.expired]
    if not name or not found:
        raise Stop(f"there is no silence {name!r}; see `tidemill silence list`")
    if len(still) > 1:
        raise Stop(f"{name!r} is the beginning of {', '.join(each.silence.silence_id for each in still)}: say which")
    if not still:
        raise Stop(f"silence {name!r} has ended already; see `tidemill silence list --all`")
    return still[0]


def expired(one: Placed) -> Silence:
    """The record that ends it. It has the true beginning, as the first record goes with compaction."""
    return msgspec.structs.replace(one.silence, start_ms=one.since_ms, expired=True)


def forgotten(table: Silences, now_ms: int) -> dict[str, Silence | None]:
    """Records that make the topic forget what ended so long ago that it matters no more."""
    return dict.fromkeys(table.outlived(now_ms))


def shown(settings: Settings, several: list[Placed] | tuple[Placed, ...], now_ms: int) -> list[dict[str, Any]]:
    """Rows for people and programs: silences by command, then what of the settings mutes alarms now."""
    rows: list[dict[str, Any]] = [
        {
            "id": each.silence.silence_id,
            "state": each.state(now_ms),
            "match": dict(each.silence.match),
            "start_ms": each.since_ms,
            "end_ms": each.until_ms,
            "by": each.silence.created_by,
            "comment": each.silence.comment,
        }
        for each in several
    ]
    for mute, end_ms in Mutes(settings.alerts).holding(now_ms):
        match = {label: pattern.pattern for label, pattern in mute.patterns.items()}
        row = {"id": "", "state": "active", "match": match, "start_ms": None, "end_ms": end_ms}
        rows.append(row | {"by": SETTINGS, "comment": mute.name})
    return rows


def _show(rows: list[dict[str, Any]]) -> None:
    if not rows:
        typer.echo("no silences")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("id", "state", "alarms", "until", "by", "why"):
        table.add_column(column, overflow="fold", no_wrap=column in ("id", "state"))
    for row in rows:
        about = ", ".join(f"{label}={pattern}" for label, pattern in row["match"].items()) or "every alarm"
        since = f"{_time(row['start_ms'])} to " if row["state"] == "pending" else ""
        cells = row["id"], row["state"], about, f"{since}{_time(row['end_ms'])}", row["by"], row["comment"]
        table.add_row(*map(escape, cells))
    Console(highlight=False).print(table)


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


@contextlib.contextmanager
def _kafka(settings: Settings) -> Iterator[Settings]:
    """The settings for clients that are quiet. Raises Stop where the broker is silent."""
    from confluent_kafka import KafkaException

    try:
        yield context.quiet(settings)
    except Retry as error:
        if isinstance(error.__cause__, KafkaException):
            raise context.no_kafka(settings) from error
        raise
