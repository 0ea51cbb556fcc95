"""The roles of a deployment: what `tidemill run ROLE` starts."""

from __future__ import annotations

ROLES: dict[str, tuple[str, str]] = {
    "gateway": ("serving.gateway.main", "answers clients, routes to versions, records every call"),
    "meter": ("streams.meter.main", "folds raw events into partials (stage 1)"),
    "streams": ("streams.app.main", "windows, detectors, rules (stage 2, Faust)"),
    "estimate": ("streams.estimate.main", "estimates quality between labels, from how sure answers are"),
    "sink": ("consumers.sink.main", "carries topics to ClickHouse"),
    "scorer": ("consumers.scorer.main", "scores answers against labels"),
    "alerts": ("consumers.alerts.main", "sends threshold events to webhooks"),
    "evidence": ("consumers.evidence.main", "builds drift reports for alarms"),
    "audit": ("consumers.audit.main", "compares topics, rows and windows with each other; watches the other roles"),
    "host": (
        "streams.host.main",
        "figures of a machine and its engines; probes models, compares served with registered",
    ),
    "retrain": ("retrain.controller.main", "decides on retraining and runs jobs"),
    "rollout": ("serving.rollout.main", "takes candidates through shadow and canary to champion, or back"),
    "console": ("dashboards.console.main", "the live page"),
    "store": ("tidemill.local.store.main", "ClickHouse's HTTP interface over chDB (embedded stack)"),
}
"""Module with ``run(settings)``, and one line for people, by role."""
