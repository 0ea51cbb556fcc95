"""What both arrangements are measured by, and which is better where. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Literal

from msgspec import Struct

Arrangement = Literal["shared", "separate"]
ARRANGEMENTS: tuple[Arrangement, ...] = ("shared", "separate")
Better = Literal["shared", "separate", "neither"]
CLOSE = 0.1
"""Times, memory and costs that differ by less than this share of the smaller one are called equal."""
BUSY = 1.5
"""A typical answer that takes more than so many times its CPU time waited for others."""
HOW = (
    "transformers answered, each arrangement in one process, adapters unmerged beside their base; vLLM's serving of "
    "many adapters (multi-LoRA) was not measured"
)
"""What the figures are of."""
SURE = 1.96
"""Standard errors that a difference of scores must exceed."""


class Answering(Struct, frozen=True, kw_only=True):
    """One pipeline's questions asked one at a time: scores in the rows' order (None: not comparable), milliseconds an
    answer took, and CPU milliseconds."""

    scores: list[float | None]
    p50_ms: float
    p95_ms: float
    cpu_ms: float

    @property
    def quality(self) -> float | None:
        """Mean score; None without any."""
        known = [score for score in self.scores if score is not None]
        return sum(known) / len(known) if known else None


class Serving(Struct, frozen=True, kw_only=True):
    """One arrangement as it serves: memory its models take, MB, and how fast it answers all pipelines' questions mixed.

    ``weights_mb`` is of the files, ``resident_mb`` what loading and answering added to a process.
    """

    weights_mb: float
    resident_mb: float
    mixed_per_s: float
    mixed_cpu_ms: float
    pipelines: dict[str, Answering]


class Training(Struct, frozen=True, kw_only=True):
    """How one candidate was made: CPU seconds, and what has to be kept and moved for each version, MB."""

    cpu_s: float
    rows: int
    version_mb: float


class Compared(Struct, frozen=True, kw_only=True):
    """Both arrangements of a set of pipelines."""

    serving: dict[Arrangement, Serving]
    training: dict[Arrangement, dict[str, Training]]
    usd_per_cpu_hour: float | None = None

    @property
    def pipelines(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.serving["shared"].pipelines)


class Finding(Struct, frozen=True, kw_only=True):
    """One comparison: of which pipeline (empty: of all together), by what, which is better, both figures in words."""

    pipeline: str
    aspect: str
    better: Better
    shared: str
    separate: str
    why: str = ""


def findings(compared: Compared) -> list[Finding]:
    """Every comparison: quality, latency and cost of each pipeline; throughput, memory and cost of all."""
    shared, separate = compared.serving["shared"], compared.serving["separate"]
    found = [each for name in compared.pipelines for each in _of_one(name, compared)]
    return [
        *found,
        _less("", "memory", shared.resident_mb, separate.resident_mb, "{:,.0f} MB"),
        _less("", "weights", shared.weights_mb, separate.weights_mb, "{:,.1f} MB"),
        _less("", "mixed traffic, CPU an answer", shared.mixed_cpu_ms, separate.mixed_cpu_ms, "{:,.1f} ms"),
        _less("", "mixed traffic, time an answer", _spacing_ms(shared), _spacing_ms(separate), "{:,.1f} ms"),
        _cost(compared, shared, separate),
    ]


def advice(found: Sequence[Finding]) -> list[str]:
    """For each pipeline, which arrangement to take, and why, in words; then for all together."""
    told = []
    for name in dict.fromkeys(each.pipeline for each in found if each.pipeline):
        quality = next(each for each in found if each.pipeline == name and each.aspect == "quality")
        others = [each for each in found if each.pipeline == name and each is not quality]
        told.append(f"{name}: {_advised(quality, others)}")
    together = [each for each in found if not each.pipeline]
    told.append(
        f"together: shared is better by {_named(together, 'shared')}; separate by {_named(together, 'separate')}"
    )
    return told


def busy(compared: Compared) -> str:
    """That the machine did other work meanwhile, so that times say little; empty where answers took their CPU time."""
    every = [each for serving in compared.serving.values() for each in serving.pipelines.values()]
    slower = max((each.p50_ms / each.cpu_ms for each in every if each.cpu_ms > 0), default=0.0)
    if slower <= BUSY:
        return ""
    return (
        f"the machine was busy: an answer took up to {slower:.1f} times its CPU time; go by CPU times, not by latency"
    )


def paired(first: Sequence[float | None], second: Sequence[float | None]) -> tuple[float, float] | None:
    """Mean difference (first less second) of scores of the same questions, and its standard error; None for none."""
    apart = [a - b for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    if not apart:
        return None
    mean = sum(apart) / len(apart)
    spread = sum((each - mean) ** 2 for each in apart) / max(1, len(apart) - 1)
    return mean, sqrt(spread / len(apart))


def _of_one(name: str, compared: Compared) -> list[Finding]:
    shared, separate = (compared.serving[each].pipelines[name] for each in ARRANGEMENTS)
    trained = [compared.training[each][name] for each in ARRANGEMENTS]
    return [
        _quality(name, shared, separate),
        _less(name, "latency, typical", shared.p50_ms, separate.p50_ms, "{:,.0f} ms"),
        _less(name, "latency, p95", shared.p95_ms, separate.p95_ms, "{:,.0f} ms"),
        _less(name, "CPU an answer", shared.cpu_ms, separate.cpu_ms, "{:,.1f} ms"),
        _less(name, "a training", trained[0].cpu_s, trained[1].cpu_s, "{:,.1f} CPU s"),
        _less(name, "a version to keep", trained[0].version_mb, trained[1].version_mb, "{:,.2f} MB"),
    ]


def _quality(name: str, shared: Answering, separate: Answering) -> Finding:
    figures = [("unknown" if each.quality is None else f"{each.quality:.3f}") for each in (shared, separate)]
    apart = paired(shared.scores, separate.scores)
    better: Better = "neither"
    why = "no answer could be compared"
    if apart is not None:
        mean, error = apart
        if abs(mean) > SURE * error and mean != 0:
            better = "shared" if mean > 0 else "separate"
        why = f"{mean:+.3f} ± {SURE * error:.3f} on {len(shared.scores):,} questions"
    return Finding(pipeline=name, aspect="quality", better=better, shared=figures[0], separate=figures[1], why=why)


def _less(pipeline: str, aspect: str, shared: float, separate: float, form: str) -> Finding:
    least, most = sorted((shared, separate))
    better: Better = "neither" if most - least <= CLOSE * least else "shared" if shared < separate else "separate"
    times = f"{most / least:.1f} times" if least > 0 else ""
    told = form.format(shared), form.format(separate)
    return Finding(pipeline=pipeline, aspect=aspect, better=better, shared=told[0], separate=told[1], why=times)


def _spacing_ms(serving: Serving) -> float:
    return 1_000 / serving.mixed_per_s


def _cost(compared: Compared, shared: Serving, separate: Serving) -> Finding:
    """A thousand answers of mixed traffic, in money where an hour has a price, else in CPU time."""
    price = compared.usd_per_cpu_hour
    one, other = shared.mixed_cpu_ms, separate.mixed_cpu_ms  # of an answer, so seconds of a thousand
    if price is None:
        return _less("", "cost of 1,000 answers", one, other, "{:,.1f} CPU s")
    return _less("", "cost of 1,000 answers", one / 3_600 * price, other / 3_600 * price, "{:.5f} USD")


def _advised(quality: Finding, others: Sequence[Finding]) -> str:
    if quality.better != "neither":
        return f"{quality.better}, as its answers are better ({quality.shared} shared, {quality.separate} separate)"
    wins = {each: [other.aspect for other in others if other.better == each] for each in ARRANGEMENTS}
    first = max(ARRANGEMENTS, key=lambda each: len(wins[each]))
    if len(wins["shared"]) == len(wins["separate"]):
        return f"either: no difference in quality is shown ({quality.why})"
    return f"{first}: no difference in quality is shown ({quality.why}), and it is better by {', '.join(wins[first])}"


def _named(found: Sequence[Finding], arrangement: Arrangement) -> str:
    return ", ".join(each.aspect for each in found if each.better == arrangement) or "nothing"


def growth(compared: Compared, most: int = 10) -> Mapping[int, tuple[float, float]]:
    """Weights of so many pipelines like these, MB: shared and separate. A base is there once, or in each model."""
    names = compared.pipelines
    adapter = sum(compared.training["shared"][name].version_mb for name in names) / len(names)
    model = sum(compared.training["separate"][name].version_mb for name in names) / len(names)
    base = compared.serving["shared"].weights_mb - adapter * len(names)
    return {count: (base + count * adapter, count * model) for count in (1, 2, 5, most)}
