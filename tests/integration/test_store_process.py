"""The store as a process: its data outlives it, it refuses what it must, and it ends cleanly."""

from __future__ import annotations

import base64
import contextlib
import http.client
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import clickhouse_connect

from tests.integration.store_fixture import StoreProcess, free_port, launch_store, start_store
from tests.integration.store_requests import DEDUP, ask, post
from tests.waiting import until


def test_data_outlives_a_clean_stop_and_a_kill(tmp_path: Path) -> None:
    running = start_store(tmp_path / "data")
    post(running, f"CREATE TABLE t (id UInt64, text String) {DEDUP}")
    token = {"insert_deduplication_token": "first"}
    insert: Any = dict(query="INSERT INTO t FORMAT CSV", **token)
    assert ask(running, "POST", b"1,a\n", **insert)[0] == 200
    assert running.stop() == 0
    running = start_store(tmp_path / "data")
    assert ask(running, "POST", b"1,a\n", **insert)[0] == 200  # the token is still known
    assert post(running, "SELECT count() FROM t") == b"1\n"
    assert ask(running, "POST", b"2,b\n", query="INSERT INTO t FORMAT CSV")[0] == 200
    running.kill()
    running = start_store(tmp_path / "data")
    assert ask(running, "POST", b"1,a\n", **insert)[0] == 200
    assert post(running, "SELECT count() FROM t") == b"2\n"
    assert running.stop() == 0


def _refused(process: subprocess.Popen[bytes], path: Path) -> str:
    assert process.wait(timeout=60) == 2
    return Path(f"{path}.log").read_text()


def test_a_second_store_on_the_same_data_says_so(store: StoreProcess) -> None:
    text = _refused(launch_store(store.path, free_port()), store.path)
    assert f"process {store.process.pid}" in text and "--path" in text
    assert post(store, "SELECT 1") == b"1\n"


def test_a_taken_port_and_an_open_host_are_refused(store: StoreProcess, tmp_path: Path) -> None:
    assert "--port" in _refused(launch_store(tmp_path / "a", store.port), tmp_path / "a")
    everywhere = launch_store(tmp_path / "b", free_port(), "--host", "0.0.0.0")
    assert "TIDEMILL_STORE_PASSWORD" in _refused(everywhere, tmp_path / "b")


def test_a_store_with_a_password(tmp_path: Path) -> None:
    guarded = start_store(
        tmp_path / "data", None, "--max-body", "1000", environment={"TIDEMILL_STORE_PASSWORD": "pa:ss"}
    )
    try:
        status, headers, _ = ask(guarded, "POST", b"SELECT 1")
        assert (status, headers["x-clickhouse-exception-code"]) == (403, "516")
        assert ask(guarded, "POST", b"SELECT 1", {"X-ClickHouse-User": "default", "X-ClickHouse-Key": "no"})[0] == 403
        basic = "Basic " + base64.b64encode(b"default:pa:ss").decode()
        assert ask(guarded, "POST", b"SELECT 1", {"Authorization": basic})[2] == b"1\n"
        client = clickhouse_connect.get_client(host=guarded.host, port=guarded.port, password="pa:ss")
        assert client.command("SELECT 1") == 1
        client.close()
        status, headers, _ = ask(guarded, "POST", b"x" * 1001, {"Authorization": basic})
        assert (status, headers["x-clickhouse-exception-code"]) == (413, "229")
    finally:
        assert guarded.stop() == 0


def test_a_store_that_cannot_read_its_data_asks_for_a_new_process(tmp_path: Path) -> None:
    running = start_store(tmp_path / "data")
    broken = b"SELECT throwIf(1, 'reading from part x', toInt16(246))"  # what chDB says of a file with other content
    with contextlib.suppress(OSError, http.client.HTTPException):  # it may be gone before its answer is out
        ask(running, "POST", broken, allow_custom_error_code_in_throwif="1")
    assert running.process.wait(timeout=60) == 3
    assert "cannot be read" in running.log.read_text()


def test_no_thread_of_the_store_takes_the_signal_that_ends_it(store: StoreProcess) -> None:
    ending = (1 << signal.SIGTERM - 1) | (1 << signal.SIGINT - 1)
    blocked: dict[str, int] = {}
    for task in Path(f"/proc/{store.process.pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            lines = (task / "status").read_text().splitlines()
            blocked[task.name] = next(int(line.split()[1], 16) for line in lines if line.startswith("SigBlk"))
    del blocked[str(store.process.pid)]  # main sleeps in sigwait, which takes what it blocks
    assert len(blocked) > 2 and all(mask & ending == ending for mask in blocked.values())


def test_a_running_query_is_answered_before_a_clean_stop(tmp_path: Path) -> None:
    running = start_store(tmp_path / "data")
    answers: list[tuple[int, dict[str, str], bytes]] = []
    query = b"SELECT count(), sleepEachRow(0.5) FROM numbers(3) GROUP BY 2"
    asking = threading.Thread(target=lambda: answers.append(ask(running, "POST", query, max_block_size="1")))
    asking.start()
    until(lambda: post(running, "SELECT count() FROM system.processes") == b"2\n", what="the query runs")
    assert running.stop() == 0
    asking.join()
    assert answers[0][0] == 200 and answers[0][2] == b"3\t0\n"
