"""The meter: raw events into partials, beside other stream processors with the same task on the same topic."""

from __future__ import annotations

import gc
import random
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

from benchmarks.frame import Goal, Result, Table, number
from benchmarks.peers import PEERS, run
from benchmarks.place import fill, place, start
from benchmarks.usage import cpu_s, main_thread_cpu_s, rss_mb
from streams.meter.batch import Reader, Span
from streams.meter.fold import Rules
from streams.meter.main import COLLECT_AFTER, MAX_BYTES, MAX_MESSAGES, MAX_WAIT_S
from streams.meter.pack import pack
from tidemill.clock import SystemClock
from tidemill.codec import encode
from tidemill.errors import Stop
from tidemill.events import InferenceResponse, Partials
from tidemill.ids import uuid7
from tidemill.io import kafka
from tidemill.io.ranges import RangeConsumer
from tidemill.local.process import Children
from tidemill.settings import Settings
from tidemill.topics import PARTIALS, RESPONSES

EVENTS = 600_000
LONG_EVENTS = 3_000_000
PIPELINES = ("schedule", "support", *(f"other-{n}" for n in range(6)))
EVENTS_PER_SECOND = 20_000
"""Of event time."""
WITHIN_S = 600.0
T = TypeVar("T")


class Step(NamedTuple):
    """What a step of the meter takes for an event, microseconds."""

    cpu_us: float
    wall_us: float
    """With waiting: for the broker, for a processor."""


def measure(*, long: bool = False) -> Result:
    """Events a second and CPU time an event: of the meter process, of its steps, and of each peer."""
    events = LONG_EVENTS if long else EVENTS
    with place(["kafka"]) as (settings, children):
        size = _fill(settings, events)
        figures = _meter(settings, children, events)
        steps = _steps(settings, min(events, EVENTS))
        peers, notes = _peers(settings, min(events, EVENTS))
    rate = figures["events_per_s"]
    goals = [Goal("events_per_s", rate, "events/s", 120_000, "higher")]
    for name, wanted in (("faust", 20.0), ("quix", 4.0), ("bytewax", 1.2)):
        theirs = peers[name]["events_per_s"]
        goals.append(Goal(f"vs_{name}", theirs and rate / theirs, "x", wanted, "higher"))
    return Result(
        bench="meter",
        figures={
            **figures,
            "message_bytes": size,
            "steps_us_per_event": {name: step._asdict() for name, step in steps.items()},
        },
        goals=goals,
        peers=peers,
        tables=[_compared(figures, peers), _shares(steps)],
        notes=[
            f"{events:,} answers of {size:,} bytes in {RESPONSES.partitions} partitions, {len(PIPELINES)} pipelines of "
            f"two versions, {EVENTS_PER_SECOND:,} events in a second of event time. The meter decodes the whole event "
            "strictly and keeps every count, four latency histograms and a sample of the texts; the peers keep a "
            "count, the tokens and the latency's sum and maximum per pipeline and second. Each is one process and "
            "uses the JSON decoder it comes with or is commonly used with. Rates are from a peer's first event on.",
            *notes,
        ],
    )


def _fill(settings: Settings, events: int) -> int:
    """Put the answers in their topic; the size of one, bytes."""
    chance = random.Random(7)
    texts = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz     ", k=380)) for _ in range(512)]
    begin_ms = SystemClock().now_ms() - events * 1000 // EVENTS_PER_SECOND
    answers = (_answer(n, begin_ms + n * 1000 // EVENTS_PER_SECOND, texts[n % 512], chance) for n in range(events))
    return fill(settings, RESPONSES, ((answer.pipeline, encode(answer)) for answer in answers))


def _answer(n: int, time_ms: int, text: str, chance: random.Random) -> InferenceResponse:
    """Not one of benchmarks.calls, whose series repeat one latency, cost and text: those fill one bucket of a histogram
    and compress away, and are 5 % smaller. Here they differ, as the fold and the broker meet them."""
    call = uuid7(time_ms, n.to_bytes(10, "big"))
    pipeline = PIPELINES[n % len(PIPELINES)]
    latency_ms = round(chance.lognormvariate(5.5, 0.5), 3)
    return InferenceResponse(
        call_id=call,
        answer_id=call,
        time_ms=time_ms,
        call_time_ms=time_ms - int(latency_ms),
        pipeline=pipeline,
        gen_ai_conversation_id=f"conversation-{n % 5000}",
        tenant="tenant",
        gen_ai_provider_name="vllm",
        gen_ai_request_model=pipeline,
        gen_ai_response_model=f"{pipeline}-v7",
        model_version=f"{pipeline}-v{7 + n % 16 // 15}",
        variant="canary" if n % 16 == 15 else "champion",
        status="error" if n % 101 == 0 else "ok",
        http_status=200,
        gen_ai_response_finish_reason="stop",
        gen_ai_usage_input_tokens=150 + n % 90,
        gen_ai_usage_cached_tokens=n % 64,
        gen_ai_usage_output_tokens=40 + n % 160,
        queue_ms=round(latency_ms / 50, 3),
        ttft_ms=round(latency_ms / 4, 3),
        tpot_ms=round(latency_ms / 90, 3),
        e2e_ms=latency_ms,
        cost_micros=120 + n % 300,
        gen_ai_output_text=text,
    )


def _meter(settings: Settings, children: Children, events: int) -> dict[str, Any]:
    """Figures of the meter process, from its first partials to its last, by the broker's times and the kernel's."""
    pid = start(settings, children, "meter")
    reader = kafka.follower(settings, "bench-partials", PARTIALS)
    decode = PARTIALS.decoder()
    seen: list[tuple[int, int]] = []
    cpu: list[tuple[int, float, float]] = []
    end = time.monotonic() + WITHIN_S
    while (counted := sum(n for _, n in seen)) < events:
        if time.monotonic() > end:
            raise Stop(f"the meter counted {counted:,} of {events:,} answers in {WITHIN_S:g} s; look at its log")
        for message in reader.consume(100, 0.1):
            said = None if message.error() else decode(message.value())
            if isinstance(said, Partials):
                seen.append((message.timestamp()[1], sum(c.answers for p in said.partials for c in p.cells)))
        cpu.append((sum(n for _, n in seen), cpu_s(pid), main_thread_cpu_s(pid)))
    reader.close()
    (first_ms, first), last_ms = seen[0], seen[-1][0]
    begun = next(one for one in cpu if one[0] > 0)
    between = events - begun[0]
    return {
        "events": events,
        "events_per_s": round((events - first) / (last_ms - first_ms) * 1000),
        "cpu_us_per_event": round((cpu[-1][1] - begun[1]) / between * 1e6, 2),
        "main_thread_us_per_event": round((cpu[-1][2] - begun[2]) / between * 1e6, 2),
        "rss_mib": round(rss_mb(pid)),
        "messages": len(seen),
    }


def _steps(settings: Settings, events: int) -> dict[str, Step]:
    """What each step takes on its thread: the same code, step by step."""
    spent: dict[str, float] = defaultdict(float)
    passed: dict[str, float] = defaultdict(float)
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)

    def timed(step: str, do: Callable[[], T]) -> T:
        begin_s, begin_cpu_s = time.monotonic(), time.thread_time()
        found = do()
        spent[step] += time.thread_time() - begin_cpu_s
        passed[step] += time.monotonic() - begin_s
        return found

    ranges = RangeConsumer(
        settings, "bench-steps", "bench-steps", [RESPONSES.name], MAX_MESSAGES, MAX_WAIT_S, max_bytes=MAX_BYTES
    )
    producer = kafka.producer(settings, "bench-steps")
    reader, rules, count = Reader(RESPONSES, 5000), dict.fromkeys(PIPELINES, Rules()), 0
    while count < events:
        for one in timed("consume, freeze and commit", ranges.poll):
            batch = timed("decode strictly", partial(reader.read, one.messages))
            span = Span(one.topic, one.partition, one.lo, one.hi)
            packed = timed("fold and encode", partial(pack, span, batch, rules, PARTIALS.partitions))
            for message in packed:
                timed(
                    "produce and wait",
                    partial(producer.produce, PARTIALS.name, message.value, partition=message.partition),
                )
            timed("produce and wait", partial(producer.flush, 10))
            ranges.done(one)
            count += len(batch.events)
    ranges.close()
    return {step: Step(*(round(s[step] / count * 1e6, 2) for s in (spent, passed))) for step in spent}


def _peers(settings: Settings, events: int) -> tuple[dict[str, dict[str, Any]], list[str]]:
    found: dict[str, dict[str, Any]] = {}
    notes: list[str] = []
    for name, peer in PEERS.items():
        try:
            said = run(name, settings.kafka_bootstrap, RESPONSES.name, int(events * peer.share))
        except Stop as error:
            notes.append(f"{error}.")
            found[name] = {"events_per_s": None, "cpu_us_per_event": None, "events": None}
            continue
        found[name] = {
            "events_per_s": round(said["events"] / said["seconds"]),
            "cpu_us_per_event": round(said["cpu_s"] / said["events"] * 1e6, 2),
            "events": said["events"],
        }
    return found, notes


def _compared(figures: dict[str, Any], peers: dict[str, dict[str, Any]]) -> Table:
    rows = [("tidemill meter", figures), *((PEERS[name].name, said) for name, said in peers.items())]
    return Table(
        "Events a second, one process",
        ("processor", "events/s", "CPU µs/event", "events"),
        [(name, *(number(said[of]) for of in ("events_per_s", "cpu_us_per_event", "events"))) for name, said in rows],
    )


def _shares(steps: dict[str, Step]) -> Table:
    whole = Step(sum(step.cpu_us for step in steps.values()), sum(step.wall_us for step in steps.values()))
    return Table(
        "Where the meter's time goes (its own thread, an event)",
        ("step", "CPU µs", "µs", "share of the time"),
        [
            (name, number(step.cpu_us), number(step.wall_us), f"{step.wall_us / whole.wall_us:.0%}")
            for name, step in [*steps.items(), ("in all", whole)]
        ],
    )
