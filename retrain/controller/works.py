"""The spec of each piece of a job's work, from its state and the settings alone: the same job gives the same spec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from retrain import adapter, places
from retrain.approval import status
from retrain.controller.advance import TIMED
from retrain.controller.states import GPU_SECONDS, SINCE, UNTIL
from retrain.datasets.dataset import least_to_train
from retrain.gate.gate import outcome, passes, refusal
from retrain.gate.report import report
from retrain.launchers.folder import CHECKPOINT, losses
from retrain.launchers.launcher import Work
from retrain.work import SETTINGS_FILE
from tidemill.events import JobState
from tidemill.settings import RetrainSettings, Settings
from tidemill.settings.versions import model_version

NICE = 5
"""Of work that only moves data; training and scoring take retrain.nice."""
TRAINER = "retrain.train.run"
HEAVY = ("train", "evaluate")
"""Works that load a model: they run, and hold, what retrain.launcher says."""
LOADING_SHARE = 0.8
"""Share of the time limit that training steps may take; the rest is for imports and loading."""


def folder_of(settings: Settings, job_id: str, name: str) -> Path:
    """Where a piece of work lives."""
    return places.job_dir(settings, job_id) / name


def result_of(settings: Settings, job_id: str, name: str) -> Path:
    """The file whose being there means the work is done."""
    if name == "train":
        return places.candidate_dir(settings, job_id) / adapter.RESULT
    return folder_of(settings, job_id, name) / "result.json"


def work(settings: Settings, job: JobState, name: str, samples: list[dict[str, str]]) -> Work:
    """One piece of work, ready to be started. ``samples`` are the scoring's, for the comparison with the engine."""
    policy = settings.pipelines[job.pipeline].retrain
    heavy = name in HEAVY
    spec = {"train": _train, "snapshot": _snapshot, "evaluate": _evaluate, "register": _register}
    return Work(
        name=name,
        folder=folder_of(settings, job.job_id, name),
        module=TRAINER if name == "train" else f"retrain.{name}",
        spec=_parity(settings, job, samples) if name == "parity" else spec[name](settings, job),
        result=result_of(settings, job.job_id, name),
        deployment=settings.deployment,
        nice=policy.nice if heavy else NICE,
        threads=policy.threads if heavy else 1,
        heavy=heavy,
        on=policy.launcher,
        limit_s=policy.timeout_s if name in TIMED else 0,
    )


def _common(settings: Settings, job: JobState) -> dict[str, Any]:
    frozen = places.job_dir(settings, job.job_id) / SETTINGS_FILE
    return {"settings": str(frozen), "job_id": job.job_id, "pipeline": job.pipeline}


def _snapshot(settings: Settings, job: JobState) -> dict[str, Any]:
    since, until = job.figures[SINCE], job.figures[UNTIL]
    return _common(settings, job) | {"change_ms": int(since or 0), "until_ms": int(until or 0)}


def _train(settings: Settings, job: JobState) -> dict[str, Any]:
    policy = settings.pipelines[job.pipeline].retrain
    champion = places.champion_dir(settings, job.pipeline, job.champion_version)
    teacher = policy.recipe.teacher
    return training(policy) | {
        "teacher": str(settings.resolve(teacher)) if teacher else "",
        "base": str(places.base_dir(settings, job.pipeline)),
        "champion": str(champion) if champion else "",
        "dataset": str(places.data_dir(settings, job.job_id) / places.TRAIN_FILE),
        "out": str(places.candidate_dir(settings, job.job_id)),
        "seed": int(job.data_digest[:8], 16),
        "max_seconds": policy.timeout_s * LOADING_SHARE,
        "checkpoint": str(folder_of(settings, job.job_id, "train") / CHECKPOINT),
        "checkpoint_steps": policy.launcher.checkpoint_steps,
        "min_rows": _least_rows(policy, job.data_counts.get("train", 0)),
    }


def training(policy: RetrainSettings) -> dict[str, Any]:
    """What a pipeline's settings say of every training's spec."""
    return {
        "steps": policy.steps,
        "rank": policy.rank,
        "alpha": policy.alpha,
        "lr": policy.learning_rate,
        "batch": policy.batch,
        "threads": policy.threads,
        "sweep": _sweep(policy),
        **policy.recipe.model_dump(exclude={"teacher", "sweep"}),
    }


def _sweep(policy: RetrainSettings) -> dict[str, Any]:
    sweep = policy.recipe.sweep
    if not sweep.asked:
        return {}
    return {
        "steps": max(1, round(policy.steps * sweep.steps_share)),
        "seconds": policy.timeout_s * LOADING_SHARE * sweep.time_share,
        "lr": sorted({policy.learning_rate, *sweep.learning_rate}),
        "keep_weight": sorted({policy.recipe.keep_weight, *sweep.keep_weight}),
    }


def _least_rows(policy: RetrainSettings, given: int) -> int:
    """What the floor of labels leaves to train on; never more than there are."""
    return max(1, min(least_to_train(policy.floor_labels, policy.holdout_share), given))


def _evaluate(settings: Settings, job: JobState) -> dict[str, Any]:
    pipeline = settings.pipelines[job.pipeline]
    champion = places.champion_dir(settings, job.pipeline, job.champion_version)
    sets = {"verified": str(places.data_dir(settings, job.job_id) / places.VERIFIED_FILE)}
    if pipeline.gate.golden_set:
        sets["golden"] = str(settings.resolve(pipeline.gate.golden_set))
    return {
        "base": str(places.base_dir(settings, job.pipeline)),
        "base_digest": job.base_digest,
        "champion": str(champion) if champion else "",
        "candidate": str(places.candidate_dir(settings, job.job_id)),
        "candidate_digest": job.adapter_digest,
        "rank": pipeline.retrain.rank,
        "sets": sets,
        "metric": pipeline.quality.metric,
        "max_tokens": pipeline.max_tokens,
        "parity_samples": pipeline.gate.parity_samples,
        "threads": pipeline.retrain.threads,
        "suites": [suite.model_dump() | {"file": str(settings.resolve(suite.file))} for suite in pipeline.gate.suites],
        "output_format": pipeline.output_format.model_dump(),
    }


def _parity(settings: Settings, job: JobState, samples: list[dict[str, str]]) -> dict[str, Any]:
    has_adapter = places.champion_dir(settings, job.pipeline, job.champion_version) is not None
    pipeline = settings.pipelines[job.pipeline]
    base = settings.engines[pipeline.engine].base_model
    return _common(settings, job) | {
        "adapter_dir": str(places.candidate_dir(settings, job.job_id)),
        "adapter_digest": job.adapter_digest,
        "samples": samples,
        "champion": model_version(pipeline, job.champion_version) if has_adapter else base,
    }


def _register(settings: Settings, job: JobState) -> dict[str, Any]:
    policy = settings.pipelines[job.pipeline].retrain
    accepted = passes(job.verdicts)
    made = report(job, settings.pipelines[job.pipeline].gate, _notes(settings, job))
    tags = {
        "tidemill.pipeline": job.pipeline,
        "tidemill.alarm_id": job.alarm_id,
        "tidemill.data_digest": job.data_digest,
        "tidemill.base_digest": job.base_digest,
        "tidemill.adapter_digest": job.adapter_digest,
        "tidemill.champion": job.champion_version,
        "tidemill.verdict": "accepted" if accepted else "rejected",
        "tidemill.gate": outcome(job.verdicts),
        "approval_status": status(job, settings.pipelines[job.pipeline]),
        "tidemill.reason": "every check passed" if accepted else refusal(job.verdicts),
    }
    tags |= {f"tidemill.score.{name}": f"{s.mean:.4f}" for name, s in job.scores.items() if s.mean is not None}
    recipe = {f"recipe.{name}": str(value) for name, value in policy.recipe if name != "sweep"}
    counted = {f"data.{name}": str(count) for name, count in job.data_counts.items()}
    metrics = {name.replace("/", "_"): score.mean for name, score in job.scores.items() if score.mean is not None}
    figures = {name: job.figures.get(name) for name in _FIGURES}
    return _common(settings, job) | {
        "accepted": accepted,
        "adapter_dir": str(places.candidate_dir(settings, job.job_id)),
        "tags": tags,
        "params": counted | {name: str(getattr(policy, name)) for name in _PARAMETERS} | recipe,
        "metrics": metrics | {name: value for name, value in figures.items() if value is not None},
        "verdicts": [msgspec.to_builtins(verdict) for verdict in job.verdicts],
        "inputs": [_input(settings, job, *each) for each in _INPUTS],
        "report": made,
        "losses": losses(folder_of(settings, job.job_id, "train")),
    }


def _notes(settings: Settings, job: JobState) -> list[str]:
    """What people should know of the data set, as its manifest says."""
    file = places.data_dir(settings, job.job_id) / places.MANIFEST_FILE
    try:
        return [str(note) for note in msgspec.json.decode(file.read_bytes()).get("notes", ())]
    except (OSError, msgspec.DecodeError):
        return []


def _input(settings: Settings, job: JobState, name: str, context: str, file: str) -> dict[str, Any]:
    return {
        "name": f"{job.pipeline}-{name}",
        "context": context,
        "digest": job.data_digest,
        "file": str(places.data_dir(settings, job.job_id) / file),
        "rows": job.data_counts.get(name, 0),
    }


_INPUTS = (("train", "training", places.TRAIN_FILE), ("verified", "validation", places.VERIFIED_FILE))
_FIGURES = (
    "train_loss", "train_seconds", "train_steps", "train_tokens_per_s", "train_mfu", "known_rows", "too_long_left_out",
    GPU_SECONDS,
)  # fmt: skip
_PARAMETERS = ("steps", "batch", "rank", "alpha", "learning_rate", "replay_share", "holdout_share")
