-- What a version answered: how many answers by role and variant, and when the first and the last.
SELECT role, variant, uniqExact(answer_id) AS answers, min(time_ms) AS first_ms, max(time_ms) AS last_ms
FROM responses
WHERE pipeline = {pipeline:String} AND model_version = {version:String}
GROUP BY role, variant
ORDER BY role, variant
