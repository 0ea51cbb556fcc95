-- Where the thumbs of calls made in [{since}, {until}) and told before {told_until} stand in their topic.
SELECT
    _topic AS topic,
    _partition AS partition,
    min(_offset) AS first_offset,
    max(_offset) AS last_offset,
    count() AS messages
FROM feedback
WHERE pipeline = {pipeline:String} AND time >= fromUnixTimestamp64Milli({since:Int64})
    AND time < fromUnixTimestamp64Milli({told_until:Int64})
    AND call_time_ms >= {since:Int64} AND call_time_ms < {until:Int64} AND kind = 'thumb' AND score IS NOT NULL
GROUP BY topic, partition
ORDER BY topic, partition
