"""The fault suite's story raises the alarms that it gives cause for and no others, without any fault."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from streams.meter.batch import Batch, Span
from streams.meter.fold import fold, rules_of
from tests.faults.story import ALARMS, Plot, story
from tests.unit.streams.drawing import START_MS, Reader
from tidemill.events import PartitionProgress, Progress, ThresholdEvent
from tidemill.settings import load_settings

SETTINGS = load_settings(Path(__file__).parents[3] / "tidemill.yaml", {})


def told(plot: Plot) -> list[ThresholdEvent]:
    """Threshold events of the story, its messages read second by second."""
    by_second: dict[int, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for said in story(plot, START_MS):
        event = msgspec.json.decode(said.value or b"", type=said.topic.event)
        by_second[said.at_ms // 1000][said.topic.name].append(event)
    reader, offsets = Reader(SETTINGS), dict.fromkeys(sorted({name for said in by_second.values() for name in said}), 0)
    rules, events = rules_of(SETTINGS), []
    for second in [*sorted(by_second), *range(max(by_second) + 1, max(by_second) + 30)]:
        for name, found in by_second[second].items():
            lo = offsets[name]
            offsets[name] += len(found)
            times = np.array([event.time_ms for event in found], np.int64)
            batch = Batch(list(range(lo, offsets[name])), times, found)
            events += reader.take(*fold(Span(name, 0, lo, offsets[name] - 1), batch, rules)).events
        events += reader.take(_progress(START_MS + second * 1000 + 1000, offsets)).events
    return events


def _progress(at_ms: int, offsets: dict[str, int]) -> Progress:
    read = [PartitionProgress(topic=name, partition=0, position=end, end=end) for name, end in offsets.items()]
    return Progress(meter="m", time_ms=at_ms, source_partitions=len(read), partitions=tuple(read))


@pytest.mark.parametrize("plot", [Plot(seed=1), Plot(seed=2, per_second=60), Plot(seed=3, seconds=400)])
def test_the_story_has_the_alarms_that_it_should_and_no_others(plot: Plot) -> None:
    found = [(e.data.pipeline, e.data.rule, e.data.state) for e in told(plot)]
    assert sorted(found) == sorted(ALARMS)
