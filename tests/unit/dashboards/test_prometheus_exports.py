"""What is exported for Prometheus and Alertmanager is what these take, and says what the settings say."""

from __future__ import annotations

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
    {"name": "theirs", "metric": "error_rate", "above": 0.1, "slice": "tenant=acme"},
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
    told["pipelines"] = {"support": told["pipelines"]["support"] | {"rules": RULES, "slices": ["tenant"]}}
    return Settings.model_validate(told)


def exported() -> dict[str, dict[str, Any]]:
    text, _ = rules.export(deployment())
    (group,) = (group for group in yaml.safe_load(text)["groups"] if group["name"] == "tidemill support")
    return {rule["alert"]: rule for rule in group["rules"]}


def test_rules_whose_figures_prometheus_lacks_are_named() -> None:
    _, left_out = rules.export(deployment())
    assert left_out == [
        "support/bad: Prometheus has no figure of quality",
        "support/dear: Prometheus has no figure of cost",
        "support/theirs: Prometheus has no figure of error_rate of tenant=acme",
    ]
    assert set(exported()) == {rule["name"] for rule in RULES} - {"bad", "dear", "theirs"}


def test_a_rule_keeps_its_level_its_patience_and_its_severity() -> None:
    errors, slow = exported()["errors"], exported()["slow"]
    assert "> 0.2 and sum(increase(" in errors["expr"] and errors["expr"].endswith(">= 20") and errors["for"] == "15s"
    assert "histogram_quantile(0.99" in slow["expr"] and "> 900 and" in slow["expr"]
    assert slow["labels"] == {"pipeline": "support", "severity": "ticket", "metric": "ttft_ms"}


def test_the_rules_name_figures_and_labels_that_there_are() -> None:
    for rule in exported().values():
        names = rule["expr"].replace("_seconds_bucket", "_seconds").replace("_seconds_sum", "_seconds")
        assert unknown(names.replace("_seconds_count", "_seconds").replace("by (le)", "")) == set(), rule


def test_alertmanager_tells_the_webhooks_that_it_can_call() -> None:
    text, left_out = receivers.export(deployment())
    made = yaml.safe_load(text)
    assert [receiver["name"] for receiver in made["receivers"]] == ["ops", "chat"]
    assert [words.partition(":")[0] for words in left_out] == ["bus", "am", "signed"]
    ops, chat = made["route"]["routes"]
    assert (ops["group_by"], ops["group_wait"], ops["continue"]) == (["pipeline"], "7000ms", True)
    assert (chat["group_by"], chat["group_wait"], chat["repeat_interval"]) == (["..."], "0ms", "3600000ms")


def test_nobody_to_tell_is_said() -> None:
    with pytest.raises(Stop, match=r"no webhook that Alertmanager could call: am: it is an Alertmanager itself"):
        receivers.export(deployment(webhooks=[WEBHOOKS[3]]))
    with pytest.raises(Stop, match=r"alerts\.webhooks is empty"):
        receivers.export(deployment(webhooks=[]))
