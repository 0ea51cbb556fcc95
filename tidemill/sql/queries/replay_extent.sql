-- Whether there are scores of a metric at all, and from when to when; one row for each pipeline.
SELECT pipeline, count() AS scores, min(time_ms) AS first_ms, max(time_ms) AS last_ms
FROM feedback
WHERE score IS NOT NULL AND variant != 'shadow'
GROUP BY pipeline
ORDER BY pipeline
