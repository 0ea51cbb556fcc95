"""The host process, one on each machine: looks, compares, asks; figures go to monitoring.hosts, troubles are alarms.

1. what it said before is read back from monitoring.thresholds; 2. each round looks at the machine, its GPUs and its
engines, compares what is served when that is due, and asks at most one probe of each engine; 3. what begins or ends is
said, and counts as said once Kafka has taken it; 4. a probe's new state is written down after that.
"""

from __future__ import annotations

import logging
import socket

from confluent_kafka import KafkaException
from prometheus_client import Gauge

from streams.host import levels, probe, served
from streams.host.asking import Asking
from streams.host.engines import EngineLook
from streams.host.levels import Breaches, Reach
from streams.host.machine import Figures, Gpus, Machine
from streams.host.registered import Registry, Routes, expected, loaded
from tidemill.codec import encode
from tidemill.errors import Retry
from tidemill.events import HostFigures
from tidemill.io import kafka
from tidemill.io.service import Service
from tidemill.io.system_alarms import SystemAlarms
from tidemill.settings import Settings
from tidemill.topics import HOSTS, THRESHOLDS
from tidemill.troubles import Trouble

log = logging.getLogger(__name__)
FIGURE = Gauge("tidemill_host_figure", "newest figure of a machine, a GPU or an engine", ["host", "part", "figure"])
DIFFERENCES = Gauge("tidemill_host_differences", "adapters served otherwise than registered", ["engine"])


def run(settings: Settings) -> None:
    """Look until SIGTERM. Blocks."""
    with Service(settings, "host") as service:
        gpus = Gpus()
        while not service.stopping:
            host = None
            try:
                host = Host(settings, service, gpus)
                host.run()
            except (Retry, KafkaException) as error:
                service.waiting(str(error))
                service.stop_event.wait(getattr(error, "after_s", 1.0))
            finally:
                if host is not None:
                    host.close()


class Host:
    """The watcher of one machine."""

    def __init__(self, settings: Settings, service: Service, gpus: Gpus) -> None:
        """Raises Stop where a probe's key is missing."""
        self._settings = settings
        self._service = service
        self._clock = service.clock
        self._machine = Machine(settings.data_dir)
        self._gpus = gpus
        self._name = settings.host.name or socket.gethostname()
        names = settings.engines if settings.host.engines is None else settings.host.engines
        self._engines = [EngineLook(settings, name, self._clock) for name in names if _own(settings, name)]
        self._probes = [Asking(settings, name, self._clock) for name in names if settings.engines[name].probe.every_s]
        self._registry = Registry(settings)
        self._comparisons = served.Comparisons()
        self._compare_at_s = self._clock.monotonic_s() + settings.host.served_every_s
        self._alarms = SystemAlarms(settings, THRESHOLDS, f"host/{self._name}", self._clock)
        self._producer = kafka.producer(settings, "tidemill-host", message_timeout_ms=30_000)
        self._routes: Routes | None = None
        self._shown: dict[str, set[str]] = {}
        self._not_taken: list[str] = []

    def run(self) -> None:
        """Until the service stops. Raises Retry when Kafka is not there."""
        self._alarms.read_back(self._service.beat)
        self._routes = Routes(self._settings)
        now_ms, open_alarms = self._clock.now_ms(), [alarm.data for alarm in self._alarms.firing.values()]
        self._breaches = Breaches(
            self._settings.host, [alarm.metric for alarm in open_alarms if alarm.rule in levels.LEVEL_RULES]
        )
        away = [alarm.metric.partition("/")[2] for alarm in open_alarms if alarm.rule == levels.ENGINE_UNREACHABLE]
        self._reach = Reach(self._settings.host.unreachable_s, now_ms, away)
        self._end_what_is_watched_no_more()
        while not self._service.stopping:
            self._look()
            for asking in self._probes:
                self._ask(asking)
            if self._settings.host.served_every_s and self._clock.monotonic_s() >= self._compare_at_s:
                self._compare(self._routes)
                self._compare_at_s = self._clock.monotonic_s() + self._settings.host.served_every_s
            self._say_whether_ready()
            self._service.stop_event.wait(self._settings.host.every_s)

    def close(self) -> None:
        """Let go of all clients."""
        self._registry.close()
        if self._routes is not None:
            self._routes.close()

    def _end_what_is_watched_no_more(self) -> None:
        """Alarms of probes and comparisons that the settings ask for no longer. (Rounds to come judge the others.)"""
        still = [metric for asking in self._probes for metric in probe.metrics(asking.engine)]
        if self._settings.host.served_every_s:
            still += [served.served_metric(engine.name) for engine in self._engines]
        rules = [*probe.RULES, served.SERVED]
        self._alarms.say([], rules, still, dict.fromkeys(rules, "is watched no more"))

    def _look(self) -> None:
        found, undecided = list[Trouble](), list[str]()
        parts = [("machine", self._name, self._machine.look())]
        parts += [(part, "", figures) for part, figures in self._gpus.look()]
        for engine in self._engines:
            seen = engine.look()
            found += self._reach.judge(engine.name, seen is not None, self._clock.now_ms())
            parts.append((f"engine/{engine.name}", engine.name, seen or {}))
        for part, where, figures in parts:
            self._tell(part, figures)
            if where:
                found += self._breaches.judge(where, figures, self._clock.now_ms())
                undecided += self._breaches.undecided(where, figures)
        self._producer.poll(0)
        self._alarms.say(found, [*levels.LEVEL_RULES, levels.ENGINE_UNREACHABLE], undecided)

    def _tell(self, part: str, figures: Figures) -> None:
        for gone in self._shown.get(part, set()) - figures.keys():
            FIGURE.remove(self._name, part, gone)
        self._shown[part] = set(figures)
        if not figures:
            return
        for name, value in figures.items():
            FIGURE.labels(self._name, part, name).set(value)
        said = {str(name): value for name, value in figures.items()}
        event = HostFigures(host=self._name, part=part, time_ms=self._clock.now_ms(), figures=said)
        told = kafka.delivered(self._not_taken)
        kafka.hand_over(self._producer, HOSTS.name, encode(event), self._name, on_delivery=told)

    def _say_whether_ready(self) -> None:
        if self._not_taken:
            self._service.waiting(f"Kafka does not take figures: {self._not_taken[0]}")
            self._not_taken.clear()
        else:
            self._service.ready()

    def _ask(self, asking: Asking) -> None:
        if asking.tick():
            others = [metric for each in self._probes if each is not asking for metric in probe.metrics(each.engine)]
            found = probe.troubles(asking.engine, asking.state, self._clock.now_ms())
            self._alarms.say(found, probe.RULES, others, probe.ENDINGS)
            asking.keep()
            if asking.state.share is not None:
                self._tell(f"probe/{asking.engine}", {"probe_agreement": asking.state.share})
        self._service.beat()

    def _compare(self, routes: Routes) -> None:
        found, undecided = list[Trouble](), list[str]()
        alarming = {alarm.data.metric for alarm in self._alarms.firing.values() if alarm.data.rule == served.SERVED}
        for engine in self._engines:
            metric = served.served_metric(engine.name)
            try:
                differences = self._differences(engine, routes)
            except Retry as error:
                log.info("what %s serves is not compared: %s", engine.name, error)
                DIFFERENCES.remove(engine.name)
                undecided.append(metric)
                continue
            DIFFERENCES.labels(engine.name).set(len(differences))
            found += self._comparisons.judge(engine.name, differences, metric in alarming, self._clock.now_ms())
            self._service.beat()
        self._alarms.say(found, [served.SERVED], undecided)

    def _differences(self, engine: EngineLook, routes: Routes) -> list[served.Difference]:
        """The engine is asked before the registry: what it has loaded was registered before."""
        routes.follow()
        adapters, names = loaded(engine.models(), self._settings.engines[engine.name].base_model)
        known: dict[str, str | None] = {}
        for pipeline, each in self._settings.pipelines.items():
            if each.engine == engine.name:
                known |= self._registry.digests(pipeline)
        here = expected(self._settings, engine.name, routes.latest, known)
        return served.differences(adapters, names, self._comparisons.held_to(engine.name, adapters, here))


def _own(settings: Settings, engine: str) -> bool:
    return settings.engines[engine].kind == "vllm"
