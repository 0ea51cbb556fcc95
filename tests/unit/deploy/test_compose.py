"""The Compose file is valid by its schema, pins every image, holds no secret, and names the roles there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_pydantic import ComposeSpecification
from pydantic import ValidationError

from consumers.alerts.receiver import arguments
from tidemill.local import engine, plan
from tidemill.roles import ROLES
from tidemill.settings import load_settings
from tidemill.settings.model import PORTS

ROOT = Path(__file__).parents[3]


def compose() -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return {name: value for name, value in loaded.items() if not name.startswith("x-")}


def test_the_file_meets_the_schema() -> None:
    ComposeSpecification.model_validate(compose())


def test_the_schema_refuses_what_compose_does_not_know() -> None:
    wrong = compose()
    wrong["services"]["kafka"]["imag"] = "kafka"
    with pytest.raises(ValidationError, match="imag"):
        ComposeSpecification.model_validate(wrong)


def test_every_image_is_pinned() -> None:
    for name, service in compose()["services"].items():
        tag = service["image"].rpartition(":")[2]
        assert tag != service["image"] and tag != "latest", name


def test_every_long_lived_service_has_a_health_check() -> None:
    steps = {"init", "models"}
    for name, service in compose()["services"].items():
        assert name in steps or "healthcheck" in service, name


def test_every_role_is_there_and_its_health_page_is_asked_where_it_is() -> None:
    services = compose()["services"]
    for role in set(ROLES) - {"store"}:
        service = services[role]
        assert service["command"] == ["run", role]
        port = 18000 + PORTS.get(f"{role}-health", PORTS.get(role, 0))
        assert f":{port}/readyz" in service["healthcheck"]["test"][-1], role


def test_the_receiver_takes_its_command_and_listens_where_it_is_asked() -> None:
    service = compose()["services"]["receiver"]
    assert service["entrypoint"] == ["python", "-m", arguments.__module__]
    options = arguments().parse_args(service["command"])
    assert options.host == "0.0.0.0"
    assert f":{options.port}/healthz" in service["healthcheck"]["test"][-1]
    (webhook,) = load_settings(ROOT / "deploy" / "compose" / "tidemill.yaml", {}).alerts.webhooks
    assert webhook.url == f"http://receiver:{options.port}/webhook"
    told = yaml.safe_load((ROOT / "deploy" / "compose" / "alertmanager.yml").read_text())
    assert told["receivers"][0]["webhook_configs"] == [{"url": webhook.url}]


def test_the_engines_have_the_room_of_the_embedded_one() -> None:
    services = compose()["services"]
    settings = load_settings(ROOT / "deploy" / "compose" / "tidemill.yaml", {})
    for name in ("engine-cpu", "engine-gpu"):
        flags = dict(flag.removeprefix("--").partition("=")[::2] for flag in services[name]["command"])
        assert int(flags["max-model-len"]) == engine.MAX_MODEL_TOKENS
        assert int(flags["max-loras"]) == engine.LIVE_ADAPTERS
        assert int(flags["max-cpu-loras"]) == 2 * engine.LIVE_ADAPTERS
        assert int(flags["max-num-seqs"]) == engine.MAX_SEQUENCES
        assert int(flags["max-lora-rank"]) == engine.adapter_rank(settings, "local")
        assert "entrypoint" not in services[name], "the image's own server"
        assert flags["dtype"] == "float32", "the gate compares its answers with those of a float32 training"


def test_roles_give_memory_back_as_the_embedded_ones_do() -> None:
    services = compose()["services"]
    for role, environment in plan.LEAN.items():
        assert environment.items() <= services[role]["environment"].items()


def test_ports_are_published_on_loopback_only() -> None:
    for name, service in compose()["services"].items():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), name


def test_no_secret_has_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for line in text.splitlines():
        if "PASSWORD:" in line:
            assert ":?" in line, line


def test_the_settings_of_the_containers_load() -> None:
    settings = load_settings(ROOT / "deploy" / "compose" / "tidemill.yaml", {})
    assert set(settings.pipelines) == {"schedule", "support"}
    data = Path("/var/lib/tidemill")
    assert settings.resolve(settings.engines["local"].base_dir) == data / "models" / "base"
    for name, pipeline in settings.pipelines.items():
        assert settings.resolve(pipeline.champion_adapter) == data / "adapters" / f"{name}-v1"
        assert settings.resolve(pipeline.gate.golden_set) == data / "models" / f"golden-{name}.jsonl"


def test_links_in_alerts_lead_to_the_console_as_published() -> None:
    settings = load_settings(ROOT / "deploy" / "compose" / "tidemill.yaml", {})
    (published,) = compose()["services"]["console"]["ports"]
    assert settings.console_url == "http://" + published.rpartition(":")[0]
