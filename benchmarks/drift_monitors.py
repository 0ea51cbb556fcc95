"""What watches streams of questions: ours, with every metric and slice on one budget, and the peers.

Each peer watches the same calls in the way its documentation shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Protocol

from benchmarks.drift_texts import SLICES
from streams.detectors.budget import Budget, Series
from streams.detectors.conformal import Conformal, Direction
from streams.detectors.learned import LearnedWords, Tokens, tokens
from streams.detectors.second_opinions import SecondOpinion
from tidemill.text import FEATURES, features

RUN_LENGTH = 10_000
"""At most one false alarm in so many clock updates; here a call is an update."""
SCALARS = (*FEATURES, "unseen_share")
LEARNED = "words_learned"
WINDOW = 500
"""Calls that a peer which compares windows looks at together."""


class Monitor(Protocol):
    """Takes calls one by one; names what it found in the last one, if anything."""

    def update(self, text: str, slice_: str) -> str | None:
        """Take one call."""


class Scalars:
    """The scalar metrics of a text; the share of words that no text of the reference holds is one of them."""

    def __init__(self, reference: Sequence[str]) -> None:
        self._seen = {token for text in reference for token in _tokens(text).tolist()}

    def __call__(self, text: str) -> dict[str, float]:
        held = _tokens(text).tolist()
        return features(text) | {"unseen_share": sum(token not in self._seen for token in held) / len(held)}


class Ours:
    """Every metric of the text as a whole and in each slice, on one budget."""

    def __init__(self, reference: Sequence[str], seed: int) -> None:
        self._budget = Budget(RUN_LENGTH)
        self._scalars = Scalars(reference)
        self._detectors: dict[Series, Conformal | LearnedWords] = {}
        known = [_tokens(text) for text in reference]
        for slice_ in ("", *SLICES):
            for number, metric in enumerate(SCALARS):
                direction: Direction = "up" if metric == "unseen_share" else "both"
                self._add(Series("", metric, slice_), Conformal(RUN_LENGTH, direction, seed=100 * seed + number))
            self._add(Series("", LEARNED, slice_), LearnedWords(known, RUN_LENGTH))

    @property
    def series(self) -> int:
        """K: detectors on the budget."""
        return len(self._detectors)

    def update(self, text: str, slice_: str) -> str | None:
        """Take one call; the metric and slice that alarm."""
        self._budget.tick()
        found = None
        values, held = self._scalars(text), _tokens(text)
        for where in ("", slice_):
            for metric in (*SCALARS, LEARNED):
                series = Series("", metric, where)
                detector, mass = self._detectors[series], self._budget.grant(series)
                if isinstance(detector, LearnedWords):
                    detector.update(held, mass)
                else:
                    detector.update(values[metric], mass)
                if detector.drift_detected:
                    self._budget.alarmed(series)
                    found = found or f"{metric} {where}".strip()
        return found

    def _add(self, series: Series, detector: Conformal | LearnedWords) -> None:
        self._budget.admit(series)
        self._detectors[series] = detector


class River:
    """One of river's detectors on each scalar metric, with its own defaults."""

    def __init__(self, name: str, reference: Sequence[str]) -> None:
        self._scalars = Scalars(reference)
        self._detectors = {metric: SecondOpinion(name) for metric in SCALARS}

    def update(self, text: str, slice_: str) -> str | None:
        """Take one call; the metric that alarms."""
        values, found = self._scalars(text), None
        for metric, detector in self._detectors.items():
            detector.update(values[metric])
            if detector.drift_detected:
                found = found or metric
        return found


class Evidently:
    """Evidently's text drift (a classifier that tells two windows of text apart), a window at a time."""

    def __init__(self, reference: Sequence[str]) -> None:
        import pandas as pd
        from evidently import DataDefinition, Dataset

        self._definition = DataDefinition(text_columns=["text"])
        frame = pd.DataFrame({"text": list(reference[: 2 * WINDOW])})
        self._reference = Dataset.from_pandas(frame, data_definition=self._definition)
        self._window: list[str] = []

    def update(self, text: str, slice_: str) -> str | None:
        """Take one call; at each full window, whether it drifted."""
        import pandas as pd
        from evidently import Dataset, Report
        from evidently.metrics import ValueDrift

        self._window.append(text)
        if len(self._window) < WINDOW:
            return None
        frame, self._window = pd.DataFrame({"text": self._window}), []
        current = Dataset.from_pandas(frame, data_definition=self._definition)
        made = Report([ValueDrift(column="text")], include_tests=True).run(current, self._reference)
        return "text" if made.dict()["tests"][0]["status"].value == "FAIL" else None


def monitors(reference: Sequence[str], seed: int) -> Mapping[str, Callable[[], Monitor]]:
    """Ours and the peers, by name; made when called."""
    return {
        "tidemill": lambda: Ours(reference, seed),
        "river ADWIN": lambda: River("adwin", reference),
        "river Page-Hinkley": lambda: River("page_hinkley", reference),
        "evidently, text": lambda: Evidently(reference),
    }


@cache
def _tokens(text: str) -> Tokens:
    return tokens(text)
