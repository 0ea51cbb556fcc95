"""``tidemill up``: the embedded stack in the foreground."""

from __future__ import annotations

import json
import queue
import shlex
import signal
import threading
from collections.abc import Collection, Mapping
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.status import Status

from tidemill.cli import context
from tidemill.cli.models_made import models_shown
from tidemill.cli.parts_told import PartLines
from tidemill.clock import SystemClock
from tidemill.errors import Stop
from tidemill.io.secrets import GATEWAY_KEYS
from tidemill.local import statefile
from tidemill.local.engine import embedded_name
from tidemill.local.needed import refuse_missing
from tidemill.local.plan import PARTS
from tidemill.local.stack import Stack, refuse_taken_ports
from tidemill.settings import Settings

_REFRESH_S = 2.0


def up(
    only: Annotated[
        str, typer.Option(help="Only these parts, commas between; of: " + ", ".join(PARTS), metavar="NAMES")
    ] = "",
    traffic: Annotated[bool, typer.Option(help="Demo users call the gateway.")] = True,
) -> None:
    """Start the embedded stack with live demo traffic and the console; Ctrl-C stops it all.

    Example: tidemill up --no-traffic
    """
    settings = context.settings()
    console = Console(highlight=False)
    names = [name.strip() for name in only.split(",") if name.strip()] or None
    if names is None:
        context.needs_pipelines(settings)
    ending = _Ending()
    lock = statefile.StackLock(settings.data_dir)
    try:
        lock.take()
        refuse_taken_ports(settings, names, traffic=traffic and names is None, receiver=names is None)
        if (names is None or "engine" in names) and not _models(settings, console, ending):
            console.print("ended before anything was started; models that were finished are kept")
            return
        refuse_missing(settings, names)
        stack = Stack(settings, roles=names, traffic=traffic and names is None, receiver=names is None, lock=lock)
        try:
            _run(stack, settings, console, ending)
        finally:
            with console.status("stopping"):
                stack.stop(hurry=ending.twice)
    finally:
        lock.free()
        ending.restore()
    console.print("everything is stopped")


class _Ending:
    """Ctrl-C and SIGTERM: the first asks for an orderly end, the second hurries."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.twice = False
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.twice = self.asked.is_set()
        self.asked.set()


def _run(stack: Stack, settings: Settings, console: Console, ending: _Ending) -> None:
    changes: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
    clock = SystemClock()
    begun_s = clock.monotonic_s()
    stack.begin(lambda _name, state: changes.put(state))
    waiting = threading.Thread(target=_wait, args=(stack, changes), daemon=True)
    waiting.start()
    parts = PartLines(clock)
    ready, refresh_s = False, begun_s
    with console.status("starting") as status:
        while not ending.asked.is_set():
            try:
                change = changes.get(timeout=0.2)
            except queue.Empty:
                if not ready:
                    _pending(stack, status, clock.monotonic_s() - begun_s)
                elif clock.monotonic_s() >= refresh_s:
                    refresh_s = clock.monotonic_s() + _REFRESH_S
                    stack.write_states()
                continue
            if "stop" in change:
                raise Stop(str(change["stop"]))
            if "all_ready" in change:
                ready = True
                status.stop()
                console.print(f"all ready after {clock.monotonic_s() - begun_s:.0f} s\n")
                for line in addresses(settings, [state.name for state in stack.states()]):
                    console.print(line, soft_wrap=True)
                console.print(f"\nCtrl-C stops everything; `{context.command()} status` looks from another terminal.")
                continue
            if line := parts.line(change):
                console.print(line)


def _wait(stack: Stack, changes: queue.SimpleQueue[Mapping[str, Any]]) -> None:
    try:
        stack.wait_ready()
        changes.put({"all_ready": True})
    except Stop as stop:
        changes.put({"stop": str(stop)})


class _Asked(Exception):
    """Somebody asked for the end meanwhile."""


def _models(settings: Settings, console: Console, ending: _Ending) -> bool:
    """Make the demo's models where the settings name a base model under data_dir; False where the end was asked for."""
    name = embedded_name(settings)
    if name is None or settings.resolve(settings.engines[name].base_dir) != settings.data_dir / "models" / "base":
        return True
    from tidemill.local.demo.place import place_models, telling

    clock = SystemClock()
    begun_s = clock.monotonic_s()
    with models_shown(console, clock) as show:

        def tell(what: str, facts: Mapping[str, Any]) -> None:
            if ending.asked.is_set():
                raise _Asked
            show(what, facts)

        try:
            place_models(settings, telling(settings, clock.now_ms(), tell))
        except (_Asked, Stop):
            if not ending.asked.is_set():
                raise
            return False
    console.print(f"  models      ready in {clock.monotonic_s() - begun_s:6.1f} s  {settings.data_dir / 'models'}")
    return True


def _pending(stack: Stack, status: Status, elapsed_s: float) -> None:
    names = [state.name for state in stack.states() if state.phase in ("preparing", "starting")]
    status.update(f"{elapsed_s:.0f} s, starting: {', '.join(names)}")


def addresses(settings: Settings, running: Collection[str]) -> list[str]:
    """Where everything is, for people: one line each."""
    keys = settings.data_dir / "secrets" / GATEWAY_KEYS
    pipeline = next(iter(settings.pipelines), "PIPELINE")
    gateway = f"http://127.0.0.1:{settings.gateway_port}/v1"
    body = {"model": pipeline, "messages": [{"role": "user", "content": _question(settings, pipeline)}]}
    call = (
        f'curl {gateway}/chat/completions -H "Authorization: Bearer $(head -1 {context.shorter(keys)})" '
        f"-H 'Content-Type: application/json' -d {shlex.quote(json.dumps(body))}"
    )
    rows = [
        ("console", "console", f"http://127.0.0.1:{settings.console_port}"),
        ("gateway", "gateway", f"{gateway}  (keys: {context.shorter(keys)})"),
        ("gateway", "try it", call),
        ("mlflow", "MLflow", settings.mlflow_url),
        ("store", "store", f"{settings.clickhouse_url}  (ClickHouse's HTTP interface)"),
        ("kafka", "Kafka", settings.kafka_bootstrap),
        ("receiver", "webhooks", f"http://127.0.0.1:{settings.port('receiver')}/alerts"),
    ]
    lines = [f"[bold]{label:<9}[/bold]{escape(where)}" for part, label, where in rows if part in running]
    return [*lines, f"[bold]{'logs':<9}[/bold]{context.shorter(settings.data_dir / 'logs')}"]


def _question(settings: Settings, pipeline: str) -> str:
    """Something that the pipeline's model can answer: the golden set's first prompt, where there is one."""
    found = settings.pipelines.get(pipeline)
    try:
        with settings.resolve(found.gate.golden_set if found else "").open(encoding="utf-8") as lines:
            return str(json.loads(lines.readline())["prompt"])
    except (OSError, ValueError, KeyError):
        return "hello"
