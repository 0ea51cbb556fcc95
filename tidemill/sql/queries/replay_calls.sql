-- Answers that clients got, by window that starts in [{since}, {until}): of each figure the highest revision.
SELECT start_ms, max(ends) AS end_ms, sum(answers) AS answers
FROM
(
    SELECT start_ms, max(end_ms) AS ends, argMax(n, revision) AS answers FROM windows
    WHERE pipeline = {pipeline:String} AND metric = 'answers' AND role = 'client' AND slice = ''
        AND start >= fromUnixTimestamp64Milli({since:Int64}) AND start < fromUnixTimestamp64Milli({until:Int64})
    GROUP BY start_ms, model_version, variant
)
GROUP BY start_ms
ORDER BY start_ms
