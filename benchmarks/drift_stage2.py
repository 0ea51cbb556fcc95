"""Text through the code that a deployment runs, without Kafka: features as the gateway takes them, the meter's fold,
and stage 2's, with settings as a user would write them.

Calls come by chance, so many a second on average. Every metric that is no duration is watched, over all calls and in
each tenant, prompt version and language. Answers, tokens, costs and scores never change (``drift_events``), so that a
change must be found in the questions' text.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from random import Random
from typing import NamedTuple

import numpy as np

from benchmarks.drift_corpus import Call, Corpus
from benchmarks.drift_events import PIPELINE, VERSION, Event, asked, request, response, said_of
from streams.meter.batch import Batch, Span
from streams.meter.fold import fold, rules_of
from streams.partition import PartitionFold
from streams.pipeline import PipelineFold
from streams.windows.sources import DELAY_MS
from tidemill.events import Partials, PartitionProgress, Progress
from tidemill.ids import uuid7
from tidemill.metrics import DURATIONS, MEAN_METRICS
from tidemill.settings import Settings
from tidemill.topics import FEEDBACK, REQUESTS, RESPONSES

RUN_LENGTH = 10_000
WATCHED = tuple(metric for metric in MEAN_METRICS if metric not in DURATIONS)
DIMENSIONS = ("tenant", "prompt_version", "input_language")
SETTINGS = Settings.model_validate(
    {
        "max_false_alarms": f"1 per {RUN_LENGTH} clock updates",
        "engines": {"local": {}},
        "pipelines": {
            PIPELINE: {
                "engine": "local",
                "champion": VERSION,
                "slices": DIMENSIONS,
                "drift": {"metrics": WATCHED, "whole_only": ()},
                "output_format": {"type": "json"},
            },
        },
    }
)
RATES = (1, 5)
"""Calls a second, on average. At one, calls and clock updates are as many."""
START_S = 1_700_000_000
SOURCES = (REQUESTS.name, RESPONSES.name, FEEDBACK.name)


class Said(NamedTuple):
    """An alarm or notice that begins."""

    call: int
    """Calls until then."""
    rule: str
    slice: str


class Stage2:
    """One pipeline of a deployment, from calls to alarms; a second of event time at a time."""

    def __init__(self, texts: Corpus, seed: int, rate: float) -> None:
        self._chance = Random(f"{seed} answers")
        self._contexts = texts.vocabulary
        self._answers = [text.split("?")[0] for text in texts.vocabulary]
        self._rate = rate
        self._rules = rules_of(SETTINGS)
        self._fold = PartitionFold(SETTINGS, {})
        self._offset = self.calls = 0
        self._now_s = START_S
        self._next_ms = START_S * 1000.0
        self._waiting: dict[str, list[Event]] = {name: [] for name in SOURCES}
        self._positions = dict.fromkeys(SOURCES, 0)
        self.cpu_s = 0.0
        """Of features, the meter's fold and stage 2."""

    @property
    def pipeline(self) -> PipelineFold:
        """The fold of the only pipeline."""
        return next(iter(self._fold))

    @property
    def state_bytes(self) -> int:
        """All that stage 2 keeps, as the changelog has it."""
        state = bytearray()
        self.pipeline.snapshot(state)
        return len(state)

    def run(self, stream: Iterator[Call], n: int) -> Iterator[Said]:
        """Let so many calls come; what begins to fire."""
        for call in islice(stream, n):
            while self._next_ms >= (self._now_s + 1) * 1000:
                yield from self._second()
            begun = time.process_time()
            self._ask(call)
            self.cpu_s += time.process_time() - begun
            self._next_ms += self._chance.expovariate(self._rate) * 1000

    def _ask(self, call: Call) -> None:
        """The events of one call, as the gateway would write them."""
        self.calls += 1
        at_ms, chance = int(self._next_ms), self._chance
        of = asked(call, uuid7(at_ms, self.calls.to_bytes(10, "big")), at_ms)
        self._waiting[REQUESTS.name].append(request(of, chance, self._contexts))
        self._waiting[RESPONSES.name].append(response(of, chance, self._answers))
        self._waiting[FEEDBACK.name].extend(said_of(of, chance))

    def _second(self) -> list[Said]:
        """The second is over: its events are folded by the meter and by stage 2, and the clock goes on."""
        begun = time.process_time()
        self._now_s += 1
        now_ms = self._now_s * 1000
        said = [event for name in SOURCES for event in self._take_partials(name, now_ms)]
        places = tuple(
            PartitionProgress(topic=name, partition=0, position=position, end=position)
            for name, position in self._positions.items()
        )
        progress = Progress(meter="bench", time_ms=now_ms + DELAY_MS, source_partitions=len(places), partitions=places)
        said += self._take(progress, now_ms + DELAY_MS)
        self.cpu_s += time.process_time() - begun
        return said

    def _take_partials(self, source: str, now_ms: int) -> list[Said]:
        waiting = self._waiting[source]
        events = [event for event in waiting if event.time_ms < now_ms]
        if not events:
            return []
        self._waiting[source] = waiting[len(events) :]
        lo = self._positions[source]
        self._positions[source] += len(events)
        hi = self._positions[source] - 1
        times_ms = np.array([event.time_ms for event in events], np.int64)
        partials = fold(Span(source, 0, lo, hi), Batch(range(lo, hi + 1), times_ms, events), self._rules)
        return self._take(Partials(partials=tuple(partials)), now_ms)

    def _take(self, message: Partials | Progress, now_ms: int) -> list[Said]:
        said = []
        for out in self._fold.take(message, self._offset, now_ms):
            for event in out.events:
                if event.data.state == "firing" and not event.data.rule.startswith("dependent_"):
                    said.append(Said(self.calls, event.data.rule, event.data.slice))
        self._offset += 1
        return said
