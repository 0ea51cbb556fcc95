"""However much comes at once, the state stays below what the changelog takes, and goes on rightly afterwards."""

from __future__ import annotations

from streams.app.table import MAX_STATE_BYTES
from streams.windows.state import MAX_BYTES, Windows
from streams.windows.tally import OTHER
from tests.unit.streams.drawing import START_MS, START_S, Message, Meter, Reader, answers, deployment, requests, score
from tidemill.events import Cell, Moments, Partials
from tidemill.events.types import MAX_MICROS

DAY_S = 86_400
QUIET = [{"name": "quiet", "metric": "requests", "below": 1, "for_windows": 1}]
SPENT = ("queue_ms", "ttft_ms", "tpot_ms", "e2e_ms")
NINE_DECADES = dict.fromkeys(range(-230, 806), 1_000)


def windows_of(reader: Reader) -> Windows:
    (fold,) = reader.fold
    return fold.windows


def largest(reader: Reader) -> int:
    return max(len(state) for _, state in reader.fold.changed())


def test_three_months_of_an_own_backfill_in_one_range() -> None:
    meter, reader = Meter(), Reader(deployment(rules=QUIET))
    cells = [requests(at_s, 1) for at_s in range(-90 * DAY_S, 0, 240)]
    scores = [score(-at_s, 1.0, feedback_id=f"f{at_s}") for at_s in range(20_000)]
    out = reader.take(meter.partial(cells, scores))
    windows = windows_of(reader)
    assert MAX_BYTES * 0.99 < windows.weight <= MAX_BYTES
    assert largest(reader) < MAX_STATE_BYTES / 2
    assert len(out.windows) == windows.early > 1_000
    assert not any(row.complete for row in out.windows)
    assert out.events == [], "what left early is judged by no rule"
    rest = reader.take(meter.progress(11))
    assert sum(row.value or 0 for row in [*out.windows, *rest.windows]) == len(cells), "each call once"
    later = reader.take(meter.partial([requests(21, 7)]), meter.progress(31)).windows
    assert [(row.start_ms, row.value, row.complete) for row in later] == [
        (START_MS + 10_000, 0.0, True),
        (START_MS + 20_000, 7.0, True),
    ]


def test_what_comes_for_a_window_that_left_early_is_too_late() -> None:
    meter, reader = Meter(), Reader(deployment())
    reader.take(meter.partial([requests(at_s, 1) for at_s in range(-90 * DAY_S, 0, 240)]))
    said = reader.take(meter.partial([requests(-90 * DAY_S, 5)]), meter.progress(1)).windows
    assert windows_of(reader).too_late == 5
    assert len({(row.start_ms, row.metric) for row in said}) == len(said)


def test_a_weekend_of_backlog_while_one_source_stands_still() -> None:
    meter, reader = Meter(), Reader(deployment())
    hour, out = 0, []
    while not (hour and windows_of(reader).early):
        seconds = range(hour * 3600, (hour + 1) * 3600, 10)
        partial = meter.partial([answers(s, [float(s % 97 + i) for i in range(30)]) for s in seconds])
        behind = meter.progress(60 * DAY_S, partitions=[0, 1], behind=[0, 1], newest_s=-1)
        out += reader.take(partial, behind).windows
        hour += 1
    assert hour > 36, "a day and a half of windows is kept open"
    assert largest(reader) < MAX_STATE_BYTES
    assert out
    assert not any(row.complete for row in out)


def test_five_hundred_series_with_the_worst_histograms_fit_in_one_window() -> None:
    meter, reader = Meter(), Reader(deployment())
    reader.take(meter.partial(worst(500, at_s=1)))
    assert windows_of(reader).early == 0
    full = largest(reader)
    assert full < MAX_STATE_BYTES
    early = reader.take(meter.partial(worst(500, at_s=11))).windows
    assert {row.start_ms for row in early} == {START_MS}
    assert windows_of(reader).early == 1
    rows = reader.take(meter.progress(21)).windows
    assert len({row.model_version for row in rows}) == 500
    assert OTHER not in {row.model_version for row in rows}
    assert all(row.complete for row in rows)


def worst(series: int, at_s: int) -> list[Cell]:
    moments = {name: Moments(n=1_036_000, total=1.5e9, total_sq=1.5e12) for name in (*SPENT, "output_chars", "quality")}
    return [
        Cell(
            second=START_S + at_s,
            model_version=f"schedule-v{number}",
            answers=1_036_000,
            outcomes={"ok": 1_036_000},
            moments=moments,
            histograms=dict.fromkeys(SPENT, NINE_DECADES),
        )
        for number in range(series)
    ]


def test_pipelines_that_nobody_announced_are_bounded() -> None:
    settings = deployment()
    settings = settings.model_copy(update={"windows": settings.windows.model_copy(update={"max_unknown_pipelines": 2})})
    reader = Reader(settings)
    names = ["a", "b", "c", "d", "schedule"]
    first = Partials(partials=tuple(Meter(name).partial([requests(1, 1)]) for name in names))
    rows = reader.take(first, Meter().progress(11)).windows
    assert {row.pipeline for row in rows} == {"a", "b", "schedule"}
    assert reader.fold.outcomes == {"applied": 3, "refused": 2}
    again = Reader(settings, dict(reader.fold.changed()), reader.offset)
    again.take(Meter("e").partial([requests(12, 1)]))
    assert again.fold.outcomes == {"refused": 1}, "a restart lets nobody in"


def test_a_pipeline_nobody_announced_gives_its_place_back_after_a_day_without_traffic() -> None:
    settings = deployment()
    settings = settings.model_copy(update={"windows": settings.windows.model_copy(update={"max_unknown_pipelines": 2})})
    meter, reader = Meter(), Reader(settings)
    reader.take(*(Meter(name).partial([requests(at_s, 1)]) for name, at_s in (("b", 1), ("a", 21))), meter.progress(60))
    reader.take(meter.progress(DAY_S), Meter("early").partial([requests(DAY_S, 1)]))
    assert reader.fold.outcomes == {"applied": 2, "refused": 1}, "a day ago to the window it was"
    before = dict(reader.fold.changed())
    said: list[Message] = [
        meter.progress(DAY_S + 2),
        Meter("new").partial([requests(DAY_S + 5, 3)]),
        meter.progress(DAY_S + 11),
    ]
    out = reader.take(*said)
    assert {row.pipeline for row in out.windows if row.value} == {"new"}
    after = dict(reader.fold.changed())
    assert reader.fold.released() == ["b"], "idle longest"
    assert reader.fold.released() == []
    left = {name: state for name, state in (before | after).items() if name != "b"}
    again = Reader(settings, left, reader.offset)
    assert {fold.name for fold in again.fold} == {"a", "new"}
    for killed in (before, before | after):
        replayed = Reader(settings, killed, reader.offset - len(said))
        replayed.take(*said)
        replayed.take(Meter("new").partial([requests(DAY_S + 12, 1)]))
        assert "refused" not in replayed.fold.outcomes


def test_a_pipeline_that_comes_back_after_its_place_was_taken_keeps_its_new_state() -> None:
    settings = deployment()
    settings = settings.model_copy(update={"windows": settings.windows.model_copy(update={"max_unknown_pipelines": 1})})
    meter, reader = Meter(), Reader(settings)
    back = Meter("b")
    reader.take(back.partial([requests(1, 1)]), meter.progress(60), meter.progress(2 * DAY_S))
    reader.take(
        Meter("a").partial([requests(2 * DAY_S, 1)]), meter.progress(2 * DAY_S + 200), meter.progress(4 * DAY_S)
    )
    reader.take(back.partial([requests(4 * DAY_S, 1)]))
    assert "b" in dict(reader.fold.changed())
    assert reader.fold.released() == ["a"]
    assert reader.fold.outcomes == {"applied": 3}


def test_a_meter_whose_clock_is_hours_ahead_moves_nobody() -> None:
    meter, reader = Meter(), Reader(deployment(rules=QUIET))
    reader.take(meter.partial([requests(3, 1)]))
    for second in range(1, 9):
        out = reader.read(meter.progress(second + 3 * 3600), reader.offset + second, START_MS + second * 1000)
        assert (out.windows, out.events) == ([], [])
    assert reader.fold.watermark_ms == START_MS + 7_500


def test_a_meter_whose_clock_is_behind_is_slow_not_silent() -> None:
    meter, reader = Meter(), Reader(deployment())
    reader.take(meter.partial([requests(3, 1)]))
    out = reader.read(meter.progress(11), reader.offset, START_MS + 3_600_000)
    assert [row.complete for row in out.windows] == [True]


def test_after_an_outage_of_the_meter_its_backlog_is_no_fall_of_traffic() -> None:
    meter, reader = Meter(), Reader(deployment(rules=QUIET))
    out = reader.take(meter.partial([requests(3, 5)]), meter.progress(11))
    out = reader.take(meter.progress(700, behind=[0], newest_s=10), meter.progress(701, behind=[0], newest_s=10))
    assert out == ([], []), "back after ten minutes, it is behind, not idle"
    for begin in range(10, 700, 10):
        cells = [requests(second, 5) for second in range(begin, begin + 10)]
        out = reader.take(meter.partial(cells), meter.progress(702, behind=[0], newest_s=begin + 10))
        assert out.events == []
        assert all(row.value == 50 for row in out.windows)


def test_text_metrics_say_what_share_was_looked_at() -> None:
    meter, reader = Meter(), Reader(deployment())
    asked = requests(1, 10, chars=[5.0, 7.0])
    answered = Cell(
        second=START_S + 1,
        model_version="v",
        answers=8,
        sampled_answers=6,
        moments={"output_chars": Moments(n=6, total=60.0, total_sq=600.0), "e2e_ms": Moments(n=8, total=8, total_sq=8)},
    )
    rows = reader.take(meter.partial([asked, answered]), meter.progress(11)).windows
    shares = {row.metric: row.sample_share for row in rows}
    assert (shares["input_chars"], shares["output_chars"], shares["e2e_ms"], shares["requests"]) == (0.2, 0.75, 1, 1)


def test_costs_beyond_every_price_still_fit_a_state() -> None:
    meter, reader = Meter(), Reader(deployment())
    costs = [answers(1, [5.0], cost_micros=MAX_MICROS, priced=1) for _ in range(2_100)]
    assert sum(cell.cost_micros for cell in costs) > 2**64
    reader.take(meter.partial(costs))
    again = Reader(deployment(), dict(reader.fold.changed()), reader.offset)
    rows = again.take(meter.partial(costs[:1]), meter.progress(11)).windows
    (cost,) = (row for row in rows if row.metric == "cost")
    assert (cost.n, cost.value) == (2_101, MAX_MICROS / 1_000_000)
