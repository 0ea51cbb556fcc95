"""Meter, streams and sink as users run them: windows are what the raw rows say; those that are not are mended."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from consumers.audit.compare import audit
from consumers.audit.report import Report
from streams.backfill import run
from streams.backfill.run import Outcome, backfill
from tests.integration.role_process import Role, environment_of
from tests.integration.store_fixture import StoreProcess
from tests.integration.test_audit import auditor, command, events
from tests.integration.test_sink import lag, moved
from tests.integration.test_streams import forget
from tidemill.clock import ManualClock, SystemClock
from tidemill.codec import encode
from tidemill.errors import Stop
from tidemill.events import Feedback, InferenceRequest, InferenceResponse
from tidemill.ids import uuid7
from tidemill.io.clickhouse import Store
from tidemill.io.kafka import producer
from tidemill.settings import Settings
from tidemill.topics import FEEDBACK, REQUESTS, RESPONSES

CALLS = 120
SPREAD_MS = 8_000
LATENESS_S = 60
LATER_MS = 120_000
"""The clock of audit and backfill is this far ahead: so that lateness need not be waited for."""
WINDOWS = {"size_s": 2, "lateness_s": LATENESS_S}
SLICES = ("tenant", "attributes.language")
"""Of the pipeline schedule, whose windows so have slices, too; two of four tenants by name."""


@pytest.fixture
def deployment(
    settings: Settings, store: StoreProcess, fresh_topics: None, unique: Callable[[str], str]
) -> Iterator[Settings]:
    sliced = settings.pipelines["schedule"].model_copy(update={"slices": SLICES, "max_slices": 2})
    found = moved(settings, store, unique).model_copy(
        update={
            "pipelines": settings.pipelines | {"schedule": sliced},
            "deployment": unique("backfill"),
            "windows": settings.windows.model_copy(update=WINDOWS),
            "audit": settings.audit.model_copy(update={"settle_s": 0.0}),
        }
    )
    yield found
    forget(found)


def traffic(now_ms: int, pipeline: str) -> list[tuple[Any, Any]]:
    """Calls of the last seconds: requests, answers of two versions and shadows, scores."""
    noise = random.Random(pipeline)
    found: list[tuple[Any, Any]] = []
    for number in range(CALLS):
        at = now_ms - SPREAD_MS + number * SPREAD_MS // CALLS
        call, shadow = (uuid7(at, bytes([kind]) * 8 + number.to_bytes(2, "big")) for kind in (1, 2))
        common: dict[str, Any] = {"call_id": call, "pipeline": pipeline}
        asked: dict[str, Any] = {"gen_ai_conversation_id": "c", "tenant": f"t{noise.randrange(4)}"}
        asked["attributes"] = {"language": noise.choice(["en", "de"])}
        words = {"chars": float(noise.randrange(9, 99)), "words": float(noise.randrange(1, 9))}
        found.append((REQUESTS, InferenceRequest(time_ms=at, input_features=words, **common, **asked)))
        for answer, role, variant in ((call, "client", "champion"), (shadow, "shadow", "shadow")):
            answered: dict[str, Any] = dict(
                answer_id=answer, role=role, variant=variant, time_ms=at, call_time_ms=at,
                model_version=noise.choice([f"{pipeline}-v1", f"{pipeline}-v2"]),
                status=noise.choice(["ok", "ok", "ok", "error", "timeout", "cancelled"]),
                gen_ai_usage_input_tokens=noise.randrange(100), gen_ai_usage_cached_tokens=noise.randrange(10),
                gen_ai_usage_output_tokens=noise.choice([None, noise.randrange(50)]),
                gen_ai_response_finish_reason=noise.choice(["", "stop", "length", "content_filter"]),
                ttft_ms=noise.uniform(0, 90), e2e_ms=noise.choice([None, 0.0, noise.expovariate(0.002)]),
                cost_micros=noise.choice([None, noise.randrange(1_000)]), output_features=words, **common, **asked,
            )  # fmt: skip
            found.append((RESPONSES, InferenceResponse(**answered)))
        found.append(
            (
                FEEDBACK,
                Feedback(
                    feedback_id=f"{pipeline}-{number}", time_ms=at, call_time_ms=at, kind="score", source="client",
                    metric="exact_match", model_version=f"{pipeline}-v1", score=noise.random(), **common,
                ),
            )
        )  # fmt: skip
    return found


def send(settings: Settings, events: list[tuple[Any, Any]]) -> None:
    made = producer(settings, "test-traffic")
    for topic, event in events:
        made.produce(topic.name, encode(event), event.call_id)
    assert made.flush(30) == 0


class Running:
    """The three roles at work on a deployment."""

    def __init__(self, settings: Settings) -> None:
        moved_windows = {f"TIDEMILL_WINDOWS__{name.upper()}": str(value) for name, value in WINDOWS.items()}
        self.settings = settings
        self.environment = (
            environment_of(settings)
            | moved_windows
            | {
                "TIDEMILL_AUDIT__SETTLE_S": "0",
                "TIDEMILL_PIPELINES__SCHEDULE__SLICES": json.dumps(SLICES),
                "TIDEMILL_PIPELINES__SCHEDULE__MAX_SLICES": "2",
            }
        )
        self.roles = [Role(name, settings, self.environment) for name in ("meter", "streams", "sink")]
        self.store = Store(settings)

    def __enter__(self) -> Running:
        for role in self.roles:
            role.start()
        for role in self.roles:
            role.ready()
        return self

    def __exit__(self, *_: object) -> None:
        for role in self.roles:
            role.kill()

    def until(self, condition: Callable[[], bool], what: str) -> None:
        self.roles[0].until(condition, within_s=180, what=what)

    def landed(self, answers: int) -> bool:
        """Whether the windows hold so many answers, and nothing is on its way."""
        (row,) = self.store.rows(
            "SELECT sum(value) AS n FROM (SELECT value FROM windows WHERE metric = 'answers' AND slice = '' "
            "ORDER BY revision DESC LIMIT 1 BY pipeline, start_ms, model_version, variant, role)"
        )
        return (row["n"] or 0) >= answers and lag(self.settings) == 0

    def audit(self) -> Report:
        clock = ManualClock(SystemClock().now_ms() + LATER_MS)
        return audit(self.settings, self.store, clock, None, lambda *_: None)

    def backfill(self, since_ms: int, *, write: bool = True) -> Outcome:
        clock = ManualClock(SystemClock().now_ms() + LATER_MS)
        until_ms = clock.now_ms()
        found = backfill(self.settings, self.store, clock, since_ms, until_ms, write=write, progress=lambda *_: None)
        self.until(lambda: lag(self.settings) == 0, "the rows of the backfill have landed")
        return found


def test_windows_are_what_the_rows_say_and_are_mended_where_not(deployment: Settings) -> None:
    with Running(deployment) as running:
        now_ms = SystemClock().now_ms()
        send(deployment, traffic(now_ms, "schedule") + traffic(now_ms, "elsewhere"))
        running.until(partial(running.landed, 4 * CALLS), "all windows")
        since_ms = now_ms - SPREAD_MS - 10_000

        named = running.store.rows("SELECT DISTINCT slice FROM windows WHERE startsWith(slice, 'tenant=')")
        assert len(named) == 3 and {"slice": "tenant=other"} in named
        clean = running.audit()
        assert clean.holds, clean.windows.examples
        assert clean.windows.compared >= 2 * (SPREAD_MS // 2000) and clean.windows.late == 0
        right = running.backfill(since_ms)
        assert 0 < right.windows <= clean.windows.compared and right.unsampled_windows == 0
        assert right.changed_rows == 0, "the stream was right"

        damage(running.store)
        found = running.audit()
        assert not found.holds and found.missing == 0
        assert {pipeline: len(starts) for pipeline, starts in found.windows.differing.items()} == {
            "schedule": 2, "elsewhere": 1,
        }  # fmt: skip
        tried = running.backfill(since_ms, write=False)
        assert running.audit().windows.different == 3, "a dry run writes nothing"
        mended = running.backfill(since_ms)
        assert mended.changed_rows == tried.changed_rows > 2
        assert (mended.changed_windows, mended.missing_windows) == (3, 1)
        assert running.audit().holds
        assert running.backfill(since_ms).changed_rows == 0, "a second run writes nothing"

        options = ("backfill", "--from", str(since_ms), "--to", "2099-01-01", "--json")
        refused = command(deployment, *options)
        assert refused.returncode == 1 and "no window of this time is closed" in refused.stderr


def damage(store: Store) -> None:
    """Two windows of one pipeline altered by hand; one of the other hidden (a row that went would be a row lost)."""
    change = "ALTER TABLE windows {} SETTINGS mutations_sync = 2"
    starts = "SELECT DISTINCT start_ms FROM windows WHERE pipeline = '{}' AND metric = 'answers' ORDER BY start_ms"
    first, second, third = (row["start_ms"] for row in store.rows(starts.format("schedule"))[:3])
    assert third
    other = store.rows(starts.format("elsewhere"))[1]["start_ms"]
    of = "WHERE pipeline = 'schedule' AND variant = 'champion' AND start_ms ="
    store.command(change.format(f"UPDATE n = n + 1 {of} {first} AND metric = 'answers'"))
    store.command(change.format(f"UPDATE p95 = p95 * 1.03 {of} {second} AND metric = 'e2e_ms'"))
    store.command(change.format(f"UPDATE end_ms = 0 WHERE pipeline = 'elsewhere' AND start_ms = {other}"))


def test_what_a_producer_sent_again_counts_once_after_a_backfill(
    deployment: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Running(deployment) as running:
        now_ms = SystemClock().now_ms()
        told = traffic(now_ms, "schedule")
        again = told[: len(told) // 4]
        send(deployment, told)
        running.until(partial(running.landed, 2 * CALLS), "all windows")
        send(deployment, again)  # in ranges of their own, so that the meter cannot know
        running.until(partial(running.landed, 2 * CALLS + CALLS // 2), "all windows, revised")

        seen = running.audit()
        assert seen.holds and seen.windows.repeated > 0
        shares = {repeats.table: repeats.share for repeats in seen.repeats}
        assert shares == {"requests": 0.2, "responses": 0.2, "feedback": 0.2}

        found = running.backfill(now_ms - SPREAD_MS - 10_000)
        assert found.repeated_events == len(again) and found.changed_rows > 0
        for metric, wanted in (("requests", CALLS), ("answers", 2 * CALLS), ("quality", CALLS)):
            assert counted(running.store, metric) == wanted
        assert running.backfill(now_ms - SPREAD_MS - 10_000).changed_rows == 0

        running.roles[0].kill()
        send(deployment, again)
        monkeypatch.setattr(run, "LANDED_WITHIN_S", 1.0)
        with pytest.raises(Stop, match="the role meter is"):
            running.backfill(now_ms - SPREAD_MS - 10_000)


def counted(store: Store, metric: str) -> int:
    (row,) = store.rows(
        f"SELECT sum(n) AS n FROM (SELECT n FROM windows WHERE metric = '{metric}' AND slice = '' "
        "ORDER BY revision DESC LIMIT 1 BY pipeline, start_ms, model_version, variant, role)"
    )
    return int(row["n"])


def test_the_command_says_what_it_would_do(
    settings: Settings, store: StoreProcess, fresh_topics: None, unique: Callable[[str], str]
) -> None:
    deployment = moved(settings, store, unique)
    at_ms = SystemClock().now_ms() - 3_600_000
    send(deployment, traffic(at_ms, "schedule"))
    with (
        Role("meter", deployment, environment_of(deployment)).start(),
        Role("sink", deployment, environment_of(deployment)).start() as role,
    ):
        role.until(lambda: lag(deployment) == 0, what="everything has landed")
        options = ("backfill", "--from", str(at_ms - 60_000), "--to", "2099-01-01T00:00", "--dry-run")
        done = command(deployment, *options)
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout.splitlines()[-1])
        assert said["missing_windows"] == said["windows"] > 0 and said["written"] is False
        assert "would be written" in done.stdout
        assert command(deployment, *options[:2], "yesterday", *options[3:]).returncode == 1
        assert role.stop() == 0


def test_missing_windows_are_an_alarm_until_a_backfill(
    settings: Settings, store: StoreProcess, fresh_topics: None, unique: Callable[[str], str]
) -> None:
    deployment = moved(settings, store, unique)
    at_ms = SystemClock().now_ms() - 600_000
    send(deployment, traffic(at_ms, "schedule"))
    with (
        Role("meter", deployment, environment_of(deployment)).start(),
        Role("sink", deployment, environment_of(deployment)).start() as sink,
    ):
        sink.until(lambda: lag(deployment) == 0, what="everything has landed")
        skew_ms = deployment.windows.max_clock_skew_s * 1000
        for table in ("requests", "responses"):  # as if they had been in time
            Store(deployment).command(
                f"ALTER TABLE {table} UPDATE _arrival_ms = time_ms - {skew_ms} WHERE 1 SETTINGS mutations_sync = 2"
            )
        with auditor(deployment).start() as role:
            (fired,) = role.until(lambda: events(deployment, "audit_windows"), what="an alarm")
            assert fired.data.metric == "windows/schedule" and (fired.data.value or 0) >= 2
            done = command(deployment, "backfill", "--from", str(at_ms - 60_000), "--to", "2099-01-01", "--json")
            assert done.returncode == 0 and json.loads(done.stdout)["missing_windows"] == fired.data.value, done.stderr
            role.until(lambda: len(events(deployment, "audit_windows")) == 2, what="the end of the alarm")
            assert events(deployment, "audit_windows")[1].data.alarm_id == fired.id
            assert role.stop() == 0
