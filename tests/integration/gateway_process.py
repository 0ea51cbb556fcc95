"""A gateway as users run it, in front of a fake engine and a real broker, and what it wrote to Kafka."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.integration.fake_engine import FakeEngine
from tests.integration.role_process import Role
from tidemill.io import kafka
from tidemill.io.secrets import audit_keys, gateway_keys, make_secrets
from tidemill.local.ports import free_port_base
from tidemill.settings import Settings, load_settings
from tidemill.topics import Topic

SETTINGS = """
data_dir: {data_dir}
local: {{port_base: {port_base}}}
kafka: {{bootstrap: "{bootstrap}"}}
engines:
  main:
    url: {engine}
    max_shadow_in_flight: 10
    input_usd_per_million: 1.0
    cached_usd_per_million: 0.5
    output_usd_per_million: 2.0
gateway: {{ttft_timeout_s: 1.5, spool_bytes: {spool_bytes}, max_body_bytes: 100000}}
pipelines:
  talk: {{engine: main, champion: talk-v1, champion_adapter: a, system_prompt: be brief, timeout_s: 4}}
  private: {{engine: main, champion: private-v1, champion_adapter: a, capture: redacted}}
  twice: {{engine: main, champion: twice-v1, champion_adapter: a, quality: {{estimate: true, agreement_share: 1}}}}
  silent: {{engine: main, champion: silent-v0, capture: "off", retrain: {{enabled: false}}}}
"""


class GatewayRole(Role):
    """Its health page has a port of its own."""

    def readiness(self) -> str:
        url = f"http://127.0.0.1:{self.settings.port('gateway-health')}/readyz"
        try:
            with urllib.request.urlopen(url, timeout=2):
                return "ready"
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except OSError:
            return ""


@dataclass
class Stage:
    """Engine, gateway and clients of one test."""

    settings: Settings
    file: Path
    engine: FakeEngine
    roles: list[Role] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.gateway_port}"

    @property
    def key(self) -> str:
        return gateway_keys(self.settings)[0]

    @property
    def audit_headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {audit_keys(self.settings)[0]}"}

    def gateway(self, *, ready: bool = True) -> Role:
        """Start one more gateway process."""
        role = GatewayRole("gateway", self.settings, {}, self.file).start()
        self.roles.append(role)
        return role.ready(within_s=120) if ready else role

    def http(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, trust_env=False, timeout=20
        )

    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=self.key, max_retries=0)

    def events(self, topic: Topic) -> list[Any]:
        """Every committed event of a topic."""
        decode = topic.decoder()
        return [decode(value) for _, value, _ in self.messages(topic.name)]

    def messages(self, topic: str) -> list[tuple[bytes | None, bytes, list[tuple[str, bytes]]]]:
        """Key, value and headers of every committed message."""
        named = Topic(topic, None, "", 1, "", "")
        client = kafka.follower(self.settings, "test-reader", named)
        try:
            return [(m.key(), m.value() or b"", m.headers() or []) for m in kafka.read_to_end(client)]
        finally:
            client.close()

    def close(self) -> None:
        for role in self.roles:
            role.kill()
        self.engine.close()


def make_stage(folder: Path, bootstrap: str, *, spool_bytes: int = 2**20 * 64) -> Stage:
    """Settings, keys and an engine; no gateway yet."""
    engine = FakeEngine({"talk-v1", "private-v1", "twice-v1", "base"})
    file = folder / "tidemill.yaml"
    text = SETTINGS.format(
        data_dir=folder / "data",
        port_base=free_port_base(),
        bootstrap=bootstrap,
        engine=engine.url,
        spool_bytes=spool_bytes,
    )
    file.write_text(text)
    settings = load_settings(file, {})
    make_secrets(settings)
    return Stage(settings, file, engine)


@pytest.fixture
def stage(tmp_path: Path, kafka: str, fresh_topics: None) -> Iterator[Stage]:
    """A stage on the run's broker with empty topics; everything ends with the test."""
    made = make_stage(tmp_path, kafka)
    yield made
    made.close()
