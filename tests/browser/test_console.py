"""The console in a real browser: charts show data, markers appear, nothing is fetched from elsewhere, no errors."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from streams.app.measures import ALLOWED, DETECTED, WATCHED
from tests.integration.role_process import Role
from tests.integration.store_fixture import start_store
from tests.unit.dashboards.console_pictures import ALARM_ID, alarm, decision, job, rollout, route
from tests.unit.dashboards.console_stories import HOSTILE, some_evidence
from tests.waiting import until
from tidemill.clock import SystemClock
from tidemill.codec import encode
from tidemill.evidence import evidence_file
from tidemill.io.clickhouse import Store
from tidemill.io.service import Service
from tidemill.local.demo.explained import unexplained
from tidemill.local.ports import free_port_base
from tidemill.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SOURCE = {"_topic": "browser", "_partition": 0, "_offset": 0}


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A console process on a real store that holds a quarter of an hour of windows and one turn of the wheel."""
    folder = tmp_path_factory.mktemp("console")
    environment = {"TIDEMILL_DATA_DIR": str(folder), "TIDEMILL_LOCAL__PORT_BASE": str(free_port_base())}
    settings = load_settings(ROOT / "tidemill.yaml", environment)
    store = start_store(folder / "store", settings.port("store"))
    try:
        _fill(Store(settings))
        role = Role("console", settings, environment).start()
        try:
            until(lambda: _answers(settings), within_s=120, what=f"the console answers:\n{role.text()}")
            yield settings
        finally:
            role.kill()
    finally:
        store.stop()


def _fill(store: Store) -> None:
    now_ms = SystemClock().now_ms()
    store.migrate()
    windows = [
        SOURCE
        | {
            "pipeline": "schedule",
            "model_version": version,
            "variant": "champion",
            "role": "client",
            "metric": metric,
            "unit": "",
            "start_ms": start_ms,
            "end_ms": start_ms + 5_000,
            "n": 30,
            "total": 30 * value,
            "total_sq": 30 * value,
            "value": value,
            "p50": value,
            "p95": 2 * value,
            "p99": 3 * value,
            "complete": True,
            "revision": 0,
            "time_ms": start_ms + 6_000,
        }
        for start_ms in range(now_ms - 900_000, now_ms, 5_000)
        for metric, version, value in (
            ("quality", "schedule-v1", 0.93 if start_ms < now_ms - 300_000 else 0.08),
            ("e2e_ms", "schedule-v1", 210.0),
            ("answers", "schedule-v1", 30.0),
            ("cost", "schedule-v1", 0.0004),
            ("requests", "", 30.0),
            ("input_unseen_share", "", 0.02),
        )
    ]
    shift = now_ms - 1_763_800_000_000
    made = alarm(summary="schedule: quality fell <b>fast</b>")
    held = job("registered", **{})
    out = rollout("canary", 25)
    rows = {
        "windows": windows,
        "events": [
            SOURCE
            | {
                "id": made.id,
                "source": "test",
                "type": made.type,
                "subject": made.subject,
                "time_ms": made.time_ms + shift,
                "pipeline": "schedule",
                "data": _moved(encode(made.data).decode(), shift),
            }
        ],
        "jobs": [_state_row(held, shift, job_id=held.job_id, alarm_id=held.alarm_id)],
        "rollouts": [
            _state_row(out, shift, rollout_id=out.rollout_id, champion_version=out.champion_version, weight=out.weight)
        ],
        "decisions": [_decision_row(shift)],
        "routes": [
            SOURCE
            | {
                "pipeline": "schedule",
                "epoch": 1,
                "time_ms": now_ms,
                "reason": "",
                "rollout_id": "",
                "state": encode(route()).decode(),
            }
        ],
    }
    for table, records in rows.items():
        store.insert(table, pa.Table.from_pylist(records), f"browser-{table}")


def _decision_row(shift: int) -> dict[str, object]:
    values = json.loads(_moved(encode(decision()).decode(), shift))
    del values["schema"]
    texts: dict[str, object] = {name: json.dumps(values[name]) for name in ("reasons", "signals")}
    row: dict[str, object] = SOURCE | values | texts
    return row


def _state_row(state: object, shift: int, **fields: object) -> dict[str, object]:
    text = _moved(encode(state).decode(), shift)
    values = json.loads(text)
    common = {name: values[name] for name in ("seq", "time_ms", "pipeline", "phase", "reason", "candidate_version")}
    return SOURCE | common | fields | {"state": text}


def _moved(text: str, shift: int) -> str:
    """The JSON with every time moved to now."""

    def move(value: object) -> object:
        if isinstance(value, dict):
            return {
                name: inner + shift
                if name.endswith("_ms") and isinstance(inner, int) and inner > 10**12
                else move(inner)
                for name, inner in value.items()
            }
        return [move(inner) for inner in value] if isinstance(value, list) else value

    return json.dumps(move(json.loads(text)))


def _answers(settings: Settings) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{settings.console_port}/", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, headless."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield started
        started.close()


def _open(browser: Browser, settings: Settings, width: int, height: int) -> tuple[Page, list[str], list[str]]:
    page = browser.new_page(viewport={"width": width, "height": height})
    errors: list[str] = []
    elsewhere: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "request",
        lambda request: (
            elsewhere.append(request.url)
            if not request.url.startswith((f"http://127.0.0.1:{settings.console_port}/", "data:", "blob:"))
            and "127.0.0.1" not in request.url
            else None
        ),
    )
    page.goto(f"http://127.0.0.1:{settings.console_port}/", timeout=60_000)
    page.get_by_text("schedule-v2 is the canary").first.wait_for(timeout=60_000)
    page.locator("canvas").first.wait_for(timeout=60_000)
    return page, errors, elsewhere


def _series(page: Page) -> list[dict[str, object]]:
    """Each chart series' name, number of points and number of markers, as ECharts holds them."""
    found: list[dict[str, object]] = page.evaluate(
        """() => {
            const holder = [...document.querySelectorAll('*')].find(e => e.hasAttribute('_echarts_instance_'));
            const chart = Object.values(window).find(v => v && v.getInstanceByDom)?.getInstanceByDom(holder)
                ?? getElement(parseInt(holder.closest('[id^=c]').id.slice(1))).chart;
            return chart.getOption().series.map(s => ({
                name: s.name ?? '', points: s.data.length, markers: s.markLine?.data?.length ?? 0 }));
        }"""
    )
    return found


def test_charts_show_data_and_what_happened(console: Settings, browser: Browser) -> None:
    page, errors, elsewhere = _open(browser, console, 1280, 900)
    try:
        series = _series(page)
        quality = next(each for each in series if each["name"] == "schedule-v1")
        assert int(str(quality["points"])) > 100
        assert max(int(str(each["markers"])) for each in series) >= 3
        for words in ("quality alarm: not now", "it does not pay", "GPU 0.00 of 10 h"):
            assert page.get_by_text(words).first.is_visible(), words
        assert errors == []
        assert elsewhere == []
    finally:
        page.close()


def test_words_from_events_are_shown_as_text(console: Settings, browser: Browser) -> None:
    page, _, _ = _open(browser, console, 1280, 900)
    try:
        assert page.get_by_text("quality fell <b>fast</b>").count() >= 1
    finally:
        page.close()


def test_the_page_fits_a_phone(console: Settings, browser: Browser) -> None:
    page, errors, _ = _open(browser, console, 390, 844)
    try:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert errors == []
    finally:
        page.close()


def test_a_pipeline_can_be_chosen(console: Settings, browser: Browser) -> None:
    page, errors, _ = _open(browser, console, 1280, 900)
    try:
        page.get_by_text("support", exact=True).first.click()
        page.get_by_text("a customer's question in, an intent out").wait_for(timeout=30_000)
        assert errors == []
    finally:
        page.close()


def test_the_spend_of_the_budget_is_shown_while_the_stream_processor_says_it(
    console: Settings, browser: Browser
) -> None:
    page, errors, _ = _open(browser, console, 1280, 900)
    gauges = {ALLOWED: 0.02, DETECTED: 3, WATCHED: 11}
    try:
        assert not page.get_by_text("false alarms allowed").is_visible()
        for gauge, value in gauges.items():
            gauge.labels("schedule").set(value)
        with Service(console, "streams", port=console.port("streams")):
            said = "one in 21 days, which makes 0.02 so far; the detectors raised 3 alarms, false or not, on 11 series"
            page.get_by_text(said).wait_for(timeout=30_000)
        page.get_by_text(said).wait_for(state="hidden", timeout=30_000)
        assert errors == []
    finally:
        for gauge in gauges:
            gauge.remove("schedule")
        page.close()


def _alarm_page(browser: Browser, settings: Settings, width: int) -> tuple[Page, list[str], list[str]]:
    """The alarm's page with evidence whose questions are an attack; what it complained of, and what it asked for."""
    file = evidence_file(settings.data_dir, ALARM_ID)
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(encode(some_evidence()))
    page = browser.new_page(viewport={"width": width, "height": 900})
    errors: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: errors.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: asked.append(request.url.removeprefix("data:,")))
    page.goto(f"http://127.0.0.1:{settings.console_port}/alarms/{ALARM_ID}", timeout=60_000)
    return page, errors, asked


@pytest.mark.parametrize("width", [1280, 390])
def test_an_alarm_explains_itself_and_runs_nothing_that_users_wrote(
    console: Settings, browser: Browser, width: int
) -> None:
    page, errors, asked = _alarm_page(browser, console, width)
    try:
        assert page.get_by_role("heading", level=1).inner_text() == "schedule: quality fell <b>fast</b>"
        assert page.get_by_text("Most of it is tenant “acme”").is_visible()
        assert page.get_by_text(HOSTILE.split(" ")[0]).first.is_visible()
        assert page.get_by_text("schedule-v2 is the canary with 25 % of the traffic").is_visible()
        assert page.locator("svg.trend:visible polyline").count() == 1
        assert page.locator("script, img").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert errors == []
        assert [url for url in asked if url] == [f"http://127.0.0.1:{console.console_port}/alarms/{ALARM_ID}"]
    finally:
        page.close()


def test_the_demo_finds_an_alarm_explained_once_its_evidence_is_there(console: Settings) -> None:
    file = evidence_file(console.data_dir, ALARM_ID)
    file.unlink(missing_ok=True)
    unknown = msgspec.structs.replace(alarm(), data=msgspec.structs.replace(alarm().data, alarm_id="b" * 32))
    waits: list[float] = []

    def build(seconds: float) -> None:
        waits.append(seconds)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(encode(some_evidence()))

    assert unexplained(console, [alarm()], build) == [] and len(waits) == 1
    assert unexplained(console, [alarm(), unknown], build, within_s=0) == [unknown]


def test_the_timeline_leads_to_the_alarms_page(console: Settings, browser: Browser) -> None:
    page, _, _ = _open(browser, console, 1280, 900)
    try:
        with page.expect_popup() as opened:
            page.get_by_role("link", name="why?").first.click()
        assert opened.value.url.endswith(f"/alarms/{ALARM_ID}")
        opened.value.get_by_role("heading", name="What was done about it").wait_for(timeout=30_000)
    finally:
        page.close()


def test_evidence_is_served_and_nothing_else(console: Settings) -> None:
    def status(path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{console.console_port}{path}", timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    folder = console.data_dir / "evidence"
    folder.mkdir(exist_ok=True)
    (folder / f"{'a' * 32}.html").write_text("<html><body>report</body></html>")
    assert status(f"/evidence/{'a' * 32}") == 200
    assert status(f"/evidence/{'b' * 32}") == 404
    assert status("/evidence/..%2Fsecrets%2Fgateway.keys") == 404
    assert status(f"/alarms/{ALARM_ID}") == 200
    assert status(f"/alarms/{'b' * 32}") == 404
    assert status("/alarms/..%2Fsecrets%2Fgateway.keys") == 404
