"""The live page: pipelines at a glance, the wheel and the figures of one of them, and what happened."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from nicegui import ui

from dashboards.console import charts, decided
from dashboards.console.drawing import drawing
from dashboards.console.feed import Feed
from dashboards.console.muted import muted
from dashboards.console.timeline import Entry, compared, of_system, standing, timeline
from dashboards.console.view import Picture, Pipeline
from dashboards.console.wheel import wheel
from tidemill.clock import Clock
from tidemill.silences import Mutes

_STYLE = """
body { background: #f8fafc; color: #0f172a; }
.nicegui-content { padding: 0; }
.tm-card { background: #fff; border: 1px solid #e2e8f0; border-radius: 10px; }
.tm-chosen { border-color: #0d9488; box-shadow: 0 0 0 1px #0d9488; }
.tm-halo { opacity: .35; animation: tm-pulse 1.6s ease-in-out infinite; }
@keyframes tm-pulse { 50% { opacity: .1; } }
@media (prefers-reduced-motion: reduce) { .tm-halo { animation: none; } }
"""
ESTIMATE_OLD_MS = 180_000
"""An estimate that began longer ago is not shown as the present one: it may have been withdrawn."""
UNSEEN = ("pending", "shadow")
"""Phases of a rollout in which no client sees an answer of the candidate."""
_TIME = "text-sm text-slate-500 tabular-nums shrink-0"
_DOTS = {"healthy": "#0d9488", "alarm": "#dc2626"}


class Page:
    """One open browser page; redraws what has changed since it last looked."""

    def __init__(
        self, feed: Feed, clock: Clock, deployment: str, refresh_s: float, mutes: Callable[[], Mutes | None]
    ) -> None:
        self._feed = feed
        self._clock = clock
        self._mutes = mutes
        self._chosen = next(iter(feed.picture.pipelines), "")
        ui.add_css(_STYLE)
        ui.page_title(f"tidemill · {deployment}")
        self._header(deployment)
        with ui.column().classes("w-full max-w-screen-xl mx-auto p-3 md:p-4 gap-4"):
            self._cards = ui.row().classes("w-full gap-3")
            self._muted = ui.column().classes("w-full gap-0")
            with ui.row().classes("w-full gap-4 items-stretch"):
                with ui.column().classes("tm-card p-3 gap-2 w-full lg:w-[430px] shrink-0"):
                    self._title = ui.label().classes("text-lg font-bold")
                    self._purpose = ui.label().classes("text-sm text-slate-500 -mt-2")
                    self._watched = ui.label().classes("text-xs text-amber-700 -mt-2")
                    self._false_alarms = ui.label().classes("text-xs text-slate-500 -mt-2")
                    self._wheel = ui.html("", sanitize=False).classes("w-full")
                    self._rollout = ui.column().classes("w-full gap-1")
                with ui.column().classes("tm-card p-3 grow basis-0 min-w-[300px]"):
                    self._chart = ui.echart({}).classes("w-full").style(f"height: {charts.HEIGHT_PX}px")
            with ui.column().classes("tm-card p-3 w-full gap-1"):
                ui.label("Retraining: decisions").classes("text-lg font-bold")
                self._decisions = ui.column().classes("w-full gap-0")
            with ui.column().classes("tm-card p-3 w-full gap-1"):
                ui.label("What happened").classes("text-lg font-bold")
                self._timeline = ui.column().classes("w-full gap-0")
            with ui.column().classes("tm-card p-3 w-full gap-1") as self._system_card:
                ui.label("Alarms about the deployment itself, of the last day").classes("text-lg font-bold")
                self._system = ui.column().classes("w-full gap-0")
        self._shown: dict[str, object] = {}
        self._draw()
        ui.timer(refresh_s, self._draw)

    def _header(self, deployment: str) -> None:
        with ui.header().classes("bg-slate-900 items-center px-4 py-2 gap-3"):
            ui.label("tidemill").classes("text-xl font-bold tracking-tight")
            ui.label(deployment).classes("text-slate-400")
            ui.space()
            self._trouble = ui.label().classes("text-amber-300 text-sm")
            self._time = ui.label().classes("text-slate-300 text-sm tabular-nums")

    def _choose(self, name: str) -> None:
        self._chosen = name
        self._shown.clear()
        self._draw()

    def _draw(self) -> None:
        picture = self._feed.picture
        self._trouble.text = picture.trouble
        self._time.text = _clock_time(picture.taken_ms, seconds=True) if picture.taken_ms else ""
        if self._chosen not in picture.pipelines:
            self._chosen = next(iter(picture.pipelines), "")
        self._draw_cards(picture)
        self._draw_muted()
        self._system_card.visible = bool(picture.system)
        self._draw_entries("system", self._system, of_system(picture))
        if self._chosen:
            self._draw_pipeline(picture, picture.pipelines[self._chosen])

    def _draw_cards(self, picture: Picture) -> None:
        facts = [_facts(pipeline, picture) for pipeline in picture.pipelines.values()]
        if not self._news("cards", (facts, self._chosen)):
            return
        self._cards.clear()
        with self._cards:
            for name, (headline, figures) in zip(picture.pipelines, facts, strict=True):
                chosen = " tm-chosen" if name == self._chosen else ""
                card = ui.column().classes(f"tm-card px-4 py-2 gap-0 cursor-pointer grow min-w-[260px]{chosen}")
                card.on("click", lambda _, name=name: self._choose(name))
                with card:
                    with ui.row().classes("items-center gap-2 w-full"):
                        colour = _DOTS.get(headline, "#f59e0b")
                        ui.element("span").style(f"width:10px;height:10px;border-radius:50%;background:{colour}")
                        ui.label(name).classes("font-bold")
                        ui.label(headline).classes("text-sm text-slate-500")
                    with ui.row().classes("gap-4"):
                        for label, value in figures:
                            with ui.column().classes("gap-0"):
                                ui.label(value).classes("text-lg tabular-nums leading-tight")
                                ui.label(label).classes("text-xs text-slate-500")

    def _draw_muted(self) -> None:
        lines = muted(self._mutes(), self._clock.now_ms())
        if not self._news("muted", lines):
            return
        self._muted.clear()
        with self._muted:
            for line in lines:
                ui.label(f"not told now: {line}").classes("text-xs text-slate-500 break-words min-w-0")
        self._muted.visible = bool(lines)

    def _draw_pipeline(self, picture: Picture, pipeline: Pipeline) -> None:
        now = wheel(pipeline, self._clock.now_ms())
        self._title.text, self._purpose.text = pipeline.name, pipeline.description
        self._watched.text = pipeline.watched
        self._watched.visible = bool(pipeline.watched)
        self._false_alarms.text = pipeline.false_alarms
        self._false_alarms.visible = bool(pipeline.false_alarms)
        svg = drawing(now, pipeline.name)
        if self._news("wheel", svg):
            self._wheel.content = svg
        figure = charts.options(pipeline, picture.from_ms, picture.taken_ms, picture.window_s)
        if self._news("chart", figure):
            self._chart.options.clear()
            self._chart.options.update(figure)
            self._chart.update()
        self._draw_rollout(pipeline)
        self._draw_decisions(pipeline)
        self._draw_entries("timeline", self._timeline, timeline(pipeline))

    def _draw_entries(self, part: str, column: ui.column, entries: list[Entry]) -> None:
        if not self._news(part, entries):
            return
        column.clear()
        with column:
            if not entries:
                ui.label("nothing yet").classes("text-slate-500")
            for entry in entries:
                with ui.row().classes("w-full items-start gap-3 py-1 border-b border-slate-100 flex-nowrap"):
                    ui.label(_clock_time(entry.time_ms, seconds=True)).classes(_TIME)
                    ui.icon(entry.icon, color=entry.colour).classes("shrink-0")
                    ui.label(entry.text).classes("text-sm grow min-w-0 break-words")
                    if entry.link:
                        ui.link(entry.link_words, entry.link, new_tab=True).classes("text-sm shrink-0")

    def _draw_rollout(self, pipeline: Pipeline) -> None:
        rollout = pipeline.rollout
        if not self._news("rollout", rollout):
            return
        self._rollout.clear()
        if rollout is None:
            return
        with self._rollout:
            ui.label(standing(rollout)).classes("font-bold")
            colour = "negative" if rollout.phase in ("rolled_back", "failed") else "teal"
            share = 100 if rollout.phase == "champion" else rollout.weight
            ui.linear_progress(share / 100, show_value=False, color=colour).classes("h-2")
            seen = "none of its answers is shown yet" if rollout.phase in UNSEEN else f"{share} % of the traffic"
            ui.label(f"{seen} · steps {', '.join(map(str, rollout.steps))} %").classes("text-xs text-slate-500")
            if found := compared(rollout):
                ui.label(found).classes("text-xs text-slate-500")
            for verdict in rollout.verdicts[-3:]:
                ui.label(f"{verdict.check}: {verdict.outcome}, {verdict.reason}").classes("text-xs text-slate-600")

    def _draw_decisions(self, pipeline: Pipeline) -> None:
        lines = decided.lines(pipeline.decisions)
        if not self._news("decisions", lines):
            return
        self._decisions.clear()
        with self._decisions:
            if not lines:
                ui.label("nothing has asked for a retraining lately").classes("text-slate-500")
            for line in lines:
                with ui.row().classes("w-full items-start gap-3 py-1 border-b border-slate-100 flex-nowrap"):
                    ui.label(_clock_time(line.time_ms, seconds=True)).classes(_TIME)
                    ui.icon(line.icon, color=line.colour).classes("shrink-0")
                    with ui.column().classes("grow min-w-0 gap-0"):
                        ui.label(line.headline).classes("text-sm font-bold break-words")
                        for reason in line.reasons:
                            ui.label(reason).classes("text-sm break-words")
                        ui.label(line.figures).classes("text-xs text-slate-500 break-words")

    def _news(self, part: str, content: object) -> bool:
        """Whether a part must be drawn again."""
        if self._shown.get(part) == content and part in self._shown:
            return False
        self._shown[part] = content
        return True


def _facts(pipeline: Pipeline, picture: Picture) -> tuple[str, list[tuple[str, str]]]:
    """The headline and the figures on a pipeline's card."""
    now = wheel(pipeline, picture.taken_ms)
    p95 = [points[-1].p95 for points in pipeline.series.get("e2e_ms", {}).values() if points]
    cost = pipeline.rate("cost", picture.window_s)
    calls = pipeline.rate("requests", picture.window_s)
    errors = pipeline.recent("error_rate")
    quality = pipeline.recent("quality")
    slowest = max((value for value in p95 if value is not None), default=None)
    since_ms = picture.taken_ms - ESTIMATE_OLD_MS
    value, low, high = (pipeline.champions(f"quality_estimate{end}", since_ms) for end in ("", "_low", "_high"))
    estimate = []
    if value is not None and low is not None and high is not None:
        estimate = [("estimated, without labels", f"{value:.2f} ({low:.2f} to {high:.2f})")]
    return now.headline, [
        ("quality", _shown(quality, "{:.2f}")),
        *estimate,
        ("calls/s", _shown(calls, "{:.1f}")),
        ("p95, ms", _shown(slowest, "{:.0f}")),
        ("errors", _shown(errors, "{:.1%}")),
        ("$/h", _shown(None if cost is None else cost * 3600, "{:.3f}")),
    ]


def _shown(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def _clock_time(time_ms: int, *, seconds: bool) -> str:
    moment = datetime.fromtimestamp(time_ms / 1000, UTC).astimezone()
    return moment.strftime("%H:%M:%S" if seconds else "%H:%M")
