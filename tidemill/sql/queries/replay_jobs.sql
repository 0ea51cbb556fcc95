-- Jobs that began to train in [{since}, {until}): when, when they ended (0: not yet), of which alarm, when their
-- candidate served all.
SELECT start_ms, end_ms, alarm_id, r.champion_ms AS champion_ms
FROM
(
    SELECT
        job_id,
        minIf(time_ms, phase IN ('snapshot', 'training')) AS start_ms,
        minIf(time_ms, phase IN ('registered', 'rejected', 'failed')) AS end_ms,
        any(JSONExtractString(state, 'alarm_id')) AS alarm_id
    FROM jobs
    WHERE pipeline = {pipeline:String}
    GROUP BY job_id
    HAVING start_ms >= {since:Int64} AND start_ms < {until:Int64}
) AS j
LEFT JOIN
(
    SELECT JSONExtractString(state, 'job_id') AS job_id, min(time_ms) AS champion_ms FROM rollouts
    WHERE pipeline = {pipeline:String} AND phase = 'champion'
    GROUP BY job_id
) AS r ON j.job_id = r.job_id
ORDER BY start_ms
