"""All processes of the embedded stack and what each needs before it starts."""

from __future__ import annotations

from collections.abc import Callable, Collection

from tidemill.errors import Stop
from tidemill.local import engine, kafka, mlflow
from tidemill.local.probes import FIRST_ANSWER, http_ok, says
from tidemill.local.process import Process, python
from tidemill.settings import Settings

_CALM = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
_AFTER: dict[str, tuple[str, ...]] = {
    "gateway": ("init",),
    "meter": ("init",),
    "streams": ("init",),
    "sink": ("init",),
    "scorer": ("init",),
    "alerts": ("init",),
    "evidence": ("init",),
    "audit": ("init",),
    "estimate": ("init",),
    "host": ("init",),
    "retrain": ("init", "mlflow"),
    "rollout": ("init", "mlflow", "engine"),
    "console": ("init",),
}
PARTS = ("kafka", "store", "mlflow", "engine", "init", *_AFTER, "receiver", "traffic")
"""Every part that can run here, in the order people read them."""
_NICE = {"evidence": 15, "audit": 10, "estimate": 10, "host": 10}
_LEAN = {"MALLOC_ARENA_MAX": "2", "MALLOC_TRIM_THRESHOLD_": "8388608"}
LEAN = {"sink": {"ARROW_DEFAULT_MEMORY_POOL": "system"} | _LEAN, "meter": _LEAN}
"""Roles that take much memory for a moment, again and again, and how they give it back to the system."""


def embedded_stack(
    settings: Settings, only: Collection[str] | None = None, *, traffic: bool = False, receiver: bool = False
) -> list[Process]:
    """The processes to run here, each of ``only`` or all; parts that run elsewhere (a URL is set) are left out.

    Raises Stop on an unknown name, or when a part cannot run on this machine (no Java, no engine environment), with
    the way out.
    """
    chosen = only is not None
    makers = _makers(settings, traffic=traffic or chosen, receiver=receiver or chosen)
    if only is None:
        return [make() for make in makers.values()]
    unknown = [name for name in only if name not in makers]
    if unknown:
        raise Stop(f"the stack has no part {unknown[0]!r} here; choose from {', '.join(makers)}")
    return [make() for name, make in makers.items() if name in only]


def _makers(settings: Settings, *, traffic: bool, receiver: bool) -> dict[str, Callable[[], Process]]:
    """How to make each part that runs here, in the order people read them."""
    makers: dict[str, Callable[[], Process]] = {}
    if not settings.kafka.bootstrap:
        makers["kafka"] = lambda: _kafka(settings)
    if not settings.clickhouse.url:
        makers["store"] = lambda: _store(settings)
    if not settings.mlflow.url:
        makers["mlflow"] = lambda: _mlflow(settings)
    if engine.embedded_name(settings) is not None:
        makers["engine"] = lambda: _engine(settings)
    makers["init"] = lambda: Process(
        "init", python("-m", "tidemill.cli.main", "init"), after=("kafka", "store"), env=_CALM, once=True
    )
    estimated = any(pipeline.quality.estimate for pipeline in settings.pipelines.values())
    for role in _AFTER if estimated else [role for role in _AFTER if role != "estimate"]:
        makers[role] = lambda role=role: _role(settings, role)  # type: ignore[misc]
    if receiver:
        makers["receiver"] = lambda: _receiver(settings)
    if traffic:
        makers["traffic"] = lambda: Process(
            "traffic",
            python("-m", "tidemill.cli.main", "traffic", "--patient"),
            after=("engine", "gateway", "meter", "streams", "sink", "scorer", "rollout"),
            env=_CALM,
        )
    return makers


def _kafka(settings: Settings) -> Process:
    return Process(
        "kafka",
        tuple(kafka.argv(settings)),
        probe=says(lambda: kafka.answers(settings), FIRST_ANSWER),
        ports=_ports(settings, "kafka", "kafka-controller"),
        before=lambda: kafka.prepare(settings),
        grace_s=20,
        address=settings.kafka_bootstrap,
    )


def _store(settings: Settings) -> Process:
    port = settings.port("store")
    return Process(
        "store",
        python("-m", "tidemill.local.store", "--path", str(settings.data_dir / "store"), "--port", str(port)),
        probe=http_ok(port, "/ping"),
        ports=_ports(settings, "store"),
        env={"PYTHONUNBUFFERED": "1"},
        grace_s=30,
        address=settings.clickhouse_url,
    )


def _mlflow(settings: Settings) -> Process:
    return Process(
        "mlflow",
        mlflow.argv(settings),
        probe=http_ok(settings.port("mlflow"), "/health"),
        ports=_ports(settings, "mlflow"),
        env=mlflow.environment(),
        before=lambda: mlflow.prepare(settings),
        address=settings.mlflow_url,
    )


def _engine(settings: Settings) -> Process:
    return Process(
        "engine",
        tuple(engine.argv(settings)),
        probe=http_ok(settings.port("engine"), "/health"),
        ports=_ports(settings, "engine"),
        env=engine.environment(settings),
        grace_s=15,
        address=f"http://127.0.0.1:{settings.port('engine')}/v1",
    )


def _role(settings: Settings, role: str) -> Process:
    health = {"gateway": "gateway-health", "console": "console-health"}.get(role, role)
    ports = _ports(settings, health)
    address = ""
    if role in ("gateway", "console"):
        own = settings.gateway if role == "gateway" else settings.console
        port = settings.gateway_port if role == "gateway" else settings.console_port
        ports[f"{role}.port" if own.port is not None else f"local.port_base ({role})"] = port
        address = f"http://127.0.0.1:{port}" + ("/v1" if role == "gateway" else "")
    return Process(
        role,
        python("-m", "tidemill.cli.run", role),
        probe=http_ok(settings.port(health), "/readyz"),
        after=_AFTER[role],
        ports=ports,
        env=_CALM | LEAN.get(role, {}),
        nice=_NICE.get(role, 0),
        grace_s=20,
        address=address,
    )


def _receiver(settings: Settings) -> Process:
    port = settings.port("receiver")
    return Process(
        "receiver",
        python("-m", "consumers.alerts.receiver", "--port", str(port)),
        probe=http_ok(port, "/healthz"),
        ports=_ports(settings, "receiver"),
        env=_CALM,
        address=f"http://127.0.0.1:{port}/alerts",
    )


def _ports(settings: Settings, *services: str) -> dict[str, int]:
    return {f"local.port_base ({service})": settings.port(service) for service in services}
