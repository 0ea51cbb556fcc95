"""The list of the stack's processes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tidemill.errors import Stop
from tidemill.local import engine, kafka, plan
from tidemill.local.lifecycle import levels
from tidemill.settings import Settings, load_settings

ROOT = Path(__file__).parents[3]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("TIDEMILL_ENGINE_PYTHON", sys.executable)
    monkeypatch.setenv("TIDEMILL_JARS", str(tmp_path / "jars"))
    monkeypatch.setattr(kafka, "java", lambda: "/usr/bin/java")
    return load_settings(ROOT / "tidemill.yaml", {"TIDEMILL_DATA_DIR": str(tmp_path)})


def test_every_need_is_in_the_stack_and_every_port_is_used_once(settings: Settings) -> None:
    names = [*plan._makers(settings, traffic=True, receiver=True)]
    processes = plan.embedded_stack(settings, names)
    assert [p.name for p in processes] == names == list(plan.PARTS)
    assert {need for p in processes for need in p.after} <= set(names)
    ports = [port for p in processes for port in p.ports.values()]
    assert len(ports) == len(set(ports))
    assert levels(processes)[0] == ["kafka", "store", "mlflow", "engine", "receiver"]


def test_parts_with_a_url_run_elsewhere(settings: Settings) -> None:
    moved = settings.model_copy(
        update={
            "kafka": settings.kafka.model_copy(update={"bootstrap": "broker:9092"}),
            "clickhouse": settings.clickhouse.model_copy(update={"url": "http://db:8123"}),
            "mlflow": settings.mlflow.model_copy(update={"url": "http://ml:5000"}),
            "engines": {"local": settings.engines["local"].model_copy(update={"url": "http://gpu:8000/v1"})},
        }
    )
    names = {p.name for p in plan.embedded_stack(moved)}
    assert not names & {"kafka", "store", "mlflow", "engine"}
    with pytest.raises(Stop, match=r"no part 'kafka' here; choose from init, gateway.* receiver, traffic$"):
        plan.embedded_stack(moved, ["kafka"])


def test_demo_parts_only_when_asked(settings: Settings) -> None:
    assert not {p.name for p in plan.embedded_stack(settings)} & {"traffic", "receiver"}
    asked = {p.name for p in plan.embedded_stack(settings, traffic=True, receiver=True)}
    assert {"traffic", "receiver"} <= asked


def test_nothing_is_downloaded_by_planning(settings: Settings, tmp_path: Path) -> None:
    plan.embedded_stack(settings)
    assert not (tmp_path / "jars").exists()


def test_a_missing_engine_environment_names_the_way_out(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(Stop, match="run `make setup` or set TIDEMILL_ENGINE_PYTHON"):
        engine.argv(settings, tmp_path / "nowhere" / "python")


def test_champions_are_loaded_at_start_when_they_are_there(settings: Settings, tmp_path: Path) -> None:
    assert engine.champion_adapters(settings, "local") == {}
    folder = tmp_path / "adapters" / "schedule-v1"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    assert engine.champion_adapters(settings, "local") == {"schedule-v1": folder}
    assert engine.champion_adapters(settings, "other") == {}
    assert "--lora-modules" in engine.argv(settings)


def test_broker_settings_stay_on_loopback(settings: Settings) -> None:
    properties = kafka.server_properties(settings)
    for name in ("listeners", "advertised.listeners"):
        addresses = str(properties[name]).split(",")
        assert all("://127.0.0.1:" in address for address in addresses)
    assert properties["group.consumer.session.timeout.ms"] == 10_000


@pytest.mark.parametrize(
    ("said", "version"),
    [('openjdk version "17.0.15" 2025-04-15', 17), ('java version "1.8.0_292"', 8), ("nothing", None)],
)
def test_java_version(said: str, version: int | None) -> None:
    assert kafka.java_version(said) == version
