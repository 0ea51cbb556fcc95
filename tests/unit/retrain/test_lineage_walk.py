"""A lineage is walked from made-up facts: to the alarm and the data, back to what a version's calls went into."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from rich.console import Console

from retrain import adapter
from retrain.datasets.dataset import build
from retrain.datasets.snapshots import Snapshot
from retrain.derived.derived import FACTS_FILE
from retrain.lineage import walk
from retrain.lineage.declared import declared, weighed
from retrain.lineage.found import Registered, Said, Served
from retrain.lineage.names import call_of, pipeline_of
from retrain.lineage.walk import Known
from retrain.snapshot import OLDER_MS, write_folder
from tests.unit.retrain.made import NOW, alarm, collecting, rules
from tests.unit.retrain.poisoned import call
from tidemill.cli.lineage import call_tree, version_tree
from tidemill.errors import Stop
from tidemill.events import JobState, RolloutState, Score, Verdict
from tidemill.settings import Settings

CALL = "0199c0de-0000-7000-8000-0123456789ab"


def job(number: int, **changes: Any) -> JobState:
    return collecting(
        **{
            "job_id": f"job-{number}",
            "phase": "registered",
            "candidate_version": f"schedule-v{number}",
            "champion_version": f"schedule-v{number - 1}",
            "alarm_id": f"alarm-{number}",
            "alarm_metric": "quality",
            "data_digest": "d" * 64,
            "data_counts": {"train": 90, "verified": 20},
            "base_digest": "b" * 64,
            "adapter_digest": "a" * 64,
            "scores": {"candidate/verified": Score(n=20, mean=0.9), "champion/verified": Score(n=20, mean=0.2)},
            "verdicts": (Verdict(check="verified_gain", outcome="pass", reason="+0.70"),),
            **changes,
        }
    )


def rollout(number: int, **changes: Any) -> RolloutState:
    return RolloutState(
        **{
            "rollout_id": f"rollout-{number}",
            "seq": 5,
            "time_ms": NOW + 10_000,
            "pipeline": "schedule",
            "phase": "champion",
            "reason": "serves all",
            "job_id": f"job-{number}",
            "candidate_version": f"schedule-v{number}",
            "candidate_adapter_dir": "",
            "champion_version": f"schedule-v{number - 1}",
            "step_started_ms": NOW,
            "created_ms": NOW,
            **changes,
        }
    )


@pytest.fixture
def data(tmp_path: Path) -> Snapshot:
    """The data set of job 3: calls of the 5 s before NOW, and older ones replayed."""
    made = build([call(n, "acme", f"label {n}", "audit") for n in range(120)], [], [], rules())
    manifest = {
        **{"digest": made.digest, "counts": made.counts, "notes": ["somebody left out"], "origins": made.origins},
        **{"pipeline": "schedule", "change_ms": NOW - 5_000, "until_ms": NOW, "rules": rules()},
    }
    write_folder(tmp_path / "data", made, manifest)
    read = msgspec.json.decode((tmp_path / "data" / "manifest.json").read_bytes())
    return Snapshot(job_id="job-3", version="schedule-v3", folder=str(tmp_path / "data"), manifest=read)


def known(data: Snapshot, **changes: Any) -> Known:
    given: dict[str, Any] = {
        "pipeline": "schedule",
        "champion": "schedule-v1",
        "jobs": {each.job_id: each for each in (job(2), job(3))},
        "rollouts": {each.rollout_id: each for each in (rollout(2), rollout(3, created_ms=NOW + 1))},
        "alarms": {"alarm-3": alarm(alarm_id="alarm-3")},
        "data": {"job-3": data},
        "registered": {"schedule-v3": Registered(aliases=["champion"], tags={"tidemill.job_id": "job-3"})},
    }
    return Known(**(given | changes))


def answer(name: str = "schedule-v3", **changes: Any) -> dict[str, Any]:
    given = {
        "answer_id": "a",
        "role": "client",
        "variant": "champion",
        "time_ms": NOW - 900,
        "call_time_ms": NOW - 1_000,
    }
    return given | {"status": "ok", "route_epoch": 4, "model_version": name} | changes


def label(time_ms: int = NOW - 500) -> Said:
    return Said(kind="label", source="audit", time_ms=time_ms, version="schedule-v3")


def shown(tree: Any) -> str:
    out = StringIO()
    Console(file=out, width=250).print(tree)
    return out.getvalue()


def test_a_version_leads_to_its_rollout_job_alarm_and_data(data: Snapshot) -> None:
    served = [Served(role="client", variant="champion", answers=7, first_ms=NOW, last_ms=NOW + 9)]
    found = walk.version("schedule-v3", known(data), served, {"job-3": 5, "job-2": 0})
    assert found.training is not None
    assert (found.training.job_id, found.training.alarm.kind, found.training.alarm.value) == ("job-3", "quality", 0.2)
    assert (found.training.data.digest, found.training.data.intact) == (data.manifest["digest"], True)
    assert (found.training.data.since_ms, found.training.data.until_ms) == (NOW - 5_000 - OLDER_MS, NOW)
    assert found.training.data.origins["sources"]["audit"]["labels"] == 120
    assert [way.rollout_id for way in found.rollouts] == ["rollout-3"]
    assert found.before == ["schedule-v2", "schedule-v1"]
    assert [(user.job_id, user.labelled_calls) for user in found.used_by] == [("job-3", 5)]
    text = shown(version_tree(found))
    for words in (
        *("version schedule-v3 [champion]", "after schedule-v2, schedule-v1", "alarm alarm-3: quality 0.2 after 0.9"),
        *("gate: verified 0.90 (champion 0.20) on 20", "the files are as they were made", "7 as champion"),
        *("source audit: 120 labels", "! somebody left out", "5 in the time that job job-3 (schedule-v3) took"),
    ):
        assert words in text, text


def test_without_its_files_a_version_has_what_the_log_says(data: Snapshot) -> None:
    found = walk.version("schedule-v2", known(data))
    assert found.training is not None and found.registered is None
    assert (found.training.data.digest, found.training.data.intact) == ("d" * 64, None)
    assert found.training.alarm.kind == "gone"
    assert "not kept any more" in shown(version_tree(found)) and "not on this machine" in shown(version_tree(found))


def test_changed_files_are_said(data: Snapshot) -> None:
    (Path(data.folder) / "train.jsonl").write_bytes(b"")
    found = walk.version("schedule-v3", known(data))
    assert found.training is not None and found.training.data.intact is False
    assert "HAVE BEEN CHANGED" in shown(version_tree(found))


def test_an_order_is_no_alarm_and_a_first_champion_has_no_job(data: Snapshot) -> None:
    facts = known(data, jobs={"job-2": job(2, alarm_metric="")})
    ordered = walk.version("schedule-v2", facts)
    assert ordered.training is not None and ordered.training.alarm.kind == "order"
    assert "opened by order alarm-2" in shown(version_tree(ordered))
    first = walk.version("schedule-v1", facts)
    assert (first.training, first.rollouts, first.before) == (None, [], [])
    assert "no job made it" in shown(version_tree(first))


def test_a_version_that_served_twice_ends_the_line_of_champions(data: Snapshot) -> None:
    again = rollout(2, rollout_id="rollout-9", champion_version="schedule-v3", created_ms=NOW + 50)
    facts = known(data, rollouts={"r2": rollout(2), "r3": rollout(3), "r9": again})
    assert walk.version("schedule-v3", facts).before == ["schedule-v2", "schedule-v1"]
    assert [way.rollout_id for way in walk.version("schedule-v2", facts).rollouts] == ["rollout-2", "rollout-9"]


def test_an_unknown_version_is_said_with_those_there_are(data: Snapshot) -> None:
    with pytest.raises(Stop, match=r"no version 'schedule-v9'; of 'schedule' there are schedule-v3, schedule-v2"):
        walk.version("schedule-v9", known(data))
    with pytest.raises(Stop, match=r"nothing is known of a pipeline 'other'"):
        walk.version("other-v1", Known(pipeline="other"))


@pytest.fixture
def declaring(tmp_path: Path) -> Settings:
    """A pipeline that declares a version of every kind; the green engine's base was quantized."""
    for folder in ("int8", "mine"):
        (tmp_path / folder).mkdir()
    (tmp_path / "int8" / "model.safetensors").write_bytes(b"small")
    (tmp_path / "mine" / adapter.WEIGHTS).write_bytes(b"lora")
    facts = {"made_by": "quantize", "asked": 300, "equal": 297, "digest": adapter.base_digest(tmp_path / "int8")}
    (tmp_path / "int8" / FACTS_FILE).write_bytes(msgspec.json.encode(facts))
    versions = {
        "schedule-v1001": {"kind": "model", "engine": "green"},
        "schedule-v1002": {"kind": "provider", "engine": "cloud", "model": "large-1"},
        "schedule-v1003": {"kind": "prompt", "prompt_version": "2", "system_prompt": "Be [brief]."},
        "schedule-v1004": {"kind": "retrieval", "of": "schedule-v1001", "upstream_headers": {"X-Index": "faq"}},
        "schedule-v1005": {"kind": "adapter", "adapter": str(tmp_path / "mine")},
        "schedule-v1006": {"kind": "router", "engine": "cloud", "model": "auto"},
    }
    green = {"url": "http://green:8000/v1", "base_model": "base-int8", "base_dir": str(tmp_path / "int8")}
    cloud = {"kind": "provider", "url": "https://api.example.com/v1"}
    pipeline = {"engine": "local", "champion": "schedule-v1", "versions": versions}
    told = {"engines": {"local": {}, "green": green, "cloud": cloud}, "pipelines": {"schedule": pipeline}}
    return Settings.model_validate({"data_dir": str(tmp_path / "data")} | told)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (1001, ["model base-int8 on the engine green", "made_by quantize, asked 300, equal 297", ", as it was made"]),
        (1002, ["provider large-1 on the engine cloud"]),
        (
            1003,
            ["prompt 2 with the model of schedule-v1", "system prompt: Be [brief].", "`tidemill lineage schedule-v1`"],
        ),
        (1004, ["retrieval with the model of schedule-v1001", "header X-Index: faq"]),
        (1005, ["adapter on the engine local", "mine: digest "]),
        (1006, ["router auto on the engine cloud"]),
    ],
)
def test_a_declared_version_says_what_it_is(data: Snapshot, declaring: Settings, number: int, words: list[str]) -> None:
    facts = known(data, declared=declared(declaring, "schedule"))
    found = walk.version(f"schedule-v{number}", facts)
    assert found.declared is not None and found.training is None and found.declared.digest is None
    text = shown(version_tree(msgspec.structs.replace(found, declared=weighed(found.declared))))
    for each in ("declared in the settings: ", *words):
        assert each in text, text
    assert "no job made it" not in text


def test_a_declared_version_that_was_rolled_out_comes_after_a_champion(data: Snapshot, declaring: Settings) -> None:
    way = rollout(1001, job_id="", champion_version="schedule-v3", created_ms=NOW + 9)
    rollouts = {each.rollout_id: each for each in (rollout(2), rollout(3), way)}
    facts = known(data, declared=declared(declaring, "schedule"), rollouts=rollouts)
    found = walk.version("schedule-v1001", facts)
    assert found.before == ["schedule-v3", "schedule-v2", "schedule-v1"]
    assert "rollout rollout- beside schedule-v3: champion" in shown(version_tree(found))
    (answered,) = walk.call(CALL, facts, [answer("schedule-v1001")], [], None).answers
    assert answered.lineage is not None and answered.lineage.declared is not None
    later = shown(version_tree(walk.version("schedule-v1001", known(data, rollouts=rollouts))))
    assert "declared in settings of its time" in later, "the settings say nothing of it any more"


def test_weights_that_were_changed_or_are_elsewhere_are_said(data: Snapshot, declaring: Settings) -> None:
    it = declared(declaring, "schedule")["schedule-v1001"]
    weights = Path(it.folder) / "model.safetensors"
    weights.write_bytes(b"other")
    assert weighed(it).intact is False
    found = walk.version("schedule-v1001", known(data, declared={"schedule-v1001": weighed(it)}))
    assert "THE FILES HAVE BEEN CHANGED SINCE" in shown(version_tree(found))
    weights.unlink()
    gone = msgspec.structs.replace(found, declared=weighed(it))
    assert gone.declared is not None and (gone.declared.digest, gone.declared.intact) == ("", None)
    assert "not on this machine" in shown(version_tree(gone))


def test_a_pipeline_that_the_settings_have_no_more_declares_nothing(declaring: Settings) -> None:
    assert declared(declaring, "other") == {}


def test_a_call_leads_to_its_answers_and_to_the_data_sets_it_is_in(data: Snapshot) -> None:
    trained, judged = data.rows("train")[0].prompt, data.rows("verified")[0].prompt
    rows = [answer(), answer("schedule-v7", answer_id="b", role="shadow", variant="shadow")]
    found = walk.call(CALL, known(data), rows, [label()], trained)
    assert [each.version for each in found.answers] == ["schedule-v3", "schedule-v7"]
    assert found.answers[0].lineage is not None and found.answers[1].lineage is None
    assert [(holder.job_id, holder.held) for holder in found.used_by] == [("job-3", "trained on")]
    for prompt, said in ((judged, "judged by"), ("quite another", "not in it"), (None, "not known")):
        assert [each.held for each in walk.call(CALL, known(data), rows, [label()], prompt).used_by] == [said]
    text = shown(call_tree(found))
    assert "job job-3 (schedule-v3), registered: trained on" in text and "nothing is known of schedule-v7" in text


@pytest.mark.parametrize(
    ("call_time_ms", "told_ms"),
    [(NOW + 1, NOW + 2), (NOW - 1_000, NOW), (NOW - 6_000 - OLDER_MS, NOW - 1)],
)
def test_a_call_outside_of_the_data_sets_time_is_in_none(data: Snapshot, call_time_ms: int, told_ms: int) -> None:
    rows, prompt = [answer(call_time_ms=call_time_ms)], data.rows("train")[0].prompt
    assert walk.call(CALL, known(data), rows, [label(told_ms)], prompt).used_by == []


def asked_by(data: Snapshot, **queries: str) -> Snapshot:
    offsets = [{"query": name, "topic": "t", "partition": 0, "first_offset": 3, "last_offset": 9} for name in queries]
    return replace(data, manifest=data.manifest | {"queries": queries, "offsets": offsets})


def test_a_call_with_a_thumb_is_in_data_sets_that_asked_for_thumbs(data: Snapshot) -> None:
    prompt, thumb = data.rows("train")[0].prompt, [replace(label(), kind="thumb")]
    for snapshot, held in (
        (asked_by(data, labelled_calls="SELECT"), []),
        (asked_by(data, labelled_calls="SELECT", thumbed_calls="SELECT"), ["trained on"]),
    ):
        facts = known(snapshot)
        assert [each.held for each in walk.call(CALL, facts, [answer()], thumb, prompt).used_by] == held
    assert "t/0: 3 to 9 (thumbed_calls)" in shown(version_tree(walk.version("schedule-v3", facts)))


def test_a_call_of_which_nothing_was_said_is_in_data_sets_that_asked_for_all(data: Snapshot) -> None:
    prompt = data.rows("train")[0].prompt
    facts = known(asked_by(data, labelled_calls="SELECT", asked_calls="SELECT"))
    assert [each.held for each in walk.call(CALL, facts, [answer()], [], prompt).used_by] == ["trained on"]
    before = [answer(call_time_ms=NOW - 6_000)]
    assert walk.call(CALL, facts, before, [], prompt).used_by == [], "only calls since the change were"


def test_an_answer_of_a_rollouts_time_names_it(data: Snapshot) -> None:
    (during,) = walk.call(CALL, known(data), [answer(time_ms=NOW + 5)], [], None).answers
    (after,) = walk.call(CALL, known(data), [answer(time_ms=NOW + 20_000)], [], None).answers
    assert (during.rollout_id, after.rollout_id) == ("rollout-3", "")


@pytest.mark.parametrize(
    ("text", "call_id", "pipeline"),
    [
        (CALL, CALL, ""),
        (CALL.replace("-", ""), CALL, ""),
        (f"chatcmpl-{CALL.replace('-', '')}AbC_x-Y", CALL, ""),
        (f"{CALL}rest", "", ""),
        ("schedule-v2", "", "schedule"),
        ("a-v1-v22", "", "a-v1"),
        ("schedule", "", ""),
        ("", "", ""),
    ],
)
def test_what_is_named_is_told_from_its_form(text: str, call_id: str, pipeline: str) -> None:
    assert (call_of(text), pipeline_of(text)) == (call_id, pipeline)
