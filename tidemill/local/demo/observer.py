"""Watches the loop from outside, through its topics alone: alarms, jobs, rollouts as they happen."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from tidemill.errors import Quarantine, Retry
from tidemill.events import JobState, RolloutState, ThresholdEvent
from tidemill.io.kafka import follower
from tidemill.settings import Settings
from tidemill.topics import JOBS, ROLLOUTS, THRESHOLDS, Topic

log = logging.getLogger(__name__)
T = TypeVar("T")


class Observer:
    """Collects what the controllers say. Use as a context manager; reading its lists is safe at any time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self._news = threading.Condition()
        self.alarms: list[ThresholdEvent] = []
        self.jobs: list[JobState] = []
        self.rollouts: list[RolloutState] = []
        self._threads = [
            threading.Thread(target=self._follow, args=(topic, into), name=f"observe {topic.name}", daemon=True)
            for topic, into in ((THRESHOLDS, self.alarms), (JOBS, self.jobs), (ROLLOUTS, self.rollouts))
        ]

    def __enter__(self) -> Observer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(5)

    def wait(self, found: Callable[[], T | None], within_s: float) -> T | None:
        """The first answer of ``found`` that is not None, asked at each news and each second; None when time is up."""
        answer: list[T] = []

        def asked() -> bool:
            now = found()
            if now is not None:
                answer.append(now)
            return now is not None

        remaining_s = within_s
        with self._news:
            while not asked() and remaining_s > 0:
                self._news.wait(1.0)
                remaining_s -= 1.0
        return answer[0] if answer else None

    def fired(self) -> list[ThresholdEvent]:
        """Every alarm that has fired, once each."""
        return list({e.data.alarm_id: e for e in list(self.alarms) if e.data.state == "firing"}.values())

    def alarm(self, pipeline: str, kind: str, since_ms: int) -> ThresholdEvent | None:
        """The first alarm of a kind that fired for a pipeline since a time."""
        for event in list(self.alarms):
            data = event.data
            fired = data.state == "firing" and data.kind == kind
            if fired and data.pipeline == pipeline and event.time_ms >= since_ms:
                return event
        return None

    def job(self, pipeline: str, since_ms: int) -> JobState | None:
        """The latest state of the latest job of a pipeline made since a time (declined ones left out)."""
        states = [s for s in list(self.jobs) if s.pipeline == pipeline and s.created_ms >= since_ms]
        states = [s for s in states if s.phase != "declined"]
        return max(states, key=lambda s: (s.created_ms, s.seq), default=None)

    def rollout(self, job_id: str) -> RolloutState | None:
        """The latest state of a job's rollout."""
        return max((s for s in list(self.rollouts) if s.job_id == job_id), key=lambda s: s.seq, default=None)

    def _follow(self, topic: Topic, into: list[Any]) -> None:
        decode = topic.decoder()
        client = None
        while not self._stop.is_set():
            try:
                if client is None:
                    client = follower(self._settings, "demo-observer", topic)
                for message in client.consume(100, 0.1):
                    if message.error() is None and message.value() is not None:
                        with self._news:
                            into.append(decode(message.value()))
                            self._news.notify_all()
            except Retry as error:
                log.info("%s", error)
                self._stop.wait(error.after_s)
            except Quarantine as error:
                log.warning("%s: %s", topic.name, error)
        if client is not None:
            client.close()
