"""What asks for a retraining now, and what is known about it beside the store: from the book and the settings. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from retrain.controller.book import Book
from retrain.policy import Known, Trigger, by_age, by_alarm, by_schedule, funds_of
from tidemill import schedule
from tidemill.settings import GpuSettings, PipelineSettings

DAY_MS = 86_400_000


def champion_of(book: Book, name: str, pipeline: PipelineSettings) -> str:
    """The version that serves a pipeline."""
    return book.champions.get(name) or pipeline.champion


def asking(book: Book, pipelines: Mapping[str, PipelineSettings], now_ms: int) -> Iterator[Trigger]:
    """Triggers to decide on: alarms, oldest first, then schedules and ages by pipeline.

    A job that is opened makes its pipeline busy, so decide on each before taking the next.
    """
    for event in list(book.undecided(now_ms)):
        trigger = by_alarm(event)
        if trigger is not None and trigger.pipeline in pipelines:
            yield trigger
    for name, pipeline in pipelines.items():
        if not pipeline.retrain.enabled:
            continue
        for trigger in (scheduled(book, name, pipeline, now_ms), aged(book, name, pipeline, now_ms)):
            if trigger is not None and book.asks(trigger.trigger_id, now_ms, trigger.repeats):
                yield trigger


def scheduled(book: Book, name: str, pipeline: PipelineSettings, now_ms: int) -> Trigger | None:
    """The schedule's latest occurrence, unless it was over before anybody looked."""
    settings = pipeline.trigger
    if not settings.schedule:
        return None
    times = schedule.read(settings.schedule)
    at = times.last(now_ms)
    since = next(
        known
        for known in (
            book.data_end_ms(champion_of(book, name, pipeline)),
            book.last_promotion_ms(name),
            times.last(at - 1),
        )
        if known is not None
    )
    trigger = by_schedule(name, at, since, settings.schedule_slack_s)
    missed = trigger.until_ms is not None and now_ms > trigger.until_ms
    return None if missed and not book.attempts(trigger.trigger_id) else trigger


def aged(book: Book, name: str, pipeline: PipelineSettings, now_ms: int) -> Trigger | None:
    """The champion's data, where it is older than it may be."""
    days, champion = pipeline.trigger.max_data_age_days, champion_of(book, name, pipeline)
    end_ms = book.data_end_ms(champion)
    if days is None or end_ms is None:
        return None
    trigger = by_age(name, champion, end_ms, days)
    return trigger if now_ms >= trigger.time_ms else None


def known_of(
    trigger: Trigger,
    book: Book,
    pipelines: Mapping[str, PipelineSettings],
    gpu: GpuSettings,
    now_ms: int,
    trains_here: bool = True,
) -> Known:
    """What is known about a trigger without asking the store."""
    name = trigger.pipeline
    champion = champion_of(book, name, pipelines[name])
    data_end_ms = book.data_end_ms(champion)
    return Known(
        now_ms=now_ms,
        busy=book.busy(name),
        last_end_ms=book.last_end_ms(name),
        resolved=trigger.trigger_id in book.resolved,
        trains_here=trains_here,
        champion=champion,
        data_age_days=None if data_end_ms is None else (now_ms - data_end_ms) / DAY_MS,
        funds=funds_of(book.jobs.values(), name, pipelines, gpu, now_ms),
    )
