"""The embedded broker: a real Apache Kafka in KRaft mode, one node, loopback only.

Its jars come from Maven once (``fetch_jars``), its log directory is formatted once (``prepare``).
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
from importlib import resources
from pathlib import Path

from tidemill.errors import Stop
from tidemill.local.places import jars_root
from tidemill.settings import Settings

_MAVEN_GOAL = "dependency:copy-dependencies"
_LOG4J = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


def jars_folder(root: Path | None = None) -> Path:
    """Where this version's jars belong; they may not be there yet."""
    return (root or jars_root()) / f"kafka-{hashlib.sha256(_pom()).hexdigest()[:12]}"


def fetch_jars(root: Path | None = None) -> Path:
    """Folder of the broker's jars; downloads them with Maven when they are missing (blocks, 50 MB).

    Safe to call from several processes at once. Raises Stop, naming the way out, without Java 17 or Maven.
    """
    folder = jars_folder(root)
    root = folder.parent
    if folder.is_dir():
        return folder
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder
        unfinished = root / f"{folder.name}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        (root / "pom.xml").write_bytes(_pom())
        _maven(root / "pom.xml", unfinished)
        unfinished.rename(folder)
    return folder


def java() -> str:
    """Path of a Java runtime, at least version 17. Raises Stop when there is none."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin") if home else None
    found = found or shutil.which("java")
    if found is None:
        raise Stop("the embedded Kafka needs Java 17 or later: run `make setup`, or install a JRE, or set JAVA_HOME")
    said = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)
    version = java_version(said.stderr + said.stdout)
    if version is not None and version < 17:
        raise Stop(f"the embedded Kafka needs Java 17 or later and {found} is version {version}; set JAVA_HOME")
    return found


def java_version(text: str) -> int | None:
    """Major version in the output of ``java -version``; None when it says none."""
    match = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(match[1]) if match else None


def prepare(settings: Settings) -> None:
    """Fetch the jars, write the broker's settings, format its log directory; each only when missing (blocks)."""
    fetch_jars()
    folder = broker_dir(settings)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    properties = folder / "server.properties"
    properties.write_text("".join(f"{name}={value}\n" for name, value in server_properties(settings).items()))
    (folder / "log4j2.properties").write_text(_LOG4J)
    if (folder / "data" / "meta.properties").is_file():
        return
    command = [*_jvm(settings, heap_mb=128), "kafka.tools.StorageTool", "format", "-t", _cluster_id(), "-c"]
    done = subprocess.run([*command, str(properties)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        shutil.rmtree(folder / "data", ignore_errors=True)
        raise Stop(f"Kafka's log directory {folder / 'data'} cannot be formatted: {_last_line(done)}")


def argv(settings: Settings) -> list[str]:
    """The command line of the broker; call ``prepare`` first."""
    jvm = _jvm(settings, heap_mb=settings.local.kafka_heap_mb)
    return [*jvm, "kafka.Kafka", str(broker_dir(settings) / "server.properties")]


def broker_dir(settings: Settings) -> Path:
    """Folder of the broker's settings and data."""
    return settings.data_dir / "kafka"


def server_properties(settings: Settings) -> dict[str, str | int]:
    """Kafka's own settings: one node, loopback, small buffers, quick failover of group members (KIP-848)."""
    broker, controller = settings.port("kafka"), settings.port("kafka-controller")
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{broker}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(broker_dir(settings) / "data"),
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "offsets.retention.minutes": 525_600,  # a year: a deployment that was switched off goes on where it was
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "group.initial.rebalance.delay.ms": 0,
        "group.consumer.min.session.timeout.ms": 5_000,
        "group.consumer.session.timeout.ms": 10_000,
        "group.consumer.min.heartbeat.interval.ms": 1_000,
        "group.consumer.heartbeat.interval.ms": 2_000,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "log.cleaner.dedupe.buffer.size": 16 * 1_048_576,
        "log.segment.bytes": 256 * 1_048_576,
    }


def answers(settings: Settings) -> bool:
    """Whether the broker answers a metadata request."""
    try:
        with socket.create_connection(("127.0.0.1", settings.port("kafka")), timeout=0.5):
            pass
    except OSError:
        return False
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{settings.port('kafka')}", "log_level": 0})
    try:
        return bool(admin.list_topics(timeout=2).brokers)
    except KafkaException:
        return False


def _jvm(settings: Settings, *, heap_mb: int) -> list[str]:
    log4j = broker_dir(settings) / "log4j2.properties"
    flags = [f"-Xmx{heap_mb}m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true"]
    return [java(), *flags, f"-Dlog4j2.configurationFile={log4j}", "-cp", f"{jars_folder()}/*"]


def _pom() -> bytes:
    return (resources.files("tidemill.local") / "broker-pom.xml").read_bytes()


def _cluster_id() -> str:
    """Kafka's form of a random UUID: 22 characters of URL-safe base64, not starting like an option."""
    while (made := base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")).startswith("-"):
        pass
    return made


def _maven(pom: Path, into: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise Stop(
            "the embedded Kafka's jars come from Maven and there is no `mvn`: run `make setup`, or install Maven"
        )
    command = [maven, "-q", "-B", "-f", str(pom), _MAVEN_GOAL, f"-DoutputDirectory={into}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Stop(f"Maven could not fetch the embedded Kafka's jars: {_last_line(done)}")


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in (done.stdout + "\n" + done.stderr).splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"exit code {done.returncode}"


def main() -> int:
    """``python -m tidemill.local.kafka``: fetch the jars; with ``--there`` only say whether they are (exit code)."""
    if "--there" in sys.argv[1:]:
        return 0 if jars_folder().is_dir() else 1
    try:
        print(fetch_jars())
    except Stop as stop:
        print(stop, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
