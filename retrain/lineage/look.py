"""Fetches what a walk needs: the store's history, the data sets on this machine, the registry where it answers."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
from msgspec import structs

from retrain.datasets.fetch import question
from retrain.datasets.snapshots import known as data_sets
from retrain.lineage import walk
from retrain.lineage.declared import declared, weighed
from retrain.lineage.found import CallLineage, Registered, Said, Served, VersionLineage
from retrain.lineage.names import call_of, pipeline_of
from retrain.lineage.walk import DAY_MS, Known
from tidemill import sql
from tidemill.errors import Retry, Stop
from tidemill.events import JobState, RolloutState, ThresholdData, ThresholdEvent
from tidemill.ids import uuid7_time_ms, version_of
from tidemill.io.clickhouse import Store
from tidemill.io.mlflow import DECLARED_TAG, Mlflow
from tidemill.settings import Settings

LATEST_MS = 4_102_444_800_000
LONGEST_CALL_MS = 2 * DAY_MS
"""So long after a call was made its answer is looked for."""
_job = msgspec.json.Decoder(JobState)
_rollout = msgspec.json.Decoder(RolloutState)
_alarm = msgspec.json.Decoder(ThresholdData)


class Registry(Protocol):
    """What is asked of the registry (tidemill.io.mlflow.Mlflow has it)."""

    def versions(self, name: str) -> dict[str, dict[str, str]]: ...
    def model(self, name: str) -> tuple[dict[str, str], dict[str, str]] | None: ...


class Looker:
    """Looks lineages up. Blocks for seconds. Raises Retry or StoreError where the store does not answer; ``unasked``
    says afterwards what else did not.
    """

    def __init__(self, settings: Settings, store: Store, registry: Registry | None = None) -> None:
        self._settings = settings
        self._store = store
        self._registry = registry or Mlflow(settings.mlflow_url)
        self.unasked = ""

    def lineage(self, name: str) -> VersionLineage | CallLineage:
        """The lineage of a version, a call, or an id handed to a client. Raises Stop where it is none that is known."""
        if call_id := call_of(name):
            return self.call(call_id)
        if pipeline_of(name):
            return self.version(name)
        raise Stop(
            f"{name!r} is neither a call (a UUID, or the id that a client got: chatcmpl-…) nor a version, such as "
            f"{next(iter(self._settings.pipelines), 'schedule')}-v2"
        )

    def version(self, name: str) -> VersionLineage:
        """The lineage of a version, with what it answered and which data sets its calls may be in."""
        known = self.known(pipeline_of(name))
        asked = {"pipeline": known.pipeline, "version": name}
        served = [
            Served(**{key: row[key] for key in Served.__struct_fields__}) for row in self._rows("lineage_served", asked)
        ]
        labelled = {}
        if served:
            first = min(each.first_ms for each in served)
            for job_id, (since, until) in walk.spans(known).items():
                if until > first:
                    (row,) = self._rows("lineage_labelled", asked | {"since": since, "until": until})
                    labelled[job_id] = int(row["calls"])
        found = walk.version(name, known, served, labelled)
        return found if found.declared is None else structs.replace(found, declared=weighed(found.declared))

    def call(self, call_id: str) -> CallLineage:
        """The lineage of a call. Raises Stop where no answer to it is kept."""
        made_ms = uuid7_time_ms(call_id) if call_id[14] == "7" else 0
        between = {"from": max(0, made_ms - DAY_MS), "to": made_ms + LONGEST_CALL_MS if made_ms else LATEST_MS}
        asked = {"call": call_id, **between}
        answers = self._rows("lineage_answers", asked)
        if not answers:
            raise Stop(
                f"there is no answer to a call {call_id} in the store; a call's row comes seconds after its answer, "
                "and goes when its month is dropped"
            )
        pipeline = str(answers[0]["pipeline"])
        said = [
            Said(**{key: row[key] for key in Said.__struct_fields__})
            for row in self._rows("lineage_feedback", asked | {"pipeline": pipeline})
        ]
        asked_for = self._rows("lineage_question", asked)
        messages = asked_for[0]["messages"] if asked_for else None
        return walk.call(call_id, self.known(pipeline), answers, said, question(messages) if messages else None)

    def known(self, pipeline: str) -> Known:
        """All that is known of a pipeline, whether or not the settings still have it."""
        jobs = {job.job_id: job for job in map(_decoded_job, self._rows("lineage_jobs", {"pipeline": pipeline}))}
        states = map(_decoded_rollout, self._rows("lineage_rollouts", {"pipeline": pipeline}))
        ids = sorted({job.alarm_id for job in jobs.values()})
        alarms = self._rows("lineage_alarms", {"pipeline": pipeline, "alarms": ids}) if ids else []
        settings = self._settings.pipelines.get(pipeline)
        return Known(
            pipeline=pipeline,
            champion=settings.champion if settings else "",
            jobs=jobs,
            rollouts={state.rollout_id: state for state in states},
            alarms={event.data.alarm_id: event for event in map(_event, alarms)},
            data={each.job_id: each for each in data_sets(self._settings)},
            registered=self._registered(pipeline),
            declared=declared(self._settings, pipeline),
        )

    def _registered(self, pipeline: str) -> dict[str, Registered]:
        try:
            versions, model = self._registry.versions(pipeline), self._registry.model(pipeline)
        except Retry as error:
            self.unasked = f"{error}; aliases and tags are not shown"
            return {}
        aliases, told = model or ({}, {})
        meant = {alias: version_of(pipeline, number) for alias, number in aliases.items()}
        meant |= {key.removeprefix(DECLARED_TAG): version for key, version in told.items() if _names_declared(key)}
        tags: dict[str, dict[str, str]] = {version: {} for version in meant.values()}
        tags |= {version_of(pipeline, number): each for number, each in versions.items()}
        return {
            version: Registered(aliases=sorted(alias for alias, named in meant.items() if named == version), tags=each)
            for version, each in tags.items()
        }

    def _rows(self, query: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        return self._store.rows(sql.query(query), parameters)


def _names_declared(key: str) -> bool:
    """Whether a registered model's tag names a declared version that stands where no alias can."""
    return key.startswith(DECLARED_TAG) and not key.endswith(".is")


def _decoded_job(row: dict[str, Any]) -> JobState:
    return _job.decode(row["state"])


def _decoded_rollout(row: dict[str, Any]) -> RolloutState:
    return _rollout.decode(row["state"])


def _event(row: dict[str, Any]) -> ThresholdEvent:
    kept = {key: row[key] for key in ("id", "source", "type", "subject", "time_ms")}
    return ThresholdEvent(**kept, time="", data=_alarm.decode(row["data"]))
