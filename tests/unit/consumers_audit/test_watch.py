"""Roles that fall silent are found; those that were never here are not, unless they were asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from consumers.audit.watch import Watch, Watched, watched
from tests.integration.store_fixture import free_port
from tidemill.clock import ManualClock
from tidemill.settings import Settings
from tidemill.settings.monitoring import AuditSettings


@contextmanager
def page(said: dict[str, float]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"# HELP x y\ntidemill_role_silent_seconds {said['silent']}\n".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def nobody() -> str:
    return f"http://127.0.0.1:{free_port()}"


def test_a_loop_that_stands_still_is_found_and_forgotten_when_it_goes_on() -> None:
    said = {"silent": 0.1}
    clock = ManualClock(10_000_000)
    with page(said) as url:
        watch = Watch({"sink": Watched(url, expected=False)}, 60, clock, set())
        assert watch.look() == []
        said["silent"] = 75.0
        (trouble,) = watch.look()
        assert trouble.summary == "sink: its loop stands still for 75 s" and trouble.value == 75.0
        assert trouble.since_ms == clock.now_ms() - 75_000
        said["silent"] = 0.0
        assert watch.look() == []


def test_a_role_that_went_away_is_found_after_the_time_it_is_given() -> None:
    clock = ManualClock(10_000_000)
    with page({"silent": 0.0}) as url:
        watch = Watch({"sink": Watched(url, expected=False)}, 60, clock, set())
        assert watch.look() == []
    clock.advance(59_000)
    assert watch.look() == []
    clock.advance(2_000)
    assert [trouble.summary for trouble in watch.look()] == ["sink: does not answer for 61 s"]


def test_who_was_never_here_counts_only_where_it_was_asked_for() -> None:
    clock = ManualClock(10_000_000)
    roles = {"meter": Watched(nobody(), expected=False), "sink": Watched(nobody(), expected=True)}
    watch = Watch(roles, 60, clock, set())
    clock.advance(61_000)
    assert [trouble.metric for trouble in watch.look()] == ["silent/sink"]


def test_an_open_alarm_outlives_the_watcher() -> None:
    clock = ManualClock(10_000_000)
    watch = Watch({"meter": Watched(nobody(), expected=False)}, 60, clock, {"meter"})
    assert [trouble.metric for trouble in watch.look()] == ["silent/meter"]


def test_who_is_watched() -> None:
    embedded = watched(Settings())
    assert embedded["gateway"] == Watched("http://127.0.0.1:18209", expected=False)
    assert {"audit", "store"}.isdisjoint(embedded) and {"sink", "meter", "console"} <= set(embedded)
    told = watched(Settings(audit=AuditSettings(watch={"sink": "http://sink:18203/"})))
    assert told == {"sink": Watched("http://sink:18203", expected=True)}
