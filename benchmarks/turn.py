"""A turn of the wheel: how good the candidate is, how it is judged in traffic, and how fast it goes back.

The rollout's decision is simulated (``turn_simulations``); with ``long`` candidates are trained on real questions, by
their labels (``turn_labels``) and many turns in a row (``turn_drifts``). What is not measured is said so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import sqrt
from typing import Any

from benchmarks import drift_corpus, poisoned_gate, turn_simulations
from benchmarks.frame import DOCS, Goal, Result, Table, number
from benchmarks.parts import measured
from benchmarks.rollback import Rollbacks, rollbacks
from benchmarks.turn_drifts import MANY, REPLAY_SHARE, Turn, drifts, forgotten
from benchmarks.turn_labels import LABELS, Point, curve, say
from benchmarks.turn_simulations import ALPHA, AMOUNT, CASES, OTHERS, Counts, False30, Power
from benchmarks.turn_training import ground, recipe, spec_of

PAGE = DOCS / "results.md"
RUNS, LONG_RUNS = 1_000, 10_000
POISONED, LONG_POISONED = 5, 20
"""Runs of each world."""
TURNS = (4, 10)
UNSEEN = "unseen intents, by labels"
ROLLBACK = "rollback"
POISON = "poison"
WAYS = ("without limits", "with limits")
page_lacks = drift_corpus.page_lacks


def parts(*, long: bool) -> dict[str, Callable[[], Any]]:
    """What is measured, by name; each part can be measured by itself. The longest come first."""
    runs = LONG_RUNS if long else RUNS
    trainings: dict[str, Callable[[], Any]] = {
        UNSEEN: points,
        **{f"{turns} drifts": partial(in_a_row, turns) for turns in TURNS[::-1]},
    }
    simulations: dict[str, Callable[[], Any]] = {
        "equal arms": partial(turn_simulations.false_alarms, runs),
        "harms": partial(turn_simulations.powers, runs),
        "slower": partial(turn_simulations.slower, runs),
        POISON: partial(poisoned, LONG_POISONED if long else POISONED),
    }
    return (trainings if long and drift_corpus.available() else {}) | simulations


def points() -> list[Point]:
    """The curve of labels, trained by the demo's recipe. Half an hour of CPU time."""
    at = ground(0, 1, say)
    return list(curve(at, spec_of(recipe(), at), LABELS, say))


def in_a_row(turns: int) -> list[Turn]:
    """So many drifts, a turn each. Some three minutes of CPU time a turn."""
    at = ground(0, 1, say)
    return list(drifts(at, spec_of(recipe(), at) | MANY, turns, say))


def poisoned(runs: int) -> list[dict[str, Any]]:
    """Turns on labels of which one tenant tells some wrongly, from data set to verdict."""
    return list(poisoned_gate.judged(runs, WAYS))


def measure(*, long: bool) -> Result:
    """Some five minutes of CPU time; with ``long`` an hour and a half: candidates are trained, and there are ten times
    as many rollouts, of the slow parts 2 to 3."""
    runs = LONG_RUNS if long else RUNS
    found = measured(parts(long=long))
    back = measured({ROLLBACK: rollbacks})[ROLLBACK]  # by itself: the parts before fill every core
    alarms, powers, slow = found["equal arms"], found["harms"], found["slower"]
    poison = poisoned_gate.total(found[POISON])
    labels, rows = found.get(UNSEEN), {turns: found.get(f"{turns} drifts") for turns in TURNS}
    goals = [
        Goal("unseen_after", labels[-1].unseen if labels else None, "", 0.75, "higher"),
        Goal("known_loss", labels[0].known - labels[-1].known if labels else None, "", 0.04, "lower"),
        *(
            Goal(f"forgetting_after_{turns}", forgotten(row) if row else None, "", 0.1, "lower")
            for turns, row in rows.items()
        ),
        Goal("aa_false", alarms.calls, "of rollouts", 0.06, "lower"),
        Goal("aa_false_sessions", alarms.sessions, "of rollouts", 0.06, "lower"),
        *(Goal(f"power_{name}", powers[name].ours, "of rollouts", 0.95, "higher") for name in CASES),
        Goal("power_latency", slow[0.6], "of rollouts", 0.95, "higher"),
        Goal("rollback_s", max(back.seconds), "s", 2, "lower"),
        Goal("poisoned_passed", poison["poisoned_passed"], f"of {poison['poisoned_runs']}", 0, "lower"),
    ]
    figures = {
        "runs": runs,
        **alarms._asdict(),
        "powers": {name: power.ours for name, power in powers.items()},
        "latency": {str(k): v for k, v in slow.items()},
        "rollback": back._asdict(),
        "poison": poison | {"worlds": found[POISON]},
        "labels": [point._asdict() for point in labels or ()],
        "drifts": {turns: [turn._asdict() for turn in row] for turns, row in rows.items() if row},
    }
    peers = {
        "fixed-sample test, peeked at daily": {"aa_false": alarms.daily},
        "steady stakes": {f"power_{name}": powers[name].steady for name in CASES},
        "differences of concurrent means": {f"power_{name}": powers[name].pairs for name in CASES},
        "knows both levels": {f"power_{name}": powers[name].knowing for name in CASES},
    }
    trained = [*([_labels(labels)] if labels else []), *(_drifts(row) for row in rows.values() if row)]
    tables = [*trained, _poison(found[POISON]), _alarms(alarms, runs), _powers(powers), _slow(slow), _back(back)]
    return Result("turn", figures, goals, peers, tables, [*(TRAINED if trained else ()), *NOTES], page=PAGE)


TRAINED = (
    "Trainings: BANKING77, half of its 77 intents unknown to the base model and its champion; the file's own test "
    "questions are scored, exact match. The recipe is that of `tidemill demo --texts`; with so many fresh labels of "
    "unseen intents as many of known ones are trained on. CPU s: processor time of the training on one core.",
    "Drifts in a row: the unseen intents come in as many parts as there are turns; a turn trains on all questions of "
    f"its part and on others of all intents before (`replay_share: {REPLAY_SHARE}`), goes on from its champion's "
    f"adapter (`start: {MANY['start']}`). What is forgotten is the largest share of any earlier part's best score that "
    "is lost after the last turn.",
)


NOTES = (
    "Poisoned labels: one tenant has this part of the calls and tells this part of its labels wrongly; reviewers label "
    "some of all calls, too. The labels are drawn, data sets and verdicts are made by the product; how well a "
    "candidate answers is read off four real trainings on such shares of wrong rows (decision 0015). "
    "Harmful: right at least 0.05 less often than one trained on honest labels. On honest labels, which "
    "end the table, nothing should be refused.",
    "Equal arms: both at 0.85, 2 % failures, thumbs at 0.9, times and cost log-normal (0.6). A rollout is the default "
    "plan's: shadow, then 1, 5, 25 and 50 %, each until it has 2,000 labelled calls. Scores, failures and thumbs are "
    "looked at after every call, times and cost eight times in each step. With sessions: 300 users who stay all "
    "through, a level each (beta, correlation 0.3 between a user's scores) and a speed of their own, looked at twice a "
    "step.",
    "Power: at a canary of 25 %, the only comparison of its plan, at the default alpha; labelled calls are of both "
    "arms. *First of five* is the default plan, which keeps a fifth of its capital for later. *Knows both levels* bets "
    "on the very two levels that are simulated, which no test can know, and for ever; ours plans its looks, "
    "so it can find more of a harm by one of them. The first three harms are those that the looks are planned for, and "
    "their capital was chosen on these cases; nothing was chosen by the other six (decision 0011). *Steady stakes* and "
    "*differences of concurrent means* are what the rollout did before, on the same alpha and null.",
)


def _labels(points: list[Point]) -> Table:
    cells = [
        (f"{p.labels:,}", f"{p.unseen:.3f}", f"{p.known:.3f}", number(p.cpu_seconds), number(p.tokens_per_s))
        if p.labels
        else ("none: the champion", f"{p.unseen:.3f}", f"{p.known:.3f}", "", "")
        for p in points
    ]
    return Table(
        "What fresh labels give", ("fresh labels", "unseen intents", "known intents", "CPU s", "tokens/s"), cells
    )


def _drifts(turns: list[Turn]) -> Table:
    last = turns[-1].turn
    names = ("known", *(f"part {part}" for part in range(1, last + 1)))
    cells = [
        (name, *(f"{turn.scores[domain]:.2f}" for turn in turns), f"{max(turn.scores[domain] for turn in turns):.2f}")
        for domain, name in enumerate(names)
    ]
    columns = ("domain", "before", *(f"turn {turn.turn}" for turn in turns[1:]), "peak")
    return Table(f"{last} drifts in a row: exact match after each turn", columns, cells)


def _poison(rows: list[dict[str, Any]]) -> Table:
    by_world: dict[tuple[float, ...], dict[str, dict[str, Any]]] = {}
    for row in rows:
        world = (row["traffic"], row["wrong"], row["reviewed"], row["fresh"])
        by_world.setdefault(world, {})[row["data"]] = row
    cells = [
        (
            f"{traffic:.0%}",
            f"{wrong:.0%}",
            f"{reviewed:.0%} of {fresh:,.0f}",
            *(f"{found[way]['harmful_passed']} of {found[way]['runs']}" for way in WAYS),
            *(f"{found[way]['passed']} of {found[way]['runs']}" for way in WAYS),
        )
        for (traffic, wrong, reviewed, fresh), found in by_world.items()
    ]
    columns = (
        "calls",
        "wrong",
        "reviewed",
        *(f"harmful passed, {way}" for way in WAYS),
        *(f"passed, {way}" for way in WAYS),
    )
    return Table("Labels of which one tenant tells some wrongly, through data set and gate", columns, cells)


def _alarms(found: False30, runs: int) -> Table:
    counts = Counts.of(runs)
    rows = [
        ("tidemill, each call a session", runs, found.calls, _promised(runs)),
        ("tidemill, 300 users who stay", counts.users, found.sessions, _promised(counts.users)),
        ("the same, calls taken for sessions", counts.taken, found.as_calls, ""),
        ("z-test at 0.05, peeked at on 30 days", counts.peeked, found.daily, "0.294 quoted"),
    ]
    cells = [(name, f"{n:,}", f"{share:.4f}", promised) for name, n, share, promised in rows]
    return Table("Rollouts of equal arms that are called harmful", ("test", "rollouts", "share", "promised"), cells)


def _promised(runs: int) -> str:
    return f"≤ {ALPHA + 3 * sqrt(ALPHA * (1 - ALPHA) / runs):.4f}"


def _powers(found: dict[str, Power]) -> Table:
    rows = [
        (
            f"{case.champion:.2f} → {case.candidate:.2f} within {case.calls:,}",
            *(f"{share:.3f}" for share in found[name][:-1]),
            number(found[name].median),
        )
        for name, case in (CASES | OTHERS).items()
    ]
    columns = (
        "harm, labelled calls",
        "tidemill",
        "first of five",
        "steady stakes",
        "differences",
        "knows both levels",
        "median calls",
    )
    return Table("Share of rollouts in which harm is proven in time", columns, rows)


def _slow(found: dict[float, float]) -> Table:
    rows = [(f"{spread:g}", f"{share:.3f}") for spread, share in found.items()]
    title = f"{AMOUNT}x the time of an answer, found within 2,000 calls"
    return Table(title, ("spread of the logarithm", "share of rollouts"), rows)


def _back(found: Rollbacks) -> Table:
    each = ", ".join(f"{seconds:.2f}" for seconds in sorted(found.seconds))
    rows = [(str(len(found.seconds)), f"{found.calls_s:.0f}", f"{max(found.seconds):.2f}", each)]
    title = "Seconds from a harmful canary's figures in the store to the last call that it answers"
    return Table(title, ("repetitions", "calls/s", "longest", "each"), rows)
