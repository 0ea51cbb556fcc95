-- Sums by minute, inside the parts and so as whole as their rows. A query uses them when it groups by the minute
-- (`toStartOfMinute(time)`, or an hour made of that minute) and some of the other keys, filters on those only, and
-- asks for these very counts and sums; `WHERE time >= …` or `avg` read the rows instead. They end with their rows.

ALTER TABLE requests ADD PROJECTION IF NOT EXISTS by_minute
(
    SELECT pipeline, toStartOfMinute(time), count()
    GROUP BY pipeline, toStartOfMinute(time)
);
ALTER TABLE responses ADD PROJECTION IF NOT EXISTS by_minute
(
    SELECT
        pipeline,
        model_version,
        variant,
        role,
        cost_currency,
        toStartOfMinute(time),
        count(),
        countIf(status IN ('error', 'timeout')),
        sum(gen_ai_usage_input_tokens),
        sum(gen_ai_usage_cached_tokens),
        sum(gen_ai_usage_output_tokens),
        count(cost_micros),
        sum(cost_micros)
    GROUP BY pipeline, model_version, variant, role, cost_currency, toStartOfMinute(time)
);

-- Rows may be deleted by the quick way too: the sums are then made anew.

ALTER TABLE requests MODIFY SETTING lightweight_mutation_projection_mode = 'rebuild';
ALTER TABLE responses MODIFY SETTING lightweight_mutation_projection_mode = 'rebuild';

-- Rows that are there already get their sums in the background.

ALTER TABLE requests MATERIALIZE PROJECTION by_minute;
ALTER TABLE responses MATERIALIZE PROJECTION by_minute;
