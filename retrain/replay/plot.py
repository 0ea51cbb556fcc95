"""The comparison as a picture: quality over time with its falls, and below it what each policy did when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from retrain.replay.compare import Compared
from tidemill.errors import Stop

SUFFIXES = (".png", ".svg", ".pdf")
POINTS = 300
"""Points of the quality line at most."""
_MARKS = (
    ("alarm_ms", "v", "#c0392b", "alarm"),
    ("trigger_ms", "o", "#d68910", "training"),
    ("takeover_ms", "^", "#1e8449", "takeover"),
)


def needs(file: Path) -> None:
    """Raises Stop where the file's kind is not known, its folder is missing, or matplotlib is."""
    if file.suffix.lower() not in SUFFIXES:
        raise Stop(f"--plot {file}: the name must end with {', '.join(SUFFIXES)}")
    if not file.resolve().parent.is_dir():
        raise Stop(f"--plot {file}: there is no folder {file.resolve().parent}")
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError as error:
        raise Stop(
            "--plot needs matplotlib, which comes with the extra `train`: pip install tidemill[train]"
        ) from error


def plot(compared: Sequence[Compared], file: Path) -> None:
    """One row of axes a pipeline. The same comparison gives the same picture."""
    import matplotlib
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(11, 4.2 * len(compared)), layout="constrained")
    axes = figure.subplots(2 * len(compared), 1, squeeze=False, height_ratios=[3, 2] * len(compared))[:, 0]
    for at, one in enumerate(compared):
        _quality(axes[2 * at], one)
        _policies(axes[2 * at + 1], one)
        axes[2 * at + 1].sharex(axes[2 * at])
    with matplotlib.rc_context({"svg.hashsalt": "tidemill", "svg.fonttype": "none"}):
        figure.savefig(file, metadata={"Date": None} if file.suffix.lower() == ".svg" else None)


def _quality(axes: Any, one: Compared) -> None:
    history = one.history
    points = sorted((p.call_time_ms, p.score) for p in history.scores if p.variant == "champion")
    size = max(20, -(-len(points) // POINTS))
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    axes.plot([_time(g[len(g) // 2][0]) for g in groups], [float(np.mean([s for _, s in g])) for g in groups], lw=1)
    for fall in one.falls:
        end = history.until_ms if fall.end_ms is None else fall.end_ms
        axes.axvspan(_time(fall.start_ms), _time(end), color="#c0392b", alpha=0.12, lw=0)
        axes.plot([_time(fall.start_ms), _time(end)], [fall.reference] * 2, color="#555555", lw=1, ls="--")
    axes.set_xlim(_time(history.since_ms), _time(history.until_ms))
    axes.set(
        title=f"{history.pipeline}: quality as measured (falls shaded, dashed: their reference)", ylim=(-0.03, 1.03)
    )


def _policies(axes: Any, one: Compared) -> None:
    for lane, result in enumerate(one.results):
        axes.axhline(lane, color="#dddddd", lw=1, zorder=0)
        for name, mark, color, label in _MARKS:
            times = [_time(at) for answer in result.answers if (at := getattr(answer, name)) is not None]
            axes.plot(times, [lane] * len(times), mark, color=color, ms=7, label=label if lane == 0 else None)
        wrong = [_time(at) for at in result.false_times_ms]
        axes.plot(wrong, [lane] * len(wrong), "x", color="#000000", ms=8, label="false training" if lane == 0 else None)
    axes.set(yticks=range(len(one.results)), yticklabels=[result.policy for result in one.results])
    axes.set_ylim(len(one.results) - 0.5, -0.5)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
