"""Languages of questions: guessed, not known where a text is too short, and never anything but a code."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import ValidationError, convert

from tidemill.events.types import Language
from tidemill.language import MOST_CHARS, language_of

SAID = {
    "en": "What's the weather like tomorrow in London?",
    "de": "Meine Überweisung ist noch nicht angekommen",
    "fr": "Pourquoi m'a-t-on facturé des frais ?",
    "es": "El cajero se ha tragado mi tarjeta",
    "it": "Perché mi è stata addebitata una commissione?",
    "nl": "Kun je uitleggen hoe een batterij veroudert?",
    "pt": "Você pode explicar como uma bateria envelhece?",
    "pl": "Dlaczego pobrano opłatę?",
    "ru": "Почему с меня взяли комиссию?",
    "zh": "为什么要收我手续费?",
    "ja": "なぜ手数料が請求されたのですか?",
    "ar": "هل يمكنك أن تشرح كيف تتقادم البطارية؟",
    "hi": "मुझसे शुल्क क्यों लिया गया?",
    "he": "שלום, איפה הכסף שלי ולמה הוא לא הגיע?",
}


@pytest.mark.parametrize(("code", "text"), SAID.items())
def test_a_question_has_a_language_in_any_case_and_layout(code: str, text: str) -> None:
    assert language_of([text]) == language_of([text.upper()]) == code
    assert language_of([*text.split(" ")]) == language_of(["\x00", text.replace(" ", "\t\x0b")]) == code


@pytest.mark.parametrize("text", ["", "ok", "12345", "order 4839", "😀😀", "{}", "\ud800", "𓀀𓁀"])
def test_too_little_says_nothing(text: str) -> None:
    assert language_of([text]) == ""
    assert language_of([]) == ""


def test_what_was_said_last_counts() -> None:
    long = SAID["en"] * MOST_CHARS
    assert language_of([long, SAID["de"] * 10]) == "de"
    assert language_of([SAID["de"], long]) == "en"


@given(st.text(st.characters(), max_size=2 * MOST_CHARS))
def test_any_text_gives_what_an_event_can_hold(text: str) -> None:
    found = language_of([text])
    assert convert(found, Language) == found == language_of([text])
    assert re.fullmatch("([a-z]{2,3})?", found)


@pytest.mark.parametrize("code", ["de-CH", "DE", "german"])
def test_an_event_takes_codes_alone(code: str) -> None:
    with pytest.raises(ValidationError):
        convert(code, Language)
