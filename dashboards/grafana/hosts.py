"""The dashboard of machines and engines."""

from __future__ import annotations

from dashboards.grafana.board import Board, Panel


def _of_hosts(title: str, figures: tuple[str, ...], description: str, unit: str) -> Panel:
    names = ", ".join(f"'{name}'" for name in figures)
    series = "concat(host, ' ', part)" if len(figures) == 1 else "concat(host, ' ', part, ' ', figure)"
    sql = (
        f"SELECT time, {series} AS series, figures[figure] AS value FROM hosts "
        f"ARRAY JOIN arrayFilter(name -> mapContains(figures, name), [{names}]) AS figure "
        "WHERE $__timeFilter(time) ORDER BY time"
    )
    return Panel(title, sql, description, unit)


HOSTS = Board(
    "tidemill-hosts",
    "tidemill: machines and engines",
    "Figures of the machines, their GPUs and the engines on them, as the role host has seen them.",
    (
        _of_hosts("Processor", ("cpu_share",), "Share of all cores in use.", "percentunit"),
        _of_hosts("Memory and disk", ("memory_share", "disk_share"), "Shares in use.", "percentunit"),
        _of_hosts("GPU", ("gpu_share", "gpu_memory_share"), "Time computing, and memory in use.", "percentunit"),
        _of_hosts("GPU temperature", ("gpu_temperature_c",), "Degrees.", "celsius"),
        _of_hosts("GPU power", ("gpu_power_w",), "What each draws.", "watt"),
        _of_hosts("Requests in engines", ("requests_running", "requests_waiting"), "Computed, and waiting.", "short"),
        _of_hosts("Tokens", ("input_tokens_per_s", "output_tokens_per_s"), "Read and written, a second.", "short"),
        _of_hosts("Caches", ("kv_cache_share", "prefix_hit_share"), "Cache in use; prefixes found.", "percentunit"),
        _of_hosts("Preemptions", ("preemptions_per_s",), "Requests put back for want of cache, a second.", "short"),
        _of_hosts("Probes", ("probe_agreement",), "Answers that equal the reference's.", "percentunit"),
    ),
)
