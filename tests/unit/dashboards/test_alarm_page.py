"""An alarm's page explains itself, escapes every word, and is served under a policy that runs no script."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

import msgspec
import pytest

from dashboards.console import why
from dashboards.console.main import policy_of
from dashboards.console.story import Story, is_alarm_id
from dashboards.console.trend import NARROW, WIDE, Mark, trend
from dashboards.console.view import Point
from tests.unit.dashboards.console_pictures import ALARM_ID, CHANGE, NOW, alarm, job
from tests.unit.dashboards.console_stories import HOSTILE, some_evidence, some_slice, story
from tidemill.evidence import OLD_MS


class Elements(HTMLParser):
    """The names of a page's elements and their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}


def words(page: str) -> str:
    """What a reader sees of a page, in one line."""
    body = page[page.index("<main>") :]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_the_page_says_what_changed_since_when_where_and_what_was_done() -> None:
    said = words(why.page(story(), "demo"))
    for part in (
        "quality (exact_match) fell from 0.95 to 0.75",
        "at the alarm 0.10",
        "before 0.97",
        "15 s after the change",
        "Most of it is tenant “acme”: 20% of the calls before the change, 24% since.",
        "Its calls went from 0.95 to 0.10, all others from 0.95 to 0.96.",
        "right answer tue 15:30 room 4",
        "retraining made a new version: it is registered",
        "schedule-v2 is the shadow (it answers, but is not shown to clients): it is shadow",
        "schedule-v2 is the canary with 25 % of the traffic",
        "schedule-v2 is the champion: it is champion",
        "“gone without it” says",
        "schedule: quality is back at 0.94",
    ):
        assert part in said, part
    assert f'href="/evidence/{ALARM_ID}"' in why.page(story(), "demo")


def test_the_training_stays_in_what_was_done() -> None:
    training = job("training", seq=1, time_ms=CHANGE + 30_000, reason="training on 367 rows")
    said = words(why.page(story(job_steps=(training, job("registered"))), "demo"))
    assert "retraining trains an adapter: training on 367 rows" in said and "retraining made a new version" in said


def hostile_story() -> Story:
    """Every text that comes from outside is an attack."""
    data = msgspec.structs.replace(
        alarm().data, summary=HOSTILE, reason=HOSTILE, rule=HOSTILE, model_version=HOSTILE, variant=HOSTILE
    )
    examples = tuple(
        msgspec.structs.replace(
            each, call_id=HOSTILE, question=HOSTILE, answer=HOSTILE, expected=HOSTILE, slices={HOSTILE: HOSTILE}
        )
        for each in some_evidence().examples
    )
    evidence = some_evidence(
        slices=(some_slice(dimension=f"attributes.{HOSTILE}", value=HOSTILE),), examples=examples, figure=HOSTILE
    )
    return story(
        alarm=msgspec.structs.replace(alarm(), data=data),
        evidence=evidence,
        points={HOSTILE: (Point(CHANGE, 1.0, 1), Point(NOW, 0.5, 1)), "v2": (Point(CHANGE, 1.0, 1),)},
        jobs=(job("failed", reason=HOSTILE),),
        neighbour=HOSTILE,
    )


def test_no_text_becomes_markup() -> None:
    harmless, hostile = (Elements(why.page(each, HOSTILE)) for each in (story(), hostile_story()))
    assert "script" not in hostile.names and "img" not in hostile.names
    assert hostile.names <= harmless.names
    assert not {name for name in hostile.attributes if name.startswith("on")}
    assert "<script>" not in why.page(hostile_story(), HOSTILE)
    assert why.page(hostile_story(), "demo").count("&lt;script&gt;") > 10


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"found": "none", "telling": 0}, "No slice stands out"),
        ({"found": "unchanged", "telling": 0}, "hardly moved"),
        ({"found": "too_few_calls", "telling": 0, "slices": ()}, "too few calls"),
        ({"found": "not_of_calls", "telling": 0, "slices": (), "figure": ""}, "no figure of single calls"),
        ({"slices": (some_slice(coincides=True, explains=None),)}, "coincides with tenant “acme”"),
        ({"slices": (some_slice(value=""),)}, "calls without tenant"),
        ({"slices": (some_slice(mean_before=None, share_before=0.0),)}, "Its calls went to 0.10"),
    ],
)
def test_the_sentence_on_slices_says_what_is_known(fields: dict[str, object], said: str) -> None:
    assert said in why.slice_words(some_evidence(**fields))
    assert said in words(why.page(story(evidence=some_evidence(**fields)), "demo"))


def test_a_detector_with_a_promise_shows_where_it_stood_its_interval_and_its_warning() -> None:
    told = alarm()
    found = msgspec.structs.replace(
        told.data,
        statistic=12_400.0,
        statistic_limit=10_000.0,
        change_from_ms=CHANGE - 10_000,
        change_until_ms=CHANGE + 5_000,
        slice="tenant=acme",
        warning=f"values follow each other {HOSTILE}",
    )
    page = why.page(story(alarm=msgspec.structs.replace(told, data=found)), "demo")
    said = words(page)
    alone = words(why.page(story(alarm=msgspec.structs.replace(told, data=found), jobs=(), steps=()), "demo"))
    assert "The fall of a slice starts no retraining" in alone
    assert "the detector stood at 12,400 it alarms at 10,000" in said and "slice tenant=acme" in said
    assert "or between" in said and "estimated" not in said
    assert "What its promise assumes does not hold: values follow each other" in said
    assert "<script>" not in page
    assert "the detector stood" not in words(why.page(story(), "demo"))


def test_an_interval_whose_ends_are_one_time_is_one_time() -> None:
    told = alarm()
    found = msgspec.structs.replace(
        told.data, change_from_ms=CHANGE, change_until_ms=CHANGE, threshold=0.87, detector="conformal"
    )
    facts = {fact.label: fact for fact in why.facts(story(alarm=msgspec.structs.replace(told, data=found)))}
    assert facts["changed at"].note == "estimated, by the time of the calls"
    assert facts["threshold"].note == "beyond it counts as changed, says the change detector"


def test_columns_of_the_table_are_explained_only_where_there_is_one() -> None:
    bare = some_evidence(found="too_few_calls", telling=0, slices=())
    assert "gone without it" not in words(why.page(story(evidence=bare), "demo"))


def test_without_texts_the_page_says_so() -> None:
    bare = tuple(
        msgspec.structs.replace(each, question=None, answer=None, expected=None, slices={})
        for each in some_evidence().examples
    )
    said = words(why.page(story(evidence=some_evidence(capture="off", examples=bare)), "demo"))
    assert "keeps no texts (capture: off)" in said and "asked" not in said and "0199-0" in said
    assert "blacked out" in words(why.page(story(evidence=some_evidence(capture="redacted")), "demo"))


@pytest.mark.parametrize(
    ("age_ms", "again_s"), [(20_000, 10), (240_000, 10), (3_600_000, 60), (OLD_MS, 60), (OLD_MS + 1, None)]
)
def test_evidence_is_awaited_until_the_role_takes_the_alarm_up_no_more(age_ms: int, again_s: int | None) -> None:
    page = why.page(story(evidence=None, resolved=None, now_ms=alarm().time_ms + age_ms), "demo")
    said = words(page)
    if again_s is None:
        assert 'http-equiv="refresh"' not in page
        assert "There is no evidence, and none will come: alarms older than 24 hours are not taken up" in said
    else:
        assert f'http-equiv="refresh" content="{again_s}"' in page
        assert "The evidence is not there yet." in said and "25 s after the alarm at the earliest" in said
        assert f"again every {again_s} seconds" in said and "none will come" not in said


def test_no_minute_is_promised_for_the_report() -> None:
    assert "in several on a busy one" in words(why.page(story(has_report=False), "demo"))


def test_an_alarm_of_the_audit_has_no_calls_and_no_report() -> None:
    said = words(why.page(story(alarm=alarm(kind="system"), evidence=None, has_report=False, jobs=()), "demo"))
    assert "Where it lies" not in said and "they need a person" in said


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (None, "ms", "–"),
        (0.031, "share", "3.1%"),
        (1234.5, "ms", "1,234 ms"),
        (0.00042, "currency", "0.00042"),
        (0.5, "score", "0.50"),
        (17.25, "", "17.2"),
    ],
)
def test_figures_are_shown_with_their_unit(value: float | None, unit: str, shown: str) -> None:
    assert why.amount(value, unit) == shown


def test_a_figure_without_points_has_no_picture() -> None:
    marks = [Mark(CHANGE, "change", "#000")]
    assert trend({}, "", marks, None, "t", str, str) == ""
    assert trend({"v": (Point(CHANGE, None, 0),)}, "", marks, 1.0, "t", str, str) == ""
    drawn = trend({"v": (Point(CHANGE, 0.0, 1), Point(CHANGE, 0.0, 1))}, "", marks, None, "t", str, str)
    assert "polyline" in drawn and "nan" not in drawn


def texts(drawn: str) -> dict[str, tuple[float, float, str]]:
    """Where each text of a picture stands: x, y, anchor."""
    found = re.findall(r'<text x="([\d.-]+)" y="([\d.-]+)" text-anchor="(\w+)"[^>]*>([^<]*)<', drawn)
    return {words: (float(x), float(y), anchor) for x, y, anchor, words in found}


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_labels_of_the_levels_have_room(width: int) -> None:
    points = {"v": (Point(CHANGE, 1_200.0, 1), Point(NOW, 30_040.0, 1))}
    drawn = trend(points, "", [], None, "t", lambda value: why.amount(value, "ms"), str, width)
    x, _, anchor = texts(drawn)["30,040 ms"]
    assert anchor == "end" and x >= 7.2 * len("30,040 ms")


@pytest.mark.parametrize("rising", [True, False])
def test_the_threshold_is_named_where_the_curve_is_not(rising: bool) -> None:
    values = [500.0] * 50 + [1_050.0] * 50
    shown = values if rising else values[::-1]
    points = {"v": tuple(Point(CHANGE + 5_000 * index, value, 1) for index, value in enumerate(shown))}
    drawn = trend(points, "", [], 1_000.0, "t", lambda value: why.amount(value, "ms"), str)
    x, y, anchor = texts(drawn)["threshold 1,000 ms"]
    assert anchor == "start"
    curve = re.search(r'polyline points="([^"]+)"', drawn)
    assert curve is not None
    for place in curve[1].split():
        across, down = map(float, place.split(","))
        assert not (x <= across <= x + 130 and y - 12 <= down <= y + 2), place


@pytest.mark.parametrize("name", ["../secrets", "a" * 7, "A" * 32, "a" * 65, "a" * 32 + "\n", ""])
def test_only_ids_of_alarms_are_looked_up(name: str) -> None:
    assert not is_alarm_id(name)


def test_what_users_wrote_runs_no_script() -> None:
    assert "script" not in policy_of(f"/alarms/{ALARM_ID}") and "default-src 'none'" in policy_of(f"/alarms/{ALARM_ID}")
    assert policy_of(f"/evidence/{ALARM_ID}").startswith("sandbox")
    assert policy_of("/") != policy_of("/alarms/x")
