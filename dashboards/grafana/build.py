"""Turns the boards into Grafana's dashboard JSON (grafana-foundation-sdk)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from dashboards.grafana.board import Board, Panel
from dashboards.grafana.panels import BOARDS, PIPELINES

CLICKHOUSE = ("grafana-clickhouse-datasource", "tidemill-clickhouse")
PROMETHEUS = ("prometheus", "tidemill-prometheus")
"""Type and uid of the data sources, which deploy/compose/grafana/provisioning/datasources makes."""
_CHOICE = "${pipeline:"
"""Stands in the SQL of panels that show the pipelines a person has chosen."""


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
            "datasource": dict(zip(("type", "uid"), CLICKHOUSE, strict=True)),
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

    built = (
        builders.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags(["tidemill"])
        .refresh("5s")
        .time("now-30m", "now")
    )
    if any(_CHOICE in panel.sql for panel in board.panels):
        built.with_variable(
            builders.QueryVariable("pipeline")
            .label("pipeline")
            .query(PIPELINES)
            .datasource(_source(CLICKHOUSE))
            .multi(True)
            .include_all(True)
            .current(models.VariableOption(text="All", value="$__all"))
        )
    for panel in board.panels:
        built.with_panel(_panel(panel))
    loaded: dict[str, Any] = json.loads(JSONEncoder(sort_keys=True).encode(built.build()))
    return loaded


def _source(named: tuple[str, str]) -> Any:
    from grafana_foundation_sdk.models import dashboard as models

    return models.DataSourceRef(type_val=named[0], uid=named[1])


def _panel(panel: Panel) -> Any:
    from grafana_foundation_sdk.builders import prometheus, table, timeseries

    made: Any = timeseries.Panel() if panel.kind == "timeseries" else table.Panel()
    made.title(panel.title).description(panel.description).unit(panel.unit).span(panel.width).height(panel.height)
    if panel.sql:
        return made.datasource(_source(CLICKHOUSE)).with_target(_Query(panel.sql, panel.kind == "timeseries"))
    made.datasource(_source(PROMETHEUS))
    for ref_id, (promql, legend) in zip(ascii_uppercase, panel.expressions, strict=False):
        made.with_target(
            prometheus.Dataquery().ref_id(ref_id).datasource(_source(PROMETHEUS)).expr(promql).legend_format(legend)
        )
    return made


def all_dashboards() -> dict[str, dict[str, Any]]:
    """Every dashboard by its uid."""
    return {board.uid: dashboard_json(board) for board in BOARDS}
