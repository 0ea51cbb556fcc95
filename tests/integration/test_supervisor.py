"""The supervisor with real, small processes: order, restart, nothing left behind, one stack at a time."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.waiting import until
from tidemill.errors import Stop
from tidemill.local.lifecycle import State
from tidemill.local.ports import free_port_base
from tidemill.local.process import Process, python
from tidemill.local.stack import Stack
from tidemill.local.supervisor import Supervisor
from tidemill.settings import load_settings

ROOT = Path(__file__).parents[2]
SLEEPER = "import signal, sys; signal.signal(15, lambda *_: sys.exit(0)); print('up', flush=True); signal.pause()"
STUBBORN = "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True)\nwhile True: signal.pause()"
PARENT = f"""
import subprocess, sys, signal
child = subprocess.Popen([sys.executable, '-c', {STUBBORN!r}])
apart = subprocess.Popen([sys.executable, '-c', {STUBBORN!r}], start_new_session=True)
print('pids', child.pid, apart.pid, flush=True)
signal.pause()
"""

Start = Callable[..., Supervisor]


def sleeper(name: str, *after: str, code: str = SLEEPER, **fields: object) -> Process:
    return Process(name, python("-c", code), after=after, **fields)  # type: ignore[arg-type]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def state(supervisor: Supervisor, name: str) -> State:
    return next(state for state in supervisor.states() if state.name == name)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts supervisors that are stopped after the test; ``history`` collects (name, phase)."""
    started = []

    def make(processes: Sequence[Process], history: list[tuple[str, str]] | None = None) -> Supervisor:
        supervisor = Supervisor(
            processes,
            tmp_path / "logs",
            on_change=lambda s: history.append((s.name, s.phase)) if history is not None else None,
        )
        started.append(supervisor)
        supervisor.start()
        return supervisor

    yield make
    for supervisor in started:
        supervisor.stop(hurry=True)


def test_dependants_start_after_readiness_and_stop_first(start: Start) -> None:
    gate = threading.Event()
    history: list[tuple[str, str]] = []
    base = sleeper("base", probe=lambda: None if gate.is_set() else "the gate")
    supervisor = start([sleeper("top", "step"), sleeper("step", "base", code="pass", once=True), base], history)
    until(lambda: state(supervisor, "base").reason == "the gate", what="the probe's reason is shown")
    assert state(supervisor, "top").phase == "waiting"
    assert state(supervisor, "step").reason == "base"
    gate.set()
    supervisor.wait_ready(20)
    assert [state.phase for state in supervisor.states()] == ["ready", "done", "ready"]
    supervisor.stop()
    order = [name for name, phase in history if phase in ("ready", "done")]
    assert order == ["base", "step", "top"]
    assert [name for name, phase in history if phase == "stopped"] == ["top", "step", "base"]


def test_a_killed_process_comes_back(start: Start) -> None:
    supervisor = start([sleeper("role")])
    supervisor.wait_ready(20)
    first = supervisor.kill("role")
    until(lambda: state(supervisor, "role").restarts == 1 and state(supervisor, "role").phase == "ready")
    assert state(supervisor, "role").pid != first
    assert state(supervisor, "role").exit_code == -signal.SIGKILL
    with pytest.raises(Stop, match="no process 'other' in the stack; it has role"):
        supervisor.kill("other")


def test_a_process_that_cannot_start_backs_off_and_is_named(start: Start, tmp_path: Path) -> None:
    broken = "import sys; print('no such table', file=sys.stderr); sys.exit(3)"
    supervisor = start([sleeper("role", probe=lambda: "never", code=broken), sleeper("later", "role")])
    with pytest.raises(
        Stop, match=r"role does not start: tried 5 times, last time it ended with code 3: no such table"
    ):
        supervisor.wait_ready(60)
    assert state(supervisor, "role").restarts >= 5
    assert state(supervisor, "later").phase == "waiting"
    assert (tmp_path / "logs" / "role.log").read_text().count("no such table") >= 5


def test_a_preparation_that_refuses_is_named(start: Start) -> None:
    def refuse() -> None:
        raise Stop("there is no Java")

    with pytest.raises(Stop, match=r"role does not start: tried 5 times: there is no Java"):
        start([sleeper("role", before=refuse)]).wait_ready(60)


def test_a_start_has_a_time_limit(start: Start) -> None:
    with pytest.raises(Stop, match=r"not ready within 0.5 s: role \(starting (a miracle)?\)"):
        start([sleeper("role", probe=lambda: "a miracle")]).wait_ready(0.5)


def test_a_missing_program_is_named(start: Start) -> None:
    with pytest.raises(Stop, match="no-such-program: cannot be started: No such file"):
        start([Process("role", ("no-such-program",), probe=lambda: "never")]).wait_ready(60)


def test_stop_leaves_no_stubborn_child(start: Start, tmp_path: Path) -> None:
    supervisor = start([sleeper("role", code=PARENT, grace_s=0.2), sleeper("deaf", code=STUBBORN, grace_s=0.2)])
    supervisor.wait_ready(20)
    pids = _pids(tmp_path / "logs" / "role.log") + [state.pid for state in supervisor.states() if state.pid]
    until(lambda: "up" in (tmp_path / "logs" / "deaf.log").read_text())
    assert all(alive(pid) for pid in pids)
    supervisor.stop()
    assert not [pid for pid in pids if alive(pid)]
    assert state(supervisor, "deaf").exit_code == -signal.SIGKILL


def test_a_killed_supervisor_leaves_nothing(tmp_path: Path) -> None:
    program = f"""
import pathlib, sys, threading
from tidemill.local.process import Process, python
from tidemill.local.supervisor import Supervisor
supervisor = Supervisor([Process("role", python("-c", {PARENT!r}))], pathlib.Path({str(tmp_path)!r}))
supervisor.start()
supervisor.wait_ready(30)
print(supervisor.states()[0].pid, flush=True)
threading.Event().wait()
"""
    killed = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    pids = [int(killed.stdout.readline()), *_pids(tmp_path / "role.log")]
    assert all(alive(pid) for pid in pids)
    killed.kill()
    killed.wait()
    until(lambda: not [pid for pid in pids if alive(pid)], within_s=10, what="everything has ended")


def test_memory_is_seen(start: Start) -> None:
    supervisor = start([sleeper("big", code="x = bytearray(80_000_000); " + SLEEPER)])
    supervisor.wait_ready(20)
    until(lambda: supervisor.peak_rss_mb()["big"] > 80, what="the peak is sampled")


def test_one_stack_at_a_time_seen_and_ended_from_elsewhere(tmp_path: Path) -> None:
    environ = {
        **os.environ,
        "TIDEMILL_SETTINGS": str(ROOT / "tidemill.yaml"),
        "TIDEMILL_DATA_DIR": str(tmp_path),
        "TIDEMILL_LOCAL__PORT_BASE": str(free_port_base()),
    }

    def tidemill(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tidemill.cli.main", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60, check=False)

    up = [sys.executable, "-m", "tidemill.cli.main", "up", "--only", "receiver"]
    with (tmp_path / "up.txt").open("w") as out:
        running = subprocess.Popen(up, stdout=out, stderr=out, env=environ)
    try:
        until(lambda: "all ready" in (tmp_path / "up.txt").read_text() or running.poll() is not None, within_s=60)
        shown = json.loads(tidemill("status", "--json").stdout)
        assert [(p["name"], p["phase"]) for p in shown["stack"]["processes"]] == [("receiver", "ready")]
        second = tidemill("up", "--only", "receiver")
        assert second.returncode == 1
        assert f"a stack is running on {tmp_path} already (process {running.pid})" in second.stderr
        ended = tidemill("down")
        assert (ended.returncode, ended.stdout) == (0, f"stopped (process {running.pid})\n")
        assert running.wait(30) == 0
    finally:
        running.kill()
        running.wait()
    assert not alive(shown["stack"]["processes"][0]["pid"])
    assert tidemill("status").returncode == 1
    assert "no stack is running" in tidemill("down").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["demo", "--json"], 143, "ended from outside (SIGTERM); all that it had started"),
        (["up"], 0, "ended before anything was started"),
    ],
    ids=["demo", "up"],
)
def test_the_making_of_models_is_seen_and_an_end_of_it_is_said(
    tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    environ = {
        **os.environ,
        "TIDEMILL_SETTINGS": str(ROOT / "tidemill.yaml"),
        "TIDEMILL_DATA_DIR": str(tmp_path / "data"),
        "TIDEMILL_MODELS": str(tmp_path / "models"),
        "TIDEMILL_LOCAL__PORT_BASE": str(free_port_base()),
    }
    command = [sys.executable, "-m", "tidemill.cli.main"]

    def seen() -> str:
        done = subprocess.run(
            [*command, "status"], capture_output=True, text=True, env=environ, timeout=60, check=False
        )
        assert done.returncode == 1
        return done.stdout

    out = tmp_path / "said.txt"
    with out.open("w") as file:
        running = subprocess.Popen([*command, *arguments], stdout=file, stderr=file, env=environ)
    try:
        until(lambda: "making the demo's models: base" in seen() or running.poll() is not None, within_s=120)
        running.terminate()
        assert running.wait(60) == code, out.read_text()
    finally:
        running.kill()
        running.wait()
    assert words in out.read_text().splitlines()[-1]
    assert "no stack is running" in seen()


def test_a_taken_port_is_named_before_anything_starts(tmp_path: Path) -> None:
    base = free_port_base()
    settings = load_settings(
        ROOT / "tidemill.yaml", {"TIDEMILL_DATA_DIR": str(tmp_path), "TIDEMILL_LOCAL__PORT_BASE": str(base)}
    )
    stack = Stack(settings, roles=["receiver"])
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", settings.port("receiver")))
        server.listen(1)
        with pytest.raises(Stop, match=r"which receiver needs, is taken .* local.port_base .now \d+., for example"):
            stack.start()
    assert not (tmp_path / "logs").exists()
    with stack:
        stack.start()  # the lock was let go and the port is free again
        assert [state.phase for state in stack.states()] == ["ready"]


def _pids(log: Path) -> list[int]:
    until(lambda: log.exists() and "pids" in log.read_text(), what="the children have said their names")
    line = next(line for line in log.read_text().splitlines() if line.startswith("pids"))
    return [int(word) for word in line.split()[1:]]


def test_a_change_is_told_to_its_end_before_the_wait_for_it_ends(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []

    def slow_to_tell(state: State) -> None:
        if state.phase == "ready":
            threading.Event().wait(0.3)
        told.append((state.name, state.phase))

    supervisor = Supervisor([sleeper("traffic")], tmp_path, on_change=slow_to_tell)
    supervisor.start()
    try:
        supervisor.wait_ready(30)
        assert ("traffic", "ready") in told
    finally:
        supervisor.stop()
