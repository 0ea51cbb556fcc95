-- The last state of each job of a pipeline that was more than a decision against one, cancelled ones with a data set among them, newest first.
SELECT state
FROM (SELECT job_id, seq, time_ms, phase, state FROM jobs WHERE pipeline = {pipeline:String} ORDER BY seq DESC LIMIT 1 BY job_id)
WHERE phase != 'declined' OR JSONExtractString(state, 'data_digest') != ''
ORDER BY time_ms DESC
LIMIT 10000
