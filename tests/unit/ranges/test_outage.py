"""After the broker was away, what is read to its end may not be all that has happened."""

from __future__ import annotations

from tidemill.io.ranges.ends import AWAY_S, SETTLING_S, Outage


def answers(outage: Outage, *times: float) -> None:
    for at in times:
        outage.answered(at)


def test_a_broker_that_answers_all_the_time_was_not_away() -> None:
    outage = Outage()
    answers(outage, 1000.0, 1000.2, 1000.4, 1000.4 + AWAY_S - 0.1)
    assert not outage.settling(1000.4 + AWAY_S)


def test_the_first_answer_ends_no_outage() -> None:
    outage = Outage()
    assert not outage.settling(5.0)
    answers(outage, 1000.0)
    assert not outage.settling(1000.1)


def test_after_an_outage_producers_have_their_time() -> None:
    outage = Outage()
    answers(outage, 1000.0, 1020.0)
    assert outage.settling(1020.1) and outage.settling(1019.9 + SETTLING_S)
    assert not outage.settling(1020.1 + SETTLING_S)


def test_a_second_outage_begins_the_time_anew() -> None:
    outage = Outage()
    answers(outage, 1000.0, 1020.0, 1020.2, 1030.0)
    assert outage.settling(1029.9 + SETTLING_S)
