"""Does what the pure parts decide: looks at the work, records the next states, then starts or stops work."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client import Counter

from retrain import approval, cancel, orders, places
from retrain.controller import states, works
from retrain.controller.advance import APPROVAL, COLLECTING, WORKS, Seen, Step, advance, waits_for
from retrain.controller.asking import DAY_MS, asking, champion_of, known_of
from retrain.controller.book import Book
from retrain.controller.labels import SELDOM_MS, LabelCounter, judged
from retrain.controller.ledger import Ledger
from retrain.controller.trigger import outcome
from retrain.launchers.launcher import Launcher, LauncherAway, WorkSeen
from retrain.policy import Known, Trigger, by_order, counts, job_id_of
from retrain.work import SETTINGS_FILE, save_settings
from tidemill.clock import Clock
from tidemill.events import JobProgress, JobState, RetrainDecision
from tidemill.events.lifecycle import OPEN_JOBS
from tidemill.io import notes, rulings
from tidemill.io.modes import let_engines_through
from tidemill.io.rulings import Ruling
from tidemill.settings import Settings

log = logging.getLogger(__name__)
JOBS_TOTAL = Counter("tidemill_retrain_jobs", "Jobs by phase reached", ["pipeline", "phase"])
DECISIONS_TOTAL = Counter("tidemill_retrain_decisions", "Decisions on triggers", ["pipeline", "act", "cause"])
PROGRESS_MS = 1_000


class Driver:
    """One controller at work. ``tick`` may be called as often as wanted; it never waits for store or work.

    Raises Retry or Stop from the ledger: then this driver is done with, and a new one reads the log again.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        book: Book,
        ledger: Ledger,
        launcher: Launcher,
        counter: LabelCounter,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._book = book
        self._ledger = ledger
        self._launcher = launcher
        self._counter = counter
        self._told: dict[str, int] = {}
        self._ignored: set[str] = set()
        self._said: set[str] = set()
        self._ended = {job.job_id for job in book.jobs.values() if job.phase not in OPEN_JOBS}
        """Jobs that are over, of which work may still run."""
        self.waiting_for = ""
        """What the jobs under way wait for (store, engine, registry, cluster); empty when for nothing unusual."""

    def tick(self) -> None:
        """Take orders, decide on what asks, move every open job one step, end what runs for jobs that are over."""
        self.waiting_for = ""
        self._cancel()
        self._rulings()
        self._orders()
        for trigger in asking(self._book, self._settings.pipelines, self._clock.now_ms()):
            self._decide(trigger)
        for job in self._book.open_jobs():
            if job.pipeline in self._settings.pipelines:
                self._try(job.job_id, partial(self._job, job))
        for job_id in sorted(self._ended):
            self._try(job_id, partial(self._end_work, job_id))

    def _try(self, job_id: str, act: Callable[[], None]) -> None:
        """What one job cannot do now (its disk is full, its cluster away) holds up no other."""
        try:
            act()
        except OSError as error:
            self.waiting_for = f"the folder of job {job_id[:8]}: {error}"
        except LauncherAway as error:
            self.waiting_for = f"job {job_id[:8]}: {error}"

    def _amiss(self, words: str) -> None:
        """What is wrong with a note: the role waits for somebody to mend it, and goes on."""
        self.waiting_for = words
        self._say(words)

    def _say(self, words: str) -> None:
        """Once: a note that cannot be taken is found again at each tick."""
        if words not in self._said:
            self._said.add(words)
            log.warning(words)

    def _cancel(self) -> None:
        for file, order in cancel.waiting(self._settings, self._amiss):
            job = self._book.jobs.get(order.job_id) if order else None
            under_way = job is not None and job.phase in OPEN_JOBS and job.pipeline in self._settings.pipelines
            if order is None or job is None or not under_way:
                self._say(f"nothing to cancel by {file.name}: no such job is under way")
                self._done_with(file)
                continue
            self._try(job.job_id, partial(self._job, job, order.reason))
            if self._book.jobs[job.job_id].phase not in OPEN_JOBS:  # else its cluster does not answer
                self._done_with(file)

    def _rulings(self) -> None:
        for file, ruling in rulings.waiting(self._settings, self._amiss):
            job = self._book.jobs.get(ruling.job_id) if ruling else None
            if ruling is None or job is None or job.phase != approval.PHASE:
                self._say(f"nothing to approve by {file.name}: no such job waits for it")
            elif job.pipeline not in self._settings.pipelines:
                self._amiss(f"job {job.job_id[:8]} is decided, but pipelines has no {job.pipeline!r}; put it back")
                continue
            else:
                self._try(job.job_id, partial(self._job, job, ruling=ruling))
                if self._book.jobs[job.job_id].phase == approval.PHASE:
                    continue  # the disk is full, or a cluster away
            notes.done_with(partial(rulings.take, file), file, self._amiss)

    def _done_with(self, file: Path) -> None:
        notes.done_with(partial(file.unlink, missing_ok=True), file, self._amiss)

    def _end_work(self, job_id: str) -> None:
        """Nothing runs on for a job that is over, whenever the controller was killed: look, stop, look again."""
        clear = True
        for name in WORKS:
            if self._looked(job_id, name).state == "running":
                log.warning("%s of job %s still runs, and the job is over: it is ended", name, job_id[:8])
                self._launcher.stop(works.folder_of(self._settings, job_id, name))
                clear = False
        if clear:
            self._ended.discard(job_id)

    def _orders(self) -> None:
        for file, order in orders.waiting(self._settings, self._amiss):
            pipeline = self._settings.pipelines.get(order.pipeline) if order else None
            if order is None or pipeline is None:
                self._say(f"order {file.name} left out: it names no pipeline of the settings")
            elif job_id_of(order.order_id) not in self._book.jobs:
                now = self._clock.now_ms()
                since = self._book.last_promotion_ms(order.pipeline) or max(0, now - DAY_MS)
                self._decide(by_order(order.order_id, order.pipeline, now, since))
            self._done_with(file)

    def _decide(self, trigger: Trigger) -> None:
        name, pipeline = trigger.pipeline, self._settings.pipelines[trigger.pipeline]
        if trigger.trigger_id in self._ignored:
            return
        champion = champion_of(self._book, name, pipeline)
        found = outcome(trigger, pipeline, self._book, self._known(trigger, self._clock.now_ms()), champion)
        if found.done:
            self._ignored.add(trigger.trigger_id)
        if found.state is not None or found.said is not None:
            self._record(found.state, found.said)

    def _known(self, trigger: Trigger, now: int) -> Known:
        pipelines = self._settings.pipelines
        pipeline = pipelines[trigger.pipeline]
        trains_here = self._settings.engines[pipeline.engine].kind == "vllm"
        known = known_of(trigger, self._book, pipelines, self._settings.gpu, now, trains_here)
        if known.resolved or not counts(trigger, pipeline):
            return known
        counted = self._counter.counted(trigger.pipeline, trigger.since_ms, SELDOM_MS)
        return known if counted is None else judged(known, counted)

    def _job(self, job: JobState, cancelled: str = "", ruling: Ruling | None = None) -> None:
        pipeline, now = self._settings.pipelines[job.pipeline], self._clock.now_ms()
        name = waits_for(job)
        if name == COLLECTING:
            counted = self._counter.counted(job.pipeline, int(job.figures.get(states.SINCE) or 0))
            resolved = job.alarm_id in self._book.resolved
            fresh, verified = (counted.fresh, counted.verified) if counted else (None, None)
            seen = Seen(now_ms=now, resolved=resolved, fresh=fresh, verified=verified, cancelled=cancelled)
            note = f"{verified} of {pipeline.gate.min_verified} verified held-out labels" if counted else ""
            self._tell(job, {"step": fresh or 0, "of": job.needed_labels, "note": note})
            if counted is None and self._counter.problem:
                self.waiting_for = f"the store, to count labels: {self._counter.problem}"
        elif name == APPROVAL:
            late = job.deadline_ms is not None and job.deadline_ms <= now
            seen = Seen(now_ms=now, cancelled=cancelled, ruling=ruling, waited_out=late)
        else:
            work = self._looked(job.job_id, name)
            self._tell(job, work.progress if work.state == "running" else {"note": f"starting: {name}"})
            if work.state == "running" and (waiting := work.progress.get("waiting")):
                self.waiting_for = f"{name}: {waiting}"
            seen = Seen(now_ms=now, works={name: work}, cancelled=cancelled)
        step = advance(job, pipeline, seen)
        self.waiting_for = step.pause or self.waiting_for
        self._do(job, step)

    def _do(self, job: JobState, step: Step) -> None:
        """1. record the state; 2. stop; 3. start. A crash in between is made good by the next tick."""
        if step.state is not None:
            self._record(step.state)
            job = step.state
        if step.stop is not None:
            self._launcher.stop(works.folder_of(self._settings, job.job_id, step.stop))
        if step.start is not None:
            self._start(job, step.start)

    def _start(self, job: JobState, name: str) -> None:
        folder = places.job_dir(self._settings, job.job_id)
        folder.mkdir(parents=True, exist_ok=True)
        let_engines_through(folder.parent, folder)  # to the adapter in it
        if not (folder / SETTINGS_FILE).exists():
            save_settings(self._settings, folder)
        samples: list[dict[str, str]] = []
        if name == "parity":
            samples = list(self._looked(job.job_id, "evaluate").result.get("samples", ()))
        self._launcher.start(works.work(self._settings, job, name, samples), self._clock.now_ms())

    def _looked(self, job_id: str, name: str) -> WorkSeen:
        folder = works.folder_of(self._settings, job_id, name)
        return self._launcher.look(folder, works.result_of(self._settings, job_id, name))

    def _record(self, state: JobState | None, said: RetrainDecision | None = None) -> None:
        told = approval.announcement(self._book.jobs.get(state.job_id), state) if state else None
        self._ledger.record([state] if state else [], [said] if said else [], [told] if told else [])
        if said is not None:
            self._book.note_decision(said)
            DECISIONS_TOTAL.labels(said.pipeline, said.act, said.cause).inc()
            words = "; ".join(said.reasons)
            log.info("%s on %s: %s: %s", said.act, said.pipeline, said.cause, words, extra={"trigger": said.trigger_id})
        if state is None:
            return
        self._book.note_job(state)
        (self._ended.discard if state.phase in OPEN_JOBS else self._ended.add)(state.job_id)
        JOBS_TOTAL.labels(state.pipeline, state.phase).inc()
        log.info(
            "job %s of %s: %s: %s",
            state.job_id[:8],
            state.pipeline,
            state.phase,
            state.reason,
            extra={"job_id": state.job_id, "seq": state.seq, "phase": state.phase},
        )

    def _tell(self, job: JobState, fact: Mapping[str, Any]) -> None:
        now = self._clock.now_ms()
        if now - self._told.get(job.job_id, 0) < PROGRESS_MS:
            return
        self._told[job.job_id] = now
        loss = fact.get("loss")
        note = fact.get("note") or fact.get("stage") or fact.get("waiting") or ""
        self._ledger.tell(
            JobProgress(
                job_id=job.job_id,
                time_ms=now,
                pipeline=job.pipeline,
                phase=job.phase,
                done=int(fact.get("step", 0)),
                of=int(fact.get("of", 0)),
                loss=float(loss) if loss is not None else None,
                note=str(note),
            )
        )
