-- What was said of one call of a pipeline, each once, in order; no texts.
SELECT feedback_id, kind, source, time_ms, model_version AS version, metric, score
FROM feedback
WHERE pipeline = {pipeline:String} AND call_id = {call:String} AND time >= fromUnixTimestamp64Milli({from:Int64})
ORDER BY time_ms, feedback_id
LIMIT 1 BY feedback_id
LIMIT 1000
