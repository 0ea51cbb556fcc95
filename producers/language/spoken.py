"""Times and days as people say them instead of writing them.

Office hours only (08:00 to 17:45 in quarters), so that "half past three" has one meaning: 15:30.
"""

from __future__ import annotations

from random import Random

HOURS = range(8, 18)
QUARTERS = (0, 15, 30, 45)

_HOUR_WORDS = (
    "twelve",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
)

NICKNAMES: dict[str, tuple[str, ...]] = {
    "mon": ("moanday",),
    "tue": ("taco day",),
    "wed": ("hump day",),
    "thu": ("almost weekend day",),
    "fri": ("fish day",),
}
"""Short day name to the nicknames heard for it."""


def hour_word(hour: int) -> str:
    """The twelve-hour word of an hour, 0 to 24: 15 is "three"."""
    return _HOUR_WORDS[hour % 12]


def time_in_words(hour: int, minute: int, rng: Random) -> str:
    """A quarter hour in words; `minute` is one of QUARTERS, else ValueError."""
    if minute == 0:
        return rng.choice(("{} sharp", "{} o'clock")).format(hour_word(hour))
    if minute == 15:
        return f"quarter past {hour_word(hour)}"
    if minute == 30:
        return f"half past {hour_word(hour)}"
    if minute == 45:
        return f"{hour_word(hour)} forty five"
    raise ValueError(f"minute is {minute}; only {QUARTERS} have words here")
