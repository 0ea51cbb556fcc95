-- The beginnings of a pipeline's alarms of these ids.
SELECT id, source, type, subject, time_ms, data
FROM events
WHERE pipeline = {pipeline:String} AND JSONExtractString(data, 'alarm_id') IN {alarms:Array(String)}
    AND JSONExtractString(data, 'state') = 'firing'
ORDER BY time_ms, id
LIMIT 1 BY id
