"""Turns the boards into Grafana's dashboard JSON (grafana-foundation-sdk)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from dashboards.grafana.panels import BOARDS, PIPELINES, Board, Panel

DATASOURCE_UID = "tidemill-clickhouse"
DATASOURCE_TYPE = "grafana-clickhouse-datasource"


@dataclass
class _Query:
    """A target of the ClickHouse data source: both its builder and its model, as the SDK wants them."""

    sql: str
    time_series: bool

    def build(self) -> _Query:
        return self

    def to_json(self) -> dict[str, Any]:
        """The target as Grafana stores it."""
        return {
            "refId": "A",
            "datasource": {"type": DATASOURCE_TYPE, "uid": DATASOURCE_UID},
            "editorType": "sql",
            "queryType": "timeseries" if self.time_series else "table",
            "format": 0 if self.time_series else 1,
            "rawSql": self.sql,
        }


def dashboard_json(board: Board) -> dict[str, Any]:
    """One dashboard, as Grafana stores it."""
    from grafana_foundation_sdk.builders import dashboard as builders
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models import dashboard as models

    source = models.DataSourceRef(type_val=DATASOURCE_TYPE, uid=DATASOURCE_UID)
    pipelines = (
        builders.QueryVariable("pipeline")
        .label("pipeline")
        .query(PIPELINES)
        .datasource(source)
        .multi(True)
        .include_all(True)
        .current(models.VariableOption(text="All", value="$__all"))
    )
    built = (
        builders.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags(["tidemill"])
        .refresh("5s")
        .time("now-30m", "now")
        .with_variable(pipelines)
    )
    for panel in board.panels:
        built.with_panel(_panel(panel, source))
    loaded: dict[str, Any] = json.loads(JSONEncoder(sort_keys=True).encode(built.build()))
    return loaded


def _panel(panel: Panel, source: Any) -> Any:
    from grafana_foundation_sdk.builders import table, timeseries

    made: Any = timeseries.Panel() if panel.kind == "timeseries" else table.Panel()
    return (
        made.title(panel.title)
        .description(panel.description)
        .datasource(source)
        .unit(panel.unit)
        .span(panel.width)
        .height(panel.height)
        .with_target(_Query(panel.sql, panel.kind == "timeseries"))
    )


def all_dashboards() -> dict[str, dict[str, Any]]:
    """Every dashboard by its uid."""
    return {board.uid: dashboard_json(board) for board in BOARDS}
