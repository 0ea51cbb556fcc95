"""Which event a webhook is sent next, how far the topic counts as done, and that nothing ends a delivery silently."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from consumers.alerts import delivery, main
from consumers.alerts.outbox import MOST_HELD, PATIENCE_S, Outbox
from tests.unit.consumers_alerts.test_alert_delivery import event as sample
from tests.waiting import until
from tidemill.clock import SystemClock
from tidemill.codec import encode
from tidemill.errors import Stop
from tidemill.events import ThresholdEvent
from tidemill.settings import Settings
from tidemill.settings.alerting import AlertSettings, WebhookSettings
from tidemill.silences import Mutes

HOOK = WebhookSettings(name="demo", url="http://127.0.0.1/x")


def event(name: str, alarm: str = "", time_ms: int = 0) -> ThresholdEvent:
    made = sample()
    data = msgspec.structs.replace(made.data, alarm_id=alarm or name)
    return msgspec.structs.replace(made, id=name, data=data, time_ms=time_ms or made.time_ms)


def filled(*events: ThresholdEvent) -> Outbox:
    outbox = Outbox()
    for offset, one in enumerate(events, 7):
        outbox.add(0, offset, one)
    return outbox


def places(outbox: Outbox) -> dict[int, int]:
    return {partition: offset for partition, (offset, _) in outbox.positions().items()}


def sent(outbox: Outbox, now_s: float) -> list[str]:
    """What goes out at that moment when the receiver takes all but ``bad``."""
    names = []
    while (pending := outbox.next(now_s)) is not None:
        names.append(pending.notification.id)
        if pending.notification.id == "bad":
            outbox.postpone(pending, now_s, 300)
        else:
            outbox.settle(pending)
    return names


def test_events_go_in_the_topics_order_and_the_place_follows() -> None:
    outbox = filled(event("a"), event("b"))
    outbox.add(0, 9, None)
    assert places(outbox) == {0: 7}
    assert sent(outbox, 0) == ["a", "b"]
    assert places(outbox) == {0: 10}


def test_an_event_that_is_not_taken_holds_up_newer_ones_for_a_while_only() -> None:
    outbox = filled(event("bad"), event("newer"))
    assert sent(outbox, 0) == ["bad"]
    assert sent(outbox, PATIENCE_S - 1) == ["bad"], "order is kept while it is young"
    assert sent(outbox, PATIENCE_S) == ["newer"]
    assert places(outbox) == {0: 7}, "a restart reads it again"
    outbox.add(0, 9, event("newest"))
    assert sent(outbox, PATIENCE_S + 1000) == ["newest", "bad"]
    outbox.settle(outbox.failing[0])
    assert places(outbox) == {0: 10}


def test_one_alarms_events_stay_in_order_even_then() -> None:
    outbox = filled(event("bad", "x"), event("end of bad", "x"), event("other", "y"))
    assert sent(outbox, 0) == ["bad"]
    assert sent(outbox, PATIENCE_S) == ["other", "bad"]
    outbox.settle(outbox.failing[0])
    assert sent(outbox, PATIENCE_S) == ["end of bad"]


def test_it_is_full_at_its_bound_and_empty_after_a_loss() -> None:
    outbox = filled(*(event(f"e{n}") for n in range(MOST_HELD)))
    pending = outbox.next(0)
    assert outbox.is_full and pending is not None
    outbox.clear()
    outbox.settle(pending)
    assert len(outbox) == 0 and outbox.positions() == {}


class Reader:
    """A consumer of a one-partition topic that starts at the committed offset."""

    def __init__(self, *events: ThresholdEvent) -> None:
        self._values = [encode(one) for one in events]
        self._at = self.place = 0
        self.note = ""

    def consume(self, most: int, within_s: float) -> list[Any]:
        found = range(self._at, min(self._at + most, len(self._values)))
        self._at = found.stop if found else self._at
        threading.Event().wait(min(within_s, 0.01))
        return [_message(offset, self._values[offset]) for offset in found]

    def commit(self, *, offsets: list[Any], asynchronous: bool) -> None:
        self.place, self.note = offsets[0].offset, offsets[0].metadata

    def committed(self, *_: object, **__: object) -> list[Any]:
        return [SimpleNamespace(offset=self.place, metadata=self.note)]

    def close(self) -> None:
        self._at = self.place

    def __getattr__(self, _: str) -> Callable[..., list[Any]]:
        return lambda *_, **__: []


def _message(offset: int, value: bytes) -> Any:
    return SimpleNamespace(
        error=lambda: None,
        partition=lambda: 0,
        offset=lambda: offset,
        value=lambda: value,
        timestamp=lambda: (1, SystemClock().now_ms()),
    )


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Reader:
    now = SystemClock().now_ms()
    made = Reader(event("one", time_ms=now), event("two", time_ms=now))
    monkeypatch.setattr(delivery, "consumer", lambda *_: made)
    monkeypatch.setattr(delivery, "partition_count", lambda *_: 1)
    return made


def started(
    monkeypatch: pytest.MonkeyPatch, send: Callable[..., Any] | None, hook: WebhookSettings = HOOK
) -> tuple[Any, threading.Event]:
    stop = threading.Event()
    alerts = AlertSettings(webhooks=(hook,))
    mutes = Mutes(alerts)
    thread = delivery.Delivery(Settings(alerts=alerts), hook, stop, SystemClock(), lambda: mutes)
    if send is not None:
        monkeypatch.setattr(thread, "_send", send)
    thread.start()
    return thread, stop


def test_an_error_that_nobody_foresaw_is_tried_again(monkeypatch: pytest.MonkeyPatch, reader: Reader) -> None:
    names: list[str] = []
    errors: list[Exception] = [ValueError("bad header")]

    def send(name: str, *_: str) -> tuple[int, str]:
        if errors:
            raise errors.pop()
        names.append(name)
        return 200, ""

    thread, stop = started(monkeypatch, send)
    until(lambda: reader.place == 2, within_s=10, what="both are delivered")
    stop.set()
    thread.join(5)
    assert names == ["one", "two"] and not thread.is_alive()


def test_a_reader_that_breaks_is_made_again(monkeypatch: pytest.MonkeyPatch, reader: Reader) -> None:
    sound, broken = reader.consume, [OSError("too many open files")]

    def consume(most: int, within_s: float) -> list[Any]:
        if broken:
            raise broken.pop()
        return sound(most, within_s)

    monkeypatch.setattr(reader, "consume", consume)
    thread, stop = started(monkeypatch, lambda *_: (204, ""))
    until(lambda: reader.place == 2, within_s=10, what="both are delivered")
    assert thread.is_alive() and thread.trouble is None
    stop.set()
    thread.join(5)


def test_the_process_ends_with_an_error_when_a_delivery_has_ended(
    monkeypatch: pytest.MonkeyPatch, reader: Reader
) -> None:
    def broken(*_: object) -> int:
        raise Stop("the topic is another's")

    class Frame:
        """A service without signals and ports."""

        def __init__(self, *_: object) -> None:
            self.stop_event, self.clock = threading.Event(), SystemClock()

        def __enter__(self) -> Frame:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        @property
        def stopping(self) -> bool:
            return self.stop_event.is_set()

        def ready(self) -> None:
            pass

        def waiting(self, _: str) -> None:
            pass

    monkeypatch.setattr(delivery, "partition_count", broken)
    monkeypatch.setattr(main, "Service", Frame)
    alerts = AlertSettings(webhooks=(HOOK,))
    read = SimpleNamespace(mutes=Mutes(alerts), trouble=None, start=lambda: None)
    monkeypatch.setattr(main, "SilenceFollower", lambda *_: read)
    with pytest.raises(Stop, match="webhook-demo has ended: the topic is another's"):
        main.run(Settings(alerts=alerts))
