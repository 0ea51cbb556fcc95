"""A label and an answer make a score: pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from tidemill.events import Feedback
from tidemill.ids import derived_id
from tidemill.scoring import METRIC_VERSIONS, score
from tidemill.slices import by_dimension

SOURCE = "scorer"
"""The source of the feedback events this role writes."""


@dataclass(frozen=True)
class Answer:
    """One finished answer of a call, as stored."""

    call_id: str
    answer_id: str
    role: str
    model_version: str
    variant: str
    call_time_ms: int
    text: str
    tenant: str = ""
    prompt_version: str = ""
    input_language: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


def is_label(event: Feedback) -> bool:
    """Whether this feedback says what the right answer was, and nothing has judged it yet."""
    return event.kind in ("label", "correction") and event.score is None and bool(event.value)


def is_score(event: Feedback) -> bool:
    """Whether this feedback is one of ours, coming back."""
    return event.kind == "score" and event.source == SOURCE


def score_of(label: Feedback, answer: Answer, metric: str, dimensions: Collection[str] = ()) -> Feedback | None:
    """The feedback event that says how good ``answer`` was by ``label``; None where the metric cannot say.

    ``dimensions``: those of the pipeline's slices; the score says the answer's values. The same label and answer give
    the same event, byte for byte: its id and time come from them alone.
    """
    judged = score(metric, answer.text, label.value)
    if judged is None:
        return None
    version = METRIC_VERSIONS[metric]
    return Feedback(
        feedback_id=derived_id(answer.answer_id, label.feedback_id, metric, version),
        call_id=label.call_id,
        answer_id=answer.answer_id,
        time_ms=label.time_ms,
        call_time_ms=answer.call_time_ms,
        pipeline=label.pipeline,
        model_version=answer.model_version,
        variant="shadow" if answer.role == "shadow" else answer.variant,  # type: ignore[arg-type]
        kind="score",
        source=SOURCE,
        source_feedback_id=label.feedback_id,
        label_source=label.source,
        metric=metric,
        metric_version=version,
        score=judged,
        slices=by_dimension(
            dimensions,
            answer.attributes,
            tenant=answer.tenant,
            prompt_version=answer.prompt_version,
            input_language=answer.input_language,
        ),
    )
