"""The bodies that receivers get, and templates and settings that are refused at start-up."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from consumers.alerts.formats import MOST_BLOCKS, MOST_CHARS, render
from consumers.alerts.groups import Notification
from tests.unit.consumers_alerts.test_alert_delivery import CONSOLE, NOW, event
from tests.unit.kernel.test_settings import GOOD, load
from tidemill.errors import SettingsError
from tidemill.events import ThresholdData, ThresholdEvent
from tidemill.settings.alerting import ALERT_ANNOTATIONS, ALERT_LABELS, WebhookSettings

URL = "http://hooks.example.org/x"


def named(number: int, **data: Any) -> ThresholdEvent:
    made = event()
    changed = {"alarm_id": f"alarm-{number}", "pipeline": f"p{number}"} | data
    return msgspec.structs.replace(made, id=f"event-{number}", data=msgspec.structs.replace(made.data, **changed))


def notification(
    *events: ThresholdEvent, news: int | None = None, labels: dict[str, str] | None = None
) -> Notification:
    given = len(events) if news is None else news
    return Notification("told-1", "key", NOW, labels or {}, events, tuple(range(given)))


def body(told: Notification, **webhook: Any) -> tuple[str, Any]:
    kind, text = render(told, WebhookSettings(name="demo", url=URL, **webhook), CONSOLE)
    return kind, json.loads(text)


def test_a_groups_body_says_what_its_alerts_share() -> None:
    told = notification(named(1, pipeline="a"), named(2, pipeline="a", severity="ticket"), labels={"pipeline": "a"})
    kind, found = body(told)
    assert kind == "application/json" and found["groupKey"] == '{}:{pipeline="a"}'
    assert found["groupLabels"] == {"pipeline": "a"} and len(found["alerts"]) == 2
    assert "severity" not in found["commonLabels"] and found["commonLabels"]["metric"] == "quality"
    assert "alarm_id" not in found["commonAnnotations"]


def test_a_group_fires_as_long_as_one_of_its_alerts_does() -> None:
    assert body(notification(event("resolved"), named(2)))[1]["status"] == "firing"
    assert body(notification(event("resolved")))[1]["status"] == "resolved"


def test_a_cloud_event_is_read_by_the_package_as_what_it_was_made_of() -> None:
    told = notification(event())
    kind, text = render(told, WebhookSettings(name="demo", url=URL, format="cloudevents"), CONSOLE)
    found = from_structured_event(HTTPMessage({"content-type": kind}, text.encode()))
    assert kind == JSONFormat().get_content_type() == "application/cloudevents+json"
    assert (found.get_id(), found.get_type()) == ("event-1", "tidemill.threshold.breached")
    assert (found.get_source(), found.get_subject()) == (told.events[0].source, told.events[0].subject)
    assert found.get_time() == datetime.fromtimestamp(told.events[0].time_ms / 1000, UTC)
    assert found.get_extension("time_ms") is None, "attributes of the specification only"
    assert msgspec.convert(found.get_data(), ThresholdData) == told.events[0].data


def test_several_cloud_events_are_a_batch_and_reminders_have_ids_of_their_own() -> None:
    kind, found = body(notification(named(1), named(2), named(3), news=2), format="cloudevents")
    assert kind == "application/cloudevents-batch+json"
    read = [JSONFormat().read(CloudEvent, json.dumps(one)) for one in found]
    assert [one.get_id() for one in read] == ["event-1", "event-2"], "the news alone"
    _, again = body(notification(named(1), news=0), format="cloudevents")
    assert again["id"] != "event-1" and again["data"]["alarm_id"] == "alarm-1"


def test_slack_gets_a_section_for_each_alert_as_the_template_says() -> None:
    kind, found = body(
        notification(named(1), named(2)), format="slack", template="{status} {pipeline}: {value}{version}"
    )
    assert kind == "application/json" and found["text"] == "firing p1: 0.31schedule-v1\nfiring p2: 0.31schedule-v1"
    assert [block["text"] for block in found["blocks"]] == [
        {"type": "mrkdwn", "text": "firing p1: 0.31schedule-v1"},
        {"type": "mrkdwn", "text": "firing p2: 0.31schedule-v1"},
    ]


def test_no_words_of_an_event_are_markup_for_slack() -> None:
    _, found = body(
        notification(named(1, summary="<!channel> a & {b}")), format="slack", template="{summary} {detector}"
    )
    assert found["text"] == "&lt;!channel&gt; a &amp; {b} "


def test_no_words_of_an_event_are_an_alert_of_their_own_in_slack() -> None:
    event = named(1, summary="errors of tenant=acme\n*resolved*: all is well")
    _, found = body(notification(event), format="slack", template="{summary}")
    assert found["text"] == "errors of tenant=acme *resolved*: all is well"


def test_slack_is_sent_no_empty_section_which_it_refuses() -> None:
    _, found = body(
        notification(named(1, summary="quality fell", reason="")), format="slack", template="{description} "
    )
    assert found["blocks"][0]["text"]["text"] == "quality fell"


def test_slacks_limits_are_kept() -> None:
    events = [named(number, summary="x" * 9_000) for number in range(70)]
    _, found = body(notification(*events), format="slack")
    assert len(found["blocks"]) == MOST_BLOCKS and found["blocks"][-1]["text"]["text"] == "and 21 more"
    assert max(len(block["text"]["text"]) for block in found["blocks"]) == MOST_CHARS == len(found["text"])


def test_alertmanager_itself_is_told_until_when_an_alarm_counts() -> None:
    _, (alert,) = body(notification(event()), format="alertmanager_api", repeat_interval_s=60)
    assert set(alert) == {"labels", "annotations", "startsAt", "endsAt", "generatorURL"}
    assert alert["endsAt"] == "2023-11-14T22:16:20.000Z", "three reminders on"
    _, (alert,) = body(notification(event()), format="alertmanager_api")
    assert alert["endsAt"] == "2023-12-14T22:13:20.000Z"
    _, (alert,) = body(notification(event("resolved")), format="alertmanager_api")
    assert alert["endsAt"] == "2023-11-14T22:13:26.000Z"


def test_the_settings_know_the_fields_that_alerts_have() -> None:
    evidence = {"change_from_ms": 1, "change_until_ms": 2, "statistic": 2e5, "statistic_limit": 1e5, "warning": "w"}
    given = {"variant": "canary", "reason": "r", "detector": "conformal", "slice": "tenant=acme"} | evidence
    _, found = body(notification(named(1, **given)))
    (alert,) = found["alerts"]
    assert set(alert["labels"]) == set(ALERT_LABELS) and set(alert["annotations"]) == set(ALERT_ANNOTATIONS)


def hook(words: str) -> str:
    return GOOD + f"alerts:\n  webhooks:\n    - name: a\n      url: {URL}\n      {words}\n"


def section(words: str) -> str:
    return GOOD + f"alerts:\n  {words}\n"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (hook("template: '{summry}'"), 11, "there is no field {summry}; did you mean 'summary'?"),
        (hook("template: '{summary.x}'"), 11, "there is no field {summary.x}"),
        (hook("template: '{summary:>9}'"), 11, "field {summary} must stand alone"),
        (hook("template: '{'"), 11, "is no template"),
        (hook("template: ' '"), 11, "is empty"),
        (hook("group_by: [pipelin]"), 11, "'pipelin' is no label of an alert; did you mean 'pipeline'?"),
        (hook("group_by: [alertname]"), 11, "lacks 'pipeline'"),
        (hook("repeat_interval_s: 5"), 11, "at least 10, or 0: never"),
        (hook("format: teams"), 11, "'slack'"),
        (GOOD + "alerts: {webhooks: [{name: a, format: slack}]}\n", 7, "the embedded receiver takes no 'slack'"),
        (section("silences: [{name: s, start: 2026-01-01T00:00:00, end: 2026-01-02T00:00:00Z}]"), 8, "offset from UTC"),
        (section("silences: [{name: s, start: 2026-01-02T00:00:00Z, end: 2026-01-01T00:00:00Z}]"), 8, "is not after"),
        (section("maintenance: [{name: m, at: '22:00', lasts_s: 60, zone: Europa/Berlin}]"), 8, "is no time zone"),
        (section("maintenance: [{name: m, at: '22:00', lasts_s: 60, match: {pipe: a}}]"), 8, "did you mean 'pipeline'"),
        (section("maintenance: [{name: m, at: '22:00', lasts_s: 60, match: {kind: '('}}]"), 8, "no regular expression"),
        (section("maintenance: [{name: m, at: 22:00, lasts_s: 60}]"), 8, "in quotes, as '22:30'"),
        (section("maintenance: [{name: m, at: '22:00Z', lasts_s: 60}]"), 8, "name the time zone in zone"),
    ],
)
def test_what_is_wrong_is_said_at_start_up(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(tmp_path, text)
    assert words in str(raised.value) and f"tidemill.yaml:{line}:" in str(raised.value)
