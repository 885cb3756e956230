-- One row per source and method: the most frequent class of its detections. A tie goes to the class
-- that comes first when the detections are ordered by observation (obsid, obi, region_id, nulls
-- first), whatever the order of the input.
-- key: release, name, method
-- columns:
--   detection_count: detections of the source that have probabilities {meta.number}
--   hard_master_class: most frequent class of the detections {src.class}
--   votes: detections that have this class {meta.number}
--   tied: whether another class has as many votes {meta.code}
WITH ordered AS (
    SELECT release, name, method, detection_class,
        row_number() OVER (
            PARTITION BY release, name, method
            ORDER BY obsid, obi NULLS FIRST, region_id NULLS FIRST
        ) AS seen
    FROM csc.class_probabilities
    WHERE detection_class IS NOT NULL
),
votes AS (
    SELECT release, name, method, detection_class, count(*) AS votes, min(seen) AS first_seen
    FROM ordered
    GROUP BY release, name, method, detection_class
),
ranked AS (
    SELECT release, name, method, detection_class, votes,
        sum(votes) OVER (PARTITION BY release, name, method) AS detection_count,
        row_number() OVER (
            PARTITION BY release, name, method ORDER BY votes DESC, first_seen
        ) AS rank,
        lead(votes) OVER (
            PARTITION BY release, name, method ORDER BY votes DESC, first_seen
        ) AS next_votes
    FROM votes
)
SELECT release, name, method, CAST(detection_count AS BIGINT) AS detection_count,
    detection_class AS hard_master_class, votes, coalesce(next_votes = votes, FALSE) AS tied
FROM ranked
WHERE rank = 1
