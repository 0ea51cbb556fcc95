"""A figure around an alarm as a picture: one line a version, with the change and the alarm marked. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import NamedTuple

from dashboards.console.charts import VERSION_COLOURS, version_order
from dashboards.console.view import Point

WIDE, NARROW = 960, 380
"""Widths of the picture for a screen and for a phone."""
_HEIGHT = 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 14, 34, 28
_SIGN, _GAP = 7.5, 8
"""Width of a sign, and between a label and the figure; the left margin grows with the labels."""
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
    levels = [(level, shown(level)) for level in (low, (low + top / 1.08) / 2, top / 1.08)]
    left = max(_LEFT, _GAP + _SIGN * max(len(words) for _, words in levels))

    def x(time_ms: int) -> float:
        return left + (time_ms - first) / max(last - first, 1) * (width - left - _RIGHT)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (value - low) / ((top - low) or 1.0) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg viewBox="0 0 {width} {_HEIGHT}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg" class="trend {"wide" if width == WIDE else "narrow"}">'
    ]
    for level, words in levels:
        parts.append(_line(left, y(level), width - _RIGHT, y(level), _GRID))
        parts.append(_text(left - _GAP, y(level) + 4, words, "end"))
    for time_ms, anchor in ((first, "start"), ((first + last) // 2, "middle"), (last, "end")):
        parts.append(_text(x(time_ms), _HEIGHT - 8, clock(time_ms), anchor))
    curves = {version: [(x(time_ms), y(value)) for time_ms, value in line] for version, line in lines.items()}
    for index, version in enumerate(sorted(lines, key=version_order)):
        colour = VERSION_COLOURS[index % len(VERSION_COLOURS)]
        drawn = " ".join(f"{across:.1f},{down:.1f}" for across, down in curves[version])
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
    if limit is not None:
        words = f"threshold {shown(limit)}"
        parts.append(_line(left, y(limit), width - _RIGHT, y(limit), "#dc2626", dashed=True))
        place = _free(list(curves.values()), y(limit), left, width - _RIGHT, _SIGN * len(words))
        parts.append(_text(*place, words, "start", "#b91c1c"))
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


def _free(
    curves: Sequence[Sequence[tuple[float, float]]], level: float, left: float, right: float, wide: float
) -> tuple[float, float]:
    """Where words about a level begin, above or below it, so that least of the curves runs through them."""

    def crossed(place: tuple[float, float]) -> int:
        across, base = place
        return sum(
            max(x1, x2) >= across
            and min(x1, x2) <= across + wide
            and max(y1, y2) >= base - 12
            and min(y1, y2) <= base + 4
            for curve in curves
            for (x1, y1), (x2, y2) in itertools.pairwise(curve)
        )

    starts = (right - wide, left + _GAP, (left + right - wide) / 2)
    places = [(start, level + shift) for shift in (-6, 16) for start in starts]
    return min((place for place in places if _TOP <= place[1] <= _HEIGHT - _BOTTOM), key=crossed, default=places[0])


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
