"""What the dashboards show, as data: one SQL query a panel, or what the roles say of themselves to Prometheus.

``$__timeFilter(column)`` and ``$pipeline`` are macros of the ClickHouse data source. A revised window has several rows;
``latest`` takes the highest revision of each.
"""

from __future__ import annotations

from dashboards.grafana.board import Board, Expression, Panel
from dashboards.grafana.hosts import HOSTS

PIPELINES = "SELECT DISTINCT pipeline FROM windows ORDER BY pipeline"
_CHOSEN = "pipeline IN (${pipeline:sqlstring})"


def latest(metrics: tuple[str, ...], role: str = "client") -> str:
    """The windows of some metrics, highest revision each, as a table expression. Slices are left out: they are in the
    whole already.
    """
    names = ", ".join(f"'{name}'" for name in metrics)
    return (
        "(SELECT pipeline, metric, model_version, variant, start, "
        "argMax(value, revision) AS value, argMax(n, revision) AS n, argMax(total, revision) AS total, "
        "argMax(p50, revision) AS p50, argMax(p95, revision) AS p95, argMax(p99, revision) AS p99 "
        f"FROM windows WHERE $__timeFilter(start) AND {_CHOSEN} AND metric IN ({names}) AND role = '{role}' "
        "AND slice = '' GROUP BY pipeline, metric, model_version, variant, start)"
    )


def _per_version(metric: str, figure: str) -> str:
    return (
        f"SELECT start AS time, concat(pipeline, ' ', model_version) AS series, {figure} AS value "
        f"FROM {latest((metric,))} ORDER BY time"
    )


def _quantiles(metric: str) -> str:
    return (
        "SELECT start AS time, concat(pipeline, ' ', model_version) AS series, p50, p95, p99 "
        f"FROM {latest((metric,))} ORDER BY time"
    )


def _per_pipeline(metrics: tuple[str, ...]) -> str:
    return (
        "SELECT start AS time, concat(pipeline, ' ', metric) AS series, sum(value) AS value "
        f"FROM {latest(metrics)} GROUP BY time, series ORDER BY time"
    )


LATENCY = Board(
    "tidemill-latency",
    "tidemill: latency and errors",
    "How fast and how surely each version answers its clients.",
    (
        Panel("End to end", _quantiles("e2e_ms"), "From arrival to the last byte, per version.", "ms"),
        Panel("Time to first token", _quantiles("ttft_ms"), "From arrival to the first token, per version.", "ms"),
        Panel("Time per output token", _quantiles("tpot_ms"), "After the first token, per version.", "ms"),
        Panel(
            "Errors",
            _per_version("error_rate", "value"),
            "Share of answers that ended in error or timeout.",
            "percentunit",
        ),
        Panel("Calls", _per_pipeline(("requests",)), "Calls that arrived, per window."),
        Panel("Answers by version", _per_version("answers", "value"), "How the traffic is split between versions."),
    ),
)
COST = Board(
    "tidemill-cost",
    "tidemill: tokens and cost",
    "What the pipelines use. Unpriced answers are counted apart: they are not free.",
    (
        Panel("Cost", _per_version("cost", "value"), "Money spent on priced answers, per window.", "currencyUSD"),
        Panel(
            "Cost so far",
            "SELECT pipeline, model_version, sum(total) AS cost, sum(n) AS priced_answers "
            f"FROM {latest(('cost',))} GROUP BY pipeline, model_version ORDER BY cost DESC",
            "Over the time shown.",
            kind="table",
        ),
        Panel(
            "Cost by slice",
            "SELECT pipeline, slice, sum(total) AS cost, sum(n) AS priced_answers FROM (SELECT pipeline, slice, start, "
            "argMax(total, revision) AS total, argMax(n, revision) AS n FROM windows "
            f"WHERE $__timeFilter(start) AND {_CHOSEN} AND metric = 'cost' AND slice != '' "
            "GROUP BY pipeline, slice, start) GROUP BY pipeline, slice ORDER BY cost DESC",
            "Over the time shown. The slices of one dimension add up to what clients' answers cost.",
            kind="table",
        ),
        Panel("Tokens read", _per_pipeline(("input_tokens",)), "Per window."),
        Panel("Tokens written", _per_pipeline(("output_tokens",)), "Per window."),
        Panel("Unpriced answers", _per_pipeline(("unpriced",)), "Answers without a known price, per window."),
    ),
)
QUALITY = Board(
    "tidemill-quality",
    "tidemill: quality and drift",
    "How good the answers are, and whether what comes in has changed.",
    (
        Panel(
            "Quality", _per_version("quality", "value"), "Mean score of the pipeline's metric, per version.", width=24
        ),
        Panel("Thumbs", _per_version("thumb", "value"), "Share of thumbs up.", "percentunit"),
        Panel("Scored answers", _per_version("quality", "n"), "How many scores each point stands for."),
        Panel(
            "Words never seen",
            _per_version("input_unseen_share", "value"),
            "Share of words in hash buckets the reference never saw.",
            "percentunit",
        ),
        Panel(
            "Distance of wording",
            _per_version("input_word_distance", "value"),
            "Jensen-Shannon distance of the words to the reference, 0 to 1.",
        ),
        Panel(
            "Other languages",
            _per_version("input_language_mismatch", "value"),
            "Chance that a question and one of the reference are in different languages.",
            "percentunit",
        ),
        Panel(
            "New questions",
            _per_version("input_novelty", "value"),
            "Distance of the questions' words to the nearest question of the reference, 0 to 1.",
        ),
        Panel("Length of questions", _per_version("input_chars", "value"), "Characters."),
        Panel("Length of answers", _per_version("output_chars", "value"), "Characters."),
        Panel("Empty answers", _per_version("output_empty", "value"), "Share without any text.", "percentunit"),
        Panel("Refusals", _per_version("output_refusal", "value"), "Share that begins as refusals do.", "percentunit"),
        Panel(
            "Repetition",
            _per_version("output_repetition", "value"),
            "Share of four words in a row that the answer had before.",
            "percentunit",
        ),
        Panel(
            "Answers in their form",
            _per_version("output_valid", "value"),
            "Share that has the form of the pipeline's output_format.",
            "percentunit",
        ),
        Panel(
            "Answers cut off",
            _per_version("truncated_rate", "value"),
            "Share with finish reason length.",
            "percentunit",
        ),
        Panel(
            "Other finish reasons",
            _per_version("other_finish_rate", "value"),
            "Share with another finish reason than stop and length: a filter, calls of tools.",
            "percentunit",
        ),
    ),
)
LOOP = Board(
    "tidemill-loop",
    "tidemill: the loop",
    "Alarms, retrainings and rollouts: what tidemill did, when, and why.",
    (
        Panel("Quality", _per_version("quality", "value"), "Mean score per version.", width=24),
        Panel(
            "Alarms",
            "SELECT time, pipeline, type, JSONExtractString(data, 'severity') AS severity, "
            "JSONExtractString(data, 'summary') AS summary "
            f"FROM events WHERE $__timeFilter(time) AND {_CHOSEN} ORDER BY time DESC LIMIT 200",
            "Threshold events, newest first.",
            kind="table",
            width=24,
        ),
        Panel(
            "Retraining jobs",
            "SELECT job_id, pipeline, argMax(phase, seq) AS phase, "
            "argMax(reason, seq) AS reason, argMax(candidate_version, seq) AS candidate, min(time) AS began "
            f"FROM jobs WHERE $__timeFilter(time) AND {_CHOSEN} "
            "GROUP BY job_id, pipeline ORDER BY began DESC LIMIT 100",
            "The state of each job now.",
            kind="table",
            width=24,
        ),
        Panel(
            "Rollouts",
            "SELECT time, pipeline, candidate_version, champion_version, phase, weight, reason "
            f"FROM rollouts WHERE $__timeFilter(time) AND {_CHOSEN} ORDER BY time DESC LIMIT 200",
            "Every step, newest first.",
            kind="table",
            width=24,
        ),
        Panel(
            "Candidate's share",
            "SELECT time, pipeline AS series, weight AS value "
            f"FROM rollouts WHERE $__timeFilter(time) AND {_CHOSEN} ORDER BY time",
            "Percent of the traffic.",
            "percent",
        ),
        Panel(
            "Loss in training",
            "SELECT time, concat(pipeline, ' ', substring(job_id, 1, 8)) AS series, loss AS value "
            f"FROM progress WHERE $__timeFilter(time) AND {_CHOSEN} AND loss IS NOT NULL ORDER BY time",
            "As the trainer reports it.",
        ),
    ),
)


def _of_roles(title: str, description: str, unit: str, *expressions: Expression) -> Panel:
    return Panel(title, "", description, unit, expressions=expressions)


ROLES = Board(
    "tidemill-roles",
    "tidemill: roles and audit",
    "Whether the roles work, what waits, and whether anything is lost: by their own word, through Prometheus.",
    (
        _of_roles(
            "Silence",
            "Since each role's loop last gave a sign of life.",
            "s",
            Expression("tidemill_role_silent_seconds", "{{role}}"),
        ),
        _of_roles(
            "Starts",
            "How often each role has begun again within 15 minutes.",
            "short",
            Expression('changes(process_start_time_seconds{job="tidemill"}[15m])', "{{role}}"),
        ),
        _of_roles(
            "Age of the watermark",
            "How far the windows of each streams process are behind the clock.",
            "s",
            Expression("tidemill_streams_watermark_age_seconds", "{{instance}}"),
        ),
        _of_roles(
            "Rows that wait",
            "Age of the oldest range that the store has not acknowledged.",
            "s",
            Expression("tidemill_sink_pending_seconds", "{{instance}}"),
        ),
        _of_roles(
            "Inserts in trouble",
            "Attempts that had to be repeated, ranges whose rows cannot be made right, rows brought back.",
            "short",
            Expression("sum(increase(tidemill_sink_insert_retries_total[1m]))", "repeated within a minute"),
            Expression("sum(tidemill_sink_alarms)", "ranges in alarm"),
            Expression("sum(tidemill_sink_heals_total)", "rows brought back since the start"),
        ),
        _of_roles(
            "Dead letters",
            "Messages refused since the roles began, by sink and meter. Their reasons: `tidemill dlq list`.",
            "short",
            Expression("sum by (topic) (tidemill_sink_dead_letters_total)", "{{topic}}"),
            Expression("sum by (topic) (tidemill_meter_rejected_total)", "{{topic}}, by the meter"),
        ),
        _of_roles(
            "What the audit found",
            "In its last comparison; all must be 0.",
            "short",
            Expression("tidemill_audit_missing_rows", "rows missing"),
            Expression("tidemill_audit_duplicate_rows", "rows too many"),
            Expression("tidemill_audit_differing_windows", "windows that differ"),
        ),
        _of_roles(
            "Age of the audit",
            "Since its last comparison ended.",
            "s",
            Expression("tidemill_audit_age_seconds", "{{instance}}"),
        ),
        _of_roles(
            "Partials not applied",
            "Since streams began: repeated after a restart, refused (too many unknown pipelines), overlap (must be 0).",
            "short",
            Expression('sum by (outcome) (tidemill_streams_partials_total{outcome!="applied"})', "{{outcome}}"),
        ),
        _of_roles(
            "Windows that left early",
            "Their pipeline's state was full; no rule judges them.",
            "short",
            Expression("sum(tidemill_streams_early_windows)", "windows"),
        ),
        _of_roles(
            "Alerts not told",
            "By receiver: not taken yet, held back by a silence or maintenance, and whether it is retired (1).",
            "short",
            Expression("tidemill_alerts_waiting", "{{receiver}}: not taken"),
            Expression("tidemill_alerts_held_back", "{{receiver}}: held back"),
            Expression("tidemill_alerts_retired", "{{receiver}}: retired"),
        ),
    ),
)

BOARDS: tuple[Board, ...] = (LATENCY, COST, QUALITY, LOOP, ROLES, HOSTS)
