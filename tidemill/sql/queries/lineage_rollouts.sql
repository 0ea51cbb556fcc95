-- The last state of each rollout of a pipeline, oldest first.
SELECT state
FROM (SELECT rollout_id, seq, time_ms, state FROM rollouts WHERE pipeline = {pipeline:String} ORDER BY seq DESC LIMIT 1 BY rollout_id)
ORDER BY time_ms
LIMIT 10000
