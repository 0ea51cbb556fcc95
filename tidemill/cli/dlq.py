"""``tidemill dlq``: messages that were refused: see them, send them again, remove them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from tidemill.cli import context
from tidemill.cli.letters import Group, as_json, clock, lines, readable
from tidemill.cli.times import epoch_ms
from tidemill.clock import SystemClock
from tidemill.errors import Retry, Stop
from tidemill.settings import Settings
from tidemill.topics import BY_NAME, DLQ_SUFFIX, TOPICS, Topic

if TYPE_CHECKING:
    from consumers.deadletters.reading import Wanted
    from consumers.deadletters.replay import Tally

app = typer.Typer(help="Dead letters: refused messages, with the reason.", no_args_is_help=True)

OfTopic = Annotated[str, typer.Option("--topic", help="Only letters of this topic.", show_default="every topic")]
Reason = Annotated[str, typer.Option(help="Only where the reason holds this text.", show_default="any")]
Stage = Annotated[str, typer.Option(help="decode, row, insert or attribution.", show_default="any")]
Since = Annotated[str, typer.Option(help="Refused since: 2h, 7d, 2026-01-31T12:00 (UTC).", show_default="any time")]
Until = Annotated[str, typer.Option(help="Refused before: as --since.", show_default="any time")]
Partition = Annotated[
    int | None, typer.Option(help="Partition of the message in its topic.", min=0, show_default="any")
]
Offset = Annotated[int | None, typer.Option(help="Its offset there; with --partition.", min=0, show_default="any")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object instead of words.")]


@app.command("list")
def list_(topic: OfTopic = "", as_json_: Json = False) -> None:
    """Count the dead letters by topic, stage and reason (numbers in it as N).

    Example: tidemill dlq list --topic inference.responses
    """
    from consumers.deadletters.reading import Wanted, letters, remembered

    groups: dict[tuple[str, str, str], Group] = {}
    with _work(topic, passes=2) as (settings, topics, passed):
        for each in topics:
            replayed = remembered(settings, each, passed)
            for letter in letters(settings, each, Wanted(), passed):
                key = (each.name, letter.stage, letter.gist)
                groups.setdefault(key, Group(*key)).add(letter, replayed=letter.id in replayed)
    if as_json_:
        found = [asdict(group) | {"partitions": sorted(group.partitions)} for group in groups.values()]
        typer.echo(msgspec.json.encode({"groups": found}).decode())
    elif groups:
        _show(list(groups.values()))
    else:
        typer.echo(f"no dead letters {'of ' + topic if topic else 'in any topic'}")


@app.command("show")
def show(
    topic: OfTopic = "",
    reason: Reason = "",
    stage: Stage = "",
    since: Since = "",
    until: Until = "",
    partition: Partition = None,
    offset: Offset = None,
    limit: Annotated[int, typer.Option(help="At most so many, the oldest first.", min=1)] = 20,
    values: Annotated[bool, typer.Option("--values", help="With the messages' content; it may hold prompts.")] = False,
    as_json_: Json = False,
) -> None:
    """Show letters one by one: reason, place, key, headers; of the value its size and SHA-256.

    Example: tidemill dlq show --topic inference.responses --reason schema --since 2h --values
    """
    from consumers.deadletters.reading import letters

    wanted = _wanted(reason, stage, since, until, partition, offset)
    found: list[Any] = []
    with _work(topic) as (settings, topics, passed):
        for each in topics:
            for letter in letters(settings, each, wanted, passed):
                found.append(as_json(letter, values=values) if as_json_ else lines(letter, values=values))
                if len(found) > limit:
                    break
            if len(found) > limit:
                break
    if as_json_:
        typer.echo(msgspec.json.encode({"letters": found[:limit], "more": len(found) > limit}).decode())
        return
    for part in found[:limit]:
        typer.echo("\n".join(part))
    if not found:
        typer.echo("no dead letter matches")
    elif len(found) > limit:
        typer.echo(f"these are the first {limit}; there are more: --limit, or narrower filters")


@app.command("replay")
def replay(
    topic: OfTopic = "",
    reason: Reason = "",
    stage: Stage = "",
    since: Since = "",
    until: Until = "",
    partition: Partition = None,
    offset: Offset = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json_: Json = False,
) -> None:
    """Send letters back to their topic, each once: bytes, key and headers as they came.

    A message sent again is a new one with an offset of its own. Stubs, and what never was a message of the topic, stay.

    Example: tidemill dlq replay --topic inference.responses --stage decode --dry-run
    """
    from consumers.deadletters import replay as work

    wanted = _wanted(reason, stage, since, until, partition, offset)
    with _work(topic, passes=2) as (settings, topics, passed):
        tallies = {each: work.rehearse(settings, each, wanted, passed) for each in topics}
    total = sum(tally.sent for tally in tallies.values())
    if total and not dry_run:
        counted = sum(tally.counted for tally in tallies.values())
        twice = f" ({counted:,} were valid events, which windows have counted already)" if counted else ""
        _ask(f"send {total:,} letters back to their topics{twice}?", yes=yes)
        with _work(topic, passes=2) as (settings, topics, passed):
            tallies = {each: work.replay(settings, each, wanted, passed) for each in topics if tallies[each].sent}
    if as_json_:
        found = [{"topic": each.name, **asdict(tally)} for each, tally in tallies.items()]
        typer.echo(msgspec.json.encode({"dry_run": dry_run, "topics": found}).decode())
        return
    said = [line for each, tally in tallies.items() for line in _said(each, tally, dry_run=dry_run)]
    typer.echo("\n".join(said) or "no dead letter matches")


@app.command("drop")
def drop(
    topic: OfTopic = "",
    reason: Reason = "",
    stage: Stage = "",
    since: Since = "",
    until: Until = "",
    partition: Partition = None,
    offset: Offset = None,
    replayed: Annotated[bool, typer.Option("--replayed", help="Only letters that were sent back.")] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json_: Json = False,
) -> None:
    """Remove letters for good. Letters among them that stay are written again behind the others first.

    Example: tidemill dlq drop --topic inference.responses --replayed --dry-run
    """
    from consumers.deadletters import drop as work

    wanted = _wanted(reason, stage, since, until, partition, offset)
    with _work(topic, passes=2 if replayed else 1) as (settings, topics, passed):
        cuts = [work.plan(settings, each, wanted, only_replayed=replayed, progress=passed) for each in topics]
    cuts = [each for each in cuts if each.dropped]
    if cuts and not dry_run:
        _ask(f"remove {sum(each.dropped for each in cuts):,} dead letters for good?", yes=yes)
        with _work(topic) as (settings, _, passed):
            for each in cuts:
                work.drop(settings, each, passed)
    if as_json_:
        found = [{"topic": each.topic.name, "dropped": each.dropped, "rewritten": each.kept} for each in cuts]
        typer.echo(msgspec.json.encode({"dry_run": dry_run, "topics": found}).decode())
        return
    did = "would be removed" if dry_run else "removed"
    said = [f"{each.topic.name}: {each.dropped:,} {did}, {each.kept:,} written again" for each in cuts]
    typer.echo("\n".join(said) or "no dead letter matches")


def _wanted(reason: str, stage: str, since: str, until: str, partition: int | None, offset: int | None) -> Wanted:
    from consumers.deadletters.reading import Wanted

    if offset is not None and partition is None:
        raise Stop("--offset needs --partition: offsets count within a partition")
    now_ms = SystemClock().now_ms()
    since_ms = epoch_ms("--since", since, now_ms) if since else None
    until_ms = epoch_ms("--until", until, now_ms) if until else None
    return Wanted(reason, stage, since_ms, until_ms, partition, offset)


@contextmanager
def _work(topic: str, passes: int = 1) -> Iterator[tuple[Settings, list[Topic], Callable[[int], None]]]:
    """Settings, the topics meant that hold anything, and what to tell how many records were passed (progress bar)."""
    from confluent_kafka import KafkaException

    from consumers.deadletters.reading import sizes

    meant = _topics(topic)
    settings = context.quiet(context.settings())
    context.needs_stack(settings)
    try:
        found = sizes(settings, meant)
    except Retry as error:
        if isinstance(error.__cause__, KafkaException):
            raise context.no_kafka(settings) from error
        raise
    total = sum(found.values()) * passes
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not total) as bar:
        task = bar.add_task("dead letters", total=total)
        yield settings, list(found), lambda more: bar.advance(task, more)


def _topics(name: str) -> list[Topic]:
    """The topic of this name (or of its dead letters); empty: all that have dead letters. Raises Stop."""
    known = [topic for topic in TOPICS if topic.dead_letters]
    if not name:
        return known
    found = BY_NAME.get(name.removesuffix(DLQ_SUFFIX))
    if found is None or not found.dead_letters:
        raise Stop(f"--topic {name!r} has no dead letters; choose one of {', '.join(topic.name for topic in known)}")
    return [found]


def _ask(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise Stop(f"{question} Nobody is there to answer: add --yes, or look first with --dry-run")
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)


def _said(topic: Topic, tally: Tally, *, dry_run: bool) -> list[str]:
    """What became of one topic's letters, in lines."""
    facts = (
        (tally.sent, "would be sent back" if dry_run else "sent back and acknowledged"),
        (tally.already, "not sent: sent back before"),
        (tally.cut, "not sent: stubs, only their beginning was kept"),
        (tally.foreign, "not sent: never were messages of the topic, or do not say where they stood"),
        (len(tally.too_large), "not sent: larger than the topic takes"),
    )
    return [f"{topic.name}: {count:,} {what}" for count, what in facts if count]


def _show(groups: list[Group]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("topic", "stage", "reason", "letters", "replayed", "first", "last", "from"):
        right = column in ("letters", "replayed")
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for group in sorted(groups, key=lambda g: (g.topic, -g.letters)):
        row = (
            *(group.topic, group.stage, readable(group.reason.encode()), f"{group.letters:,}"),
            *(f"{group.replayed:,}" if group.replayed else "", clock(group.first_ms), clock(group.last_ms)),
            ", ".join(map(str, sorted(group.partitions))),
        )
        table.add_row(*map(Text, row))
    Console(highlight=False).print(table)
