-- The answers to one call, clients' first, each once; looked for between {from} and {to} (a call's id tells when it was made).
SELECT call_id, answer_id, role, time_ms, call_time_ms, pipeline, model_version, variant, route_epoch, status
FROM responses
WHERE call_id = {call:String} AND time >= fromUnixTimestamp64Milli({from:Int64}) AND time < fromUnixTimestamp64Milli({to:Int64})
ORDER BY role, time_ms, answer_id
LIMIT 1 BY answer_id
