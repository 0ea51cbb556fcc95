"""Each panel's SQL runs on the real schema with real rows, its macros expanded as Grafana would."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from dashboards.grafana.board import Panel
from dashboards.grafana.panels import BOARDS, PIPELINES
from tests.integration.store_fixture import StoreProcess
from tidemill.io.clickhouse import Store
from tidemill.local.demo.overrides import with_overrides
from tidemill.metrics import HOST_METRICS, WINDOW_METRICS
from tidemill.settings import Settings

NOW = 1_763_800_000_000
HOSTS_SCHEMA = pa.schema(
    {
        "_topic": pa.string(),
        "_partition": pa.int64(),
        "_offset": pa.int64(),
        "host": pa.string(),
        "part": pa.string(),
        "time_ms": pa.int64(),
        "figures": pa.map_(pa.string(), pa.float64()),
    }
)
PANELS = [(board.uid, panel) for board in BOARDS for panel in board.panels if panel.sql]


@pytest.fixture(scope="module")
def filled(store: StoreProcess, stack_settings: Settings) -> Store:
    tables = Store(with_overrides(stack_settings, {"clickhouse.url": store.url, "clickhouse.database": "boards"}))
    tables.migrate()
    source = {"_topic": "dashboards", "_partition": 0, "_offset": 0}
    windows = [
        source
        | {
            "pipeline": "boards",
            "model_version": "boards-v1",
            "variant": "champion",
            "role": "client",
            "slice": slice,
            "metric": metric,
            "unit": "",
            "start_ms": NOW,
            "end_ms": NOW + 5000,
            "n": 3,
            "total": 3.0,
            "total_sq": 3.0,
            "value": 1.0 + revision,
            "p50": 1.0,
            "p95": 1.0,
            "p99": 1.0,
            "complete": True,
            "revision": revision,
            "time_ms": NOW + 6000,
        }
        for metric in WINDOW_METRICS
        for revision in (0, 1)
        for slice in ("", "tenant=acme")
    ]
    rows = {
        "windows": windows,
        "events": [
            source
            | {
                "id": "e",
                "source": "s",
                "type": "t",
                "subject": "x",
                "time_ms": NOW,
                "pipeline": "boards",
                "data": '{"severity":"page","summary":"fell"}',
            }
        ],
        "jobs": [
            source
            | {
                "job_id": "j",
                "seq": 1,
                "time_ms": NOW,
                "pipeline": "boards",
                "phase": "training",
                "reason": "r",
                "alarm_id": "a",
                "candidate_version": "",
                "state": "{}",
            }
        ],
        "rollouts": [
            source
            | {
                "rollout_id": "r",
                "seq": 1,
                "time_ms": NOW,
                "pipeline": "boards",
                "phase": "canary",
                "reason": "r",
                "candidate_version": "boards-v2",
                "champion_version": "boards-v1",
                "weight": 25,
                "state": "{}",
            }
        ],
        "progress": [
            source
            | {
                "job_id": "j",
                "time_ms": NOW,
                "pipeline": "boards",
                "phase": "training",
                "done": 1,
                "of": 2,
                "loss": 0.5,
                "note": "",
            }
        ],
    }
    figures = [dict.fromkeys(HOST_METRICS, 1.0), {}]
    rows["hosts"] = [source | {"host": "h", "part": "p", "time_ms": NOW, "figures": list(f.items())} for f in figures]
    for table, records in rows.items():
        schema = HOSTS_SCHEMA if table == "hosts" else None
        tables.insert(table, pa.Table.from_pylist(records, schema), f"dashboards-{table}")
    return tables


def expanded(sql: str) -> str:
    """The query as the data source would send it, for the minute around NOW and one pipeline."""
    seconds = NOW // 1000
    sql = re.sub(
        r"\$__timeFilter\((\w+)\)", rf"\1 >= toDateTime({seconds - 60}) AND \1 <= toDateTime({seconds + 60})", sql
    )
    sql = sql.replace("${pipeline:sqlstring}", "'boards'")
    assert "$" not in sql, f"a macro was not expanded: {sql}"
    return sql


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=[f"{uid}: {panel.title}" for uid, panel in PANELS])
def test_a_panel_shows_rows(filled: Store, board: str, panel: Panel) -> None:
    rows = filled.rows(expanded(panel.sql))
    assert rows, f"{board}: {panel.title} shows nothing"
    if panel.kind == "timeseries":
        assert "time" in rows[0] and len(rows[0]) >= 2


def test_a_revised_window_counts_once(filled: Store) -> None:
    quality = next(panel for _, panel in PANELS if panel.title == "Quality")
    assert [row["value"] for row in filled.rows(expanded(quality.sql))] == [2.0]


def test_the_pipelines_to_choose_from_are_those_with_windows(filled: Store) -> None:
    assert "boards" in [row["pipeline"] for row in filled.rows(PIPELINES)]
