"""Pipeline `support`: a customer's question in, the name of its intent out.

Ways of speaking:
    plain   short questions about known intents
    long    the same questions inside longer messages; the base model has seen such, so quality stays
    novel   most questions are about intents that did not exist before; quality really falls until they are learnt
"""

from __future__ import annotations

from random import Random

from producers.language import support_phrases as phrases
from producers.language.utterance import PLAIN, Utterance

PIPELINE = "support"
LONG = "long"
NOVEL = "novel"
WAYS = (PLAIN, LONG, NOVEL)
NEW_SHARE = 0.7
"""Share of the questions about new intents in the way `novel`."""


def utterance(way: str, rng: Random) -> Utterance:
    """One question asked in `way`, one of WAYS (else ValueError)."""
    if way not in WAYS:
        raise ValueError(f"way of speaking is {way!r}; {PIPELINE} knows {', '.join(WAYS)}")
    intents = phrases.NEW if way == NOVEL and rng.random() < NEW_SHARE else phrases.KNOWN
    intent = rng.choice(tuple(intents))
    question = rng.choice(intents[intent]).format(
        item=rng.choice(phrases.ITEMS),
        order=str(rng.randrange(1000, 10_000)),
        amount=rng.choice(phrases.AMOUNTS),
        when=rng.choice(phrases.WHENS),
    )
    opener, closer = rng.choice(phrases.OPENERS), rng.choice(phrases.CLOSERS)
    text = opener + (question if opener else question[0].upper() + question[1:]) + closer
    if way == LONG:
        text = f"{rng.choice(phrases.PREAMBLES)} {text} {rng.choice(phrases.AFTERWORDS)}"
    return Utterance(PIPELINE, text, intent, way, {"intent": intent})
