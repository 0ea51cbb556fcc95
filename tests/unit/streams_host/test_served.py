"""What is served beside what is registered: quiet in a healthy rollout, loud where something else is served."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from streams.host.engines import EngineLook
from streams.host.registered import WEIGHTS, Registry, expected, loaded
from streams.host.served import Adapter, Comparisons, Expected, differences
from tests.integration.adapter_engine import AdapterEngine
from tests.integration.store_fixture import free_port
from tidemill.clock import SystemClock
from tidemill.errors import Retry
from tidemill.events import Arm, Route, Shadow
from tidemill.settings import PipelineSettings, Settings
from tidemill.settings.model import EngineSettings, MlflowSettings

NOW_MS = 1_763_800_000_000
OLD, NEW, STRANGE = (hashlib.sha256(text).hexdigest() for text in (b"v1", b"v2", b"other"))
V1 = Adapter("a-v1", "/adapters/a-v1", "base", OLD)
V2 = Adapter("a-v2", "/adapters/a-v2", "base", NEW)
GATE = Adapter(f"gate-0123abcd-{NEW[:8]}", "/jobs/1/adapter", "base", NEW)


def known(*routed: str, **digests: str | None) -> Expected:
    versions = {name.replace("_", "-"): digest for name, digest in digests.items()}
    return Expected(versions, routed, "base", {name: f"/adapters/{name}" for name in versions})


def wrong(adapters: list[Adapter], here: Expected) -> dict[str, str]:
    names = {"base", *(adapter.name for adapter in adapters)}
    return {each.model: each.why for each in differences(adapters, names, here)}


@pytest.mark.parametrize(
    ("moment", "adapters", "here"),
    [
        ("before the first retraining, which registers the champion", [V1], known("a-v1", a_v1=None)),
        ("the gate compares a candidate that is not registered yet", [V1, GATE], known("a-v1", a_v1=OLD)),
        ("a candidate is registered and not loaded yet", [V1], known("a-v1", a_v1=OLD, a_v2=NEW)),
        ("it is loaded and not routed yet", [V1, V2], known("a-v1", a_v1=OLD, a_v2=NEW)),
        ("it is a shadow, or a canary", [V1, V2], known("a-v1", "a-v2", a_v1=OLD, a_v2=NEW)),
        ("it is champion, and the former one drains", [V1, V2], known("a-v2", a_v1=OLD, a_v2=NEW)),
        ("the former champion is gone", [V2], known("a-v2", a_v1=OLD, a_v2=NEW)),
        ("the candidate was rolled back and drains", [V1, V2, GATE], known("a-v1", a_v1=OLD, a_v2=NEW)),
        ("the base itself serves", [], known("base")),
        ("its folders cannot be seen from here", [V1._replace(digest=None)], known("a-v1", a_v1=OLD)),
        ("an engine that says names only", [Adapter("a-v1")], known("a-v1", a_v1=OLD)),
    ],
)
def test_a_healthy_rollout_shows_no_difference(moment: str, adapters: list[Adapter], here: Expected) -> None:
    assert wrong(adapters, here) == {}, moment


def test_each_difference_is_told_in_words() -> None:
    here = known("a-v1", "a-v3", a_v1=OLD, a_v2=NEW, a_v3=NEW, a_v4=NEW, a_v5=NEW)
    adapters = [
        V1._replace(digest=STRANGE),
        V2._replace(base="another"),
        Adapter("a-v4", "/adapters/a-v4", "base", None, gone=True),
        Adapter("a-v5", "/tmp/a-v5", "base"),
        Adapter("mine", "/tmp/mine", "base", STRANGE),
        GATE._replace(digest=STRANGE),
    ]
    found = wrong(adapters, here)
    assert found == {
        "a-v1": f"the file in /adapters/a-v1 (sha256 {STRANGE[:12]}) is not the registered one (sha256 {OLD[:12]})",
        "a-v2": "it sits on base 'another', not on 'base'",
        "a-v3": "calls are routed to it, and it is not loaded",
        "a-v4": "its file is gone from /adapters/a-v4",
        "a-v5": "it was loaded from /tmp/a-v5, which cannot be seen from here; it lies in /adapters/a-v5",
        "mine": "no pipeline of this engine has a version of this name",
        GATE.name: f"its file (sha256 {STRANGE[:12]}) is not the one it is named after",
    }
    (nameless,) = differences([], {"other"}, known())
    assert nameless.why == "the engine does not serve the base of this name"


def test_a_difference_is_a_trouble_when_it_is_there_twice_and_until_it_is_gone() -> None:
    comparisons = Comparisons()
    missing = differences([], {"base"}, known("a-v1", a_v1=OLD))
    assert comparisons.judge("local", missing, False, NOW_MS) == []
    (trouble,) = comparisons.judge("local", missing, False, NOW_MS + 60_000)
    assert trouble.value == 1 and trouble.metric == "served/local"
    assert trouble.summary.endswith("a-v1: calls are routed to it, and it is not loaded")
    other = differences([V1._replace(digest=STRANGE)], {"base", "a-v1"}, known("a-v1", a_v1=OLD))
    assert comparisons.judge("local", other, True, NOW_MS + 120_000), "something differs still"
    assert comparisons.judge("local", [], True, NOW_MS + 180_000) == []


def test_an_engine_that_starts_anew_between_two_comparisons_is_no_trouble() -> None:
    comparisons, here = Comparisons(), known("a-v1", a_v1=OLD)
    for adapters in ([V1], [], [V1], [], [V1]):
        names = {"base", *(adapter.name for adapter in adapters)}
        assert comparisons.judge("local", differences(adapters, names, here), False, NOW_MS) == []


def test_a_champion_that_is_not_registered_yet_is_held_to_its_first_digest() -> None:
    comparisons, here = Comparisons(), known("a-v1", a_v1=None)
    assert wrong([V1], comparisons.held_to("local", [V1], here)) == {}
    changed = [V1._replace(digest=STRANGE)]
    assert "a-v1" in wrong(changed, comparisons.held_to("local", changed, here))
    registered = known("a-v1", a_v1=STRANGE)
    assert wrong(changed, comparisons.held_to("local", changed, registered)) == {}, "the registry's word counts"


def arm(model: str, weight: int) -> Arm:
    variant = "champion" if weight > 50 else "canary"
    return Arm(variant=variant, model_version=model, model=model, engine="local", weight=weight)  # type: ignore[arg-type]


def test_what_is_expected_of_an_engine_comes_from_settings_routes_and_registry() -> None:
    pipelines = {
        "a": PipelineSettings(engine="local", champion="a-v1", champion_adapter="x"),
        "b": PipelineSettings(engine="local", champion="b-v1"),
        "c": PipelineSettings(engine="far", champion="c-v1", champion_adapter="y"),
    }
    engines = {"local": EngineSettings(), "far": EngineSettings(url="http://far/v1", base_model="large")}
    settings = Settings(data_dir=Path("/data"), engines=engines, pipelines=pipelines)
    shadow = Shadow(model_version="a-v3", model="a-v3", engine="local")
    arms = (arm("a-v1", 90), arm("a-v2", 10))
    routes = {"a": Route(pipeline="a", epoch=1, time_ms=NOW_MS, arms=arms, shadow=shadow)}
    found = expected(settings, "local", routes, {"a-v2": NEW})
    folders = {"a-v1": "/x", "a-v2": "/data/adapters/a-v2"}
    assert found == Expected({"a-v1": None, "a-v2": NEW}, {"a-v1", "a-v2", "a-v3"}, "base", folders)
    assert expected(settings, "far", routes, {}) == Expected({"c-v1": None}, set(), "large", {"c-v1": "/y"})


def test_what_an_engine_serves_is_read_over_http_and_digests_are_those_of_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "adapters" / "a-v1"
    folder.mkdir(parents=True)
    (folder / WEIGHTS).write_bytes(b"v1")
    port = free_port()
    settings = Settings(engines={"local": EngineSettings(url=f"http://127.0.0.1:{port}/v1")})
    look = EngineLook(settings, "local", SystemClock())
    with AdapterEngine(port) as engine:
        engine.adapters |= {"a-v1": str(folder), "a-v2": str(folder.with_name("a-v2")), "a-v3": "/elsewhere/a/v3"}
        adapters, names = loaded(look.models(), "base")
    assert names == {"base", "a-v1", "a-v2", "a-v3"}
    assert [(each.name, each.digest, each.gone) for each in adapters] == [
        ("a-v1", OLD, False),
        ("a-v2", None, True),
        ("a-v3", None, False),
    ]
    assert adapters[0].base == "base" and adapters[0].folder == str(folder)
    away = EngineLook(settings, "local", SystemClock())
    with pytest.raises(Retry, match="does not say what it serves"):
        away.models()


@pytest.fixture
def mlflow() -> Iterator[str]:
    """MLflow's search of versions, two pages; what is asked of the real one is in the integration tests."""
    pages = {
        "": {"model_versions": [{"version": "2", "tags": [{"key": "tidemill.adapter_digest", "value": NEW}]}]}
        | {"next_page_token": "more"},
        "more": {"model_versions": [{"version": "1"}]},
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(pages["more" if "page_token=more" in self.path else ""]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_registered_digests_are_read_page_by_page(mlflow: str) -> None:
    registry = Registry(Settings(mlflow=MlflowSettings(url=mlflow)))
    assert registry.digests("a") == {"a-v2": NEW, "a-v1": None}
    registry.close()
    away = Registry(Settings(mlflow=MlflowSettings(url=f"http://127.0.0.1:{free_port()}")))
    with pytest.raises(Retry, match="MLflow does not answer"):
        away.digests("a")
