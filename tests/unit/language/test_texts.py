"""Real labelled texts as the support pipeline: the split is seeded, complete and clean."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from producers.language import Speaker, TextSource, Utterance, leaked, read_csv
from producers.language.texts import split

ROWS = [(f"question {number} about {label}", label) for label in "abcdefgh" for number in range(20)]


def test_labels_are_held_back_by_seed() -> None:
    source = split(ROWS, 0.5, seed=1)
    assert source == split(ROWS, 0.5, seed=1)
    assert source.held_back != split(ROWS, 0.5, seed=2).held_back
    assert len(source.held_back) == len(source.known) == 4
    assert not source.known & source.held_back


def test_every_text_has_one_place() -> None:
    source = split(ROWS, 0.25, seed=3)
    parts = [source.of(held_back=new, reserved=kept) for new in (False, True) for kept in (False, True)]
    assert sorted(row for part in parts for row in part) == sorted(ROWS)


def said(source: TextSource, way: str, n: int) -> list[Utterance]:
    speaker, rng = Speaker(source), Random(1)
    return [speaker.utterance(way, rng) for _ in range(n)]


def test_no_reserved_text_is_trained_on_or_asked_as_new() -> None:
    source = split(ROWS, 0.25, seed=3)
    assert len(source.reserved) == 8 * 2
    assert {each.text for each in source.golden()} < source.reserved
    assert not source.reserved & {each.text for each in source.training() + said(source, "novel", 400)}
    assert leaked(source.training(), source.golden()) == set()


def test_plain_asks_reserved_texts_of_known_labels() -> None:
    source = split(ROWS, 0.5, seed=1)
    plain = said(source, "plain", 200)
    assert {each.truth for each in plain} == source.known
    assert {each.text for each in plain} <= source.reserved


@pytest.mark.parametrize("way", ["novel", "unseen"])
def test_both_kinds_of_label_are_asked(way: str) -> None:
    source = split(ROWS, 0.5, seed=1, new_share=0.6)
    asked = said(source, way, 400)
    assert 0.5 < sum(each.truth in source.held_back for each in asked) / 400 < 0.7
    assert all((each.text in source.reserved) == (way == "unseen") for each in asked)
    assert asked == said(source, way, 400)


def test_no_text_comes_back_before_all_of_its_kind_were_asked() -> None:
    source = split(ROWS, 0.5, seed=1, new_share=1.0)
    fresh = len(source.of(held_back=True, reserved=False))
    asked = [each.text for each in said(source, "novel", 2 * fresh)]
    assert len(set(asked[:fresh])) == len(set(asked[fresh:])) == fresh


def test_all_new_is_possible() -> None:
    source = split(ROWS, 0.5, seed=1, new_share=1.0)
    assert {each.truth for each in said(source, "novel", 200)} == source.held_back


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0])
def test_a_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="hold-back"):
        split(ROWS, share, seed=0)


def test_too_few_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="2 labels; at least 3"):
        split([("x", "a"), ("y", "b")], 0.5, seed=0)


def test_unknown_way_is_refused() -> None:
    with pytest.raises(ValueError, match="'words'"):
        Speaker(split(ROWS, 0.5, seed=0)).utterance("words", Random(0))


def test_csv_with_quotes_and_repeated_texts(tmp_path: Path) -> None:
    file = tmp_path / "texts.csv"
    lines = [f'"{text}, really",{label},x' for text, label in ROWS]
    file.write_text("words,topic,rest\n" + "\n".join(lines + lines[:3]) + "\n", encoding="utf-8-sig")
    source = read_csv(file, "words", "topic", 0.5, seed=0)
    assert len(source.rows) == len(ROWS)
    assert source.rows[0][0].endswith(", really")


def test_a_missing_column_is_named_with_those_there(tmp_path: Path) -> None:
    file = tmp_path / "texts.csv"
    file.write_text("text,category\nhello,a\n")
    with pytest.raises(ValueError, match=r"--label-column is 'label', but texts.csv has the columns text, category"):
        read_csv(file, "text", "label", 0.5, seed=0)
