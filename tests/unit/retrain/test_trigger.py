"""What comes of an alarm, given the book: opened once, declined with its reason, tried again, and then no more."""

from __future__ import annotations

from msgspec.structs import replace

from retrain.controller.book import Book
from retrain.controller.trigger import Outcome, outcome
from retrain.policy import Known, job_id_of
from tests.unit.retrain.made import NOW, alarm, pipeline

EVENT = alarm()


def asked(book: Book, champion: str = "schedule-v1", **known: object) -> Outcome:
    return outcome(EVENT, pipeline(), book, Known(**({"now_ms": NOW} | known)), champion)  # type: ignore[arg-type]


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


def test_in_vain_it_is_tried_again_after_the_cool_down_and_at_most_three_times() -> None:
    book = Book()
    for attempt in range(3):
        cooling = asked(book, last_end_ms=NOW - 1)
        assert attempt == 0 or cooling == Outcome(), "no record while it cools down"
        state = asked(book).state
        assert state is not None and state.job_id == job_id_of("alarm-1", attempt)
        book.note_job(replace(state, seq=9, phase="failed"))
    assert asked(book) == Outcome(done="alarm on schedule: no further job (3 in vain, schedule-v1 serves)")
