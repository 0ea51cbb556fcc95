"""From the calls of both sides to the evidence of an alarm. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from consumers.evidence.call import Call, kept
from consumers.evidence.examples import examples
from consumers.evidence.slices import Answer, Row, search
from tidemill.evidence import Evidence, Side
from tidemill.metrics import ESTIMATES, LANGUAGE_MISMATCH, NOVELTY, WINDOW_METRICS, WORD_METRICS
from tidemill.word_sets import distance_to, word_set

UNSEEN = "unseen_share"
_OF_NO_CALL = ("requests", "answers", *ESTIMATES)
MOST_SLICES = 60


class Job(Struct, frozen=True, kw_only=True):
    """What one build is given; it travels to the builder as JSON."""

    title: str
    out: str
    """Path of the report without its ending."""
    alarm_id: str
    pipeline: str
    metric: str
    change_ms: int
    made_ms: int
    capture: str
    reference: list[Call]
    current: list[Call]


def figure_of(metric: str) -> str:
    """What of a call stands for a metric; empty where nothing does: the metric counts calls, or is none of ours."""
    if metric in WORD_METRICS:
        return UNSEEN
    return metric if metric in WINDOW_METRICS and metric not in _OF_NO_CALL else ""


def evidence(job: Job) -> Evidence:
    """Both sides, the search for a telling slice, and examples. Equal jobs, equal evidence."""
    figure = figure_of(job.metric)
    sides = ([kept(call, job.capture) for call in job.reference], [kept(call, job.capture) for call in job.current])
    if figure in _OF_REFERENCE:
        sides = _with_reference(*sides, figure)
    known = [_known(side, figure) for side in sides]
    before, after = (_side(side, values) for side, values in zip(sides, known, strict=True))
    answer = Answer("not_of_calls", (), 0)
    if figure:
        answer = search(_rows(sides[0], known[0]), _rows(sides[1], known[1]))
    change = (after.mean or 0.0) - (before.mean or 0.0)
    first = answer.slices[0] if answer.telling else None
    named = (first.dimension, first.value) if first is not None else None
    shown = examples(sides[1], known[1], change, named)
    if job.capture == "off":
        shown = tuple(replace(each, slices={}) for each in shown)
    return Evidence(
        alarm_id=job.alarm_id,
        pipeline=job.pipeline,
        metric=job.metric,
        figure=figure,
        made_ms=job.made_ms,
        change_ms=job.change_ms,
        capture=job.capture,
        before=before,
        after=after,
        found=answer.found,
        slices=answer.slices[:MOST_SLICES],
        telling=min(answer.telling, MOST_SLICES),
        examples=shown,
    )


def _with_reference(before: Sequence[Call], after: Sequence[Call], figure: str) -> tuple[list[Call], list[Call]]:
    """The calls with a figure that compares them with the older half of the calls before the change; that half is the
    reference and no longer a side.
    """
    half = len(before) // 2
    of = _OF_REFERENCE[figure](before[:half])

    def told(calls: Sequence[Call]) -> list[Call]:
        return [replace(call, figures=call.figures | {figure: of(call)}) for call in calls]

    return told(before[half:]), told(after)


def _unseen_share(reference: Sequence[Call]) -> Callable[[Call], float | None]:
    """The share of a call's words that the reference never used."""
    vocabulary = {word for call in reference for word in call.words}

    def share(call: Call) -> float | None:
        total = sum(call.words.values())
        return sum(n for word, n in call.words.items() if word not in vocabulary) / total if total else None

    return share


def _mismatch(reference: Sequence[Call]) -> Callable[[Call], float | None]:
    """The share of the reference's calls that are in another language than a call; None where it is not known."""
    languages = Counter(language for call in reference if (language := call.slices.get("input_language")))
    total = languages.total()

    def share(call: Call) -> float | None:
        language = call.slices.get("input_language")
        return 1 - languages[language] / total if language and total else None

    return share


def _novelty(reference: Sequence[Call]) -> Callable[[Call], float | None]:
    """How far a call's words are from those of the nearest call of the reference."""
    sets = [one for call in reference if (one := word_set(call.words))]
    nearest = distance_to(sets) if sets else None

    def distance(call: Call) -> float | None:
        own = word_set(call.words)
        return nearest(own) if own and nearest else None

    return distance


_OF_REFERENCE = {UNSEEN: _unseen_share, LANGUAGE_MISMATCH: _mismatch, NOVELTY: _novelty}


def _known(calls: Sequence[Call], figure: str) -> dict[str, float]:
    values = ((call.call_id, call.figures.get(figure)) for call in calls)
    return {call_id: float(value) for call_id, value in values if value is not None}


def _rows(calls: Sequence[Call], values: Mapping[str, float]) -> list[Row]:
    return [Row(values[call.call_id], call.slices) for call in calls if call.call_id in values]


def _side(calls: Sequence[Call], values: Mapping[str, float]) -> Side:
    return Side(
        from_ms=calls[0].time_ms if calls else None,
        until_ms=calls[-1].time_ms if calls else None,
        calls=len(calls),
        known=len(values),
        mean=sum(values.values()) / len(values) if values else None,
    )
