"""What stage 2 costs by series: a partition's fold fed directly, as the Faust app does, without Kafka.

    python -m benchmarks.stage2 [PIPELINESxSERIES ...]

``tidemill bench scale`` measures the whole process on a real broker (docs/explanation/scale.md).
"""

from __future__ import annotations

import gc
import os
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.usage import rss_mb
from streams.app.worker import CHECKPOINT_S, GC
from streams.partition import HEAD, PartitionFold
from tidemill import sketch
from tidemill.codec import encode
from tidemill.events import Cell, Moments, Partial, Partials, PartitionProgress, Progress
from tidemill.events.types import Variant
from tidemill.metrics import DURATIONS
from tidemill.settings import Settings
from tidemill.topics import PARTIALS

START_S = 1_700_000_000
WARM_S = 60
"""Event time at the beginning that is not measured."""
SIZES = ((10, 1), (100, 10), (1_000, 10), (1, 500))
"""Pipelines × series of each."""
VARIANTS: tuple[Variant, ...] = ("champion", "canary", "shadow", "cache")
MESSAGE_CELLS = 1_000
"""Cells a partials message holds: below a megabyte."""


@dataclass(frozen=True)
class Cost:
    """What a second of event time costs."""

    pipelines: int
    series: int
    cpu_ms_per_s: float
    """All of it: reading, folding, figures, encoding rows and states."""
    rows_per_s: float
    state_bytes: int
    """All states together, as the changelog has them."""
    largest_state_bytes: int
    written_bytes_per_s: float
    rss_mb: float
    """The whole process, at its end."""


def measure(pipelines: int, series: int, seconds: int = 90, answers: int = 1) -> Cost:
    """Feed ``seconds`` of event time, a cell a second for each series, and report what those after ``WARM_S`` cost.

    ``answers``: per series and second. Windows are those of the settings' defaults (10 s, a minute of lateness).
    """
    gc.set_threshold(*GC)
    settings = Settings.model_validate({"windows": {"max_unknown_pipelines": 10_000}})
    fold = PartitionFold(settings, {})
    decode = PARTIALS.decoder()
    states: dict[str, bytes] = {}
    rows = written = 0
    spent_s = checkpoint_s = 0.0
    for offset, (second, raw) in enumerate(traffic(pipelines, series, seconds, answers)):
        begun_s = time.process_time()
        for out in fold.take(decode(raw), offset, (START_S + second + 1) * 1000):
            for row in out.windows:
                encode(row)
            rows += len(out.windows) if second >= WARM_S else 0
        if second - checkpoint_s >= CHECKPOINT_S:
            checkpoint_s = second
            for name, state in fold.changed():
                states[name] = state
                written += len(state) if second >= WARM_S else 0
        if second >= WARM_S:
            spent_s += time.process_time() - begun_s
    over_s = seconds - WARM_S
    return Cost(
        pipelines,
        series,
        cpu_ms_per_s=1000 * spent_s / over_s,
        rows_per_s=rows / over_s,
        state_bytes=sum(map(len, states.values())),
        largest_state_bytes=max(len(raw) for name, raw in states.items() if name != HEAD),
        written_bytes_per_s=written / over_s,
        rss_mb=rss_mb(os.getpid()),
    )


def traffic(pipelines: int, series: int, seconds: int, answers: int) -> Iterator[tuple[int, bytes]]:
    """(second, message) of one partition: for each second the partials of all pipelines, then two words of progress."""
    chance = random.Random(7)
    drawn = [_measured(chance, answers) for _ in range(500)]
    for second in range(seconds):
        partials: list[Partial] = []
        cells = 0
        for number in range(pipelines):
            partials.append(_partial(f"pipeline-{number:04d}", START_S + second, second, series, drawn, chance))
            cells += series
            if cells >= MESSAGE_CELLS:
                yield second, encode(Partials(partials=tuple(partials)))
                partials, cells = [], 0
        if partials:
            yield second, encode(Partials(partials=tuple(partials)))
        for half in (0, 500):
            yield second, _progress((START_S + second) * 1000 + half, second)


Measured = tuple[Mapping[str, Moments], Mapping[str, Mapping[int, int]]]


def _measured(chance: random.Random, answers: int) -> Measured:
    moments, histograms = {}, {}
    for metric in DURATIONS:
        values = [chance.lognormvariate(5, 1) for _ in range(answers)]
        moments[metric] = _moments(values)
        histograms[metric] = _histogram(values)
    for metric in ("output_chars", "output_words", "quality"):
        moments[metric] = _moments([chance.random() for _ in range(answers)])
    return moments, histograms


def _partial(
    pipeline: str, second: int, number: int, series: int, drawn: Sequence[Measured], chance: random.Random
) -> Partial:
    asked = Cell(
        second=second,
        requests=series,
        sampled=series,
        moments={"input_chars": _moments([80.0] * series), "input_words": _moments([15.0] * series)},
        words={chance.randrange(1024): 1 for _ in range(15)},
    )
    cells = [asked, *(_answered(second, n, drawn[chance.randrange(len(drawn))]) for n in range(max(1, series - 1)))]
    return Partial(
        topic="inference.responses", partition=0, lo=number, hi=number, pipeline=pipeline, cells=tuple(cells)
    )


def _answered(second: int, number: int, measured: Measured) -> Cell:
    moments, histograms = measured
    n = moments["e2e_ms"].n
    variant = VARIANTS[number % len(VARIANTS)]
    return Cell(
        second=second,
        model_version=f"version-{number // len(VARIANTS)}",
        variant=variant,
        role="shadow" if variant == "shadow" else "client",
        answers=n,
        outcomes={"ok": n},
        input_tokens=100 * n,
        output_tokens=30 * n,
        cost_micros=50 * n,
        priced=n,
        moments=dict(moments),
        histograms={name: dict(counts) for name, counts in histograms.items()},
        sampled_answers=n,
    )


def _progress(time_ms: int, number: int) -> bytes:
    place = PartitionProgress(topic="inference.responses", partition=0, position=number + 1, end=number + 1)
    return encode(Progress(meter="bench", time_ms=time_ms, source_partitions=1, partitions=(place,)))


def _moments(values: Sequence[float]) -> Moments:
    return Moments(n=len(values), total=sum(values), total_sq=sum(v * v for v in values))


def _histogram(values: Sequence[float]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for value in values:
        counts[sketch.bucket(value)] = counts.get(sketch.bucket(value), 0) + 1
    return dict(sorted(counts.items()))


if __name__ == "__main__":
    sizes = [tuple(map(int, arg.split("x"))) for arg in sys.argv[1:]] or SIZES
    for pipelines, series in sizes:
        sys.stdout.write(f"{measure(pipelines, series)}\n")
        sys.stdout.flush()
