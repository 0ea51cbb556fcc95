-- Where the requests of calls made in [{since}, {until}) stand in their topic.
SELECT
    _topic AS topic,
    _partition AS partition,
    min(_offset) AS first_offset,
    max(_offset) AS last_offset,
    count() AS messages
FROM requests
WHERE pipeline = {pipeline:String} AND time >= fromUnixTimestamp64Milli({since:Int64})
    AND time < fromUnixTimestamp64Milli({until:Int64}) AND gen_ai_input_messages IS NOT NULL
GROUP BY topic, partition
ORDER BY topic, partition
