"""What is sent to webhooks, when it is sent again, and how it is signed."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
from collections.abc import Iterator

import httpx
import msgspec
import pytest

from consumers.alerts.body import webhook_body
from consumers.alerts.delivery import Delivery
from consumers.alerts.receiver import AlertBook, serve
from consumers.alerts.retry import LONGEST_S, MINUTES_FOR_S, STANDARD_FOR_S, STANDARD_S, judge, schedule
from consumers.alerts.sending import signer
from tidemill.clock import ManualClock, SystemClock
from tidemill.errors import Stop
from tidemill.events import ThresholdData, ThresholdEvent
from tidemill.settings import Settings
from tidemill.settings.alerting import AlertSettings, WebhookSettings
from tidemill.silences import Mutes

NOW = 1_700_000_000_000
CONSOLE = "http://127.0.0.1:18090"


def event(state: str = "firing") -> ThresholdEvent:
    data = ThresholdData(
        state=state,  # type: ignore[arg-type]
        rule="quality",
        kind="quality",
        severity="page",
        pipeline="schedule",
        model_version="schedule-v1",
        metric="quality",
        value=0.31,
        threshold=0.7,
        reference=0.9,
        window_start_ms=NOW,
        window_end_ms=NOW + 5000,
        change_time_ms=NOW - 4000,
        alarm_id="alarm-1",
        started_ms=NOW,
        summary="quality fell to 0.31",
    )
    return ThresholdEvent(
        id="event-1",
        source="tidemill/streams",
        type="tidemill.threshold.breached" if state == "firing" else "tidemill.threshold.resolved",
        subject="schedule/schedule-v1/quality",
        time="2023-11-14T22:13:20Z",
        time_ms=NOW + 6000,
        data=data,
    )


def test_firing_body_is_alertmanagers() -> None:
    body = webhook_body(event(), "demo", CONSOLE)
    assert (body["version"], body["status"], body["receiver"]) == ("4", "firing", "demo")
    (alert,) = body["alerts"]
    assert alert["labels"]["alertname"] == "quality" and alert["labels"]["pipeline"] == "schedule"
    assert alert["startsAt"] == "2023-11-14T22:13:20.000Z" and alert["endsAt"].startswith("0001-01-01")
    assert alert["annotations"]["summary"] == "quality fell to 0.31"
    assert alert["annotations"]["change_time"] == "2023-11-14T22:13:16.000Z"
    assert alert["generatorURL"] == f"{CONSOLE}/alarms/alarm-1" == alert["annotations"]["alarm_url"]
    assert alert["annotations"]["evidence"] == f"{CONSOLE}/evidence/alarm-1"
    for key in ("groupKey", "truncatedAlerts", "groupLabels", "commonLabels", "commonAnnotations", "externalURL"):
        assert key in body
    assert all(isinstance(value, str) for name in ("labels", "annotations") for value in alert[name].values())


def test_resolved_body_has_the_same_fingerprint_and_an_end() -> None:
    firing, resolved = webhook_body(event(), "demo", CONSOLE), webhook_body(event("resolved"), "demo", CONSOLE)
    assert resolved["alerts"][0]["fingerprint"] == firing["alerts"][0]["fingerprint"]
    assert resolved["groupKey"] == firing["groupKey"]
    assert resolved["alerts"][0]["endsAt"] == "2023-11-14T22:13:26.000Z"


def test_unknown_figures_are_left_out_not_zero() -> None:
    bare = event()
    bare = msgspec.structs.replace(bare, data=msgspec.structs.replace(bare.data, value=None, change_time_ms=None))
    annotations = webhook_body(bare, "demo", CONSOLE)["alerts"][0]["annotations"]
    assert "value" not in annotations and "change_time" not in annotations


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        *[(status, "delivered") for status in (200, 204)],
        *[(status, "retry") for status in (None, 408, 429, 500, 503)],
        *[(status, "refused") for status in (302, 400, 401, 404)],
        (410, "retired"),
    ],
)
def test_outcome(status: int | None, outcome: str) -> None:
    assert judge(status, 1).outcome == outcome


def test_waits_double_are_spread_and_bounded() -> None:
    waits = [judge(None, attempt).after_s for attempt in range(1, 40)]
    assert waits[:4] == [1.0, 2.0, 4.0, 8.0] and max(waits) == LONGEST_S
    assert judge(None, 3, jitter=0).after_s == 3.0 and judge(None, 3, jitter=1).after_s == 5.0


def test_the_standard_waits_are_those_of_the_specification() -> None:
    waits = [judge(None, attempt, standard=True).after_s for attempt in range(1, 12)]
    assert waits[:9] == list(STANDARD_S) and waits[9:] == [STANDARD_S[-1]] * 2
    assert sum(STANDARD_S) == 75 * 3600 + 35 * 60 + 5


def test_receivers_of_standard_webhooks_are_tried_again_on_the_standards_schedule_and_people_within_minutes() -> None:
    chat = WebhookSettings(name="chat", url="http://h/x", format="slack")
    bus = WebhookSettings(name="bus", url="http://h/x", format="cloudevents")
    signed = WebhookSettings(name="signed", url="http://h/x", secret_env="SECRET")
    by_default = [schedule(AlertSettings(), hook) for hook in (chat, bus, signed, WebhookSettings(name="demo"))]
    assert by_default == [
        (False, MINUTES_FOR_S),
        (True, STANDARD_FOR_S),
        (True, STANDARD_FOR_S),
        (False, MINUTES_FOR_S),
    ]
    assert sum(STANDARD_S) * 1.25 < STANDARD_FOR_S, (
        "the last wait of the standard is kept, however the waits are spread"
    )
    assert schedule(AlertSettings(retry_schedule="minutes", retry_for_s=60), bus) == (False, 60)
    assert schedule(AlertSettings(retry_schedule="standard"), chat) == (True, STANDARD_FOR_S)


def test_a_receiver_that_is_asked_too_much_is_left_alone() -> None:
    assert judge(429, 1).pause_s == 1.0 and judge(429, 1, retry_after="60").pause_s == 60.0
    assert judge(429, 9, standard=True).pause_s == LONGEST_S
    assert judge(503, 1, retry_after="60").pause_s == 60.0 and judge(503, 1).pause_s == 0.0


def test_retry_after_is_obeyed_and_bounded() -> None:
    assert judge(429, 1, retry_after="17").after_s == 17.0
    assert judge(503, 1, retry_after="Tue, 14 Nov 2023 22:13:50 GMT", now_ms=NOW).after_s == 30.0
    assert judge(429, 1, retry_after="999999").after_s == 3600.0
    assert judge(429, 1, retry_after="soon").after_s == 1.0
    assert judge(429, 1, retry_after="9" * 5000).after_s == 3600.0


@pytest.mark.parametrize("said", ["²", "٣", "-5", "1e9", "nan", "Mon, 99 Foo 99999 99:99:99", ",", "\x00", "٣" * 9])
def test_a_retry_after_that_says_nothing_is_passed_over(said: str) -> None:
    assert judge(429, 1, retry_after=said, now_ms=NOW).after_s == 1.0


def test_signature_is_verified_by_the_standard_package_and_bound_to_the_body() -> None:
    from standardwebhooks import Webhook, WebhookVerificationError

    secret = "whsec_" + base64.b64encode(b"s" * 32).decode()
    hook = WebhookSettings(name="demo", url="http://127.0.0.1/x", secret_env="HOOK_SECRET")
    body = json.dumps({"a": 1})
    headers = signer(hook, {"HOOK_SECRET": secret})("event-1", SystemClock().now_ms() // 1000, body)
    assert headers["webhook-id"] == "event-1"
    assert Webhook(secret).verify(body, headers) == {"a": 1}
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + " ", headers)


def test_missing_secret_stops_with_the_settings_name() -> None:
    hook = WebhookSettings(name="demo", url="http://127.0.0.1/x", secret_env="HOOK_SECRET")
    with pytest.raises(Stop, match=r"demo\.secret_env names HOOK_SECRET"):
        signer(hook, {})


@contextlib.contextmanager
def receiver(first: bytes, then: bytes) -> Iterator[int]:
    """A receiver's port: it says ``first``, then ``then`` for ever, twenty times a second."""
    done = threading.Event()

    def answer() -> None:
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65_536)
            connection.sendall(first)
            while not done.wait(0.05):
                connection.sendall(then)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            done.set()
            thread.join(5)


@pytest.mark.parametrize(
    ("first", "then", "timeout_s", "told"),
    [
        (b"HTTP/1.1 429 Wait\r\nRetry-After: 7\r\nContent-Length: 9999999999\r\n\r\n", b"x" * 1000, 5, (429, "7")),
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x", 0.4, (None, "")),
        (b"", b"", 0.4, (None, "")),
    ],
)
def test_no_receiver_holds_a_delivery_by_an_endless_answer(
    first: bytes, then: bytes, timeout_s: float, told: tuple[int | None, str]
) -> None:
    with receiver(first, then) as port:
        hook = WebhookSettings(name="demo", url=f"http://127.0.0.1:{port}/x")
        alerts = AlertSettings(webhooks=(hook,), timeout_s=timeout_s)
        delivery = Delivery(Settings(alerts=alerts), hook, threading.Event(), SystemClock(), lambda: Mutes(alerts))
        begun = SystemClock().monotonic_s()
        assert delivery._send("event-1", "{}") == told
        assert SystemClock().monotonic_s() - begun < timeout_s + 5


def test_demo_receiver_counts_a_repeated_delivery_once() -> None:
    book = AlertBook(ManualClock(NOW), fail_first=1)
    body = webhook_body(event(), "demo", CONSOLE)
    assert not book.take("event-1", body)
    assert book.take("event-1", body) and book.take("event-1", body)
    (kept,) = book.alerts()
    assert (kept["webhook_id"], kept["deliveries"], kept["status"]) == ("event-1", 2, "firing")


def test_alerts_without_a_webhook_id_are_told_apart_by_fingerprint_and_status() -> None:
    book = AlertBook(ManualClock(NOW))
    one, ended = webhook_body(event(), "demo", CONSOLE), webhook_body(event("resolved"), "demo", CONSOLE)
    other = {**one["alerts"][0], "fingerprint": "another"}
    assert book.take("", {"alerts": [*one["alerts"], other]})
    assert book.take("", one) and book.take("", ended)
    assert [(kept["status"], kept["deliveries"]) for kept in book.alerts()] == [
        ("firing", 2),
        ("firing", 1),
        ("resolved", 1),
    ]


def test_the_demo_receiver_answers_its_health_and_refuses_what_is_no_webhook() -> None:
    server = serve(0, quiet=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    here = f"http://127.0.0.1:{server.server_port}"
    try:
        with httpx.Client(base_url=here, trust_env=False) as client:
            assert client.get("/healthz").status_code == 200
            assert client.post("/webhook", json={"alerts": [{}]}).status_code == 400
            assert client.post("/webhook", json=webhook_body(event(), "demo", CONSOLE)).status_code == 200
            assert len(client.get("/alerts").json()) == 1
            assert client.get("/other").status_code == 404
    finally:
        server.shutdown()
        server.server_close()
