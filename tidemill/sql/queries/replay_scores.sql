-- Scores of clients' answers under one metric, given in [{since}, {until}); each once, in order.
SELECT feedback_id, time_ms, call_time_ms, model_version, variant, source, label_source, assumeNotNull(score) AS score
FROM feedback
WHERE pipeline = {pipeline:String} AND time >= fromUnixTimestamp64Milli({since:Int64})
    AND time < fromUnixTimestamp64Milli({until:Int64}) AND variant != 'shadow' AND score IS NOT NULL
    AND if(metric = '' AND kind = 'thumb', 'thumb', metric) = {metric:String}
ORDER BY time_ms, feedback_id
LIMIT 1 BY feedback_id
