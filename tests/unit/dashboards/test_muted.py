"""The console says what mutes alarms: all of it on the page, an alarm's own on its page."""

from __future__ import annotations

from dashboards.console import why
from dashboards.console.muted import MOST, muted
from tests.unit.dashboards.console_pictures import alarm
from tests.unit.dashboards.console_stories import HOSTILE, story
from tests.unit.dashboards.test_alarm_page import Elements, words
from tests.unit.kernel.test_silences import NOW, S, silence, table
from tidemill.events import Silence
from tidemill.settings.alerting import AlertSettings
from tidemill.silences import Mutes, labels_of

LATER = NOW + 10 * S


def mutes(*records: Silence) -> Mutes:
    kept = {"name": "the move", "start": "2023-11-14T00:00:00Z", "end": "2023-11-16T00:00:00Z"}
    settings = AlertSettings.model_validate({"silences": [kept | {"match": {"severity": "ticket"}}]})
    return Mutes(settings, table(*((one, NOW) for one in records)).all())


def test_each_mute_is_a_line_and_many_are_counted() -> None:
    assert muted(None, LATER) == () and muted(Mutes(AlertSettings()), LATER) == ()
    lines = muted(mutes(silence("3f9a1c07", comment="ticket 4711")), LATER)
    assert "the move (until 16 Nov" in lines[0] and "by the settings): severity=ticket" in lines[0]
    assert "ticket 4711 (until " in lines[1] and "silence 3f9a1c07): pipeline=support" in lines[1]
    many = muted(mutes(*(silence(f"s{number}") for number in range(9))), LATER)
    assert len(many) == MOST + 1 and many[-1].startswith("and 7 more")


def test_an_alarms_page_says_what_keeps_it_from_being_told_and_escapes_it() -> None:
    by_command = silence(comment=HOSTILE, match={"alertname": "quality"})
    lines = muted(mutes(by_command), LATER, labels_of(alarm("firing").data))
    assert len(lines) == 1
    page = why.page(story(muted=lines), "demo")
    assert "Not told now: " + " ".join(HOSTILE.split()) in words(page) and "script" not in Elements(page).names
    assert "Not told now" not in words(why.page(story(), "demo"))
