"""The audit against a real broker, sink and store: what is lost or doubled is found, and what is no loss is not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import OFFSET_END, TopicPartition
from confluent_kafka.admin import AdminClient

from consumers.audit import compare, projections, rows
from consumers.audit.compare import audit
from consumers.audit.report import Report
from consumers.audit.windows import Reconciliation
from tests.integration.role_process import ROOT, Role, environment_of
from tests.integration.store_fixture import StoreProcess
from tests.integration.test_sink import lag, moved, responses, send
from tests.integration.test_streams import read_events
from tests.unit.sink.samples import full
from tidemill.clock import SystemClock
from tidemill.codec import encode
from tidemill.events import ThresholdEvent
from tidemill.io.clickhouse import Store
from tidemill.io.kafka import transactional_producer
from tidemill.settings import Settings
from tidemill.topics import REQUESTS, RESPONSES

ROWS = 400
BAD = 7


@pytest.fixture
def deployment(
    settings: Settings, store: StoreProcess, fresh_topics: None, unique: Callable[[str], str]
) -> Iterator[Settings]:
    """A database of its own that holds ROWS answers; BAD messages among them went to the dead letters."""
    yield landed(moved(settings, store, unique))


def landed(settings: Settings) -> Settings:
    good = responses(ROWS)
    send(settings, RESPONSES, [*good[: ROWS // 2], *((b"bad", b"{%d" % n) for n in range(BAD)), *good[ROWS // 2 :]])
    send(settings, REQUESTS, [(b"k", encode(full(REQUESTS.event)))])
    with Role("sink", settings, environment_of(settings)).start() as role:
        role.until(lambda: lag(settings) == 0, what="everything has landed")
        assert role.stop() == 0
    return settings


def compared(settings: Settings, since_ms: int | None = None) -> Report:
    return audit(settings, Store(settings), SystemClock(), since_ms, lambda *_: None)


def command(settings: Settings, *options: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | environment_of(settings) | {"TIDEMILL_KAFKA__BOOTSTRAP": settings.kafka_bootstrap}
    start = [sys.executable, "-m", "tidemill.cli.main", "--settings", str(ROOT / "tidemill.yaml")]
    return subprocess.run([*start, *options], env=environment, capture_output=True, text=True, check=False, cwd=ROOT)


def an_offset(settings: Settings, number: int = 100) -> tuple[int, int]:
    """Partition and offset of one answer."""
    sql = f"SELECT _partition, _offset FROM responses ORDER BY _partition, _offset LIMIT 1 OFFSET {number}"
    (row,) = Store(settings).rows(sql)
    return row["_partition"], row["_offset"]


def lose(settings: Settings, partition: int, offset: int) -> None:
    Store(settings).command(
        f"ALTER TABLE responses DELETE WHERE _partition = {partition} AND _offset = {offset} "
        "SETTINGS mutations_sync = 2"
    )


def double(settings: Settings, partition: int, offset: int) -> None:
    Store(settings).command(
        "INSERT INTO responses SETTINGS insert_deduplicate = 0 "
        f"SELECT * FROM responses WHERE _partition = {partition} AND _offset = {offset}"
    )


def test_after_a_clean_run_nothing_differs_and_dead_letters_are_no_loss(deployment: Settings) -> None:
    report = compared(deployment)
    assert report.holds
    parts = [part for part in report.parts if part.table == "responses"]
    assert sum(part.rows for part in parts) == ROWS and sum(part.dead_letters for part in parts) == BAD
    done = command(deployment, "audit")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "responses" in done.stdout and done.stdout.splitlines()[-1].startswith("holds: ")
    said = json.loads(command(deployment, "audit", "--json").stdout)
    assert said["holds"] is True and (said["missing"], said["duplicates"]) == (0, 0)


def test_letters_dropped_by_hand_are_no_loss(deployment: Settings) -> None:
    admin = AdminClient({"bootstrap.servers": deployment.kafka_bootstrap})
    ends = [TopicPartition(RESPONSES.dlq, partition, OFFSET_END) for partition in range(RESPONSES.partitions)]
    for future in admin.delete_records(ends).values():
        future.result()
    report = compared(deployment)
    assert report.holds and sum(part.unburied for part in report.parts) == BAD


def test_a_lost_row_is_found_and_so_is_one_too_many(deployment: Settings) -> None:
    lost, twice = an_offset(deployment), an_offset(deployment, 200)
    lose(deployment, *lost)
    double(deployment, *twice)
    report = compared(deployment)
    assert (report.missing, report.duplicates, report.holds) == (1, 1, False)
    wrong = {(part.partition, example) for part in report.parts for example in part.examples}
    assert wrong == {(lost[0], str(lost[1])), (twice[0], f"{twice[1]} twice")}
    done = command(deployment, "audit", "--json", "--look-back", "3600")
    assert done.returncode == 1
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["missing"] == 1 and json.loads(line)["duplicates"] == 1


def test_all_rows_lost_and_the_first_and_the_last(deployment: Settings) -> None:
    store = Store(deployment)
    for edge in ("min", "max"):
        (row,) = store.rows(f"SELECT {edge}(_offset) AS at FROM responses WHERE _partition = 0")
        lose(deployment, 0, row["at"])
    assert compared(deployment).missing == 2
    store.command("TRUNCATE TABLE responses")
    assert compared(deployment).missing == ROWS


def test_chunks_are_put_together(deployment: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "CHUNK", 16)
    assert compared(deployment).holds
    for number in (15, 16, 17, 64, 65):
        lose(deployment, *an_offset(deployment, number))
    assert compared(deployment).missing == 5


def test_offsets_without_a_message_are_no_loss(
    settings: Settings, store: StoreProcess, fresh_topics: None, unique: Callable[[str], str]
) -> None:
    deployment = moved(settings, store, unique)
    writer = transactional_producer(deployment, "test-audit", unique("audit"))
    for number, (key, value) in enumerate(responses(40)):
        writer.begin_transaction()
        writer.produce(RESPONSES.name, value, key, partition=0)
        writer.flush(20)
        if number % 4 == 0:
            writer.abort_transaction(20)
        else:
            writer.commit_transaction(20)
    with Role("sink", deployment, environment_of(deployment)).start() as role:
        role.until(lambda: lag(deployment) == 0, what="everything has landed")
        assert role.stop() == 0
    report = compared(deployment)
    (part,) = [part for part in report.parts if part.table == "responses" and part.rows]
    assert (report.missing, part.rows, part.holes) == (0, 30, 50)
    lose(deployment, *an_offset(deployment, 5))
    assert compared(deployment).missing == 1


def test_events_sent_again_by_their_producer_are_shown_with_their_share(
    settings: Settings, store: StoreProcess, fresh_topics: None, unique: Callable[[str], str]
) -> None:
    deployment = moved(settings, store, unique)
    send(deployment, RESPONSES, [*responses(30), *responses(10)])
    with Role("sink", deployment, environment_of(deployment)).start() as role:
        role.until(lambda: lag(deployment) == 0, what="everything has landed")
        assert role.stop() == 0
    report = compared(deployment)
    (repeats,) = report.repeats
    assert report.holds and (repeats.table, repeats.rows, repeats.repeated, repeats.share) == (
        "responses",
        40,
        10,
        0.25,
    )
    assert "25.00%" in command(deployment, "audit").stdout


def test_projections_are_compared_with_their_table(deployment: Settings) -> None:
    store = Store(deployment)
    by_minute = "SELECT pipeline, toStartOfMinute(time), count() GROUP BY pipeline, toStartOfMinute(time)"
    store.command(f"ALTER TABLE routes ADD PROJECTION by_minute ({by_minute})")  # a table without rows
    store.command("ALTER TABLE requests ADD PROJECTION later (SELECT pipeline, count() GROUP BY pipeline)")
    found = {(one.table, one.name): one.equal for one in compared(deployment).projections}
    assert found.pop(("requests", "later")) is None, "no part holds it"
    assert found == {(table, "by_minute"): True for table in ("requests", "responses", "routes")}
    lose(deployment, *an_offset(deployment))
    assert True in [one.equal for one in compared(deployment).projections], "a mutation rebuilds it"


def test_rows_of_events_older_than_the_look_back_are_not_missing(deployment: Settings) -> None:
    """The sample events are dated long before they arrived: only a look at the whole table finds their rows."""
    assert compared(deployment, SystemClock().now_ms() - 3_600_000).holds
    lose(deployment, *an_offset(deployment))
    assert compared(deployment, SystemClock().now_ms() - 3_600_000).missing == 1


def test_rows_that_a_ttl_took_are_not_missing(deployment: Settings) -> None:
    store = Store(deployment)
    store.command("ALTER TABLE responses MODIFY TTL toDateTime(time) + INTERVAL 1 DAY")
    store.command("TRUNCATE TABLE responses")
    report = compared(deployment)
    assert (report.missing, sum(part.expired for part in report.parts)) == (0, ROWS)


def test_projections_answer_for_the_minutes_since_a_time_and_a_refusal_is_no_end(deployment: Settings) -> None:
    store = Store(deployment)
    (one,) = projections.compare(store, {"responses": 0})
    assert one.equal is True
    store.command("ALTER TABLE requests ADD PROJECTION later (SELECT pipeline, count() GROUP BY pipeline)")
    found = {one.name: one.equal for one in projections.compare(store, {"requests": 0})}
    assert found == {"by_minute": True, "later": None}, "one without minutes cannot answer for some of them"
    store.command("ALTER TABLE feedback ADD PROJECTION `it's` (SELECT pipeline, count() GROUP BY pipeline)")
    (refused,) = projections.compare(store, {"feedback": 0})
    assert refused.equal is None, "the store does not understand the question"


def test_windows_wait_until_the_sink_has_caught_up(deployment: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "LANDED_WITHIN_S", 1.0)
    send(deployment, RESPONSES, responses(3, start=ROWS))
    report = compared(deployment)
    assert report.holds and report.windows.behind == 3 and report.windows.compared == 0


def test_windows_that_cannot_be_judged_are_counted_apart(
    settings: Settings, store: StoreProcess, unique: Callable[[str], str]
) -> None:
    deployment = moved(settings, store, unique)
    tables = Store(deployment)
    size_ms = deployment.windows.size_s * 1000
    start = 1_763_800_000_000 // size_ms * size_ms
    for pipeline, arrival_ms in (("known", start), ("former", 0), ("stray", start), ("seen", start)):
        tables.command(
            "INSERT INTO requests (_topic, call_id, pipeline, time_ms, _arrival_ms) "
            f"VALUES ('inference.requests', '{pipeline}', '{pipeline}', {start}, {arrival_ms})"
        )
    for pipeline, at in (("dropped", start), ("seen", start - 3_600_000)):
        tables.command(
            "INSERT INTO windows (pipeline, variant, role, metric, start_ms, end_ms, n, total, complete) "
            f"VALUES ('{pipeline}', 'champion', 'client', 'requests', {at}, {at + size_ms}, 1, 1, true)"
        )
    names = ["known", "former"]
    found = Reconciliation(tables, deployment.windows, names, start, start + size_ms).run(lambda *_: None)
    assert (found.gone, found.stray, found.late) == (1, 1, 1)
    assert found.differing == {"known": [start], "seen": [start]}


def auditor(settings: Settings, **overrides: str) -> Role:
    return Role("audit", settings, environment_of(settings) | {"TIDEMILL_AUDIT__EVERY_S": "0.5"} | overrides)


def events(settings: Settings, rule: str) -> list[ThresholdEvent]:
    return [event for event in read_events(settings) if event.data.rule == rule]


def test_a_loss_is_an_alarm_once_and_ends_when_the_row_is_back(deployment: Settings) -> None:
    lost = an_offset(deployment)
    store = Store(deployment)
    store.command("CREATE TABLE kept AS responses")
    where = f"WHERE _partition = {lost[0]} AND _offset = {lost[1]}"
    store.command(f"INSERT INTO kept SELECT * FROM responses {where}")
    lose(deployment, *lost)
    with auditor(deployment).start() as role:
        (fired,) = role.until(lambda: events(deployment, "audit_rows"), what="an alarm")
        assert fired.data.kind == "system" and "1 rows missing" in fired.data.summary
        role.ready()
        role.kill()
        role.start()
        role.ready()
        assert len(events(deployment, "audit_rows")) == 1, "a second auditor says nothing again"
        store.command("INSERT INTO responses SELECT * FROM kept")
        role.until(lambda: len(events(deployment, "audit_rows")) == 2, what="the end of the alarm")
        resolved = events(deployment, "audit_rows")[1]
        assert resolved.data.state == "resolved" and resolved.data.alarm_id == fired.id
        assert role.stop() == 0


def test_a_role_that_stands_still_is_an_alarm(deployment: Settings) -> None:
    watch = {
        "TIDEMILL_AUDIT__STALE_S": "4",
        "TIDEMILL_AUDIT__WATCH__SINK": f"http://127.0.0.1:{deployment.port('sink')}",
    }
    with (
        Role("sink", deployment, environment_of(deployment)).start().ready() as sink,
        auditor(deployment, **watch).start() as role,
    ):
        role.ready()
        assert events(deployment, "role_stale") == []
        assert sink.process is not None
        sink.process.send_signal(signal.SIGSTOP)
        (fired,) = role.until(lambda: events(deployment, "role_stale"), what="the silence is noticed")
        assert fired.data.metric == "silent/sink"
        sink.process.send_signal(signal.SIGCONT)
        role.until(lambda: len(events(deployment, "role_stale")) == 2, what="it is heard again")
        assert role.stop() == 0
