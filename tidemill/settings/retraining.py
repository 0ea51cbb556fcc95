"""When a pipeline is retrained, on which labels, and how."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tidemill.settings.launching import LauncherSettings
from tidemill.settings.strict import Strict, wrong


class SweepSettings(Strict):
    """Other values that are tried before a training, in short trials judged on a tenth of its rows; the best are taken.
    Not with ``dpo`` and ``kto``."""

    learning_rate: tuple[float, ...] = Field(default=(), max_length=8)
    """Learning rates beside ``retrain.learning_rate``; none given here or below: no sweep."""
    keep_weight: tuple[float, ...] = Field(default=(), max_length=8)
    """Weights beside ``retrain.recipe.keep_weight``."""
    steps_share: float = Field(default=0.25, gt=0, le=1)
    """Steps of a trial, as a share of ``retrain.steps``."""
    time_share: float = Field(default=0.5, gt=0, lt=1)
    """Share of a training's time limit in which trials may begin."""

    @model_validator(mode="after")
    def _check(self) -> SweepSettings:
        for index, rate in enumerate(self.learning_rate):
            if not 0 < rate < 1:
                raise wrong(("learning_rate", index), f"{rate:g} is no learning rate; give one above 0 and below 1")
        for index, weight in enumerate(self.keep_weight):
            if not 0 <= weight <= 100:
                raise wrong(("keep_weight", index), f"{weight:g} is no such weight; give one from 0 to 100")
        return self

    @property
    def asked(self) -> bool:
        """Whether there is something to try."""
        return bool(self.learning_rate or self.keep_weight)


class RecipeSettings(Strict):
    """How a candidate is trained, and on what."""

    kind: Literal["sft", "kto", "dpo", "distill"] = "sft"
    """``sft``: on labels and corrections. ``dpo``: on corrections, preferred over the answers they correct. ``kto``: on
    thumbs. ``distill``: on the labels, and on what a teacher answers where there is none. Labels judge in any case."""
    start: Literal["base", "champion"] = "base"
    """Where an adapter begins: at the base, or at the champion's adapter, which forgets less over many turns; its rank
    must not be above ``retrain.rank``. (``dpo`` and ``kto`` go on from the champion in any case.)"""
    teacher: str = ""
    """With ``distill``: folder of the model that is asked; empty: the champion is."""
    beta: float = Field(default=0.1, gt=0, le=10)
    """With ``dpo`` and ``kto``: how strongly the training is held to the champion."""
    keep_weight: float = Field(default=0.0, ge=0, le=100)
    """Against forgetting: weight of the divergence from what the champion says, on the rows that it answers rightly,
    beside the usual loss of weight 1. 0: not held to it. Not with ``dpo`` and ``kto``, which have ``beta``."""
    packing: bool = False
    """Whether short rows are put one after the other into long ones, so that nothing is filled up. Not with ``dpo`` and
    ``kto``."""
    bf16: bool = False
    """Whether it computes in bfloat16 (weights stay float32): faster on a GPU, not on most processors."""
    gradient_checkpointing: bool = False
    """Whether activations are computed twice instead of kept: less memory, a third more time."""
    sweep: SweepSettings = SweepSettings()
    report_to: Literal["", "wandb"] = ""
    """Where losses are reported beside MLflow; ``wandb`` has to be installed and logged in."""
    peak_tflops: float | None = Field(default=None, gt=0)
    """What the trainer's device can do at most, in 10^12 operations a second, for the share of it that is used (MFU).
    None: as known for some NVIDIA GPUs with ``bf16``; else there is no MFU."""

    @model_validator(mode="after")
    def _check(self) -> RecipeSettings:
        if self.kind in ("dpo", "kto"):
            if self.sweep.asked:
                raise wrong(("sweep",), f"recipe {self.kind} has no sweep; leave it out, or choose kind: sft")
            for name in ("keep_weight", "packing"):
                if getattr(self, name):
                    raise wrong((name,), f"recipe {self.kind} has no {name}; leave it out, or choose kind: sft")
        if self.teacher and self.kind != "distill":
            raise wrong(("teacher",), f"recipe {self.kind} asks no teacher; leave it out, or choose kind: distill")
        return self


class RetrainSettings(Strict):
    """When and how a pipeline is retrained."""

    enabled: bool = True
    """Whether alarms may start a retraining."""
    min_fresh_labels: int = Field(default=300, ge=10)
    """Labels since the estimated change that start the training (from a measured learning curve)."""
    collect_deadline_s: float = Field(default=600, gt=0)
    """The longest wait for them; then it trains with what there is, if at least ``floor_labels``."""
    floor_labels: int = Field(default=100, ge=10)
    """Fewer labels than this at the deadline: no training, and the job says so."""
    cooldown_s: float = Field(default=3600, ge=0)
    """Least time between the end of one job or rollout and the start of the next."""
    max_attempts: int = Field(default=3, ge=1)
    """Jobs that one alarm may cause while it fires: the next follows one that failed, was rejected or rolled back."""
    replay_share: float = Field(default=0.5, ge=0, lt=1)
    """Share of older data mixed into the training set, against forgetting."""
    holdout_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of sessions kept out of training for the gate."""
    max_tenant_share: float = Field(default=0.5, gt=0, le=1)
    """Where several tenants give labels (or thumbs): the most of the rows to train on that those of one may be, unless
    they are trusted (of few tenants each its equal part). It leaves ``floor_labels`` of them, or all that there are.
    1: no limit."""
    max_source_share: float = Field(default=0.8, gt=0, le=1)
    """The same for the sources of untrusted labels, where there are several."""
    max_contradiction: float = Field(default=0.1, gt=0, le=1)
    """A tenant, or a source, is not trained on where its labels contradict trusted ones of the same prompts surely more
    often than the others' do, by more than this share of them; nor where its thumbs do, with recipe ``kto``. 1: nobody
    is left out."""
    max_wrong_share: float = Field(default=0.05, gt=0, le=1)
    """Where several tenants (or sources) give labels: the most of the rows to train on that one of them may make wrong,
    as far as comparisons with trusted labels of the same prompts tell. Whoever was hardly compared may give few rows:
    have reviewers label a share of all calls. With recipe ``kto`` the same of thumbs, with ``dpo`` also of the labels
    that correct an answer. 1: no limit."""
    near_duplicate: float = Field(default=0.9, ge=0.5, le=1)
    """Prompts with the same answer that have this share of their five-character runs in common say the same: one of
    them is trained on, and none where the gate judges by such a one. 1: only where all words are the same."""
    approval: Literal["none", "required"] = "none"
    """Whether a candidate that has passed the gate waits for a person (`tidemill retrain approve`, or the signed link
    in an alert; see ``approval``)."""
    approval_timeout_s: float = Field(default=86_400, gt=0)
    """How long it waits; then it does not pass."""
    scrub: bool = True
    """Whether e-mail addresses and numbers of seven digits or more are blacked out in what is trained on, also where
    ``capture`` keeps them. A label that holds one is not trained on: false where such labels are what is wanted."""
    licences: dict[str, str] = Field(default_factory=dict)
    """Under which licence or terms each source's labels may be trained on; written into the data sets' manifests."""
    max_drift_loss: float = Field(default=0.1, gt=0, le=1)
    """With a drift alarm only: estimated loss of quality that justifies a retraining."""
    recipe: RecipeSettings = RecipeSettings()
    steps: int = Field(default=150, ge=1)
    """Optimizer steps of a training."""
    batch: int = Field(default=16, ge=1)
    """Rows per step."""
    rank: int = Field(default=16, ge=1, le=256)
    """Rank of the LoRA adapter."""
    alpha: int = Field(default=32, ge=1)
    """Scale of the adapter: alpha / rank."""
    learning_rate: float = Field(default=5e-3, gt=0, lt=1)
    """Peak learning rate; LoRA takes about ten times that of full tuning."""
    threads: int = Field(default=1, ge=1)
    """Compute threads of the trainer."""
    nice: int = Field(default=10, ge=0, le=19)
    """How far the trainer stands back for everybody else (19: most; where no core is spare it then starves)."""
    timeout_s: float = Field(default=900, gt=0)
    """Longest training, and longest check by the gate, seconds; a longer one is stopped and the job has failed.
    Of a training that is tried again, each try."""
    launcher: LauncherSettings = LauncherSettings()
