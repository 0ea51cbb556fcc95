"""Training rows of each recipe, and {"prompt", "completion"} as token ids with a mask over the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from retrain.model.chat import rendered_answer, rendered_prompt
from retrain.whole import json_lines

IGNORED = -100
"""Label of a token that no loss is computed for."""
MAX_LENGTH = 192
"""Most tokens of a question and its answer together."""
_LEAST_PROMPT = 3
"""Tokens a question needs beside its answer: the two leading marks and the one that asks for the answer."""


class Row(msgspec.Struct, frozen=True):
    """One line of a training file; unknown fields are ignored. `pipeline` may be empty."""

    prompt: str
    completion: str
    pipeline: str = ""


class Pair(msgspec.Struct, frozen=True):
    """One line of a file of preferences: the answer that is right, and the one that was given."""

    prompt: str
    completion: str
    rejected: str


class Judged(msgspec.Struct, frozen=True):
    """One line of a file of thumbs: an answer, and whether it was liked."""

    prompt: str
    completion: str
    liked: bool


R = TypeVar("R", Row, Pair, Judged)


class Example(msgspec.Struct, frozen=True):
    """Token ids of prompt and answer; the first `prompt_length` ids are the prompt."""

    ids: tuple[int, ...]
    prompt_length: int

    def completion_mask(self) -> list[int]:
        """1 over the answer and its end mark, 0 over the prompt."""
        return [0] * self.prompt_length + [1] * (len(self.ids) - self.prompt_length)

    def labels(self) -> list[int]:
        """The ids over the answer, IGNORED over the prompt."""
        return [IGNORED] * self.prompt_length + list(self.ids[self.prompt_length :])


class Encoded(NamedTuple):
    """The rows that can be taught, and how many cannot: answers too long for their question, answers of no words."""

    examples: list[Example]
    too_long: int
    empty: int


def read_rows(path: Path) -> list[Row]:
    """Rows {"prompt", "completion"}; see ``rows_as``."""
    return rows_as(path, Row)


def rows_as(path: Path, kind: type[R]) -> list[R]:
    """Rows of one JSONL file, or of all *.jsonl files of a folder in name order.

    FileNotFoundError if there is none; ValueError names file and line of a row that is not one.
    """
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise FileNotFoundError(f"no JSONL rows at {path}; give a .jsonl file or a folder holding some")
    rows: list[R] = []
    for file in files:
        try:
            rows += [row for _, row in json_lines(file, kind)]
        except ValueError as error:
            needed = " and ".join(each.name for each in msgspec.structs.fields(kind) if each.required)
            raise ValueError(f"{file.name}, {error}; a row needs {needed}") from error
    if not rows:
        raise ValueError(f"{path} holds no rows; a training set needs at least one")
    return rows


def encode(rows: Iterable[Row], ids_of: Callable[[Sequence[str]], list[list[int]]], max_length: int) -> Encoded:
    """Rows as examples. `ids_of` maps texts to ids without adding special tokens; longer rows are cut at the front of
    the question (the answer and the turn marks always stay). A row that nothing can be learnt from is left out.
    """
    given = list(rows)
    rows = [row for row in given if row.completion.strip()]
    prompts = ids_of([rendered_prompt(row.prompt) for row in rows])
    answers = ids_of([rendered_answer(row.completion) for row in rows])
    made = [example(prompt, answer, max_length) for prompt, answer in zip(prompts, answers, strict=True)]
    fitting = [each for each in made if each is not None]
    return Encoded(fitting, too_long=len(made) - len(fitting), empty=len(given) - len(rows))


def example(prompt: Sequence[int], answer: Sequence[int], max_length: int) -> Example | None:
    """Join prompt and answer within `max_length` ids; None where the answer leaves its question no room.

    The two leading marks stay, the question loses its beginning.
    """
    room = max_length - len(answer)
    if room < _LEAST_PROMPT:
        return None
    if len(prompt) > room:
        prompt = [*prompt[:2], *prompt[len(prompt) - (room - 2) :]]
    return Example((*prompt, *answer), len(prompt))


def fits(texts: Sequence[Sequence[str]], ids_of: Callable[[Sequence[str]], list[list[int]]], most: int) -> list[bool]:
    """Of each question with its answers: whether it has at most so many tokens with the longest of them."""
    found = []
    for prompt, *answers in texts:
        lengths = [len(ids) for ids in ids_of([prompt, *answers])]
        found.append(lengths[0] + max(lengths[1:]) <= most)
    return found


def ids_with(tokenizer: Any) -> Callable[[Sequence[str]], list[list[int]]]:
    """`encode`'s view of a Hugging Face tokenizer."""

    def ids_of(texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return ids

    return ids_of
