"""A figure around an alarm as a picture: one line a version, with the change and the alarm marked. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import NamedTuple

from dashboards.console.charts import VERSION_COLOURS, version_order
from dashboards.console.view import Point

WIDE, NARROW = 960, 380
"""Widths of the picture for a screen and for a phone."""
_HEIGHT = 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 14, 34, 28
_INK, _GRID = "#475569", "#e2e8f0"
_MOST_POINTS = 2_000


class Mark(NamedTuple):
    """A moment on the picture."""

    time_ms: int
    label: str
    colour: str


def trend(
    points: Mapping[str, Sequence[Point]],
    statistic: str,
    marks: Sequence[Mark],
    limit: float | None,
    title: str,
    shown: Callable[[float], str],
    clock: Callable[[int], str],
    width: int = WIDE,
) -> str:
    """SVG text that scales to its container; empty without a figure to draw. ``limit`` is drawn as a level."""
    lines = {version: _values(each, statistic) for version, each in points.items()}
    every = [place for line in lines.values() for place in line]
    if len(every) < 2:
        return ""
    times = [time for time, _ in every]
    first, last = min(times), max(times)
    top = max([value for _, value in every] + ([limit] if limit is not None else [])) * 1.08 or 1.0
    low = min(0.0, *(value for _, value in every))

    def x(time_ms: int) -> float:
        return _LEFT + (time_ms - first) / max(last - first, 1) * (width - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (value - low) / ((top - low) or 1.0) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg viewBox="0 0 {width} {_HEIGHT}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg" class="trend {"wide" if width == WIDE else "narrow"}">'
    ]
    for level in (low, (low + top / 1.08) / 2, top / 1.08):
        parts.append(_line(_LEFT, y(level), width - _RIGHT, y(level), _GRID))
        parts.append(_text(_LEFT - 8, y(level) + 4, shown(level), "end"))
    for time_ms, anchor in ((first, "start"), ((first + last) // 2, "middle"), (last, "end")):
        parts.append(_text(x(time_ms), _HEIGHT - 8, clock(time_ms), anchor))
    if limit is not None:
        parts.append(_line(_LEFT, y(limit), width - _RIGHT, y(limit), "#dc2626", dashed=True))
        parts.append(_text(width - _RIGHT, y(limit) - 5, f"threshold {shown(limit)}", "end", "#b91c1c"))
    for index, version in enumerate(sorted(lines, key=version_order)):
        colour = VERSION_COLOURS[index % len(VERSION_COLOURS)]
        drawn = " ".join(f"{x(time_ms):.1f},{y(value):.1f}" for time_ms, value in lines[version])
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
    for row, mark in enumerate(mark for mark in marks if first <= mark.time_ms <= last):
        parts.append(_line(x(mark.time_ms), _TOP - 4, x(mark.time_ms), _HEIGHT - _BOTTOM, mark.colour, dashed=True))
        near_end = x(mark.time_ms) > width * 0.85
        anchor, shift = ("end", -5) if near_end else ("start", 5)
        parts.append(_text(x(mark.time_ms) + shift, 12 + 15 * (row % 2), mark.label, anchor, mark.colour))
    parts.append("</svg>")
    return "".join(parts)


def legend(points: Mapping[str, Sequence[Point]]) -> list[tuple[str, str]]:
    """Version and colour of each line; empty where there is one line at most."""
    versions = sorted((version for version, each in points.items() if each), key=version_order)
    return list(zip(versions, VERSION_COLOURS * len(versions), strict=False)) if len(versions) > 1 else []


def _values(points: Sequence[Point], statistic: str) -> list[tuple[int, float]]:
    chosen = {"p50": "p50", "p95": "p95"}.get(statistic, "value")
    found = [(point.start_ms, value) for point in points if (value := getattr(point, chosen)) is not None]
    every = -(-len(found) // _MOST_POINTS) or 1
    return found[::every]


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="1.2"{dashes}/>'
    )


def _text(x: float, y: float, words: str, anchor: str, colour: str = _INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="13" fill="{colour}">{escape(words)}</text>'
