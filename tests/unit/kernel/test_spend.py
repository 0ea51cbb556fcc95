"""The spend of the false-alarm budget is read off a role's page; a role that is away says nothing."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from tidemill.io.spend import Spend, said, spent
from tidemill.local.ports import free_port_base
from tidemill.settings import Settings

NAME = 'a "quoted"\\ name\nof two lines'


def test_a_page_is_read_whatever_a_pipeline_is_called() -> None:
    registry = CollectorRegistry()
    for name, value in (("false_alarms_allowed", 0.25), ("detected_alarms", 2), ("watched_series", 11)):
        Gauge(f"tidemill_streams_{name}", "…", ["pipeline"], registry=registry).labels(NAME).set(value)
    Gauge("tidemill_else", "…", ["pipeline"], registry=registry).labels(NAME).set(7)
    assert said(generate_latest(registry).decode()) == {NAME: Spend(0.25, 2, 11)}
    assert said("tidemill_streams_detected_alarms 3") == {}


def test_a_role_that_is_away_or_elsewhere_says_nothing() -> None:
    assert spent(Settings.model_validate({"local": {"port_base": free_port_base()}})) == {}
    assert spent(Settings.model_validate({"audit": {"watch": {"sink": "http://127.0.0.1:1"}}})) == {}
