"""Every detector that claims the promise for N updates of its own, run on values without a change.

What each is made of anew for each run, and the values that it takes; ``drift_guarantee`` counts.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.drift_guarantee import Draw, Judge, Quiet, first_alarms
from streams.detectors.bounded import Bounded
from streams.detectors.conformal import Conformal
from streams.detectors.dependence import Dependence
from streams.detectors.learned import LEAST, REFIT, LearnedWords
from streams.detectors.two_sample import TwoSample
from streams.host import probe
from tidemill.settings.host import ProbeSettings

VALUES: dict[str, Draw] = {
    "Bernoulli(0.2)": lambda rng, n: (rng.random(n) < 0.2).astype(float),
    "N(0, 1)": lambda rng, n: rng.normal(size=n),
    "Cauchy": lambda rng, n: rng.standard_cauchy(n),
    "Beta(2, 8)": lambda rng, n: rng.beta(2, 8, n),
}
VECTOR = 8
REFERENCE = 400
WORDS, VOCABULARY = 6, 60
"""Words of a text, all different, and how many there are; the n-th is drawn 1 / n as often as the first."""
CATEGORIES = 4
AGREEING = 0.9
"""How often an answer to a probe equals the usual one."""
PROMPTS = 8
NOTE = (
    f"Promise: *learned words* says nothing in its first {REFIT} calls and stakes at the next what it was granted "
    "meanwhile, which at N = 100 is more than N. References and what a probe learns are new in each run."
)


def simulate(run_length: int, runs: int, seed: int = 1) -> list[Quiet]:
    """Every detector that claims the promise for N updates of its own, on values of the kinds that it takes.

    Those behind a season claim it nearly and are simulated apart (``drift_season``, ``drift_day15``). Detectors with a
    reference, and the probe, run half as often: their bounds leave room, so most of their runs go on to the end.
    """
    normal, half = VALUES["N(0, 1)"], max(runs // 2, 2)
    uniform: Draw = lambda rng, n: rng.random(n)  # noqa: E731
    simulated: list[tuple[str, str, Callable[[int], Judge], Draw, int]] = [
        *(("conformal", name, conformal(run_length), draw, runs) for name, draw in VALUES.items()),
        (f"conformal, {CATEGORIES} pasts kept", "N(level, 1)", keeping_past(run_length), normal, runs),
        *(
            ("bounded, mean on the bound", name, bounded(run_length), VALUES[name], runs)
            for name in ("Bernoulli(0.2)", "Beta(2, 8)")
        ),
        ("two-sample", f"N(0, 1) in {VECTOR} dimensions", two_sample(run_length), vectors, half),
        ("learned words", f"{WORDS} of {VOCABULARY} words", learned_words(run_length), texts, half),
        ("probe", f"{PROMPTS} answers, {AGREEING:.0%} as usual", probing(run_length), rounds, half),
        ("dependence warning", "independent ranks", dependence(run_length), uniform, runs),
    ]
    return [
        Quiet(name, values, run_length, first_alarms(make, draw, run_length, n, seed))
        for name, values, make, draw, n in simulated
    ]


def conformal(run_length: int) -> Callable[[int], Judge]:
    """The detector with unknown baseline."""
    return lambda run: _alarms(Conformal(run_length, seed=run))


def bounded(run_length: int) -> Callable[[int], Judge]:
    """The detector with a declared bound, at its tightest: the mean is on both bounds."""
    return lambda run: _alarms(Bounded(run_length, high=0.2, low=0.2))


def two_sample(run_length: int) -> Callable[[int], Judge]:
    """The detector with a reference; a new one each run, so references are averaged over."""
    return lambda run: _alarms(
        TwoSample(np.random.default_rng([9, run]).normal(size=(REFERENCE, VECTOR)), run_length, seed=run)
    )


def keeping_past(run_length: int) -> Callable[[int], Judge]:
    """The detector with a past for each category; values of each have a level of their own."""

    def make(run: int) -> Judge:
        detector, turns = Conformal(run_length, seed=run, keep_past=True), count()

        def judge(value: Any) -> bool:
            category = next(turns) % CATEGORIES
            detector.update(value + 3 * category, category=category)
            return bool(detector.drift_detected)

        return judge

    return make


def learned_words(run_length: int) -> Callable[[int], Judge]:
    """The detector that learns words; a new reference each run, the smallest that it takes."""
    return lambda run: _alarms(LearnedWords([*texts(np.random.default_rng([10, run]), LEAST)], run_length))


def probing(run_length: int) -> Callable[[int], Judge]:
    """The watch of an engine's answers, from its learning rounds on, whose own answers vary; a value is a round."""
    settings = ProbeSettings(run_length=run_length, learn_rounds=20)
    usual, other = (probe.Fingerprint(answer, len(answer)) for answer in ("usual", "another"))

    def make(run: int) -> Judge:
        state = probe.ProbeState(asked="")

        def judge(value: Any) -> bool:
            nonlocal state
            answers = tuple(usual if equal else other for equal in value)
            state = probe.take(state, probe.Round(0, answers, frozenset()), settings)
            return state.changed is not None

        for learning in rounds(np.random.default_rng([11, run]), settings.learn_rounds).tolist():
            judge(learning)
        return judge

    return make


def dependence(run_length: int) -> Callable[[int], Judge]:
    """False warnings of the assumption's watch: it has a promise of its own."""
    return lambda run: Dependence(run_length).update


def vectors(rng: np.random.Generator, n: int) -> NDArray[Any]:
    """Independent normal vectors."""
    return rng.normal(size=(n, VECTOR))


def texts(rng: np.random.Generator, n: int) -> NDArray[Any]:
    """Texts as ``tokens`` gives them: WORDS different words of VOCABULARY, sorted, shape (n, WORDS)."""
    keys = rng.exponential(size=(n, VOCABULARY)) * np.arange(1, VOCABULARY + 1)  # the least of these: Efraimidis 2006
    return np.sort(np.argpartition(keys, WORDS)[:, :WORDS], axis=1)


def rounds(rng: np.random.Generator, n: int) -> NDArray[Any]:
    """Whether each answer of a round equals the usual one, shape (n, PROMPTS)."""
    return rng.random((n, PROMPTS)) < AGREEING


def _alarms(detector: Conformal | Bounded | TwoSample | LearnedWords) -> Judge:
    def judge(value: Any) -> bool:
        detector.update(value)
        return bool(detector.drift_detected)

    return judge
