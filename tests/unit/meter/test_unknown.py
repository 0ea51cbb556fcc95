"""Pipelines nobody set up are counted and said, once a minute."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from streams.meter.unknown import NAMES, Unknown


def counted() -> float:
    return REGISTRY.get_sample_value("tidemill_meter_unknown_pipeline_events_total") or 0.0


def test_known_pipelines_are_no_matter(caplog: pytest.LogCaptureFixture) -> None:
    before = counted()
    Unknown({"support"}).note(["support", "support"], 0.0)
    assert counted() == before and not caplog.records


def test_unknown_ones_are_counted_and_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    before, unknown = counted(), Unknown({"support"})
    unknown.note(["a", "support", "a", "b"], 0.0)
    unknown.note(["c"], 30.0)
    assert counted() == before + 4
    assert [record.args for record in caplog.records] == [(3, "a, b", "")]
    unknown.note(["support"], 60.0)
    assert [record.args for record in caplog.records][1:] == [(1, "c", "")]
    unknown.note(["support"], 200.0)
    assert len(caplog.records) == 2, "nothing new, nothing said"


def test_thousands_of_names_are_not_remembered(caplog: pytest.LogCaptureFixture) -> None:
    unknown = Unknown({})
    unknown.note([f"name-{n:05d}" for n in range(5000)], 0.0)
    events, names, more = caplog.records[0].args or ()
    assert (events, len(str(names).split(", ")), more) == (5000, NAMES, " …")
