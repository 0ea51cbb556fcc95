"""Pipeline `schedule`: a short message or conversation in, a compact structured schedule out.

Truth: `<day> <HH:MM> <minutes>m <topic> <person> @ <place>`, for example `tue 15:30 60m budget Anna @ room 4`.
Ways of speaking:
    plain   days by name, times in figures; what the base model has learnt
    words   times in words and some days by nickname: the change of the demo (see docs/explanation/learning-curve.md)
"""

from __future__ import annotations

from random import Random

from producers.language.spoken import HOURS, NICKNAMES, QUARTERS, time_in_words
from producers.language.utterance import PLAIN, Utterance

PIPELINE = "schedule"
WORDS = "words"
WAYS = (PLAIN, WORDS)
NICKNAME_SHARE = 0.25
"""Share of the days said by nickname in the way `words`."""

_DAYS = {"mon": "monday", "tue": "tuesday", "wed": "wednesday", "thu": "thursday", "fri": "friday"}
_PEOPLE = [
    "Anna",
    "Ben",
    "Carla",
    "David",
    "Emma",
    "Felix",
    "Grace",
    "Hugo",
    "Irene",
    "Jonas",
    "Karin",
    "Leo",
    "Maria",
    "Nils",
    "Olga",
    "Paul",
    "Rita",
    "Simon",
    "Tina",
    "Viktor",
]
_TOPICS = [
    "budget",
    "hiring",
    "roadmap",
    "launch",
    "design",
    "pricing",
    "security",
    "training",
    "travel",
    "audit",
    "contract",
    "release",
    "planning",
    "review",
    "survey",
    "onboarding",
    "backup",
    "website",
    "newsletter",
    "payroll",
]
_PLACES = ("room 1", "room 2", "room 3", "room 4", "room 5", "room 6", "lobby", "cafe", "library", "online")
_LENGTHS = {
    15: ("15 minutes", "a quick 15 minutes"),
    30: ("30 minutes", "half an hour"),
    45: ("45 minutes",),
    60: ("an hour", "60 minutes", "one hour"),
    90: ("90 minutes", "an hour and a half"),
    120: ("two hours", "120 minutes"),
}
_OPENERS = ("", "", "", "", "Hi, ", "Hello, ", "Please: ", "Quick one: ")
_CLOSERS = ("", "", "", "", " Thanks!", " Thank you.", " Cheers.")
_MESSAGES = (
    "book {topic} with {person} on {day} at {time} for {length} in {place}.",
    "can you set up {topic} with {person}, {day} at {time}, {length}, {place}?",
    "I need {length} with {person} about {topic} on {day}, {time}, {place}.",
    "{day} at {time} works for {person}: {topic}, {length}, {place}.",
    "put {topic} on the calendar for {day} {time}, {length}, with {person}, {place}.",
    "let us talk {topic} in {place} on {day} at {time}, {person} joins for {length}.",
    "{person} wants {length} on {topic}, {day} at {time}, in {place}.",
    "meeting about {topic}: {person}, {place}, {day}, {time}, {length}.",
    "A: are you free on {day}? B: yes, at {time}. A: {topic} with {person}, {length}, {place}.",
    "A: when is {topic}? B: {day} at {time} in {place}. A: how long? B: {length}, {person} comes too.",
    "A: {person} asks for {length} about {topic}. B: {place} is free on {day} at {time}.",
    "A: {topic} on {day}? B: {time} suits {person}. A: good, {length}, {place}.",
)


def utterance(way: str, rng: Random) -> Utterance:
    """One message spoken in `way`, one of WAYS (else ValueError)."""
    if way not in WAYS:
        raise ValueError(f"way of speaking is {way!r}; {PIPELINE} knows {', '.join(WAYS)}")
    day = rng.choice(tuple(_DAYS))
    hour, minute = rng.choice(HOURS), rng.choice(QUARTERS)
    minutes = rng.choice(tuple(_LENGTHS))
    topic, person, place = rng.choice(_TOPICS), rng.choice(_PEOPLE), rng.choice(_PLACES)
    time = f"{hour:02d}:{minute:02d}"
    said_day, said_time = _DAYS[day], time
    if way == WORDS:
        said_time = time_in_words(hour, minute, rng)
        if rng.random() < NICKNAME_SHARE:
            said_day = rng.choice(NICKNAMES[day])
    body = rng.choice(_MESSAGES).format(
        topic=topic, person=person, place=place, day=said_day, time=said_time, length=rng.choice(_LENGTHS[minutes])
    )
    opener, closer = rng.choice(_OPENERS), rng.choice(_CLOSERS)
    text = opener + (body if opener else body[0].upper() + body[1:]) + closer
    fields = {
        "day": day,
        "time": time,
        "length": f"{minutes}m",
        "topic": topic,
        "person": person,
        "place": place,
    }
    return Utterance(PIPELINE, text, truth_of(fields), way, fields)


def truth_of(fields: dict[str, str]) -> str:
    """The compact line of a schedule's fields (day, time, length, topic, person, place)."""
    return "{day} {time} {length} {topic} {person} @ {place}".format(**fields)
