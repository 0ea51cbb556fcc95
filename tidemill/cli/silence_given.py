"""What a person gives ``tidemill silence add``, checked: which alarms, and from when until when. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from tidemill.cli.times import duration_ms, moment_ms
from tidemill.errors import Quarantine, Stop
from tidemill.settings import Settings
from tidemill.settings.alerting import ALERT_LABELS
from tidemill.settings.strict import choice
from tidemill.silences import LONGEST_MS, patterns
from tidemill.topics import DAY_MS
from tidemill.troubles import SYSTEM

USUAL = "1h"
MOST_CHARS = 256
QUALITY = "quality"
NAMED = ("drift_", "dependent_", "audit_", "role_", "host_", "engine_", "served", "probe")
"""How the names begin of what detectors raise by metric, and of what the audit and hosts find."""


def known_alerts(settings: Settings) -> tuple[str, ...]:
    """Names of alarms on service levels and quality."""
    names = [
        name
        for each in settings.pipelines.values()
        for name in (
            *(rule.name for rule in each.rules),
            *(name for objective in each.objectives for name in objective.alarms),
            *(name for budget in each.budgets for name in budget.alarms),
        )
    ]
    return tuple(dict.fromkeys((*names, QUALITY)))


def matching(
    settings: Settings, pipeline: str, alert: str, match: Sequence[str], alerts: Collection[str]
) -> tuple[dict[str, str], list[str]]:
    """Regular expression by label, and what may be a mistake, in words.

    ``alerts``: names of alarms that are known. Raises Stop with the option where one cannot be meant.
    """
    given = [("--match", *_pair(each)) for each in match]
    if alert:
        given.insert(0, ("--alert", "alertname", _literal(alert) if alert in alerts else alert))
    if pipeline:
        given.insert(0, ("--pipeline", "pipeline", _of_pipeline(settings, pipeline)))
    if not given:
        raise Stop("say which alarms: --pipeline, --alert or --match; for every alarm --match 'pipeline=.*'")
    found: dict[str, str] = {}
    for option, label, pattern in given:
        if label in found:
            raise Stop(f"{option} names the label {label} once more; write one expression, as '{label}=a|b'")
        if len(pattern) > MOST_CHARS:
            raise Stop(f"{option} {label}={pattern[:20]}… has {len(pattern)} characters; {MOST_CHARS} are taken")
        try:
            patterns({label: pattern})
        except Quarantine as error:
            raise Stop(f"{option} {error}") from error
        found[label] = pattern
    return found, _doubts(settings, found, alerts)


def span(lasts: str, start: str, end: str, now_ms: int) -> tuple[int, int]:
    """From when until when, epoch milliseconds. Raises Stop with the option."""
    if lasts and end:
        raise Stop("--for and --end say the same: give one of them")
    start_ms = moment_ms("--start", start) if start else now_ms
    end_ms = moment_ms("--end", end) if end else max(start_ms, now_ms) + duration_ms("--for", lasts or USUAL)
    if end_ms <= max(start_ms, now_ms):
        raise Stop(f"--end {end} is not after {'--start ' + start if start_ms > now_ms else 'now'}")
    if end_ms - max(start_ms, now_ms) > LONGEST_MS:
        said = f"--end {end}" if end else f"--for {lasts}"
        raise Stop(
            f"{said} is longer than {LONGEST_MS // DAY_MS} days: so long Kafka is sure to keep an alarm that is held "
            f"back. Give --for {LONGEST_MS // DAY_MS}d at most and add another later, or use alerts.silences in "
            "tidemill.yaml"
        )
    return start_ms, end_ms


def _pair(text: str) -> tuple[str, str]:
    """Label and expression of ``label=regex`` (or ``label=~regex``, as amtool has it)."""
    label, equals, pattern = text.partition("=")
    if not equals:
        raise Stop(f"--match {text!r} is no LABEL=REGEX; for example --match 'alertname=latency|errors'")
    if label not in ALERT_LABELS:
        raise Stop(f"--match {text!r}: {label!r} is no label of an alert; {choice(label, ALERT_LABELS)}")
    return label, pattern.removeprefix("~")


def _of_pipeline(settings: Settings, name: str) -> str:
    known = (*settings.pipelines, SYSTEM)
    if name in known or _literal(name) != name:
        return _literal(name) if name in known else name
    raise Stop(
        f"--pipeline {name!r} is no pipeline of the settings; {choice(name, known)} "
        f"Alarms of one that is not in them: --match pipeline={name}"
    )


def _literal(text: str) -> str:
    """An expression for this very text; the same where it has no character with a meaning."""
    return re.escape(text).replace(r"\-", "-")


def _doubts(settings: Settings, found: dict[str, str], alerts: Collection[str]) -> list[str]:
    doubts = []
    for label, known in (("pipeline", (*settings.pipelines, SYSTEM)), ("alertname", tuple(alerts))):
        pattern = found.get(label)
        if pattern is None or pattern.startswith(NAMED) or any(re.fullmatch(pattern, name) for name in known):
            continue
        doubts.append(f"{label}={pattern} matches none of {', '.join(known)}; it counts all the same")
    return doubts
