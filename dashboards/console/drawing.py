"""The wheel as a picture: a ring of stations, the one it stands at lit. Pure; every word in it is escaped."""

from __future__ import annotations

import math
from html import escape

from dashboards.console.wheel import Light, StationShown, Wheel

COLOURS: dict[Light, str] = {"ahead": "#cbd5e1", "done": "#0d9488", "now": "#f59e0b", "failed": "#dc2626"}
_WIDTH, _HEIGHT, _RADIUS, _DOT = 540, 420, 138, 17
_ICONS = {
    "watch": "◉",
    "alarm": "!",
    "data": "≡",
    "train": "▲",
    "gate": "⊓",
    "shadow": "◐",
    "canary": "%",
    "champion": "★",
}


def drawing(wheel: Wheel, title: str) -> str:
    """The wheel as SVG text, scaling to its container."""
    middle = _WIDTH / 2
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(f"{title}: {wheel.headline}")}" '
        'xmlns="http://www.w3.org/2000/svg" style="width:100%;height:auto;font-family:inherit">',
        f'<circle cx="{middle}" cy="{_HEIGHT / 2}" r="{_RADIUS}" fill="none" stroke="#e2e8f0" stroke-width="5"/>',
    ]
    count = len(wheel.stations)
    for index, shown in enumerate(wheel.stations):
        if shown.light in ("done", "now") and index > 0:
            parts.append(_arc(middle, index - 1, index, count))
    parts += [_station(shown, index, count, middle) for index, shown in enumerate(wheel.stations)]
    parts.append(_text(middle, _HEIGHT / 2 - 19, wheel.headline, size=25, weight=700, colour="#0f172a"))
    parts.append(_text(middle, _HEIGHT / 2 + 5, wheel.version, size=15, colour="#475569"))
    for line, words in enumerate(_lines(wheel.detail, 27, 3)):
        parts.append(_text(middle, _HEIGHT / 2 + 29 + 17 * line, words, size=13, colour="#64748b"))
    parts.append("</svg>")
    return "".join(parts)


def _place(index: int, count: int, radius: float, middle: float) -> tuple[float, float]:
    angle = 2 * math.pi * index / count - math.pi / 2
    return middle + radius * math.cos(angle), _HEIGHT / 2 + radius * math.sin(angle)


def _arc(middle: float, first: int, last: int, count: int) -> str:
    (x1, y1), (x2, y2) = _place(first, count, _RADIUS, middle), _place(last, count, _RADIUS, middle)
    colour = COLOURS["done"]
    return (
        f'<path d="M {x1:.1f} {y1:.1f} A {_RADIUS} {_RADIUS} 0 0 1 {x2:.1f} {y2:.1f}" fill="none" '
        f'stroke="{colour}" stroke-width="5"/>'
    )


def _station(shown: StationShown, index: int, count: int, middle: float) -> str:
    x, y = _place(index, count, _RADIUS, middle)
    colour = COLOURS["done" if shown.light == "now" and not _is_busy(shown) else shown.light]
    halo = ""
    if shown.light == "now":
        halo = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_DOT + 5}" fill="{colour}" class="tm-halo"/>'
    ink = "#475569" if shown.light == "ahead" else "#ffffff"
    dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_DOT}" fill="{colour}"/>'
    icon = _text(x, y + 5, _ICONS[shown.station], size=15, colour=ink, weight=700)
    return halo + dot + icon + _label(shown, index, count, middle)


def _is_busy(shown: StationShown) -> bool:
    """Whether work goes on there; watching is what a healthy pipeline does."""
    return shown.light == "now" and shown.station != "watch"


def _label(shown: StationShown, index: int, count: int, middle: float) -> str:
    x, y = _place(index, count, _RADIUS + 34, middle)
    top, bottom = index == 0, index == count // 2
    anchor = "middle" if top or bottom else "start" if index < count // 2 else "end"
    y += -20 if top else 12 if bottom else -8
    colour = "#b45309" if _is_busy(shown) else "#334155" if shown.light != "ahead" else "#94a3b8"
    lines = _text(x, y, shown.station, size=15, colour=colour, weight=700, anchor=anchor)
    parts = [part for part in (shown.figure, _duration(shown.seconds)) if part]
    below = [" · ".join(parts)] if top or bottom else parts
    for number, words in enumerate((words for words in below if words), start=1):
        lines += _text(
            x, y + 16 * number, _cut(words, 34 if top or bottom else 19), size=12, colour="#64748b", anchor=anchor
        )
    return lines


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _cut(words: str, width: int) -> str:
    return words if len(words) <= width else words[: width - 1] + "…"


def _lines(text: str, width: int, most: int) -> list[str]:
    """The words in lines of at most ``width`` characters; what does not fit ends in an ellipsis."""
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + len(word) < width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    if len(lines) > most:
        lines = [*lines[: most - 1], lines[most - 1][: width - 1] + "…"]
    return lines


def _text(x: float, y: float, words: str, *, size: int, colour: str, weight: int = 400, anchor: str = "middle") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f'fill="{colour}">{escape(words)}</text>'
    )
