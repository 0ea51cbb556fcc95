"""One ECharts figure a pipeline: quality, latency, traffic, drift and cost on one time axis, with what happened marked.

Pure: a Pipeline in, ECharts options out. Source: the ECharts option reference.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dashboards.console.view import Pipeline, Point
from tidemill.ids import pipeline_and_number

VERSION_COLOURS = ("#0f766e", "#d97706", "#7c3aed", "#2563eb", "#be185d", "#4d7c0f")
_PANELS = (
    "quality (dashed: estimate)",
    "latency, ms (p95; dashed: p50)",
    "calls / s",
    "drift",
    "cost, $ / h",
)
_QUALITY, _LATENCY, _CALLS, _DRIFT, _COST = range(5)
TOOLTIP = """(shown) => {
  const plain = (text) => String(text).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
  const figure = (value) => value == null ? "–" : value.toLocaleString("en", {maximumFractionDigits: 4});
  const lines = [...shown].sort((a, b) => a.seriesIndex - b.seriesIndex).map(
    (each) => `${each.marker}${plain(each.seriesId)}: <b>${figure(each.value[1])}</b>`);
  return shown.length ? [plain(shown[0].axisValueLabel), ...lines].join("<br>") : "";
}"""
"""JavaScript from ECharts' description of the points under the pointer to HTML: a series' id says what its figure is,
and series are in the order of the panels.
"""
CUT_SHARE = 0.02
"""Share of the p95s that the latency axis may leave out (one at least): a cold start must not flatten the rest."""
CUT_FROM = 2.0
"""They are left out only where the highest is so many times what the others need."""
_TOP, _HEIGHT, _GAP = 100, 100, 40
ABOVE_TITLE_PX = 30
"""Labels of marks begin above the panel's title."""
LEAST_CUT = 5
"""With fewer p95s all are shown."""
SHORTEST_MS = 180_000
"""The time axis is never shorter."""
DRIFT_COLOUR = "#a16207"
ALARM_COLOUR = "#dc2626"
HEIGHT_PX = _TOP + len(_PANELS) * (_HEIGHT + _GAP) + 8


@dataclass(frozen=True)
class Marker:
    """Something that happened, marked on every panel; notices, and falls of a slice, have a line without a label."""

    time_ms: int
    label: str
    colour: str


def markers(pipeline: Pipeline, from_ms: int) -> list[Marker]:
    """Changes, alarms, trainings and rollout steps of the time shown, in time order."""
    found: list[Marker] = []
    for event in pipeline.alarms:
        data = event.data
        if data.state == "firing" and data.slice and data.kind == "quality":  # the panels show the whole traffic
            found.append(Marker(event.time_ms, "", ALARM_COLOUR))
        elif data.state == "firing" and data.kind != "drift":
            if data.change_time_ms is not None:
                found.append(Marker(data.change_time_ms, "change", "#64748b"))
            found.append(Marker(event.time_ms, f"alarm: {data.metric}", ALARM_COLOUR))
        elif data.state == "firing":
            found.append(Marker(event.time_ms, "", DRIFT_COLOUR))
    for job in pipeline.jobs:
        for each in job.stations:
            if each.station == "train":
                found.append(Marker(each.started_ms, "training", "#7c3aed"))
    for rollout in pipeline.rollouts:
        for each in rollout.stations:
            if each.station in ("shadow", "canary", "champion"):
                found.append(Marker(each.started_ms, each.station, "#0d9488"))
        if rollout.phase == "rolled_back":
            found.append(Marker(rollout.time_ms, "rolled back", ALARM_COLOUR))
    return sorted((marker for marker in found if marker.time_ms >= from_ms), key=lambda marker: marker.time_ms)


def options(pipeline: Pipeline, from_ms: int, to_ms: int, window_s: int) -> dict[str, Any]:
    """The whole figure; times are epoch milliseconds."""
    versions = sorted({v for by_version in pipeline.series.values() for v in by_version if v}, key=version_order)
    colours = {version: VERSION_COLOURS[index % len(VERSION_COLOURS)] for index, version in enumerate(versions)}
    series: list[dict[str, Any]] = []
    for version, colour in colours.items():
        values, estimates = _values(pipeline, "quality", version), _estimates(pipeline, version)
        series.append(_line(version, _QUALITY, "quality", values, colour))
        series.append(_line(version, _QUALITY, "quality, estimate", estimates, colour, dashed=True))
    for version, colour in colours.items():
        p95, p50 = (_quantile(pipeline, version, name) for name in ("p95", "p50"))
        series.append(_line(version, _LATENCY, "latency p95, ms", p95, colour))
        series.append(_line(version, _LATENCY, "latency p50, ms", p50, colour, dashed=True))
    for version, colour in colours.items():
        series.append(_area(version, _CALLS, "calls / s", _values(pipeline, "answers", version, 1 / window_s), colour))
    series.append(_line("unseen words", _DRIFT, "drift", _values(pipeline, "input_unseen_share", ""), "#0284c7"))
    distance = _values(pipeline, "input_word_distance", "")
    series.append(_line("distance of wording", _DRIFT, "drift", distance, "#9333ea"))
    for version, colour in colours.items():
        series.append(_line(version, _COST, "cost, $ / h", _values(pipeline, "cost", version, 3600 / window_s), colour))
    marked = markers(pipeline, from_ms)
    cut = latency_cut([p.p95 for points in pipeline.series.get("e2e_ms", {}).values() for p in points])
    start_ms = _start(pipeline, from_ms, to_ms)
    for panel in range(len(_PANELS)):
        series.append(_marks(panel, marked, labelled=panel == 0))
    return {
        "animation": False,
        "legend": {"top": 0, "data": [*versions, "unseen words", "distance of wording"], "type": "scroll"},
        "tooltip": {"trigger": "axis", "confine": True, ":formatter": TOOLTIP},
        "axisPointer": {"link": [{"xAxisIndex": "all"}]},
        "grid": [
            {"left": 52, "right": 14, "top": _TOP + panel * (_HEIGHT + _GAP), "height": _HEIGHT}
            for panel in range(len(_PANELS))
        ],
        "xAxis": [
            {
                "type": "time",
                "gridIndex": panel,
                "min": start_ms,
                "max": to_ms,
                "axisLabel": {"show": panel == len(_PANELS) - 1, "hideOverlap": True},
                "axisTick": {"show": False},
            }
            for panel in range(len(_PANELS))
        ],
        "yAxis": [_axis(panel, name, cut) for panel, name in enumerate(_PANELS)],
        "series": series,
    }


def _start(pipeline: Pipeline, from_ms: int, to_ms: int) -> int:
    """Where the time axis begins: at the first figure, so that a young deployment fills it; SHORTEST_MS at least."""
    firsts = [points[0].start_ms for by_version in pipeline.series.values() for points in by_version.values() if points]
    return max(from_ms, min([to_ms - SHORTEST_MS, *firsts]))


def latency_cut(p95s: Iterable[float | None]) -> tuple[float, float] | None:
    """Where the latency axis ends, and the highest value, both ms; None where all values are shown."""
    known = sorted((value for value in p95s if value is not None), reverse=True)
    if len(known) < LEAST_CUT:
        return None
    top = known[max(1, int(len(known) * CUT_SHARE))]
    if known[0] <= CUT_FROM * top or top <= 0:
        return None
    step = 10.0 ** math.floor(math.log10(top))
    return math.ceil(1.2 * top / step) * step, known[0]


def _axis(panel: int, name: str, cut: tuple[float, float] | None) -> dict[str, Any]:
    if panel == _LATENCY and cut is not None:
        name += f"; cut off at {cut[0]:,.0f}, the highest is {cut[1]:,.0f}"
    axis: dict[str, Any] = {
        "type": "value",
        "gridIndex": panel,
        "name": name,
        "nameTextStyle": {"align": "left", "padding": [0, 0, 0, -40], "fontWeight": "bold"},
        "nameGap": 14,
        "splitNumber": 3,
        "min": 0,
    }
    if panel == _LATENCY and cut is not None:
        return axis | {"max": cut[0]}
    return axis | ({"max": 1, "interval": 0.5} if panel == _QUALITY else {})


def _values(pipeline: Pipeline, metric: str, version: str, scale: float = 1.0) -> list[list[float | None]]:
    points = pipeline.series.get(metric, {}).get(version, ())
    return [[p.start_ms, None if p.value is None else round(p.value * scale, 4)] for p in points]


def _estimates(pipeline: Pipeline, version: str) -> list[list[float | None]]:
    """At the ends of the stretches that they are of: nobody knew them before."""
    points = pipeline.series.get("quality_estimate", {}).get(version, ())
    return [[p.end_ms or p.start_ms, None if p.value is None else round(p.value, 4)] for p in points]


def _quantile(pipeline: Pipeline, version: str, name: str) -> list[list[float | None]]:
    points: Iterable[Point] = pipeline.series.get("e2e_ms", {}).get(version, ())
    return [[p.start_ms, None if (v := getattr(p, name)) is None else round(v, 1)] for p in points]


def _line(
    name: str, panel: int, figure: str, data: list[list[float | None]], colour: str, *, dashed: bool = False
) -> dict[str, Any]:
    return {
        "type": "line",
        "id": f"{figure} · {name}",
        "name": name,
        "xAxisIndex": panel,
        "yAxisIndex": panel,
        "data": data,
        "showSymbol": len(data) < 3,
        "symbolSize": 4,
        "lineStyle": {"width": 1 if dashed else 2, "type": "dashed" if dashed else "solid"},
        "itemStyle": {"color": colour},
    }


def _area(name: str, panel: int, figure: str, data: list[list[float | None]], colour: str) -> dict[str, Any]:
    return _line(name, panel, figure, data, colour) | {"areaStyle": {"opacity": 0.25}}


def _marks(panel: int, marked: list[Marker], *, labelled: bool) -> dict[str, Any]:
    """A series without points that carries the vertical lines; labels in three rows, so that neighbours are legible."""
    rows = itertools.count()
    lines = [
        {
            "xAxis": marker.time_ms,
            "lineStyle": {"color": marker.colour, "type": "dashed", "width": 1},
            "label": {
                "show": labelled and bool(marker.label),
                "formatter": marker.label,
                "color": marker.colour,
                "fontSize": 10,
                "distance": [0, ABOVE_TITLE_PX + 11 * (next(rows) % 3 if marker.label else 0)],
            },
        }
        for marker in marked
    ]
    return {
        "type": "line",
        "xAxisIndex": panel,
        "yAxisIndex": panel,
        "data": [],
        "markLine": {"silent": True, "symbol": "none", "data": lines},
    }


def version_order(version: str) -> tuple[str, int]:
    """Versions in the order they were made."""
    name, number = pipeline_and_number(version)
    return name, int(number) if number.isdigit() else 0
