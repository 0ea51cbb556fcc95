"""A page that is opened shows figures of now, though nobody looked before."""

from __future__ import annotations

import threading

import pytest

from dashboards.console import feed
from dashboards.console.feed import Feed
from dashboards.console.view import Picture
from tidemill.clock import SystemClock
from tidemill.settings import Settings


def _feed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Feed:
    found = Feed(settings, SystemClock())
    monkeypatch.setattr(found, "take", lambda: Picture(SystemClock().now_ms(), 0, 10, {}))
    return found


def test_a_page_waits_for_figures_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    found, stop, opened_ms = _feed(Settings(), monkeypatch), threading.Event(), SystemClock().now_ms()
    thread = threading.Thread(target=found.run, args=(stop,))
    thread.start()
    try:
        found.fresh()
        assert found.picture.taken_ms >= opened_ms
    finally:
        stop.set()
        thread.join()


def test_a_page_opens_without_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "FIRST_LOOK_S", 0.1)
    _feed(Settings(), monkeypatch).fresh()
