"""A model card says what a candidate is, and nothing from outside becomes markup in it."""

from __future__ import annotations

from typing import Any

from retrain.gate.card import Judged, card
from retrain.registry import shortened


def judged(**changes: Any) -> Judged:
    given: dict[str, Any] = {
        "pipeline": "schedule",
        "job_id": "f" * 32,
        "version": "schedule-v2",
        "tags": {
            "tidemill.alarm_id": "alarm-1",
            "tidemill.champion": "schedule-v1",
            "tidemill.verdict": "accepted",
            "tidemill.reason": "every check passed",
            "tidemill.data_digest": "d" * 64,
            "tidemill.base_digest": "b" * 64,
            "tidemill.adapter_digest": "a" * 64,
        },
        "params": {"steps": "150", "rank": "16", "data.train": "90"},
        "metrics": {"train_loss": 0.25, "candidate_verified": 0.9},
        "scores": {"candidate/verified": {"n": 100, "mean": 0.9}, "champion/verified": {"n": 100, "mean": 0.25}},
        "verdicts": [{"check": "verified_gain", "outcome": "pass", "reason": "+0.65"}],
        "manifest": {
            "counts": {"train": 90, "verified": 100},
            "notes": ["tenant 'x' left out"],
            "origins": {"sources": {"user": {"labels": 70, "train": 60, "licence": "not stated"}}},
        },
        "spec": {"seed": 77},
    }
    return Judged(**(given | changes))


def test_it_says_what_was_made_of_what_and_how_good_it_is() -> None:
    text = card(judged())
    for line in (
        "# schedule-v2",
        "- Gate: **accepted** (every check passed)",
        f"Digest `{'d' * 64}`.",
        "| user | 70 | 60 | not stated |  |",
        "| steps | 150 |",
        "| seed | 77 |",
        "| train\\_loss | 0.25 |",
        "| verified | 100 | 0.900 | 0.250 | +0.650 |",
        "| verified\\_gain | pass | +0.65 |",
        "- 100 verified labels leave about 0.06 either way (95 %, scores of 0 and 1).",
        "- Under which licence these sources' labels stand is not stated: user.",
        "- tenant 'x' left out",
        "tidemill reproduce schedule-v2   # the same training again, and what differs",
    ):
        assert line in text.splitlines(), line
    assert "data.train" not in text


def test_thumbs_count_beside_labels() -> None:
    sources = {"user": {"labels": 70, "thumbs": 1_000, "train": 60, "licence": "not stated"}}
    assert "| user | 1,070 | 60 | not stated |  |" in card(judged(manifest={"origins": {"sources": sources}}))


def test_it_names_the_data_set_in_the_remote() -> None:
    kept = {"tidemill.dvc": "ab12.dir", "tidemill.dvc_remote": "s3://bucket/sets"}
    assert "DVC: `ab12.dir` in s3://bucket/sets." in card(judged(tags=kept)).splitlines()
    assert "DVC: `not pushed`." in card(judged(tags={"tidemill.dvc": "not pushed"})).splitlines()


def test_a_refused_candidate_has_one_too() -> None:
    text = card(judged(version="", scores={}, verdicts=[], manifest={}, spec={}))
    assert text.startswith("# schedule: refused candidate of job ffffffff")
    assert "refused the files before anything was scored" in text and "tidemill reproduce " + "f" * 32 in text


def test_absent_scores_are_unknown() -> None:
    scores = {"candidate/verified": {"n": 0, "mean": None}, "champion/verified": {"n": 3, "mean": 0.5}}
    assert "| verified | 0 | unknown | 0.500 | unknown |" in card(judged(scores=scores))


def test_what_comes_from_outside_is_no_markup() -> None:
    hostile = "a|b\n# c [x](http://y) <b>"
    origins = {"sources": {hostile: {"labels": 1, "train": 1, "licence": "not stated"}}}
    text = card(judged(manifest={"origins": origins, "notes": [hostile]}))
    assert "| a\\|b \\# c \\[x\\](http://y) \\<b\\> | 1 | 1 | not stated |  |" in text
    assert "\n# c" not in text


def test_a_long_card_is_cut_where_mlflow_would() -> None:
    assert shortened("x" * 5_000) == "x" * 5_000
    cut = shortened("x" * 5_001)
    assert len(cut) == 5_000 and cut.endswith("(The rest is in model_card.md of its run.)\n")
