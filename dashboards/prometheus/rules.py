"""A deployment's rules as Prometheus' alert rules, beside those that watch the roles. Pure but for reading rules.yml.

They are a second opinion made of the gateways' own figures: calls that went by another producer are not in them, and
Prometheus looks at rates over at least a minute where a rule looks at windows, and has no ``leave``. Quality, drift,
cost and the texts are in the topics alone.
Source: https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

import yaml

from tidemill.settings import RuleSettings, Settings

LEAST_RANGE_S = 60
"""A rate needs some scrapes."""
FAILED = {"error_rate": "error|timeout", "cancel_rate": "cancelled"}
HISTOGRAMS = {"ttft_ms": "tidemill_gateway_ttft_seconds", "e2e_ms": "tidemill_gateway_e2e_seconds"}
COUNTERS = {"answers": "tidemill_gateway_calls_total", "output_tokens": "tidemill_gateway_output_tokens_total"}
QUANTILES = {"p50": "0.5", "p95": "0.95", "p99": "0.99"}


def role_rules() -> str:
    """rules.yml as it is: what watches the roles."""
    return resources.files("dashboards.prometheus").joinpath("rules.yml").read_text()


def export(settings: Settings) -> tuple[str, list[str]]:
    """A rule file for this deployment, and the rules that Prometheus has no figures for (``pipeline/rule: why``)."""
    left_out = [
        f"{name}/{rule.name}: Prometheus has no figure of {rule.metric}{f' of {rule.slice}' if rule.slice else ''}"
        for name, pipeline in settings.pipelines.items()
        for rule in pipeline.rules
        if _value(name, rule, 1.0, 1) is None
    ]
    groups = yaml.safe_load(role_rules())["groups"] + list(_groups(settings))
    return yaml.safe_dump({"groups": groups}, sort_keys=False, width=120, allow_unicode=True), left_out


def _groups(settings: Settings) -> Iterator[dict[str, Any]]:
    for name, pipeline in settings.pipelines.items():
        made = (_rule(name, rule, settings.windows.size_s) for rule in pipeline.rules)
        if rules := [rule for rule in made if rule is not None]:
            yield {"name": f"tidemill {name}", "rules": rules}


def _rule(pipeline: str, rule: RuleSettings, window_s: int) -> dict[str, Any] | None:
    lasts_s = window_s * rule.for_windows
    range_s = max(LEAST_RANGE_S, lasts_s)
    value = _value(pipeline, rule, window_s, range_s)
    if value is None:
        return None
    sign, level = (">", rule.above) if rule.above is not None else ("<", rule.below)
    enough = f" and sum(increase({_calls(pipeline)}[{range_s}s])) >= {rule.min_count}"
    figure = rule.metric if rule.statistic == "value" else f"{rule.statistic} of {rule.metric}"
    return {
        "alert": rule.name,
        "expr": f"{value} {sign} {level:g}{'' if rule.metric in COUNTERS else enough}",
        "for": f"{lasts_s}s",
        "labels": {"pipeline": pipeline, "severity": rule.severity, "metric": rule.metric},
        "annotations": {"summary": f"{pipeline}: {figure} is {{{{ $value }}}}, by Prometheus' own figures"},
    }


def _value(pipeline: str, rule: RuleSettings, window_s: float, range_s: int) -> str | None:
    """The rule's figure in PromQL; None: the roles' figures do not hold it, or not by slice."""
    if rule.slice:
        return None
    over = f"[{range_s}s]"
    if rule.metric in FAILED and rule.statistic == "value":
        failed = _calls(pipeline, f'status=~"{FAILED[rule.metric]}"')
        return f"(sum(rate({failed}{over})) or vector(0)) / sum(rate({_calls(pipeline)}{over}))"
    if rule.metric in COUNTERS and rule.statistic == "value":
        counted = _of(COUNTERS[rule.metric], pipeline)
        return f"(sum(rate({counted}{over})) or vector(0)) * {window_s:g}"
    if rule.metric in HISTOGRAMS:
        name = HISTOGRAMS[rule.metric]
        if rule.statistic == "value":
            total, count = (_of(f"{name}_{part}", pipeline) for part in ("sum", "count"))
            return f"1000 * sum(rate({total}{over})) / sum(rate({count}{over}))"
        buckets = _of(f"{name}_bucket", pipeline)
        return f"1000 * histogram_quantile({QUANTILES[rule.statistic]}, sum by (le) (rate({buckets}{over})))"
    return None


def _calls(pipeline: str, *more: str) -> str:
    return _of("tidemill_gateway_calls_total", pipeline, *more)


def _of(name: str, pipeline: str, *more: str) -> str:
    """Clients' answers alone: shadows are left out, as in rules."""
    matched = (f"pipeline={json.dumps(pipeline)}", 'variant!="shadow"', *more)
    return f"{name}{{{', '.join(matched)}}}"
