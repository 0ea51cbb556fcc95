"""A paced producer as a process of its own: so many events a second, spread over series, in real time.

    python -m benchmarks.load --bootstrap HOST:PORT --rate 5000 --seconds 30 --pipelines 10 --versions 2

Half of the events are requests, half their responses. ``--flips N`` adds N pipelines ``flip-<i>`` of ten answers a
second each, which fail in every other second: with windows of one second and a rule on the error rate, each window's
end is a threshold event. ``--probes N`` adds N answers a second of pipeline ``probe``, whose ids tell when they were
produced.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from confluent_kafka import Producer

from benchmarks.calls import Call, call_id
from tidemill.clock import SystemClock
from tidemill.topics import REQUESTS, RESPONSES

TICK_S = 0.02


@dataclass(frozen=True)
class Plan:
    """What to produce."""

    rate: int = 1000
    """Events a second."""
    seconds: int = 30
    pipelines: int = 10
    versions: int = 1
    flips: int = 0
    probes: int = 0

    def command(self, bootstrap: str) -> list[str]:
        """The command line of a process that produces it."""
        options = [word for name, value in asdict(self).items() for word in (f"--{name}", str(value))]
        return [sys.executable, "-m", "benchmarks.load", "--bootstrap", bootstrap, *options]


def main() -> None:
    """Command line entry: produce, then print how many events were acknowledged."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load")
    parser.add_argument("--bootstrap", required=True)
    for name, default in asdict(Plan()).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = vars(parser.parse_args())
    print(produce(asked.pop("bootstrap"), Plan(**asked)), flush=True)


def produce(bootstrap: str, plan: Plan) -> int:
    """Produce in real time; how many events the broker acknowledged."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "linger.ms": 5,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    done = 0
    for topic, key, value in _events(plan):
        producer.produce(topic, value, key)
        done += 1
        if done % 200 == 0:
            producer.poll(0)
    left: int = producer.flush(60)
    return done - left


def _events(plan: Plan) -> Iterator[tuple[str, bytes, bytes]]:
    calls = [
        Call(f"p{number:04d}", f"p{number:04d}-v{version}", e2e_ms=100.0 + 7 * version)
        for version in range(plan.versions)
        for number in range(plan.pipelines)
    ]
    special, clock = _Special(plan), SystemClock()
    begun = time.monotonic()
    sent = 0
    while (now_s := time.monotonic() - begun) < plan.seconds:
        now_ms = clock.now_ms()
        due = int(plan.rate * now_s) // 2
        while sent < due:
            call, identity = calls[sent % len(calls)], call_id(sent)
            yield REQUESTS.name, identity, call.request(identity, now_ms)
            yield RESPONSES.name, identity, call.response(identity, now_ms)
            sent += 1
        yield from special.due(now_s, now_ms)
        time.sleep(max(0.0, TICK_S - (time.monotonic() - begun - now_s)))


class _Special:
    """The flips and the probes that are due."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._good = [Call(f"flip-{n}", f"flip-{n}-v1") for n in range(plan.flips)]
        self._bad = [Call(f"flip-{n}", f"flip-{n}-v1", status="error") for n in range(plan.flips)]
        self._probe = Call("probe", "probe-v1")
        self._flipped = self._probed = 0

    def due(self, now_s: float, now_ms: int) -> Iterator[tuple[str, bytes, bytes]]:
        """Answers that are due at ``now_s`` seconds after the start."""
        if self._flipped < int(10 * now_s):
            self._flipped += 1
            for number, call in enumerate(self._bad if now_ms // 1000 % 2 else self._good):
                identity = call_id(1 << 40 | self._flipped << 8 | number)
                yield RESPONSES.name, identity, call.response(identity, now_ms)
        while self._probed < int(self._plan.probes * now_s):
            self._probed += 1
            identity = call_id(1 << 60 | self._probed)
            yield RESPONSES.name, identity, self._probe.response(identity, now_ms)


if __name__ == "__main__":
    main()
