"""Prometheus' and Alertmanager's own checkers take what is exported for them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import yaml

from dashboards.prometheus import receivers, rules
from tests.unit.dashboards.test_prometheus_exports import DEMO, deployment, exported


def tool(*command: str) -> str:
    """What promtool or amtool says."""
    assert shutil.which(command[0]), f"{command[0]} is not installed: python3 deploy/setup.py --alerting"
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


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


def test_amtool_takes_the_configuration(tmp_path: Path) -> None:
    for settings in (DEMO, deployment()):
        (tmp_path / "alertmanager.yml").write_text(receivers.export(settings)[0])
        assert "SUCCESS" in tool("amtool", "check-config", str(tmp_path / "alertmanager.yml"))
