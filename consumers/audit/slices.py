"""Slices of windows beside the raw rows: the same comparison once more for each dimension of a pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from consumers.audit.figures import Counted, Figure, Series, counted_of
from tidemill.answers import TRUNCATED, USUAL_FINISHES
from tidemill.events.types import MAX_NAME
from tidemill.metrics import DURATIONS
from tidemill.slices import ATTRIBUTE, dimension_of
from tidemill.sql.counting import COUNTED, START

MAX_VALUES = 256
"""With more values in a window the meter may have counted some of them as `other`: it is not compared by these."""
WHOLE = Series("", "champion", "client")

Place = tuple[str, int]
Ask = Callable[..., list[dict[str, Any]]]
"""Rows of a query, with parameters by name."""


def add(
    ask: Ask,
    dimensions: Mapping[str, Sequence[str]],
    counted: dict[Place, dict[Series, Counted]],
    stream: dict[Place, dict[tuple[Series, str], Figure]],
) -> None:
    """Add to ``counted`` what the raw rows say by slice; leave in ``stream`` the slices that can be compared.

    ``dimensions``: by pipeline. A window is compared by those whose slices add up to the stream's own whole: where they
    do not, the setting was changed within the window.
    """
    named = {(place, dimension_of(series.slice)) for place, found in stream.items() for series, _ in found}
    said = {
        (place, dimension)
        for place, dimension in named
        if dimension in dimensions.get(place[0], ()) and _events(stream[place], dimension) == _events(stream[place], "")
    }
    if said:
        _count(ask, dimensions, said, counted)
    for place, dimension in named - said:
        if dimension:
            kept = stream[place].items()
            stream[place] = {key: figure for key, figure in kept if dimension_of(key[0].slice) != dimension}


def _events(found: Mapping[tuple[Series, str], Figure], dimension: str) -> int:
    """Client calls and answers in the slices of a dimension; "": in the whole."""
    return sum(
        figure.n
        for (series, metric), figure in found.items()
        if metric in ("requests", "answers") and series.role == "client" and dimension_of(series.slice) == dimension
    )


def _count(
    ask: Ask,
    dimensions: Mapping[str, Sequence[str]],
    said: set[tuple[Place, str]],
    counted: dict[Place, dict[Series, Counted]],
) -> None:
    """Add up the rows by slice; what cannot be compared is taken out of ``said``."""
    for dimension in sorted({dimension for _, dimension in said}):
        names = [pipeline for pipeline, several in dimensions.items() if dimension in several]
        where = {"pipelines": names, "attribute": dimension.removeprefix(ATTRIBUTE), "most": MAX_VALUES}
        for table in ("requests", "responses"):
            said -= {((row["pipeline"], row["start"]), dimension) for row in ask(_many(table, dimension), **where)}
        for table in ("requests", "responses"):
            for row in ask(_sums(table, dimension), **where):
                place = (row["pipeline"], row["start"])
                if (place, dimension) in said:
                    at = counted.setdefault(place, {})
                    series = WHOLE._replace(slice=f"{dimension}={row['value']}")
                    at[series] = at.get(series, Counted()).plus(counted_of(row))


def _value(dimension: str) -> str:
    field = "attributes[{attribute:String}]" if dimension.startswith(ATTRIBUTE) else dimension
    return f"substringUTF8({field}, 1, {MAX_NAME - len(dimension) - 1})"


def _where(table: str) -> str:
    return f"{COUNTED} AND pipeline IN {{pipelines:Array(String)}}" + (
        " AND role = 'client'" if table == "responses" else ""
    )


def _many(table: str, dimension: str) -> str:
    """Windows with too many values to be compared."""
    return (
        f"SELECT pipeline, {START} AS start FROM {table} WHERE {_where(table)} GROUP BY pipeline, start "
        f"HAVING uniqExact({_value(dimension)}) > {{most:UInt32}}"
    )


def _sums(table: str, dimension: str) -> str:
    durations = ", ".join(f"count({name}) AS {name}_n, ifNull(sum({name}), 0) AS {name}_total" for name in DURATIONS)
    figures = {"requests": "count() AS requests", "responses": f"{ANSWERS}, {durations}"}[table]
    return (
        f"SELECT * FROM (SELECT pipeline, {START} AS start, {_value(dimension)} AS value, {figures}, "
        f"count() OVER (PARTITION BY pipeline, start) AS values FROM {table} AS r WHERE {_where(table)} "
        "GROUP BY pipeline, start, value) WHERE values <= {most:UInt32}"
    )


ANSWERS = f"""count() AS answers, countIf(status IN ('error', 'timeout')) AS failed,
       countIf(status = 'cancelled') AS cancelled, countIf(gen_ai_response_finish_reason != '') AS finished,
       countIf(gen_ai_response_finish_reason = '{TRUNCATED}') AS truncated,
       countIf(gen_ai_response_finish_reason NOT IN {("", *USUAL_FINISHES)}) AS other_finish,
       count(r.cost_micros) AS priced, sum(r.cost_micros) AS cost_micros,
       sum(gen_ai_usage_input_tokens) AS input_tokens, sum(gen_ai_usage_cached_tokens) AS cached_tokens,
       sum(gen_ai_usage_output_tokens) AS output_tokens"""
"""The sums of answers ``r``."""
