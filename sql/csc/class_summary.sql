-- One row per release, method and class: how many detections and sources have it.
-- key: release, method, class
-- columns:
--   class: one of the ten classes {src.class}
--   agg_class: its aggregated class: AGN, Seyfert, XB or YSO {src.class}
--   detections: detections of this class {meta.number}
--   soft_sources: sources with this soft master class {meta.number}
--   hard_sources: sources with this hard master class {meta.number}
--   unique_sources: sources whose soft and hard master class are both this {meta.number}
--   mean_probability: mean probability of this class over its detections {stat.probability;stat.mean}
WITH sources AS (
    SELECT s.release, s.method, s.soft_master_class, h.hard_master_class
    FROM csc.soft_master_class AS s
    JOIN csc.hard_master_class AS h
        ON h.release = s.release AND h.name = s.name AND h.method = s.method
),
counted AS (
    SELECT release, method, detection_class AS class, count(*) AS detections,
        0 AS soft_sources, 0 AS hard_sources, 0 AS unique_sources,
        sum(greatest(p_qso, p_agn, p_seyfert_1, p_seyfert_2, p_hmxb, p_lmxb, p_xb, p_yso, p_ttau, p_orion_v)) AS probability
    FROM csc.class_probabilities
    WHERE detection_class IS NOT NULL
    GROUP BY release, method, detection_class
    UNION ALL
    SELECT release, method, soft_master_class AS class, 0 AS detections,
        count(*) AS soft_sources, 0 AS hard_sources,
        count(*) FILTER (WHERE soft_master_class = hard_master_class) AS unique_sources,
        0 AS probability
    FROM sources
    GROUP BY release, method, soft_master_class
    UNION ALL
    SELECT release, method, hard_master_class AS class, 0 AS detections,
        0 AS soft_sources, count(*) AS hard_sources, 0 AS unique_sources, 0 AS probability
    FROM sources
    GROUP BY release, method, hard_master_class
)
SELECT release, method, class,
    CASE
        WHEN class IN ('QSO', 'AGN') THEN 'AGN'
        WHEN class IN ('Seyfert_1', 'Seyfert_2') THEN 'Seyfert'
        WHEN class IN ('HMXB', 'LMXB', 'XB') THEN 'XB'
        WHEN class IN ('YSO', 'TTau*', 'Orion_V*') THEN 'YSO'
    END AS agg_class,
    CAST(sum(detections) AS BIGINT) AS detections,
    CAST(sum(soft_sources) AS BIGINT) AS soft_sources,
    CAST(sum(hard_sources) AS BIGINT) AS hard_sources,
    CAST(sum(unique_sources) AS BIGINT) AS unique_sources,
    sum(probability) / nullif(sum(detections), 0) AS mean_probability
FROM counted
GROUP BY release, method, class
