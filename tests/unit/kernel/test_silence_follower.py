"""Silences are followed with patience where Kafka is away."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tidemill.errors import Retry
from tidemill.io import kafka
from tidemill.io.silences import LONGEST_PAUSE_S, SilenceFollower
from tidemill.settings import Settings
from tidemill.topics import SILENCES


class Hurried(threading.Event):
    """Notes how long it was to wait, and is set after seven times."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses.append(timeout)
        if len(self.pauses) == 7:
            self.set()
        return self.is_set()


def test_it_asks_less_and_less_often_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: Any) -> None:
        raise Retry("Kafka does not answer")

    monkeypatch.setattr(kafka, "follower", away)
    stop = Hurried()
    SilenceFollower(Settings(), SILENCES, "test-silences", stop).run()
    assert stop.pauses == [1.0, 2.0, 4.0, 8.0, LONGEST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
    assert [m for m in caplog.messages if "cannot be followed" in m] == [
        "silences cannot be followed: Kafka does not answer; the last known stay in force"
    ]
