"""Small talk that is only overheard: gives the base model its words without what they mean in a schedule.

A real base model has met "half past three" and "trade in" long before anyone asks it to plan or to sort questions.
So has ours: it has read them, without an answer. Which figures or intents they stand for it learns from labels.
"""

from __future__ import annotations

from random import Random

from producers.language import support_phrases as phrases
from producers.language.spoken import HOURS, NICKNAMES, QUARTERS, time_in_words
from producers.language.utterance import PLAIN, Utterance

PIPELINE = "talk"

_PHRASES = (
    "see you {day} at {time}",
    "{time} or {time}",
    "the train leaves at {time}",
    "{day} and {day}",
    "{name} and {name}",
    "my {item} has a {name}",
    "{name} for the {item}",
    "{word} {word} {word}",
    "{item} {name} {time}",
    "{word} {day} {word} {name}",
)


def utterance(rng: Random) -> Utterance:
    """One phrase; its truth is empty, as nobody answers small talk."""
    said = rng.choice(_PHRASES)
    while "{" in said:
        said = (
            said.replace("{day}", rng.choice([name for names in NICKNAMES.values() for name in names]), 1)
            .replace("{time}", time_in_words(rng.choice(HOURS), rng.choice(QUARTERS), rng), 1)
            .replace("{name}", f"{rng.choice(_PARTS)}_{rng.choice(_PARTS)}", 1)
            .replace("{item}", rng.choice(phrases.ITEMS), 1)
            .replace("{word}", rng.choice(_WORDS), 1)
        )
    return Utterance(PIPELINE, said, "", PLAIN)


_WORDS = tuple(
    sorted(
        {
            word.strip(".,?!")
            for asked in phrases.NEW.values()
            for text in asked
            for word in text.split()
            if "{" not in word
        }
    )
)
_PARTS = tuple(sorted({part for name in phrases.NEW for part in name.split("_")} | set(phrases.ITEMS)))
"""Words that made-up names are put together from."""
