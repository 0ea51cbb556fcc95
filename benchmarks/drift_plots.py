"""The pictures of ``drift``, for its page. The same figures give the same pictures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import drift_day15
from benchmarks.drift_day15_ways import RUN_LENGTH as RUN_LENGTH_DAY15
from benchmarks.drift_page import Row
from benchmarks.drift_streams import PUBLISHED
from benchmarks.drift_text_page import Measured
from benchmarks.drift_watches import RUN_LENGTH
from benchmarks.frame import Picture
from streams.detectors.second_opinions import NAMES

OURS, PEERS, OTHERS, ALARM = "#1f6f54", "#b4541a", "#8a8f98", "#c0392b"


class Lane(NamedTuple):
    """One detector."""

    name: str
    figures: tuple[float | None, ...]
    """Delay and false alarms, abrupt and gradual."""
    color: str


def pictures(ours: Mapping[str, Row], peers: Mapping[str, Row], text: Measured | None) -> list[Picture]:
    """Those that can be drawn from what was measured."""
    made = [
        Picture(
            "drift-delay.png",
            "Delay and false alarms of every detector on the public streams, a lane each: tidemill's are quick and "
            "quiet, those that are quicker cry wolf more often",
            partial(delays, ours, peers),
        ),
        Picture(
            "drift-season.png",
            "A series of quality over 15 days with a daily and weekly season, and the wealth of the detector behind, "
            "which reaches the threshold within the hour of an injected fall",
            season,
        ),
    ]
    if text:
        made.append(
            Picture(
                "drift-wealth.png",
                "The wealth of eight series on BANKING77: it stays low for a thousand calls and grows exponentially "
                "once 30 % of the calls are about unseen intents",
                partial(wealth, text),
            )
        )
    return made


def delays(ours: Mapping[str, Row], peers: Mapping[str, Row], file: Path) -> None:
    """A lane for each detector; delay and false alarms of the same run side by side."""
    lanes: list[Lane] = [Lane(name, _figures(row), OURS) for name, row in ours.items()]
    lanes += [Lane(f"river {NAMES[name][1]}", _figures(row), PEERS) for name, row in peers.items()]
    lanes += [Lane(name, tuple(map(float, figures)), OTHERS) for name, figures in PUBLISHED.items()]
    figure, axes = _axes(1, 4, (11, 0.27 * len(lanes) + 1.2))
    titles = ("abrupt: delay, updates", "false alarms a stream", "gradual: delay, updates", "false alarms a stream")
    for column, (axis, title) in enumerate(zip(axes, titles, strict=True)):
        for at, lane in enumerate(lanes):
            axis.axhline(at, color="#e6e6e6", lw=0.8, zorder=0)
            if (value := lane.figures[column]) is not None:
                axis.plot(value, at, "o", color=lane.color, ms=6)
        axis.set_xscale(*(("symlog",) if column % 2 else ("linear",)), **({"linthresh": 0.1} if column % 2 else {}))
        axis.set_xlim(-0.01 if column % 2 else 0, None)
        axis.set_title(title, fontsize=10)
        axis.set_ylim(len(lanes) - 0.5, -0.5)
        axis.set_yticks(range(len(lanes)), [lane.name for lane in lanes] if column == 0 else [""] * len(lanes))
        if column % 2:
            axis.set_xticks([0, 0.1, 1, 6], ["0", "0.1", "1", "6"])
            axis.minorticks_off()
    for label, lane in zip(axes[0].get_yticklabels(), lanes, strict=True):
        label.set_color(lane.color)
    figure.suptitle(
        "Delay beside false alarms (green: tidemill, one in 100,000; brown: river; grey: published)", fontsize=11
    )
    _save(figure, file)


def season(file: Path) -> None:
    """One series of day 15: its hours, the wealth of all days, and the last day closer."""
    points, fall = drift_day15.example()
    hours = np.array([point.time_ms // 3_600_000 for point in points])
    days = np.array([point.time_ms for point in points]) / 86_400_000 + 1
    staked = np.array([max(point.wealth, 1.0) for point in points])
    threshold, begun = RUN_LENGTH_DAY15, fall / drift_day15.DAY + 1
    figure, axes = _axes(3, 1, (10, 7))
    each = np.unique(hours)
    means = [np.mean([p.value for p, hour in zip(points, hours == h, strict=True) if hour]) for h in each]
    axes[0].plot(each / 24 + 1, means, lw=1, color="#555555")
    axes[0].set(
        ylabel="quality, by the hour", title="Quality with a season of day and week falls by 10 points on day 15"
    )
    axes[1].set(ylabel="wealth", xlabel="day")
    axes[1].annotate("no verdict in the first week", (1.2, 30), color="#555555")
    alarmed = staked >= threshold
    for at in np.flatnonzero(alarmed[1:] & ~alarmed[:-1] & (days[1:] < begun)):
        axes[1].annotate("a false alarm ", (days[at], threshold * 2), color=ALARM, ha="right", fontsize=8)
    last = days >= begun - 0.25
    axes[2].set(ylabel="wealth, day 15", xlabel="minutes from the fall")
    minutes = (days[last] - begun) * drift_day15.DAY
    for axis, x, y in ((axes[1], days, staked), (axes[2], minutes, staked[last])):
        axis.semilogy(x, y, lw=0.9, color=OURS)
        axis.axhline(threshold, color=ALARM, lw=1, ls="--")
        axis.set_ylim(1, threshold * 30)
    for axis in axes[:2]:
        axis.axvline(begun, color=ALARM, lw=1)
        axis.set_xlim(1, days[-1] + 0.05)
    axes[2].axvline(0, color=ALARM, lw=1)
    axes[2].set_xlim(minutes[0], minutes[-1])
    axes[2].annotate("alarm ", (0, threshold), color=ALARM, va="bottom", ha="right")
    _save(figure, file)


def wealth(text: Measured, file: Path) -> None:
    """Eight series over one change."""
    figure, axes = _axes(1, 1, (10, 4.2))
    axis, change = axes[0], 1_000
    for index, (name, line) in enumerate(text.wealth):
        axis.semilogy(range(len(line)), np.maximum(line, 0.01), lw=1.1, color=f"C{index}", label=name.replace("_", " "))
    axis.axhline(RUN_LENGTH, color=ALARM, lw=1, ls="--")
    axis.axvline(change, color=ALARM, lw=1)
    axis.annotate("30 % of calls change", (change - 8, 0.13), color=ALARM, ha="right")
    axis.annotate("alarm", (8, RUN_LENGTH), color=ALARM, va="bottom")
    axis.set(
        title="Wealth over time: unseen intents come to BANKING77 (eight series, N = 10,000)",
        xlabel="calls",
        ylabel="wealth",
        ylim=(0.1, RUN_LENGTH * 10),
        xlim=(0, len(text.wealth[0][1])),
    )
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    _save(figure, file)


def _figures(row: Row) -> tuple[float | None, ...]:
    return row.abrupt.delay, row.abrupt.false, row.gradual.delay, row.gradual.false


def _axes(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=size, layout="constrained", facecolor="white")
    axes = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    return figure, axes


def _save(figure: Any, file: Path) -> None:
    figure.savefig(file, dpi=85)
