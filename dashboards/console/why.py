"""An alarm's page: why it fired, in words and figures that a person on call understands. Pure.

Every text comes from outside (prompts are hostile): the template escapes all of them, and the page runs no script.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dashboards.console.story import Story
from dashboards.console.timeline import Entry, timeline
from dashboards.console.trend import NARROW, WIDE, Mark, legend, trend
from dashboards.console.view import Pipeline
from tidemill.evidence import OLD_MS, WAIT_MS, Evidence, Slice
from tidemill.metrics import UNITS
from tidemill.slices import ATTRIBUTE

SHOWN_SLICES = 8
SOON_MS = 600_000
"""So long after an alarm its page looks for evidence often."""
OFTEN_S, SELDOM_S = 10, 60
"""Between two looks."""
_templates = Environment(
    loader=PackageLoader("dashboards.console", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
_GLYPHS = {"red": "!", "amber": "i", "teal": "✓", "purple": "▲", "grey": "·"}


@dataclass(frozen=True)
class Fact:
    """One figure of the alarm; ``note`` says what it is."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class SliceRow:
    """One row of the table of slices."""

    name: str
    value: str
    telling: bool
    share: str
    mean: str
    part: str
    bar: float
    """Its part in the change, from 0 to 100."""
    explains: str


def page(story: Story, deployment: str) -> str:
    """The whole page as HTML."""
    data, found = story.alarm.data, story.evidence
    age_ms = story.now_ms - story.alarm.time_ms
    waiting = found is None and data.kind != "system" and age_ms <= OLD_MS
    return _templates.get_template("alarm.html").render(
        deployment=deployment,
        data=data,
        resolved=story.resolved is not None,
        notice=data.severity == "info" or data.kind == "drift",
        headline=data.summary or f"{data.pipeline}: {data.metric}",
        day=_local(story.alarm.time_ms).strftime("%-d %B %Y, %Z"),
        facts=facts(story),
        picture=Markup(_picture(story)),
        versions=legend(story.points),
        about_calls=data.kind != "system",
        waiting=waiting,
        again_s=OFTEN_S if age_ms < SOON_MS else SELDOM_S,
        earliest_s=WAIT_MS // 1000,
        oldest_h=OLD_MS // 3_600_000,
        evidence=found,
        slice_words=slice_words(found) if found is not None else "",
        slices=slice_rows(found) if found is not None else [],
        figure_name=_figure_name(found) if found is not None else "",
        examples=_examples(found) if found is not None else [],
        texts_words=_TEXTS.get(found.capture, "") if found is not None else "",
        done=[(_clock(entry.time_ms), _GLYPHS.get(entry.colour, "·"), entry) for entry in done(story)],
        done_words=_done_words(story),
        neighbour=story.neighbour,
        has_report=story.has_report,
        muted=story.muted,
    )


def facts(story: Story) -> list[Fact]:
    """What changed, by how much, since when; what judged it."""
    data = story.alarm.data
    burning = data.detector == "burn_rate"
    unit = "" if burning else UNITS.get(data.metric, "")
    found = [Fact("at the alarm", amount(data.value, unit) if data.value is not None else "no data")]
    if data.reference is not None:
        found.append(Fact("before", amount(data.reference, unit), "the reference"))
    if data.threshold is not None:
        found.append(Fact("threshold", amount(data.threshold, unit), _JUDGES.get(data.detector, data.detector)))
    elif data.detector:
        found.append(Fact("found by", _JUDGES.get(data.detector, data.detector)))
    if data.statistic is not None:
        limit = amount(data.statistic_limit)
        note = f"it alarms at {limit}: on average one false alarm in so many seconds of traffic at most"
        found.append(Fact("the detector stood at", amount(data.statistic), note))
    if data.change_time_ms is not None:
        note = "estimated, by the time of the calls"
        then_ms = story.alarm.time_ms
        ends = [_clock(ms, then_ms) for ms in (data.change_from_ms, data.change_until_ms) if ms is not None]
        if len(set(ends)) == 2:
            note = f"or between {ends[0]} and {ends[1]}"
        found.append(Fact("changed at", _clock(data.change_time_ms, then_ms), note))
    found.append(Fact("alarm at", _clock(story.alarm.time_ms), _later(data.change_time_ms, story.alarm.time_ms)))
    if story.resolved is not None:
        note = story.resolved.data.reason or _later(story.alarm.time_ms, story.resolved.time_ms, "the alarm")
        found.append(Fact("ended at", _clock(story.resolved.time_ms), note))
    return found


_JUDGES = {
    "rule": "a rule of the settings",
    "burn_rate": "how fast the error budget may burn",
    "budget": "what may be spent in a day",
    "conformal": "beyond it counts as changed, says the change detector",
    "dependence": "a test whether values depend on those before them",
    "adwin": "ADWIN: the least fall that counts",
    "cusum": "CUSUM, in deviations gathered",
}


def slice_words(found: Evidence) -> str:
    """The sentence on where the change lies."""
    first = found.slices[0] if found.telling else None
    unit = UNITS.get(found.metric, "")
    if first is None:
        return _NO_SLICE[found.found]
    named = f"{_dimension(first)} “{first.value}”" if first.value else f"calls without {_dimension(first)}"
    shares = f"{first.share_before:.0%} of the calls before the change, {first.share_after:.0%} since"
    if first.coincides:
        return f"The change coincides with {named}: {shares}. What else changed then cannot be told from it."
    rest = _rest(found, first)
    means = [amount(value, unit) for value in (first.mean_before, first.mean_after, *(rest or ()))]
    own = f"from {means[0]} to {means[1]}" if first.mean_before is not None else f"to {means[1]}"
    others = "" if rest is None else f", all others from {means[2]} to {means[3]}"
    return f"Most of it is {named}: {shares}. Its calls went {own}{others}."


_NO_SLICE = {
    "slice": "",
    "none": "No slice stands out: the change is spread over the calls, or lies in something that they do not carry.",
    "unchanged": "The mean over these calls hardly moved, so there is nothing to split; see the examples and report.",
    "too_few_calls": "There were too few calls with a known figure on one side of the change to tell slices apart.",
    "not_of_calls": "This metric is no figure of single calls, so it cannot be split over them.",
}
_TEXTS = {
    "redacted": "Texts as they are kept: e-mail addresses and long numbers are blacked out.",
    "off": "This pipeline keeps no texts (capture: off), so there are ids and figures only.",
}


def slice_rows(found: Evidence) -> list[SliceRow]:
    """The table: telling slices first, then those that contribute most."""
    change, unit = found.change, UNITS.get(found.metric, "")
    rows = []
    for index, each in enumerate(found.slices[:SHOWN_SLICES]):
        part = each.contribution / change if change else 0.0
        rows.append(
            SliceRow(
                name=_dimension(each),
                value="all others" if each.rest else each.value or "(none)",
                telling=index < found.telling,
                share=f"{each.share_before:.0%} → {each.share_after:.0%}",
                mean=f"{amount(each.mean_before, unit)} → {amount(each.mean_after, unit)}",
                part=f"{part:.0%}",
                bar=max(0.0, min(100.0, part * 100)),
                explains=_explained(each),
            )
        )
    return rows


def done(story: Story) -> list[Entry]:
    """What the system did about it, oldest first."""
    ends = () if story.resolved is None else (story.resolved,)
    pipeline = Pipeline(
        "", "", alarms=(story.alarm, *ends), jobs=story.jobs, job_steps=story.job_steps, steps=story.steps
    )
    return sorted(timeline(pipeline), key=lambda entry: entry.time_ms)


def amount(value: float | None, unit: str = "") -> str:
    """A figure with its unit; a dash where it is unknown."""
    if value is None:
        return "–"
    if unit == "share":
        return f"{value:.1%}"
    if unit == "currency":
        return f"{value:.3g}"
    size = abs(value)
    number = f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"
    return f"{number} {unit}" if unit in ("ms", "tokens", "characters", "words") else number


def _explained(each: Slice) -> str:
    if each.coincides:
        return "coincides"
    return "–" if each.explains is None else f"{max(-9.99, min(9.99, each.explains)):.0%}"


def _dimension(each: Slice) -> str:
    return each.dimension.removeprefix(ATTRIBUTE).replace("_", " ")


def _rest(found: Evidence, part: Slice) -> tuple[float, float] | None:
    """Mean of all other calls before and after; None where there are none."""
    means = []
    for whole, share, mean in (
        (found.before.mean, part.share_before, part.mean_before),
        (found.after.mean, part.share_after, part.mean_after),
    ):
        if whole is None or share >= 1:
            return None
        means.append((whole - share * (mean or 0.0)) / (1 - share))
    return means[0], means[1]


def _figure_name(found: Evidence) -> str:
    known = {
        "unseen_share": "share of words that calls before did not use",
        "input_novelty": "distance to the nearest call of before, by its words",
        "input_language_mismatch": "share of calls before that were in another language",
    }
    return known.get(found.figure, found.figure.replace("_", " "))


def _examples(found: Evidence) -> list[Mapping[str, Any]]:
    unit = UNITS.get(found.metric, "")
    return [
        {"call": each, "time": _clock(each.time_ms), "figure": amount(each.figure, unit)} for each in found.examples
    ]


def _done_words(story: Story) -> str:
    data = story.alarm.data
    if story.jobs:
        return ""
    if data.kind == "quality" and data.slice:
        return "The fall of a slice starts no retraining: one begins with the alarm on the whole traffic."
    if data.kind == "quality":
        return "No retraining has been opened for it."
    if data.kind == "drift":
        return "A notice informs: it starts a retraining only where scores say that quality has fallen, too."
    return "Alarms of this kind start no retraining: they need a person."


def _picture(story: Story) -> str:
    data = story.alarm.data
    marks = [Mark(story.alarm.time_ms, "alarm", "#b91c1c")]
    if data.change_time_ms is not None:
        marks.insert(0, Mark(data.change_time_ms, "change", _MARK))
    if story.resolved is not None:
        marks.append(Mark(story.resolved.time_ms, "ended", "#0f766e"))
    limit = data.threshold if data.detector == "rule" else None
    unit = UNITS.get(data.metric, "")
    title = f"{data.metric} of {data.pipeline} around the alarm"
    pictures = (
        trend(story.points, story.statistic, marks, limit, title, lambda value: amount(value, unit), _clock, width)
        for width in (WIDE, NARROW)
    )
    return "".join(pictures)


_MARK = "#334155"


def _later(first_ms: int | None, then_ms: int, what: str = "the change") -> str:
    if first_ms is None or then_ms < first_ms:
        return ""
    seconds = (then_ms - first_ms) / 1000
    return f"{seconds:.0f} s after {what}" if seconds < 120 else f"{seconds / 60:.0f} min after {what}"


def _local(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone()


def _clock(time_ms: int, beside_ms: int | None = None) -> str:
    """The time of day; with the day where that is another one than the time beside it."""
    moment = _local(time_ms)
    same_day = beside_ms is None or _local(beside_ms).date() == moment.date()
    return moment.strftime("%H:%M:%S" if same_day else "%d %b %H:%M:%S")
