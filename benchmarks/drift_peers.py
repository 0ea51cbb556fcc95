"""What else watches text, each with its own defaults: tests on windows of calls, river's detectors, Evidently."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from benchmarks.drift_corpus import Corpus
from benchmarks.drift_watches import SCALARS, Features, Seen
from streams.detectors.second_opinions import SecondOpinion

KS_CALLS, KS_P = 200, 0.05
EVIDENTLY_CALLS = 500
AUC = 0.55
"""Evidently's own threshold: from this area under the curve on, a classifier tells current from reference."""


class Peer(Protocol):
    """Takes calls one by one; whether any of its series alarms."""

    series: int

    def update(self, seen: Seen) -> bool:
        """Take one call."""


class River:
    """One of river's detectors on each scalar, all brought to about one: its thresholds expect that.

    HDDM's bound is for values in [0, 1], where lengths are not: there is none here.
    """

    series = len(SCALARS)

    def __init__(self, name: str) -> None:
        self._detectors = [SecondOpinion(name) for _ in SCALARS]

    def update(self, seen: Seen) -> bool:
        """Whether any alarmed."""
        for detector, value, unit in zip(self._detectors, seen.scalars, (100, 1, 10, 1), strict=True):
            detector.update(value / unit)
        return any(detector.drift_detected for detector in self._detectors)


class Windows:
    """A Kolmogorov-Smirnov test of each scalar on windows of calls against the first one, at p < 0.05, as is usual."""

    series = len(SCALARS)

    def __init__(self) -> None:
        self._reference: list[tuple[float, ...]] = []
        self._window: list[Sequence[float]] = []

    def update(self, seen: Seen) -> bool:
        """Tests at the end of a window."""
        from scipy.stats import ks_2samp

        self._window.append(seen.scalars)
        if len(self._window) < KS_CALLS:
            return False
        columns, self._window = list(zip(*self._window, strict=True)), []
        if not self._reference:
            self._reference = columns
            return False
        return any(ks_2samp(new, old).pvalue < KS_P for new, old in zip(columns, self._reference, strict=True))


class EvidentlyText:
    """Evidently's drift of a text column: a classifier on words that tells a window from the reference."""

    series = 1

    def __init__(self, texts: Corpus) -> None:
        self._reference = _texts(texts.reference)
        self._window: list[str] = []

    def update(self, seen: Seen) -> bool:
        """Tests at the end of a window."""
        self._window.append(seen.call.text)
        if len(self._window) < EVIDENTLY_CALLS:
            return False
        from evidently import Report
        from evidently.metrics import ValueDrift

        current, self._window = _texts(self._window), []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = Report([ValueDrift(column="text")]).run(current_data=current, reference_data=self._reference)
        return float(made.dict()["metrics"][0]["value"]) > AUC


class EvidentlyVectors:
    """Evidently's drift of embeddings, its default way: a classifier on vectors, here ``TextVectors``."""

    series = 1

    def __init__(self, features: Features) -> None:
        import pandas

        self._reference = pandas.DataFrame(features.reference)
        self._window: list[Any] = []

    def update(self, seen: Seen) -> bool:
        """Tests at the end of a window."""
        self._window.append(seen.vector)
        if len(self._window) < EVIDENTLY_CALLS:
            return False
        import pandas
        from evidently.legacy.metrics.data_drift.embedding_drift_methods import model

        current, self._window = pandas.DataFrame(np.array(self._window)), []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _, drifted, _ = model(threshold=AUC, bootstrap=False)(current, self._reference)
        return bool(drifted)


PEERS: dict[str, Callable[[Corpus, Features], Peer]] = {
    "river ADWIN": lambda _, __: River("adwin"),
    "river PageHinkley": lambda _, __: River("page_hinkley"),
    f"KS, {KS_CALLS} calls, p < {KS_P}": lambda _, __: Windows(),
    f"Evidently, text, {EVIDENTLY_CALLS} calls": lambda texts, _: EvidentlyText(texts),
    f"Evidently, vectors, {EVIDENTLY_CALLS} calls": lambda _, features: EvidentlyVectors(features),
}


def _texts(texts: Sequence[str]) -> Any:
    import pandas
    from evidently import DataDefinition, Dataset

    return Dataset.from_pandas(pandas.DataFrame({"text": texts}), DataDefinition(text_columns=["text"]))
