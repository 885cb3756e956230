-- One row per source and method: the most frequent class of its detections. A tie goes to the class
-- that comes first when the detections are ordered by observation (obsid, obi, region_id, nulls
-- first; by the name of the class where these are equal), whatever the order of the input.
-- key: release, name, method
-- columns:
--   detection_count: detections of the source that have probabilities {meta.number}
--   hard_master_class: most frequent class of the detections {src.class;meta.main}
--   votes: detections that have this class {meta.number}
--   tied: whether another class has as many votes {meta.code}
WITH votes AS (
    SELECT c.release, c.name, c.method, c.detection_class, count(*) AS votes,
        min((c.obsid, coalesce(c.obi, -1), coalesce(c.region_id, -1))) AS first_seen
    FROM csc.class_probabilities AS c
    JOIN csc.repeated_sources AS r
        ON r.release = c.release AND r.name = c.name AND r.method = c.method
    WHERE c.detection_class IS NOT NULL
    GROUP BY c.release, c.name, c.method, c.detection_class
),
elected AS (
    SELECT release, name, method, sum(votes) AS detection_count, max(votes) AS votes,
        min_by(detection_class, (-votes, first_seen, detection_class)) AS hard_master_class,
        max_by(detection_class, (votes, first_seen, detection_class)) AS last_of_equals
    FROM votes
    GROUP BY release, name, method
)
SELECT release, name, method, CAST(detection_count AS BIGINT) AS detection_count,
    hard_master_class, votes, hard_master_class <> last_of_equals AS tied
FROM elected
UNION ALL
SELECT c.release, c.name, c.method, 1 AS detection_count,
    c.detection_class AS hard_master_class, 1 AS votes, FALSE AS tied
FROM csc.class_probabilities AS c
LEFT JOIN csc.repeated_sources AS r
    ON r.release = c.release AND r.name = c.name AND r.method = c.method
WHERE c.detection_class IS NOT NULL AND r.name IS NULL
