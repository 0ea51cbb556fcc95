"""Files that say what another policy would do: what they may change, and what is said of what they may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrain.replay.compare import compare
from retrain.replay.falls import Said
from retrain.replay.plot import needs, plot
from retrain.replay.policies import AS_SET, GROUPS, Policy, read_policy
from streams.detectors.replayed import ReplayedQuality
from tests.unit.retrain_replay.made import SECOND, START, TURN, falling, past, policy
from tidemill.errors import SettingsError, Stop
from tidemill.settings import GpuSettings


def test_a_policy_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "eager.yaml"
    file.write_text("retrain: {min_fresh_labels: 40}\nquality: {min_drop: 0.05}\n")
    eager, base = read_policy(file), policy()
    changed = eager.over(base)
    assert eager.name == "eager"
    assert (changed.retrain.min_fresh_labels, changed.quality.min_drop) == (40, 0.05)
    assert changed.retrain.cooldown_s == base.retrain.cooldown_s
    assert Policy(AS_SET, {}).over(base) == base


def test_only_known_settings_can_be_named() -> None:
    whole = policy().model_dump()
    for group, names in GROUPS.items():
        assert set(names) <= whole[group].keys(), group


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "retrain: {steps: 3}",
            "retrain.steps: does not decide when a retraining begins; known here: enabled, min_fre",
        ),
        ("quality: {metric: thumb}", "quality.metric: does not decide"),
        ("rollout: {margin: 1}", "rollout: a policy has the groups quality, retrain, trigger, gate"),
        ("retrain: 3", r"retrain: must be settings by name \(got 3\)"),
        ("- 1", "a policy is settings by name in the groups quality, retrain, trigger, gate"),
        ("", "a policy is settings by name"),
        ("a: [", "not valid YAML"),
        ("retrain: {cooldown_s: -3}", r"retrain.cooldown_s: must be greater than or equal to 0 \(got -3\)"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=f"other.yaml: {words}"):
        read_policy(file).over(policy())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere.yaml: no such file"):
        read_policy(tmp_path / "nowhere.yaml")


def test_policies_stand_side_by_side_and_are_drawn(tmp_path: Path) -> None:
    patient = Policy("patient", {"retrain": {"min_fresh_labels": 500}})
    history = past(falling(1000))
    made = compare(
        history, policy(), [Policy(AS_SET, {}), patient], TURN, ReplayedQuality, gpu=GpuSettings(usd_per_hour=1.0)
    )
    assert [result.policy for result in made.results] == ["recorded", "as set", "patient"]
    nothing, soon, late = made.results
    assert nothing.loss is not None and soon.loss is not None and late.loss is not None
    assert soon.loss < late.loss < nothing.loss and nothing.loss_avoided == 0
    for number in (1, 2):
        plot([made, made], tmp_path / f"{number}.svg")
    assert (tmp_path / "1.svg").read_bytes() == (tmp_path / "2.svg").read_bytes()
    assert "patient" in (tmp_path / "1.svg").read_text()


def test_falls_that_a_person_names_take_the_place_of_measured_ones() -> None:
    history = past(falling(1000))
    said = [Said(START + 2000 * SECOND, None)]
    made = compare(history, policy(), [Policy(AS_SET, {})], TURN, ReplayedQuality, truth=said)
    assert [fall.start_ms for fall in made.falls] == [START + 2000 * SECOND]
    assert made.results[1].false_alarms == 1, "it was right, but the person says otherwise"


@pytest.mark.parametrize(("name", "words"), [("a.gif", ".png, .svg, .pdf"), ("none/a.png", "there is no folder")])
def test_a_picture_that_cannot_be_written_is_refused_at_once(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(Stop, match=words):
        needs(tmp_path / name)
