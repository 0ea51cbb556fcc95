"""Settings: the demo file loads; every wrong setting stops with its line and the way out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from tidemill.errors import SettingsError
from tidemill.settings import Settings, find_settings_file, load_settings
from tidemill.settings.explain import PATTERNS

DEMO = Path(__file__).parents[3] / "tidemill.yaml"
GOOD = """\
engines:
  local: {}
pipelines:
  support:
    engine: local
    champion: support-v1
"""


def load(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> object:
    file = tmp_path / "tidemill.yaml"
    file.write_text(text)
    return load_settings(file, environ or {})


def test_the_demo_settings_load() -> None:
    settings = load_settings(DEMO, {})
    assert set(settings.pipelines) == {"schedule", "support"}
    assert settings.data_dir == DEMO.parent / ".tidemill"


@pytest.mark.parametrize(
    ("said", "updates"),
    [
        ("1 per 604_800 clock updates", 604_800),
        ("1 per 10,000", 10_000),
        ("1 per 1 clock update", None),
        ("2 per 9", None),
    ],
)
def test_the_false_alarm_budget_is_said_in_words(said: str, updates: int | None) -> None:
    if updates is None:
        with pytest.raises(ValidationError, match="write 1 per N, N"):
            Settings(max_false_alarms=said)
    else:
        assert Settings(max_false_alarms=said).run_length == updates
    assert Settings().run_length == 7 * 24 * 3600


def test_one_setting_moves_every_port(tmp_path: Path) -> None:
    settings = load_settings(DEMO, {"TIDEMILL_LOCAL__PORT_BASE": "28000"})
    assert settings.kafka_bootstrap == "127.0.0.1:28092"
    assert settings.clickhouse_url == "http://127.0.0.1:28123"
    assert settings.engine_url("local") == "http://127.0.0.1:28000/v1"
    (webhook,) = settings.alerts.webhooks
    assert settings.webhook_url(webhook) == "http://127.0.0.1:28099/webhook"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (GOOD + "    retrain:\n      min_fresh_label: 3\n", 8, "did you mean 'min_fresh_labels'"),
        (GOOD + "    rollout: {steps: [5, 1]}\n", 7, "ending with 100"),
        (GOOD + "    rollout: {steps: [5, 5, 100]}\n", 7, "larger than the one before"),
        (GOOD + "    capture: off_\n", 7, "capture"),
        (GOOD + "    capture: 'off'\n", 4, "retrain.enabled: false"),
        (GOOD + "    rules: [{name: a, metric: nope, above: 1}]\n", 7, "is no window metric"),
        (GOOD + "    rules: [{name: a, metric: quality_estimate, below: 1}]\n", 7, "is not judged by rules"),
        (GOOD + "    quality: {estimate: true, metric: thumb}\n    retrain: {enabled: false}\n", 7, "no chance sample"),
        (GOOD + "    quality: {agreement_share: 0.1}\n", 7, "quality.agreement_share: only the estimate uses it"),
        (GOOD + "    quality: {estimate: true, agreement_share: 2}\n", 7, "quality.agreement_share"),
        (GOOD + "    rules: [{name: a, metric: quality, above: 0.1, below: 0.2}]\n", 7, "exactly one of"),
        (GOOD + "    rules: [{name: a, metric: quality, above: 0.5, leave: 0.6}]\n", 7, "at most above"),
        (GOOD + "    rules: [{name: a, metric: quality, below: 1, leave: 0}]\n", 7, "at least below"),
        (GOOD + "    rules: [{name: a, metric: error_rate, above: 20}]\n", 7, "write 20 % as 0.2 (got 20)"),
        (GOOD + "    rules: [{name: a, metric: quality, below: -1}]\n", 7, "rule 'a': quality lies between 0"),
        (GOOD.replace("engine: local", "engine: remote"), 5, "engine: 'remote' is not in engines; choose one of local"),
        (GOOD.replace("engine: local", "engine: locl"), 5, "'locl' is not in engines; did you mean 'local'?"),
        (GOOD.replace("support-v1", "support1"), 6, "'support1' is not <pipeline>-v<N>; for example 'support-v1'"),
        (GOOD.replace("support-v1", "base-v1"), 6, "pipelines.support.champion: 'base-v1' is not"),
        (GOOD + "    rules: [{name: a, metric: eror_rate, above: 1}]\n", 7, "metric; did you mean 'error_rate'?"),
        (GOOD + "    max_tokens: five\n", 7, "max_tokens: must be a whole number (got 'five')"),
        (GOOD + "    max_tokens: 1.5\n", 7, "max_tokens: must be a whole number (got 1.5)"),
        (GOOD + "    temperature: warm\n", 7, "temperature: must be a number (got 'warm')"),
        (GOOD + "    drift: {enabled: perhaps}\n", 7, "drift.enabled: must be true or false (got 'perhaps')"),
        (GOOD + "    description: [a]\n", 7, "description: must be text (got a list)"),
        (GOOD + "    quality: {metric: thumb}\n", 7, "quality.metric: 'thumb' compares no answers, so the gate"),
        (GOOD + "    quality: {metric: judge}\n", 7, "choose one of exact_match, json_equal, word_accuracy, or set"),
        (GOOD + "    drift: {metrics: [input_char]}\n", 7, "no window metric with a mean; did you mean 'input_chars'?"),
        (GOOD + "    drift: {metrics: [requests]}\n", 7, "drift.metrics: 'requests' is no window metric with a mean"),
        (GOOD + "    drift: {metrics: [quality]}\n", 7, "'quality' is watched score by score already; leave it out"),
        (GOOD + "    drift: {whole_only: [input_char]}\n", 7, "drift.whole_only: 'input_char' is no window metric"),
        (GOOD + "    season: year\n", 7, "season: must be 'none', 'day' or 'week' (got 'year')"),
        (
            GOOD + "    season: week\n    slices: [tenant]\n    max_slices: 200\n    drift: {metrics: [cost, e2e_ms, "
            "ttft_ms, error_rate, output_tokens, output_chars]}\n",
            7,
            "season: 'week' for up to 1,400 series of slices takes too much memory; set max_slices or drift.metrics so "
            "that there are at most 1,000, or season: day",
        ),
        (
            GOOD + "    quality: {recover_scores: 2000}\n",
            7,
            "quality.recover_scores: 2000 is more than the 1000 scores that are kept of a pipeline; set at most that",
        ),
        (
            GOOD + "    slices: [tenant, prompt_version]\n    max_slices: 200\n    quality: {recover_scores: 500}\n",
            9,
            "quality.recover_scores: 500 is more than the 400 scores that are kept of each slice; set at most that, or",
        ),
        (
            GOOD + "    quality: {min_drop: 0.01, recover_scores: 160}\n",
            7,
            "quality.recover_scores: 160 are too few to be sure of 0.01 (min_drop); set at least 200, or a larger",
        ),
        (GOOD + "    drift: {metrics: [cost, cost]}\n", 7, "each metric once, got cost, cost"),
        (
            GOOD + "    drift: {delta: 0.01}\n",
            7,
            "drift.delta: there is no such setting any more: the detectors keep to max_false",
        ),
        (GOOD + "    quality: {delta: 0.01}\n", 7, "the top of the file; take delta out"),
        (GOOD + "    quality: {detector: adwin}\n", 7, "quality.detector: there is no such setting any more"),
        (GOOD + "dvc: {remote: 's4://bucket/x'}\n", 7, "dvc.remote: DVC has no remotes s4://; give a folder, or one"),
        (GOOD + "dvc: {remote: 's3:///x'}\n", 7, "names no bucket or host; write it as s3://bucket/folder"),
        (
            GOOD + "dvc: {remote: 'ssh://me:hunter2@host/x'}\n",
            7,
            "put it into the environment, where DVC finds it (got a",
        ),
        *(
            (GOOD + f"dvc: {{remote: '{remote}'}}\n", 7, "a password or token stands in it")
            for remote in ("https://ghp_token@host/x", "s3://token@bucket/x", "https://host/x#token", "webdavs://t@h/x")
        ),
        (GOOD + "dvc: {remote: 'a\"b'}\n", 7, "DVC would misread quotes"),
        (GOOD + "max_false_alarms: 1 in 5\n", 7, "as in '1 per 604_800 clock updates' (got '1 in 5')"),
        (GOOD + "max_false_alarms: 1 per 99\n", 7, "N from 100 on"),
        (GOOD + "max_false_alarms: 10000\n", 7, "max_false_alarms: must be text"),
        (GOOD + "    drift: [a]\n", 7, "drift: must be settings by name (got a list)"),
        (GOOD + "    rules: {a: 1}\n", 7, "rules: must be a list (got settings by name)"),
        (GOOD + "windows:\n", 7, "windows: must be settings by name (got nothing)"),
        (GOOD + "log_level: loud\n", 7, "must be 'debug', 'info', 'warning' or 'error' (got 'loud')"),
        (GOOD.replace("    champion: support-v1\n", ""), 4, "required"),
        (GOOD + "windows: {size_s: 0}\n", 7, "greater than or equal to 1 (got 0)"),
        (GOOD + "gateway: {host: 0.0.0.0, auth: none}\n", 7, "use auth: keys"),
        (GOOD + "alerts: {webhooks: [{name: a, url: there}]}\n", 7, "must be an address that begins with http:// or"),
        (GOOD + "deployment: Mine\n", 7, "must be 1 to 63 of a-z, 0-9 and -, with no - at the beginning (got 'Mine')"),
        (GOOD + "engines: {}\n", 7, "set twice (first in line 1)"),
        ("a: [", 1, "not valid YAML"),
        ("- a\n", 1, "expected settings by name"),
    ],
)
def test_a_wrong_setting_is_named_with_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert words in message
    assert f"tidemill.yaml:{line}:" in message


def test_scores_that_are_given_may_be_the_quality_of_a_pipeline_that_is_not_retrained(tmp_path: Path) -> None:
    for metric in ("thumb", "judge"):
        load(tmp_path, GOOD + f"    quality: {{metric: {metric}}}\n    retrain: {{enabled: false}}\n")
    load(tmp_path, GOOD + "    quality: {metric: word_accuracy}\n")


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"TIDEMILL_WINDOWS__SIZE_S: windows\.size_s"):
        load(tmp_path, GOOD, {"TIDEMILL_WINDOWS__SIZE_S": "long"})


def test_variables_of_other_meaning_are_left_alone(tmp_path: Path) -> None:
    load(tmp_path, GOOD, {"TIDEMILL_CLICKHOUSE_PASSWORD": "x", "TIDEMILL_SETTINGS": "y"})


def test_a_missing_file_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="go to the checkout, or name one with --settings FILE"):
        find_settings_file({}, tmp_path)
    with pytest.raises(SettingsError, match=r"none\.yaml: no such file$"):
        load_settings(tmp_path / "none.yaml", {})


def test_an_empty_file_is_refused_unless_the_environment_fills_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"tidemill\.yaml: no pipelines; see docs/reference/settings\.md"):
        load(tmp_path, "# nothing yet\n")
    load(tmp_path, "", {"TIDEMILL_PIPELINES": "{a: {engine: e, champion: a-v1}}", "TIDEMILL_ENGINES": "{e: {}}"})


SHARED = GOOD.replace("support-v1", "support-v1\n    rules: &rules [{name: a, metric: eror_rate, above: 1}]") + (
    "  schedule: {engine: local, champion: schedule-v1, rules: *rules}\n"
)


def test_what_two_pipelines_share_is_said_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, SHARED)
    (line,) = str(caught.value).splitlines()
    assert line.endswith(
        ":7: pipelines.support.rules.0.metric: 'eror_rate' is no window metric; did you mean 'error_rate'?"
    )


def test_two_wrong_settings_in_one_line_are_both_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, GOOD + "    retrain: {steps: five, batch: five}\n")
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("console", "url"),
    [
        ({}, "http://127.0.0.1:18090"),
        ({"host": "0.0.0.0", "port": 8090}, "http://127.0.0.1:8090"),
        ({"host": "::", "port": 8090}, "http://[::1]:8090"),
        ({"host": "10.0.0.7", "port": 80}, "http://10.0.0.7:80"),
        ({"host": "0.0.0.0", "public_url": "https://tidemill.example/console/"}, "https://tidemill.example/console"),
    ],
)
def test_links_lead_where_people_can_open_the_console(console: dict[str, object], url: str) -> None:
    assert Settings.model_validate({"console": console}).console_url == url


def test_a_public_url_is_one() -> None:
    with pytest.raises(ValidationError, match="public_url"):
        Settings.model_validate({"console": {"public_url": "tidemill.example"}})


def test_an_override_of_one_pipeline_leaves_those_that_share_its_group_alone() -> None:
    settings = load_settings(DEMO, {"TIDEMILL_PIPELINES__SCHEDULE__ROLLOUT__MIN_SCORED": "7"})
    assert {name: each.rollout.min_scored for name, each in settings.pipelines.items()} == {
        "schedule": 7,
        "support": 40,
    }


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        (GOOD, {"TIDEMILL_KAFKA__OPTIONS": "{sasl.password: @hush}"}),
        (GOOD, {"TIDEMILL_KAFKA__OPTIONS": "sasl.password=hush"}),
        (GOOD, {"TIDEMILL_MLFLOW__URL": "[user:hush@mlflow"}),
        (GOOD + "kafka: {options: {sasl.password: [hush]}}\n", {}),
        (GOOD + "alerts: {webhooks: [{name: a, url: 'hooks.example.org/hush'}]}\n", {}),
    ],
)
def test_what_may_be_secret_is_in_no_message(tmp_path: Path, text: str, environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text, environ)
    assert "hush" not in str(caught.value)


def test_every_pattern_of_a_setting_has_words() -> None:
    patterns = set(re.findall(r'"pattern": "([^"]+)"', json.dumps(Settings.model_json_schema())))
    assert "^(https?://.+)?$" in patterns
    assert patterns <= PATTERNS.keys()
