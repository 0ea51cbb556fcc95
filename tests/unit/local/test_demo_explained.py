"""The demo's look at alarms: what counts as an alarm that explains itself, on the console's own pages."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dashboards.console import why
from tests.unit.dashboards.console_pictures import alarm
from tests.unit.dashboards.console_stories import story
from tidemill.local.demo.explained import explains
from tidemill.local.demo.goals import judge
from tidemill.local.demo.scenario import SCENARIOS


def test_an_alarm_about_calls_explains_itself_once_its_page_has_evidence() -> None:
    assert explains(alarm(), why.page(story(), "demo"))
    assert not explains(alarm(), why.page(story(evidence=None), "demo"))
    assert not explains(alarm(), None), "no page"


def test_an_alarm_about_the_deployment_needs_its_page_alone() -> None:
    made = msgspec.structs.replace(alarm(), data=msgspec.structs.replace(alarm().data, kind="system"))
    assert explains(made, why.page(story(alarm=made, evidence=None), "demo"))
    assert not explains(made, None)


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize(("share", "holds"), [(1, True), (0.9, False), (None, False)])
def test_every_scenario_wants_every_alarm_explained(name: str, share: Any, holds: bool) -> None:
    (goal,) = (e for e in judge({"alarms_explained": share}, SCENARIOS[name]) if e["name"] == "alarms_explained")
    assert goal["holds"] is holds
