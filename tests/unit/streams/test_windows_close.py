"""When windows close, revise and forget. Windows are 10 s, lateness 30 s, the watermark runs 0.5 s behind a meter."""

from __future__ import annotations

import msgspec
import pytest

from streams.windows.bucket import Closed
from streams.windows.sources import Sources, Watermark
from streams.windows.state import Windows
from streams.windows.tally import OTHER, Series
from tests.unit.streams.drawing import START_MS, Meter, answers, deployment, requests
from tidemill.events import Partial, Progress
from tidemill.settings.monitoring import WindowSettings

WINDOWS = deployment().windows
MAX_SERIES = WINDOWS.max_series


class Following:
    """The windows of one pipeline, and the sources they follow."""

    def __init__(self) -> None:
        self.windows = Windows()
        self.sources = Sources()
        self.watermark_ms = 0

    def apply(self, partial: Partial, settings: WindowSettings) -> str:
        return self.windows.apply(partial, self.sources.clock_ms, settings)

    def heard(self, progress: Progress, settings: WindowSettings) -> list[Closed]:
        self.sources = self.sources.heard(progress, progress.time_ms, settings.silent_source_s * 1000)
        found = self.sources.watermark(settings.silent_source_s * 1000)
        if found is None:
            return []
        self.watermark_ms = max(self.watermark_ms, found.ms)
        return list(self.windows.follow(Watermark(self.watermark_ms, found.complete), settings))


def starts(reports: list[Closed]) -> list[tuple[int, int]]:
    """(start in seconds, revision) of what was reported."""
    return [((closed.start_ms - START_MS) // 1000, closed.revision) for closed in reports]


def test_a_window_closes_when_the_watermark_passes_its_end() -> None:
    meter, windows = Meter(), Following()
    windows.apply(meter.partial([answers(3, [100.0, 200.0])]), WINDOWS)
    assert starts(windows.heard(meter.progress(10.4), WINDOWS)) == []
    (closed,) = windows.heard(meter.progress(10.5), WINDOWS)
    assert starts([closed]) == [(0, 0)]
    assert closed.complete
    (tally,) = closed.series.values()
    assert tally.answers == 2


def test_it_closes_once() -> None:
    meter, windows = Meter(), Following()
    windows.apply(meter.partial([answers(3, [100.0])]), WINDOWS)
    windows.heard(meter.progress(11), WINDOWS)
    assert windows.heard(meter.progress(11), WINDOWS) == []
    assert windows.heard(meter.progress(12), WINDOWS) == []


def test_an_idle_stream_goes_on_closing_windows() -> None:
    meter, windows = Meter(), Following()
    windows.apply(meter.partial([requests(3, 1)]), WINDOWS)
    assert starts(windows.heard(meter.progress(31), WINDOWS)) == [(0, 0), (10, 0), (20, 0)]


def test_a_source_that_is_behind_holds_the_watermark_at_its_newest_event() -> None:
    meter, windows = Meter(), Following()
    windows.apply(meter.partial([requests(3, 1), requests(14, 1)]), WINDOWS)
    behind = meter.progress(60, behind=[0], newest_s=14)
    assert starts(windows.heard(behind, WINDOWS)) == [(0, 0)]


def test_nothing_closes_before_every_source_was_heard() -> None:
    meter, windows = Meter(), Following()
    windows.apply(meter.partial([requests(3, 1)]), WINDOWS)
    assert windows.heard(meter.progress(30, partitions=[0], of=2), WINDOWS) == []
    assert starts(windows.heard(meter.progress(31, partitions=[1], of=2, name="meter-2"), WINDOWS))[0] == (0, 0)


def test_late_data_raises_the_revision_of_its_series_alone() -> None:
    meter, windows = Meter(), Following()
    windows.apply(meter.partial([answers(3, [100.0]), answers(3, [50.0], variant="canary", version="v2")]), WINDOWS)
    windows.heard(meter.progress(11), WINDOWS)
    windows.apply(meter.partial([answers(4, [300.0])]), WINDOWS)
    (revised,) = windows.heard(meter.progress(12), WINDOWS)
    assert starts([revised]) == [(0, 1)]
    assert [tally.answers for tally in revised.series.values()] == [2]


def test_later_than_lateness_it_is_counted_and_changes_nothing() -> None:
    meter, windows = Meter(), Following()
    windows.apply(meter.partial([answers(3, [100.0])]), WINDOWS)
    windows.heard(meter.progress(41), WINDOWS)
    windows.apply(meter.partial([answers(4, [300.0, 300.0])]), WINDOWS)
    assert windows.windows.too_late == 2
    assert [report for report in windows.heard(meter.progress(42), WINDOWS) if report.revision] == []
    assert START_MS not in windows.windows.buckets | windows.windows.closed, "its state is gone"


def test_a_repeated_range_changes_nothing() -> None:
    meter, windows = Meter(), Following()
    partial = meter.partial([answers(3, [100.0])])
    assert windows.apply(partial, WINDOWS) == "applied"
    assert windows.apply(partial, WINDOWS) == "repeated"
    (closed,) = windows.heard(meter.progress(11), WINDOWS)
    assert [tally.answers for tally in closed.series.values()] == [1]


def test_an_overlapping_range_is_counted_and_left_out() -> None:
    meter, windows = Meter(), Following()
    first = meter.partial([answers(3, [100.0]), answers(3, [100.0])])
    windows.apply(first, WINDOWS)
    overlapping = Partial(
        topic=first.topic, partition=0, lo=first.hi, hi=first.hi + 5, pipeline="schedule", cells=first.cells
    )
    assert windows.apply(overlapping, WINDOWS) == "overlap"
    assert windows.windows.overlaps == 1
    (closed,) = windows.heard(meter.progress(11), WINDOWS)
    assert [tally.answers for tally in closed.series.values()] == [2]


def test_the_same_offsets_of_another_partition_are_other_data() -> None:
    meter, windows = Meter(), Following()
    assert windows.apply(meter.partial([answers(3, [1.0])], partition=0), WINDOWS) == "applied"
    assert windows.apply(meter.partial([answers(3, [1.0])], partition=1), WINDOWS) == "applied"


@pytest.mark.parametrize(("silent_for_s", "closes"), [(59, False), (60, True)])
def test_a_silent_source_holds_the_watermark_for_a_minute_at_most(silent_for_s: int, closes: bool) -> None:
    meter, windows = Meter(), Following()
    windows.apply(meter.partial([requests(3, 1)]), WINDOWS)
    windows.heard(meter.progress(5, partitions=[0, 1]), WINDOWS)
    reports = windows.heard(meter.progress(5 + silent_for_s, partitions=[0], of=2), WINDOWS)
    assert bool(reports) == closes
    assert not any(closed.complete for closed in reports), "what was not heard of may be missing"


def test_a_source_never_heard_of_holds_it_as_long() -> None:
    meter, windows = Meter(), Following()
    windows.apply(meter.partial([requests(3, 1)]), WINDOWS)
    assert windows.heard(meter.progress(5, of=2), WINDOWS) == []
    reports = windows.heard(meter.progress(66, of=2), WINDOWS)
    assert reports
    assert not reports[0].complete


def test_a_clock_that_runs_ahead_neither_pushes_the_watermark_nor_opens_far_windows() -> None:
    meter, windows = Meter(), Following()
    windows.heard(meter.progress(5), WINDOWS)
    windows.apply(meter.partial([requests(3, 1), requests(100_000, 1)]), WINDOWS)
    ahead = meter.progress(6, behind=[0], newest_s=100_000)
    assert windows.heard(ahead, WINDOWS) == []
    assert windows.watermark_ms == START_MS + 5_500
    assert max(windows.windows.buckets) <= START_MS + 30_000
    assert windows.windows.ahead == 1


def test_after_a_long_jump_only_the_last_empty_windows_are_reported() -> None:
    meter, windows = Meter(), Following()
    windows.apply(meter.partial([requests(3, 1)]), WINDOWS)
    reports = windows.heard(meter.progress(86_400), WINDOWS)
    assert len(reports) == 61
    assert starts(reports)[0] == (0, 0)


def test_the_watermark_never_goes_back() -> None:
    meter, windows = Meter(), Following()
    windows.apply(meter.partial([requests(3, 1)]), WINDOWS)
    windows.heard(meter.progress(30), WINDOWS)
    before = windows.watermark_ms
    assert windows.heard(meter.progress(20), WINDOWS) == []
    assert windows.heard(meter.progress(31, behind=[0], newest_s=3), WINDOWS) == []
    assert windows.watermark_ms == before


def test_more_versions_than_a_window_takes_are_counted_together() -> None:
    meter, windows = Meter(), Following()
    first = [answers(3, [100.0], version=f"v{n}") for n in range(MAX_SERIES)]
    more = [answers(3, [100.0, 200.0], version=f"w{n}") for n in range(20_000)]
    known = [answers(4, [100.0], version="v0"), requests(4, 7)]
    windows.apply(meter.partial([*first, *more, *known]), WINDOWS)
    (closed,) = windows.heard(meter.progress(11), WINDOWS)
    assert len(closed.series) == MAX_SERIES + 2
    assert closed.series[Series(OTHER).key].answers == windows.windows.folded == 40_000
    assert closed.series[Series("v0").key].answers == 2
    assert closed.series[Series().key].requests == 7
    assert sum(tally.answers for tally in closed.series.values()) == MAX_SERIES + 40_001
    assert len(msgspec.msgpack.encode(windows.windows)) < 1_000_000


def test_late_answers_of_a_version_too_many_revise_the_others() -> None:
    meter, windows = Meter(), Following()
    windows.apply(meter.partial([answers(3, [100.0], version=f"v{n}") for n in range(MAX_SERIES + 1)]), WINDOWS)
    windows.heard(meter.progress(11), WINDOWS)
    windows.apply(meter.partial([answers(3, [100.0], version="late")]), WINDOWS)
    (revised,) = windows.heard(meter.progress(12), WINDOWS)
    assert (revised.revision, list(revised.series)) == (1, [Series(OTHER).key])
