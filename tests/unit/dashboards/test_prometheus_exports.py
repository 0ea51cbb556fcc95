"""What is exported for Prometheus and Alertmanager is what these take, and says what the settings say."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.prometheus import receivers, rules
from tests.unit.kernel.test_metric_names import unknown
from tidemill.errors import Stop
from tidemill.settings import Settings, load_settings

ROOT = Path(__file__).parents[3]
DEMO = load_settings(ROOT / "tidemill.yaml", {})
RULES = [
    {"name": "errors", "metric": "error_rate", "above": 0.2, "for_windows": 3, "min_count": 20},
    {"name": "cancelled", "metric": "cancel_rate", "above": 0.5},
    {"name": "slow", "metric": "ttft_ms", "statistic": "p99", "above": 900, "severity": "ticket"},
    {"name": "slow on average", "metric": "e2e_ms", "above": 900},
    {"name": "quiet", "metric": "answers", "below": 3},
    {"name": "talkative", "metric": "output_tokens", "above": 9_000},
    {"name": "bad", "metric": "quality", "below": 0.5},
    {"name": "dear", "metric": "cost", "above": 2},
]
WEBHOOKS: list[dict[str, Any]] = [
    {"name": "ops", "url": "http://ops.internal/hook", "group_by": ["pipeline"], "group_wait_s": 7},
    {"name": "chat", "url": "https://hooks.slack.com/services/x", "format": "slack", "repeat_interval_s": 3600},
    {"name": "bus", "url": "http://bus/x", "format": "cloudevents"},
    {"name": "am", "url": "http://am:9093/api/v2/alerts", "format": "alertmanager_api"},
    {"name": "signed", "url": "http://ops/x", "secret_env": "SECRET"},
]


def deployment(*, webhooks: list[dict[str, Any]] | None = None) -> Settings:
    told = DEMO.model_dump(mode="json")
    told["alerts"]["webhooks"] = WEBHOOKS if webhooks is None else webhooks
    told["pipelines"] = {"support": told["pipelines"]["support"] | {"rules": RULES}}
    return Settings.model_validate(told)


def exported() -> dict[str, dict[str, Any]]:
    text, _ = rules.export(deployment())
    (group,) = (group for group in yaml.safe_load(text)["groups"] if group["name"] == "tidemill support")
    return {rule["alert"]: rule for rule in group["rules"]}


def tool(*command: str) -> str:
    """What promtool or amtool says; skipped where it is not installed (`make test` installs it)."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_rules_whose_figures_prometheus_lacks_are_named() -> None:
    _, left_out = rules.export(deployment())
    assert left_out == ["support/bad: quality", "support/dear: cost"]
    assert set(exported()) == {rule["name"] for rule in RULES} - {"bad", "dear"}


def test_a_rule_keeps_its_level_its_patience_and_its_severity() -> None:
    errors, slow = exported()["errors"], exported()["slow"]
    assert "> 0.2 and sum(increase(" in errors["expr"] and errors["expr"].endswith(">= 20") and errors["for"] == "15s"
    assert "histogram_quantile(0.99" in slow["expr"] and "> 900 and" in slow["expr"]
    assert slow["labels"] == {"pipeline": "support", "severity": "ticket", "metric": "ttft_ms"}


def test_the_rules_name_figures_and_labels_that_there_are() -> None:
    for rule in exported().values():
        names = rule["expr"].replace("_seconds_bucket", "_seconds").replace("_seconds_sum", "_seconds")
        assert unknown(names.replace("_seconds_count", "_seconds").replace("by (le)", "")) == set(), rule


def test_promtool_takes_the_rules(tmp_path: Path) -> None:
    for settings in (DEMO, deployment()):
        (tmp_path / "rules.yml").write_text(rules.export(settings)[0])
        assert "SUCCESS" in tool("promtool", "check", "rules", str(tmp_path / "rules.yml"))


def test_promtool_sees_the_rules_fire(tmp_path: Path) -> None:
    """A quarter of 4 calls a second fails from the third minute on; the average answer takes 0.5 s."""
    labels = 'pipeline="support", version="support-v1", variant="champion"'
    summary = "support: error_rate is 0.25, by Prometheus' own figures"
    fires = {"exp_labels": exported()["errors"]["labels"], "exp_annotations": {"summary": summary}}
    case = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "5s",
        "tests": [
            {
                "interval": "5s",
                "input_series": [
                    {
                        "series": f'tidemill_gateway_calls_total{{{labels}, status="ok"}}',
                        "values": "0+20x36 720+15x60",
                    },
                    {"series": f'tidemill_gateway_calls_total{{{labels}, status="error"}}', "values": "0+0x36 0+5x60"},
                    {
                        "series": 'tidemill_gateway_calls_total{pipeline="support", variant="shadow", status="error"}',
                        "values": "0+20x96",
                    },
                    {"series": f"tidemill_gateway_e2e_seconds_sum{{{labels}}}", "values": "0+10x96"},
                    {"series": f"tidemill_gateway_e2e_seconds_count{{{labels}}}", "values": "0+20x96"},
                ],
                "alert_rule_test": [
                    {"eval_time": "2m55s", "alertname": "errors", "exp_alerts": []},
                    {"eval_time": "6m", "alertname": "errors", "exp_alerts": [fires]},
                    {"eval_time": "6m", "alertname": "slow on average", "exp_alerts": []},
                    {"eval_time": "6m", "alertname": "cancelled", "exp_alerts": []},
                    {"eval_time": "6m", "alertname": "quiet", "exp_alerts": []},
                ],
            }
        ],
    }
    (tmp_path / "rules.yml").write_text(rules.export(deployment())[0])
    (tmp_path / "case.yml").write_text(yaml.safe_dump(case))
    assert "SUCCESS" in tool("promtool", "test", "rules", str(tmp_path / "case.yml"))


def test_alertmanager_tells_the_webhooks_that_it_can_call() -> None:
    text, left_out = receivers.export(deployment())
    made = yaml.safe_load(text)
    assert [receiver["name"] for receiver in made["receivers"]] == ["ops", "chat"]
    assert [words.partition(":")[0] for words in left_out] == ["bus", "am", "signed"]
    ops, chat = made["route"]["routes"]
    assert (ops["group_by"], ops["group_wait"], ops["continue"]) == (["pipeline"], "7000ms", True)
    assert (chat["group_by"], chat["group_wait"], chat["repeat_interval"]) == (["..."], "0ms", "3600000ms")


def test_amtool_takes_the_configuration(tmp_path: Path) -> None:
    for settings in (DEMO, deployment()):
        (tmp_path / "alertmanager.yml").write_text(receivers.export(settings)[0])
        assert "SUCCESS" in tool("amtool", "check-config", str(tmp_path / "alertmanager.yml"))


def test_nobody_to_tell_is_said() -> None:
    with pytest.raises(Stop, match=r"no webhook that Alertmanager could call: am: it is an Alertmanager itself"):
        receivers.export(deployment(webhooks=[WEBHOOKS[3]]))
    with pytest.raises(Stop, match=r"alerts\.webhooks is empty"):
        receivers.export(deployment(webhooks=[]))
