"""``tidemill replay FILE``: real files straight into the topics."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tidemill.cli import context
from tidemill.clock import SystemClock
from tidemill.errors import Retry, Stop

LONGEST_NAME = 256
"""Characters of a pipeline's name in the events."""

if TYPE_CHECKING:
    from producers.replay.replay import Sent


def replay(
    file: Annotated[Path, typer.Argument(help="CSV file with a header.")],
    kind: Annotated[
        str, typer.Option("--format", help="azure: TIMESTAMP, ContextTokens, GeneratedTokens. csv: texts.")
    ] = "csv",
    speed: Annotated[float, typer.Option(help="How many times faster than the file.", min=0.001)] = 1.0,
    pipeline: Annotated[str, typer.Option(help="Pipeline to replay as; default: the file's name.")] = "",
    text_column: Annotated[str, typer.Option(help="Column with the text (csv).")] = "text",
    label_column: Annotated[str, typer.Option(help="Column with the label (csv); sent as feedback.")] = "",
    rate: Annotated[float, typer.Option(help="Texts a second at speed 1 (csv has no times).", min=0.001)] = 5.0,
    limit: Annotated[int, typer.Option(help="Stop after so many rows; 0: all.", min=0)] = 0,
) -> None:
    """Replay a file straight into the inference topics.

    Example: tidemill replay trace.csv --format azure --speed 60
    """
    from producers.replay.replay import default_pipeline
    from producers.replay.replay import replay as send_rows
    from producers.replay.rows import check_header, count_rows, read_rows
    from producers.sdk import Recorder

    if kind not in ("azure", "csv"):
        raise Stop(f"--format {kind!r}: choose azure or csv")
    if not file.is_file():
        raise Stop(f"{file}: no such file")
    check_header(file, kind, text_column=text_column, label_column=label_column)  # type: ignore[arg-type]
    settings = context.quiet(context.settings())
    name = pipeline or default_pipeline(file)
    if not 0 < len(name) <= LONGEST_NAME:
        raise Stop(f"a pipeline's name has 1 to {LONGEST_NAME} characters, {name!r} has {len(name)}; see --pipeline")
    context.needs_stack(settings)
    rows = read_rows(file, kind, text_column=text_column, label_column=label_column, rate=rate)  # type: ignore[arg-type]
    total = count_rows(file)
    if limit:
        rows, total = (row for _, row in zip(range(limit), rows, strict=False)), min(limit, total)
    stop = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    recorder = Recorder(settings.kafka_bootstrap, options=settings.kafka.options)  # type: ignore[arg-type]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task(f"{file.name} as {name}", total=total)
        try:
            sent = send_rows(
                rows,
                recorder,
                SystemClock(),
                pipeline=name,
                model_version=f"{name}-v0",
                speed=speed,
                stop=stop,
                progress=lambda now: bar.update(task, completed=now.requests),
            )
        except Retry as error:
            if recorder.acknowledged:
                raise
            raise context.no_kafka(settings) from error
    _report(sent, stop.is_set())


def _report(sent: Sent, stopped: bool) -> None:
    typer.echo(
        f"sent and acknowledged: {sent.requests:,} requests, {sent.responses:,} responses, {sent.labels:,} labels"
        + (" (stopped by hand)" if stopped else "")
    )
