"""The deployment's settings: addresses, engines, pipelines, and what watches them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from tidemill.settings.alerting import AlertSettings, WebhookSettings
from tidemill.settings.dvc import DvcSettings
from tidemill.settings.false_alarms import EXAMPLE, LEAST_UPDATES, updates
from tidemill.settings.gate import ApprovalSettings
from tidemill.settings.host import HostSettings, ProbeSettings
from tidemill.settings.monitoring import AuditSettings, DeadLetterSettings, EvidenceSettings, WindowSettings
from tidemill.settings.pipeline import PipelineSettings
from tidemill.settings.strict import Strict, choice, wrong
from tidemill.settings.triggers import GpuSettings
from tidemill.settings.versions import versions_fault


class LocalSettings(Strict):
    """The embedded stack: everything on one machine, on loopback."""

    port_base: int = Field(default=18000, ge=1024, le=60000)
    """Every local port is this plus an offset; move them all with one setting."""
    kafka_heap_mb: int = Field(default=512, ge=128)
    """Java heap of the embedded broker, MB."""
    engine_kv_cache_gb: int = Field(default=1, ge=1)
    """Key-value cache of the embedded engine, GB."""
    engine_threads: int = Field(default=1, ge=1)
    """Compute threads of the embedded engine."""

    def port(self, offset: int) -> int:
        """The port at an offset (see tidemill.settings.model.PORTS)."""
        return self.port_base + offset


PORTS: dict[str, int] = {
    "engine": 0,
    "gateway": 80,
    "console": 90,
    "kafka": 92,
    "kafka-controller": 93,
    "receiver": 99,
    "store": 123,
    "mlflow": 150,
    "meter": 201,
    "streams": 202,
    "sink": 203,
    "scorer": 204,
    "alerts": 205,
    "evidence": 206,
    "retrain": 207,
    "rollout": 208,
    "gateway-health": 209,
    "console-health": 210,
    "audit": 211,
    "estimate": 213,
    "host": 212,
}
"""Offsets from ``local.port_base`` by service; roles listen there for health and metrics."""


class KafkaSettings(Strict):
    """The broker, and what all clients need to reach it."""

    bootstrap: str = ""
    """``host:port`` list; empty: the embedded broker."""
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Extra librdkafka settings (security.protocol, sasl.* …) for every client."""
    replication: int = Field(default=1, ge=1)
    """Replicas of each topic that `tidemill init` makes."""


class ClickHouseSettings(Strict):
    """The store of raw rows and figures."""

    url: str = ""
    """``http(s)://user@host:port``; empty: the embedded store. The password comes from TIDEMILL_CLICKHOUSE_PASSWORD."""
    database: str = Field(default="tidemill", pattern="^[A-Za-z_][A-Za-z0-9_]*$")
    """Database that holds tidemill's tables."""
    cluster: str = Field(default="", pattern="^[A-Za-z0-9_-]*$")
    """Cluster of replicas (its name in ClickHouse's `remote_servers`): tables are made replicated on all its servers;
    empty: on the one server of `url`."""
    fsync: bool | None = None
    """Whether inserts are synced to disk before they are acknowledged, so that a power cut loses none; applied by
    `tidemill init`; None: tables stay as they are."""


class MlflowSettings(Strict):
    """The registry of versions and training runs."""

    url: str = ""
    """Tracking server; empty: the embedded one."""
    experiment: str = "tidemill"
    """MLflow experiment of the training runs."""
    aliases_s: float = Field(default=5, ge=0.2, le=3600)
    """Seconds between two looks at the registry's aliases: one that somebody moved starts that version's rollout."""


class EngineSettings(Strict):
    """One upstream that answers: our own vLLM, or a provider with the same interface."""

    url: str = ""
    """Base URL up to ``/v1``; empty: the embedded engine."""
    kind: Literal["vllm", "provider"] = "vllm"
    """``vllm``: adapters are loaded and unloaded here; ``provider``: models are what they are."""
    provider: str = "vllm"
    """Name in ``gen_ai_provider_name``."""
    base_model: str = "base"
    """Name under which the engine serves the base itself."""
    base_dir: str = ""
    """Folder of the base model (training starts from it); its digest binds adapters to it."""
    api_key_env: str = ""
    """Environment variable that holds the upstream's key; empty: none is sent."""
    input_usd_per_million: float | None = Field(default=None, ge=0)
    """Price of input tokens; None: unpriced, cost stays unknown."""
    cached_usd_per_million: float | None = Field(default=None, ge=0)
    """Price of input tokens read from the prefix cache; None: as input tokens."""
    output_usd_per_million: float | None = Field(default=None, ge=0)
    """Price of output tokens; None: unpriced."""
    max_shadow_in_flight: int = Field(default=2, ge=0)
    """Shadow answers are dropped when this many run, or when clients' calls fill the engine. A champion's second
    answers leave one of several places to candidates."""
    client_slots: int = Field(default=16, ge=1)
    """Calls the engine answers at once before others wait; shadows need a free slot."""
    probe: ProbeSettings = ProbeSettings()


class GatewaySettings(Strict):
    """Where clients connect, and what they may send."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int | None = None
    """None: local.port_base + 80."""
    auth: Literal["keys", "none"] = "keys"
    """``none`` is accepted on loopback only."""
    max_body_bytes: int = Field(default=800_000, ge=1024, le=16_777_216)
    """Largest request body, at most 16 MiB; larger ones are refused with 413."""
    spool_bytes: int = Field(default=1_073_741_824, ge=1_048_576)
    """Size of the local event file at which calls are refused (Kafka away too long)."""
    ttft_timeout_s: float = Field(default=30, gt=0)
    """Longest wait for the first token, seconds."""

    @model_validator(mode="after")
    def _check(self) -> GatewaySettings:
        if self.auth == "none" and self.host not in ("127.0.0.1", "::1", "localhost"):
            raise ValueError(
                f"auth: 'none' with host {self.host!r} would open the gateway to the network; use auth: keys"
            )
        return self


class ConsoleSettings(Strict):
    """The live page."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int | None = None
    """None: local.port_base + 90."""
    public_url: str = Field(default="", pattern="^(https?://.+)?$")
    """Where people open the page, for links in alerts; empty: made of host and port. Of host names, the console answers
    to this one's, to console.host and to localhost only (to IP addresses always); a proxy must pass the Host on.
    """
    refresh_s: float = Field(default=2.0, ge=0.2)
    """Seconds between two looks of an open page at the data."""


class Settings(Strict):
    """Everything one deployment needs to know."""

    deployment: str = Field(default="local", pattern="^[a-z0-9][a-z0-9-]{0,62}$")
    """Name of the deployment: part of tokens and ids."""
    data_dir: Path = Path(".tidemill")
    """Local state: spool files, logs, models, the embedded stack's data."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level of the roles' JSON logs."""
    health_host: str = "127.0.0.1"
    """Address of the roles' health and metrics pages; in a container 0.0.0.0, so that Prometheus reaches them."""
    max_false_alarms: str = EXAMPLE
    """Most false alarms of the change detectors, all pipelines and metrics together, on average: `1 per N`. A clock
    update is one closed second of event time, however many series there are: N = 10_000 is 2 hours 47 minutes, 86_400 a
    day, 604_800 a week, 2_592_000 thirty days. K series share it; a larger N, or more series, makes alarms a little
    later. Pipelines that are not in the settings share one part. Rules and objectives are no part of it, nor are probes
    of engines, which count their own rounds (``engines.<name>.probe.run_length``)."""
    local: LocalSettings = LocalSettings()
    kafka: KafkaSettings = KafkaSettings()
    clickhouse: ClickHouseSettings = ClickHouseSettings()
    mlflow: MlflowSettings = MlflowSettings()
    dvc: DvcSettings = DvcSettings()
    engines: dict[str, EngineSettings] = Field(default_factory=dict)
    gateway: GatewaySettings = GatewaySettings()
    console: ConsoleSettings = ConsoleSettings()
    windows: WindowSettings = WindowSettings()
    alerts: AlertSettings = AlertSettings()
    dead_letters: DeadLetterSettings = DeadLetterSettings()
    audit: AuditSettings = AuditSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    host: HostSettings = HostSettings()
    approval: ApprovalSettings = ApprovalSettings()
    gpu: GpuSettings = GpuSettings()
    pipelines: dict[str, PipelineSettings] = Field(default_factory=dict)

    @field_validator("max_false_alarms")
    @classmethod
    def _check_false_alarms(cls, said: str) -> str:
        if updates(said) < LEAST_UPDATES:
            raise ValueError(f"write 1 per N, N from {LEAST_UPDATES} on, as in {EXAMPLE!r}")
        return said

    @model_validator(mode="after")
    def _check(self) -> Settings:
        for name in sorted({*(self.host.engines or ())} - set(self.engines)):
            raise wrong(("host", "engines"), f"{name!r} is not in engines; {choice(name, self.engines)}")
        for name, pipeline in self.pipelines.items():
            if pipeline.engine not in self.engines:
                message = f"{pipeline.engine!r} is not in engines; {choice(pipeline.engine, self.engines)}"
                raise wrong(("pipelines", name, "engine"), message)
            if pipeline.trigger.usd_per_point is not None and self.gpu.usd_per_hour is None:
                message = "a gain cannot be weighed against an unknown cost; set gpu.usd_per_hour, too"
                raise wrong(("pipelines", name, "trigger", "usd_per_point"), message)
            if fault := versions_fault(name, pipeline, {each: self.engines[each].kind for each in self.engines}):
                raise wrong(("pipelines", name, *fault[0]), fault[1])
        return self

    @property
    def run_length(self) -> int:
        """Clock updates (closed seconds of event time) in which there is at most one false alarm."""
        return updates(self.max_false_alarms)

    @property
    def false_alarm_share(self) -> float:
        """Each pipeline's part of the budget of false alarms; those of no setting have one together."""
        return 1 / (len(self.pipelines) + 1)

    @property
    def kafka_bootstrap(self) -> str:
        """Where the broker is."""
        return self.kafka.bootstrap or f"127.0.0.1:{self.port('kafka')}"

    @property
    def clickhouse_url(self) -> str:
        """Where the store is."""
        return self.clickhouse.url or f"http://127.0.0.1:{self.port('store')}"

    @property
    def mlflow_url(self) -> str:
        """Where the registry is."""
        return self.mlflow.url or f"http://127.0.0.1:{self.port('mlflow')}"

    @property
    def gateway_port(self) -> int:
        """Where clients connect."""
        return self.gateway.port if self.gateway.port is not None else self.port("gateway")

    @property
    def console_port(self) -> int:
        """Where the console listens."""
        return self.console.port if self.console.port is not None else self.port("console")

    @property
    def console_url(self) -> str:
        """Where people open the console, without a slash at the end."""
        if self.console.public_url:
            return self.console.public_url.rstrip("/")
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(self.console.host, self.console.host)
        return f"http://{host}:{self.console_port}"

    def at_ports(self, port_base: int) -> Settings:
        """The same with the embedded stack's ports from ``port_base`` on."""
        return self.model_copy(update={"local": self.local.model_copy(update={"port_base": port_base})})

    def resolve(self, path: str) -> Path:
        """A folder or file named in the settings, absolute.

        ``.tidemill/…`` (the default data_dir) always means the data_dir in force; other relative paths start from the
        folder that holds data_dir.
        """
        named = Path(path)
        if named.is_absolute():
            return named
        data_dir = self.data_dir.absolute()
        default = Settings.model_fields["data_dir"].default
        if named.parts[:1] == default.parts:
            return data_dir.joinpath(*named.parts[1:])
        return data_dir.parent / named

    def engine_url(self, name: str) -> str:
        """Base URL of an engine, up to and with ``/v1``."""
        return self.engines[name].url or f"http://127.0.0.1:{self.port('engine')}/v1"

    def webhook_url(self, webhook: WebhookSettings) -> str:
        """Where a webhook's alerts are posted."""
        return webhook.url or f"http://127.0.0.1:{self.port('receiver')}/webhook"

    def port(self, service: str) -> int:
        """Local port of a service or of a role's health page."""
        return self.local.port(PORTS[service])
