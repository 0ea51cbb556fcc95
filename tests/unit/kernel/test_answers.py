"""What an answer's text shows of a model that fails, and what says nothing."""

from __future__ import annotations

import pytest

from tidemill.answers import answer_features, repetition
from tidemill.events import Message
from tidemill.refusals import PHRASES, is_refusal
from tidemill.text import features, in_words, question_features

REFUSALS = {
    "en": "I’m sorry, but I cannot help with that request.",
    "de": "Es tut mir leid, aber dabei kann ich Ihnen nicht helfen.",
    "fr": "Je suis désolé, mais je ne peux pas vous aider avec cette demande.",
    "es": "Lo siento, pero no puedo ayudarte con eso.",
    "pt": "Desculpe, mas não posso ajudar com esse pedido.",
    "it": "Mi dispiace, ma non posso aiutarti con questa richiesta.",
    "nl": "Het spijt me, maar daar kan ik je niet mee helpen.",
    "pl": "Przykro mi, ale nie mogę pomóc w tej sprawie.",
    "ru": "Извините, но я не могу помочь с этим запросом.",
    "zh": "抱歉，我无法协助处理这个请求。",
    "ja": "申し訳ありませんが、そのご質問にはお答えできません。",
    "ko": "죄송하지만 그 요청은 도와드릴 수 없습니다.",
}


def test_every_language_of_the_list_is_tried() -> None:
    assert REFUSALS.keys() == PHRASES.keys()


@pytest.mark.parametrize("text", REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_known_by_how_it_begins(text: str) -> None:
    assert is_refusal(text) and is_refusal(f"  {text.upper()}")
    assert not is_refusal("x" * 200 + text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "order_status",
        "Sure! You can help yourself.",
        "Das kann ich gern tun.",
        "I can help with that.",
        "我可以帮您。",
    ],
)
def test_an_ordinary_answer_is_no_refusal(text: str) -> None:
    assert not is_refusal(text)


def test_phrases_are_written_as_they_are_looked_for() -> None:
    for phrase in (phrase for phrases in PHRASES.values() for phrase in phrases):
        assert phrase == phrase.lower() == " ".join(phrase.split()) and is_refusal(phrase), phrase


def test_repetition_is_the_share_of_ngrams_that_were_there_before() -> None:
    assert repetition(["a", "b", "c", "d"]) == 0, "one n-gram repeats nothing"
    assert repetition(["a", "b", "c", "d", "a", "b", "c", "d"]) == pytest.approx(1 / 5)
    assert repetition(["no"] * 100) == pytest.approx(96 / 97)
    assert "repetition" not in answer_features("three short words", "ok", "stop")
    assert answer_features("one two three four five", "ok", "stop")["repetition"] == 0


def test_an_answer_is_empty_only_where_one_was_due() -> None:
    assert answer_features(" \n", "ok", "stop")["empty"] == 1
    assert answer_features("", "ok", "")["empty"] == answer_features("", "ok", "length")["empty"] == 1
    assert answer_features("?!", "ok", "stop")["empty"] == 0
    assert answer_features("", "ok", "tool_calls") == {"empty": 0.0}, "it calls a tool"
    for text, status in (("", "error"), ("", "cancelled"), (None, "ok")):
        assert answer_features(text, status, "stop") == {}, "absence is not zero"
    assert answer_features("half an ans", "cancelled", "")["empty"] == 0


def test_the_form_is_judged_of_answers_that_were_due() -> None:
    assert answer_features("yes", "ok", "stop", str.isalpha)["valid"] == 1
    assert answer_features("", "ok", "stop", str.isalpha)["valid"] == 0
    assert "valid" not in answer_features("ye", "cancelled", "", str.isalpha)
    assert "valid" not in answer_features("yes", "ok", "stop")


def test_letters_of_other_scripts() -> None:
    assert features("où est la clé, Łukasz? 17")["non_latin_share"] == 0
    assert features("где мой заказ?")["non_latin_share"] == 1
    assert features("order где")["non_latin_share"] == 3 / 8
    assert features("17 + 4 → 21")["non_latin_share"] == 0


def test_context_is_what_neither_side_of_the_conversation_said() -> None:
    said = [
        ("system", "be kind"),
        ("user", "where?"),
        ("assistant", "let me see"),
        ("tool", "row 1"),
        ("context", "row"),
    ]
    found = question_features([Message(role=role, content=text) for role, text in said])
    assert found == features("where?") | {"context_chars": 8.0}
    assert question_features([Message(role="user", content="where?")])["context_chars"] == 0
    assert question_features([Message(role="tool", content="row 1")]) == {}


def test_words_keep_their_case_here() -> None:
    assert in_words("Two Words") == ["Two", "Words"]
