-- Upper ends of the estimates of quality without labels that were said in [{since}, {until}); each once, in order.
SELECT time_ms, start_ms, end_ms, assumeNotNull(value) AS high
FROM windows
WHERE pipeline = {pipeline:String} AND metric = 'quality_estimate_high' AND value IS NOT NULL
    AND time >= fromUnixTimestamp64Milli({since:Int64}) AND time < fromUnixTimestamp64Milli({until:Int64})
ORDER BY time_ms, start_ms
LIMIT 1 BY start_ms, model_version
