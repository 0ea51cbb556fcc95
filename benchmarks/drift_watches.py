"""What watches texts for change: ours, every metric and slice on one budget, and tests without a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.detectors.budget import Budget, Series
from streams.detectors.conformal import Conformal
from streams.detectors.learned import LearnedWords, tokens
from streams.detectors.second_opinions import SecondOpinion
from streams.detectors.text_vectors import Features
from streams.detectors.two_sample import TwoSample

RUN_LENGTH = 10_000
SCALARS = ("chars", "unseen", "word_length")
SLICES = ("tenant a", "tenant b", "tenant c")
KS_CALLS, KS_P = 200, 0.05
EVIDENTLY_CALLS = 500
EVIDENTLY = f"Evidently, {EVIDENTLY_CALLS} calls"


class Reference(NamedTuple):
    """Texts of before, and their vectors, shape (n, d)."""

    texts: Sequence[str]
    vectors: NDArray[np.float64]


class Call(NamedTuple):
    """One call."""

    text: str
    slice: str
    features: Features


class Watch:
    """Something that watches calls, one by one, and may name what alarmed."""

    def update(self, call: Call) -> str | None:
        """What alarmed at this call, if anything did."""
        raise NotImplementedError


class Ours(Watch):
    """Vectors, novelty, learned words and three scalars, of all calls and of each slice, on one budget."""

    def __init__(self, reference: Reference, seed: int) -> None:
        self._budget = Budget(RUN_LENGTH)
        known = [tokens(text) for text in reference.texts]
        self._panels = {
            slice_: _Panel(self._budget, slice_, reference, known, 16 * seed + 4 * number)
            for number, slice_ in enumerate(("", *SLICES))
        }

    @property
    def series(self) -> int:
        """Detectors that share the budget."""
        return self._budget.spend.series

    def update(self, call: Call) -> str | None:
        """Each detector with its part of the budget."""
        self._budget.tick()
        found = [*self._panels[""].update(call), *self._panels[call.slice].update(call)]
        return found[0] if found else None


class _Panel:
    """Every metric of one slice."""

    def __init__(
        self, budget: Budget, slice_: str, reference: Reference, known: Sequence[NDArray[np.int64]], seed: int
    ) -> None:
        self._budget, self._slice = budget, slice_
        self._two_sample = TwoSample(reference.vectors, RUN_LENGTH, seed=seed)
        self._words = LearnedWords(known, RUN_LENGTH)
        names = ("novelty", *SCALARS)
        self._conformal = {name: Conformal(RUN_LENGTH, seed=seed + n) for n, name in enumerate(names)}
        for name in ("vector", "words", *names):
            budget.admit(Series("bank", name, slice_))

    def update(self, call: Call) -> Iterator[str]:
        """What alarms."""
        two_sample, words = self._two_sample, self._words
        two_sample.update(call.features.vector, self._mass("vector"))
        words.update(tokens(call.text), self._mass("words"))
        assert two_sample.nearest is not None  # it has just been updated
        if two_sample.drift_detected:
            yield self._named(f"vector: {two_sample.grown}")
        if words.drift_detected:
            yield self._named("words")
        for name, detector in self._conformal.items():
            value = two_sample.nearest if name == "novelty" else getattr(call.features, name)
            detector.update(value, self._mass(name))
            if detector.drift_detected:
                yield self._named(name)

    def _mass(self, metric: str) -> float:
        return self._budget.grant(Series("bank", metric, self._slice))

    def _named(self, metric: str) -> str:
        return f"{metric}, {self._slice}" if self._slice else metric


class River(Watch):
    """One of river's detectors on each scalar, as it comes."""

    def __init__(self, name: str) -> None:
        self._detectors = {scalar: SecondOpinion(name) for scalar in SCALARS}

    def update(self, call: Call) -> str | None:
        """Shares as they are, lengths in hundreds of characters or tens: river's thresholds expect such sizes."""
        found = None
        for name, detector in self._detectors.items():
            detector.update(getattr(call.features, name) / {"chars": 100, "word_length": 10}.get(name, 1))
            found = name if detector.drift_detected else found
        return found


class Windows(Watch):
    """A Kolmogorov-Smirnov test of each scalar on windows of calls against the first one, at p < 0.05, as is usual."""

    def __init__(self) -> None:
        self._reference: dict[str, list[float]] = {}
        self._window: dict[str, list[float]] = {name: [] for name in SCALARS}

    def update(self, call: Call) -> str | None:
        """Tests at the end of a window."""
        from scipy.stats import ks_2samp

        for name, values in self._window.items():
            values.append(getattr(call.features, name))
        if len(self._window["chars"]) < KS_CALLS:
            return None
        window, self._window = self._window, {name: [] for name in SCALARS}
        if not self._reference:
            self._reference = window
            return None
        return next((n for n in SCALARS if ks_2samp(window[n], self._reference[n]).pvalue < KS_P), None)


class Evidently(Watch):
    """Evidently's drift of text (a classifier that tells two sets of texts apart), on windows of calls, as it comes."""

    def __init__(self, reference: Reference) -> None:
        self._reference = _dataset(reference.texts[: 2 * EVIDENTLY_CALLS])
        self._window: list[str] = []

    def update(self, call: Call) -> str | None:
        """A report at the end of a window."""
        from evidently import Report
        from evidently.metrics import ValueDrift

        self._window.append(call.text)
        if len(self._window) < EVIDENTLY_CALLS:
            return None
        window, self._window = self._window, []
        made = Report([ValueDrift(column="text")], include_tests=True).run(_dataset(window), self._reference)
        return "text" if made.dict()["tests"][0]["status"].value == "FAIL" else None


def _dataset(texts: Sequence[str]) -> Any:
    import pandas as pd
    from evidently import DataDefinition, Dataset

    return Dataset.from_pandas(pd.DataFrame({"text": texts}), data_definition=DataDefinition(text_columns=["text"]))


WATCHES: Mapping[str, Callable[[Reference, int], Watch]] = {
    "tidemill": Ours,
    "river ADWIN": lambda _, seed: River("adwin"),
    "river PageHinkley": lambda _, seed: River("page_hinkley"),
    f"KS, {KS_CALLS} calls, p < {KS_P}": lambda _, seed: Windows(),
    EVIDENTLY: lambda reference, seed: Evidently(reference),
}
