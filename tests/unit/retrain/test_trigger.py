"""What comes of an alarm, given the book: opened once, declined with its reason, tried again, and then no more."""

from __future__ import annotations

from msgspec.structs import replace

from retrain.controller.book import Book
from retrain.controller.trigger import Outcome, outcome
from retrain.policy import Known, by_alarm, job_id_of
from tests.unit.retrain.made import NOW, alarm, pipeline, trigger
from tidemill.events import RetrainDecision

TRIGGER = trigger()


def asked(book: Book, champion: str = "schedule-v1", **known: object) -> Outcome:
    return outcome(TRIGGER, pipeline(), book, Known(**({"now_ms": NOW} | known)), champion)  # type: ignore[arg-type]


def test_the_first_decision_is_recorded() -> None:
    found = asked(Book())
    assert found.state is not None and not found.done
    assert (found.state.phase, found.state.job_id) == ("collecting", job_id_of("alarm-1"))
    assert found == asked(Book()), "asked again it is the same job"


def test_declined_for_a_while_is_recorded_once_and_then_opens_as_the_same_job() -> None:
    book = Book()
    declined = asked(book, busy="job abc (training)").state
    assert declined is not None and declined.phase == "declined"
    book.note_job(declined)
    book.note_decision(told(asked(Book(), busy="job abc (training)")))
    assert asked(book, busy="job abc (training)") == Outcome()
    opened = asked(book).state
    assert opened is not None and (opened.job_id, opened.seq, opened.phase) == (declined.job_id, 1, "collecting")


def test_declined_meanwhile_another_champion_came() -> None:
    book = Book()
    declined = asked(book, busy="a job").state
    assert declined is not None
    book.note_job(declined)
    found = asked(book, champion="schedule-v2").state
    assert found is not None and found.reason == "the alarm was about schedule-v1; schedule-v2 serves now"


def told(found: Outcome) -> RetrainDecision:
    assert found.said is not None
    return found.said


def test_in_vain_it_is_tried_again_after_the_cool_down_and_at_most_three_times() -> None:
    book = Book()
    for attempt in range(3):
        cooling = asked(book, last_end_ms=NOW - 1)
        if attempt:
            assert cooling.state is None, "no state while it cools down"
            assert (told(cooling).act, told(cooling).cause, told(cooling).attempt) == ("decline", "cooldown", attempt)
            book.note_decision(told(cooling))
            assert asked(book, last_end_ms=NOW - 1) == Outcome(), "said once"
        found = asked(book)
        assert found.state is not None and found.state.job_id == told(found).job_id == job_id_of("alarm-1", attempt)
        book.note_job(replace(found.state, seq=9, phase="failed"))
        book.note_decision(told(found))
    last = asked(book)
    done = "quality trigger on schedule: no further job (3 in vain, schedule-v1 serves)"
    assert (last.state, last.done, told(last).cause, told(last).reasons) == (None, done, "in_vain", (done,))
    assert told(last).seq == 5, "three jobs, two cool-downs"


def test_a_decision_is_said_when_it_differs_and_has_an_id_of_its_own() -> None:
    book = Book()
    said = []
    for known in ({"busy": "a job"}, {"busy": "another job"}, {"last_end_ms": NOW - 1}, {"last_end_ms": NOW - 2}, {}):
        found = asked(book, **known)
        assert found == asked(book, **known)
        if found.said is not None:
            said.append(found.said)
            book.note_decision(found.said)
        if found.state is not None:
            book.note_job(found.state)
    assert [(each.seq, each.act, each.cause) for each in said] == [
        (0, "decline", "busy"),
        (1, "decline", "cooldown"),
        (2, "open", "open"),
    ]
    assert len({each.decision_id for each in said}) == 3
    assert said[0].reasons == ("a job is under way; one at a time",)
    assert said[1].signals["cooldown_left_s"] == 60 - 0.001
    assert {each.trigger_id for each in said} == {"alarm-1"}


def test_while_nothing_is_known_nothing_is_said() -> None:
    assert outcome(trigger(kind="drift"), pipeline(), Book(), Known(now_ms=NOW), "schedule-v1") == Outcome()


def test_an_alarm_on_a_slice_is_said_to_be_ignored_and_leaves_no_job() -> None:
    event = alarm()
    of_slice = by_alarm(replace(event, data=replace(event.data, slice="tenant=acme")))
    assert of_slice is not None
    found = outcome(of_slice, pipeline(), Book(), Known(now_ms=NOW), "schedule-v1")
    assert (found.state, told(found).act, told(found).cause) == (None, "ignore", "slice")
