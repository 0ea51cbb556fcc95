"""A turn of the wheel: how good the candidate is, how it is judged in traffic, and how fast it goes back.

So far the simulations of the rollout's decision (``turn_simulations``); what is not measured is said so.
"""

from __future__ import annotations

from math import sqrt

from benchmarks import turn_simulations
from benchmarks.frame import DOCS, Goal, Result, Table, number
from benchmarks.turn_simulations import ALPHA, AMOUNT, CASES, OTHERS, Counts, False30, Power

PAGE = DOCS / "results.md"
RUNS, LONG_RUNS = 1_000, 10_000


def measure(*, long: bool) -> Result:
    """Some five minutes of CPU time; with ``long`` fifteen: ten times as many rollouts, of the slow parts 2 to 3."""
    runs = LONG_RUNS if long else RUNS
    alarms = turn_simulations.false_alarms(runs)
    powers = turn_simulations.powers(runs)
    slow = turn_simulations.slower(runs)
    found = {name: power.ours for name, power in powers.items()}
    goals = [
        *(Goal(name, None, "", goal, "higher") for name, goal in (("unseen_after", 0.75),)),
        *(Goal(name, None, "", goal, "lower") for name, goal in (("known_loss", 0.04), ("forgetting_after_4", 0.1))),
        Goal("aa_false", alarms.calls, "of rollouts", 0.06, "lower"),
        Goal("aa_false_sessions", alarms.sessions, "of rollouts", 0.06, "lower"),
        *(Goal(f"power_{name}", found[name], "of rollouts", 0.95, "higher") for name in CASES),
        Goal("power_latency", slow[0.6], "of rollouts", 0.95, "higher"),
        *(
            Goal(name, None, unit, goal, "lower")
            for name, unit, goal in (("rollback_s", "s", 2), ("poisoned_passed", "", 0))
        ),
    ]
    figures = {"runs": runs, **alarms._asdict(), "powers": found, "latency": {str(k): v for k, v in slow.items()}}
    peers = {
        "fixed-sample test, peeked at daily": {"aa_false": alarms.daily},
        "steady stakes": {f"power_{name}": powers[name].steady for name in CASES},
        "differences of concurrent means": {f"power_{name}": powers[name].pairs for name in CASES},
        "knows both levels": {f"power_{name}": powers[name].knowing for name in CASES},
    }
    tables = [_alarms(alarms, runs), _powers(powers), _slow(slow)]
    return Result("turn", figures, goals, peers, tables, NOTES, page=PAGE)


NOTES = (
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
