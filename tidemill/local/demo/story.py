"""The whole demo: set up, start everything, tell the turns, count, sum up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from producers.language import Speaker, TextSource
from producers.traffic.habits import Habits
from producers.traffic.story import demo_habits
from tidemill.clock import Clock
from tidemill.io.clickhouse import Store
from tidemill.local.demo import books
from tidemill.local.demo.folder import own_folder
from tidemill.local.demo.goals import headline, judge
from tidemill.local.demo.kills import Killer
from tidemill.local.demo.measure import (
    alarm_figures,
    call_figures,
    jobs_begun,
    spans_of,
    turn_figures,
    wait_for_scores,
    webhooks_received,
)
from tidemill.local.demo.observer import Observer
from tidemill.local.demo.overrides import with_overrides, write_settings
from tidemill.local.demo.place import place_models, telling
from tidemill.local.demo.report import machine
from tidemill.local.demo.scenario import Scenario
from tidemill.local.demo.turn import Say, tell
from tidemill.local.demo.users import Users
from tidemill.local.stack import Stack, refuse_taken_ports
from tidemill.settings import Settings


@dataclass(frozen=True)
class Play:
    """What to play, and how."""

    scenario: Scenario
    seed: int = 0
    texts: TextSource | None = None
    kills: tuple[str, ...] = ()
    turns: int | None = None
    """Only so many of the scenario's turns; None: all."""


def play(settings: Settings, play_: Play, clock: Clock, say: Say, progress: Callable[..., None]) -> dict[str, Any]:
    """Play a scenario; give back what ``tidemill demo --json`` prints. Blocks for minutes; leaves nothing running.

    It has a data folder of its own and starts from nothing: what an earlier run has learned must not tell the story.
    """
    with own_folder(settings.data_dir) as folder:
        own = with_overrides(settings, {"data_dir": str(folder), **play_.scenario.settings})
        return _played(write_settings(own, folder / "tidemill.yaml"), play_, clock, say, progress)


def _played(settings: Settings, play_: Play, clock: Clock, say: Say, progress: Callable[..., None]) -> dict[str, Any]:
    started_ms = clock.now_ms()
    scenario = play_.scenario
    trained: list[str] = []

    def models_progress(name: str, facts: Mapping[str, Any]) -> None:
        if facts.get("done") and not facts.get("cached"):
            trained.append(name)
        progress(name, facts)

    refuse_taken_ports(settings, receiver=True)
    place_models(settings, telling(settings, started_ms, models_progress), play_.texts)
    pause = threading.Event()
    with Stack(settings, settings_file=settings.data_dir / "tidemill.yaml", receiver=True) as stack:
        stack.start(progress)
        setup_s = (clock.now_ms() - started_ms) / 1000
        say(f"everything is ready after {setup_s:.0f} s; watch it at {settings.console_url}")
        store = Store(settings)
        with Observer(settings) as observer, Users(settings, _habits(play_), seed=play_.seed, clock=clock) as users:
            killer = Killer(play_.kills, stack.kill, clock.now_ms)
            quiet_ms = clock.now_ms()
            say(f"a quiet time of {scenario.quiet_s:g} s")
            pause.wait(scenario.quiet_s)
            told: list[dict[str, Any]] = []
            since_ms = quiet_ms
            for turn in scenario.turns[: play_.turns]:
                outcome = tell(turn, users, observer, clock, say, killer)
                after_ms = outcome.ended_ms
                if outcome.ending == "champion":
                    say(f"measuring {turn.pipeline}'s quality now")
                    after_ms = users.change(turn.afterwards) if turn.afterwards else after_ms
                    wait_for_scores(store, settings, turn, after_ms, clock.now_ms, pause.wait)
                spans = spans_of(outcome, since_ms, after_ms, clock.now_ms())
                held_back = play_.texts.held_back if play_.texts is not None else ()
                told.append(turn_figures(store, settings, outcome, spans, held_back))
                since_ms = outcome.ended_ms
                if not outcome.as_told:
                    break
            users.stop()
            say("counting the rows")
            rows = books.settled_rows(store, users.tally.answered_ids, pause.wait)
            say("looking up every alarm on the console")
            alarms = alarm_figures(settings, observer.fired(), pause.wait)
            figures = {
                "scenario": scenario.name,
                "seed": play_.seed,
                "setup_s": round(setup_s, 1),
                "models": "trained" if trained else "kept",
                "turns": told,
                "jobs": jobs_begun(observer),
                "calls": call_figures(users.tally, killer.done),
                "rows": asdict(rows),
                "webhooks": webhooks_received(settings),
                "kills": [asdict(kill) for kill in killer.done],
                "restarts": {state.name: state.restarts for state in stack.states() if state.restarts},
                "peak_rss_mb": stack.peak_rss_mb(),
                **alarms,
            }
    figures |= headline(figures, scenario.turns[: play_.turns])
    return {"bench": "demo", "machine": machine(), "figures": figures, "peers": {}, "goals": judge(figures, scenario)}


def _habits(play_: Play) -> list[Habits]:
    texts = play_.texts
    if texts is None:
        return demo_habits()
    speak = Speaker(texts).utterance
    return [
        replace(each, speak=speak, label_share=1.0) if each.pipeline == "support" else each for each in demo_habits()
    ]
