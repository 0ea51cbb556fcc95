"""Typed metric names: what tidemill measures of the traffic, and what its roles say of themselves.

``WindowMetric`` is the vocabulary of monitoring.windows; a rule or a dashboard that names another one is refused.
``ROLE_METRICS`` lists the roles' Prometheus names, each with its meaning; a test compares.
"""

from __future__ import annotations

from typing import Literal, get_args

WindowMetric = Literal[
    "requests",  # calls that arrived, per window
    "answers",  # answers that ended, per window
    "error_rate",  # share of answers that ended in error or timeout (a rejected call is its caller's fault)
    "cancel_rate",  # share of answers the client gave up on
    "truncated_rate",  # share of answers with a known finish reason that were cut off at their bound of tokens
    "other_finish_rate",  # share of them that ended for another reason than `stop` or `length`
    "input_tokens",  # tokens read, per window
    "cached_tokens",  # tokens read from the engine's prefix cache, per window
    "output_tokens",  # tokens written, per window
    "cost",  # money spent on priced answers, per window, in units of the currency
    "unpriced",  # answers without a known price, per window
    "queue_ms",  # time before the upstream was asked
    "ttft_ms",  # time to first token
    "tpot_ms",  # time per output token after the first
    "e2e_ms",  # time from arrival to the last byte
    "quality",  # mean of the pipeline's quality metric over scored answers
    "thumb",  # mean of users' thumbs (1 up, 0 down)
    "quality_estimate",  # quality that labels of all calls would show, estimated without them
    "quality_estimate_low",  # lower end of its 95 % interval
    "quality_estimate_high",  # upper end of its 95 % interval
    "input_chars",  # length of the users' text, characters
    "input_words",  # length of the users' text, words
    "input_digit_share",  # share of digits in the users' text
    "input_mean_word_length",  # characters per word in the users' text
    "input_non_latin_share",  # share of letters of other scripts than Latin in the users' text
    "input_context_chars",  # length of what was fetched for the answer, characters
    "input_embedding_1",  # first projection of the questions' embeddings, where a producer sends them
    "input_embedding_2",  # second projection
    "input_embedding_3",  # third projection
    "input_embedding_4",  # fourth projection
    "input_unseen_share",  # share of words in hash buckets the reference never saw
    "input_word_distance",  # Jensen-Shannon distance of word buckets to the reference, in [0, 1]
    "input_language_mismatch",  # chance that a call and one of the reference are in different languages
    "input_novelty",  # distance of the questions' words to the nearest question of the reference, in [0, 1]
    "output_chars",  # length of the answer, characters
    "output_words",  # length of the answer, words
    "output_empty",  # share of answers without any text where one was due
    "output_refusal",  # share of answers that begin as refusals do
    "output_repetition",  # share of four words in a row that the answer had before
    "output_valid",  # share of answers that have the form of the pipeline's output_format
]
WINDOW_METRICS: tuple[str, ...] = get_args(WindowMetric)
ESTIMATES: tuple[str, ...] = ("quality_estimate", "quality_estimate_low", "quality_estimate_high")
"""Those that come from the store, twice a minute, and not from stage 2: no rule judges them."""
DURATIONS: tuple[str, ...] = ("queue_ms", "ttft_ms", "tpot_ms", "e2e_ms")
"""Those with quantiles: times of an answer, under the names of its fields."""
TEXT_METRICS: tuple[str, ...] = tuple(
    name for name in WINDOW_METRICS if name.startswith(("input_", "output_")) and not name.endswith("_tokens")
)
"""Those of the text of questions and answers, which drift is watched on."""
MEAN_METRICS: tuple[str, ...] = tuple(
    n for n in WINDOW_METRICS if n not in ("requests", "answers", "quality", *ESTIMATES)
)
"""Those with a mean over calls, answers or words, which a drift detector can watch; quality is watched by score."""

UNSEEN_SHARE, WORD_DISTANCE = "input_unseen_share", "input_word_distance"
LANGUAGE_MISMATCH, NOVELTY = "input_language_mismatch", "input_novelty"
WORD_METRICS = (UNSEEN_SHARE, WORD_DISTANCE)
"""Those of the counts of words."""
REFERENCE_METRICS: tuple[str, ...] = (*WORD_METRICS, LANGUAGE_MISMATCH, NOVELTY)
"""Those that compare with a reference, which only the running detector of the whole traffic has."""
SLICE_METRICS: tuple[str, ...] = tuple(name for name in WINDOW_METRICS if name not in (*REFERENCE_METRICS, *ESTIMATES))
"""Those that slices have, too (durations without quantiles); a reference is the whole's alone."""

UNITS: dict[str, str] = {
    "requests": "calls",
    "answers": "answers",
    "error_rate": "share",
    "cancel_rate": "share",
    "truncated_rate": "share",
    "other_finish_rate": "share",
    "input_tokens": "tokens",
    "cached_tokens": "tokens",
    "output_tokens": "tokens",
    "cost": "currency",
    "unpriced": "answers",
    "queue_ms": "ms",
    "ttft_ms": "ms",
    "tpot_ms": "ms",
    "e2e_ms": "ms",
    "quality": "score",
    "thumb": "score",
    "quality_estimate": "score",
    "quality_estimate_low": "score",
    "quality_estimate_high": "score",
    "input_chars": "characters",
    "input_words": "words",
    "input_digit_share": "share",
    "input_mean_word_length": "characters",
    "input_non_latin_share": "share",
    "input_context_chars": "characters",
    "input_embedding_1": "projection",
    "input_embedding_2": "projection",
    "input_embedding_3": "projection",
    "input_embedding_4": "projection",
    "input_unseen_share": "share",
    "input_word_distance": "distance",
    "input_language_mismatch": "share",
    "input_novelty": "distance",
    "output_chars": "characters",
    "output_words": "words",
    "output_empty": "share",
    "output_refusal": "share",
    "output_repetition": "share",
    "output_valid": "share",
}

SHARES: frozenset[str] = frozenset(name for name, unit in UNITS.items() if unit in ("share", "score"))
"""Those whose value lies in [0, 1]."""

HostMetric = Literal[
    "cpu_share",  # processor time in use since the last look, of all cores
    "memory_share",  # memory in use, less what the system can take back at once
    "memory_free_bytes",  # memory that processes can still get
    "disk_share",  # of data_dir's file system in use
    "disk_free_bytes",  # of data_dir's file system that is left for us
    "gpu_share",  # time in which the GPU computed, over NVML's last period
    "gpu_memory_share",  # GPU memory in use
    "gpu_memory_used_bytes",  # GPU memory in use
    "gpu_temperature_c",  # the GPU's temperature, degrees Celsius
    "gpu_power_w",  # the GPU's power draw, watts
    "requests_running",  # requests that the engine computes
    "requests_waiting",  # requests that wait in the engine's queue
    "kv_cache_share",  # of the engine's key-value cache in use
    "preemptions_per_s",  # requests put back for want of cache
    "input_tokens_per_s",  # tokens read
    "output_tokens_per_s",  # tokens written
    "prefix_hit_share",  # of the tokens looked up in the prefix cache that were there, since the last look
    "probe_agreement",  # of the last round's probe answers that equal the reference's
]
HOST_METRICS: tuple[str, ...] = get_args(HostMetric)
"""Figures in monitoring.hosts; a test compares the page about them."""

RoleMetric = Literal[
    "tidemill_gateway_calls_total",  # finished calls by pipeline, version, variant, status
    "tidemill_gateway_ttft_seconds",  # histogram of time to first token by pipeline, version, variant
    "tidemill_gateway_e2e_seconds",  # histogram of end-to-end time by pipeline, version, variant
    "tidemill_gateway_output_tokens_total",  # tokens written by pipeline, version, variant
    "tidemill_gateway_in_flight",  # calls being answered by pipeline
    "tidemill_gateway_shadows_dropped_total",  # shadow answers not asked for because something waited
    "tidemill_gateway_set_aside_total",  # pieces of the local file that could not go to Kafka, kept in quarantine
    "tidemill_gateway_spool_pending",  # events in the local file not yet acknowledged by Kafka
    "tidemill_meter_events_total",  # source events folded by topic
    "tidemill_meter_ranges_total",  # frozen ranges produced
    "tidemill_meter_rejected_total",  # messages that were no valid event, by topic
    "tidemill_meter_unknown_pipeline_events_total",  # events of pipelines that are not in the settings
    "tidemill_offsets_lost_total",  # offsets a log lost (cut) or deleted unread (retention), by topic and why
    "tidemill_streams_partials_total",  # partials by outcome (applied, repeated, overlap, refused, malformed)
    "tidemill_streams_misplaced_total",  # requests and answers outside their window: late (left out), ahead (moved)
    "tidemill_streams_folded_events",  # events counted under the version `other`: too many versions in their window
    "tidemill_streams_early_windows",  # windows that left early: their pipeline's state was full
    "tidemill_streams_state_bytes",  # largest state of a pipeline's windows, bytes at most
    "tidemill_streams_error_budget_left",  # share left of an objective's error budget, by pipeline and objective
    "tidemill_streams_windows_total",  # window rows emitted
    "tidemill_streams_watermark_age_seconds",  # how far the watermark is behind the clock
    "tidemill_streams_watermark_ahead_seconds",  # how far it is ahead of the clock
    "tidemill_streams_threshold_events_total",  # threshold events by kind and state
    "tidemill_streams_false_alarms_allowed",  # false alarms that the budget allowed so far, on average, by pipeline
    "tidemill_streams_detected_alarms",  # alarms that detectors have raised on that budget, false or not, by pipeline
    "tidemill_streams_watched_series",  # series that share the budget, by pipeline
    "tidemill_streams_waiting_series",  # those of a pipeline with a season that know too little of their hour
    "tidemill_sink_rows_total",  # rows acknowledged by table
    "tidemill_sink_dead_letters_total",  # messages sent to dead-letter topics by topic
    "tidemill_sink_insert_retries_total",  # insert attempts that had to be repeated
    "tidemill_sink_heals_total",  # rows the store knew and lacked, brought back, by table
    "tidemill_sink_alarms",  # ranges whose rows cannot be made right
    "tidemill_sink_pending_seconds",  # age of the oldest range not yet acknowledged
    "tidemill_scorer_scores_total",  # scores written by pipeline
    "tidemill_scorer_given_up_total",  # labels whose answer never came, by pipeline
    "tidemill_scorer_waiting",  # labels that wait for an answer or a late shadow answer
    "tidemill_alerts_deliveries_total",  # webhook deliveries by receiver and outcome
    "tidemill_alerts_waiting",  # notifications due and not taken yet, by receiver
    "tidemill_alerts_held_back",  # alarms that a silence or maintenance holds back now, by receiver
    "tidemill_alerts_muted_total",  # events held back or left out by a silence or maintenance, by receiver
    "tidemill_alerts_silences",  # silences and maintenance that hold now
    "tidemill_alerts_retired",  # 1 where the receiver has answered 410 and is called no more
    "tidemill_audit_missing_rows",  # messages below the sink's offsets without a row or a dead letter, last comparison
    "tidemill_audit_duplicate_rows",  # rows too many for their offsets, last comparison
    "tidemill_audit_differing_windows",  # windows whose figures differ from the raw rows', last comparison
    "tidemill_audit_age_seconds",  # since the last comparison ended
    "tidemill_host_figure",  # newest figure of a machine, a GPU or an engine, by name
    "tidemill_host_differences",  # adapters that are served otherwise than registered, by engine
    "tidemill_role_silent_seconds",  # since the role's loop last gave a sign of life
    "tidemill_evidence_reports_total",  # evidence reports by outcome
    "tidemill_retrain_decisions_total",  # decisions on triggers
    "tidemill_retrain_jobs_total",  # jobs by phase reached
    "tidemill_rollout_steps_total",  # rollout transitions by phase
]
ROLE_METRICS: tuple[str, ...] = get_args(RoleMetric)
