-- What was asked in one call, where content is captured.
SELECT pipeline, gen_ai_input_messages AS messages
FROM requests
WHERE call_id = {call:String} AND time >= fromUnixTimestamp64Milli({from:Int64}) AND time < fromUnixTimestamp64Milli({to:Int64})
LIMIT 1
