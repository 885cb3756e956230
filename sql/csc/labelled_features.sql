-- One row per detection: its features and its label, if it has one.
-- A label of the observation goes before one of the source, a nearer object before a farther one;
-- equals go by catalogue, row and file. An object without a type gives no label.
-- key: release, name, obsid, obi, region_id
-- columns:
--   main_type: object type as the labelling catalogue spells it; null where no label matches {src.class}
WITH candidates AS (
    SELECT f.release, f.name, f.obsid, f.obi, f.region_id, l.main_type,
        l.obsid IS NULL AS per_source, l.separation_arcsec, l.catalogue, l.file_row,
        l.file_sha256
    FROM csc.features AS f
    JOIN csc.labels AS l
        ON l.release = f.release AND l.name = f.name AND l.obsid = f.obsid
    WHERE l.main_type IS NOT NULL
    UNION ALL
    SELECT f.release, f.name, f.obsid, f.obi, f.region_id, l.main_type,
        l.obsid IS NULL AS per_source, l.separation_arcsec, l.catalogue, l.file_row,
        l.file_sha256
    FROM csc.features AS f
    JOIN csc.labels AS l
        ON l.release = f.release AND l.name = f.name AND l.obsid IS NULL
    WHERE l.main_type IS NOT NULL
),
ranked AS (
    SELECT release, name, obsid, obi, region_id, main_type,
        row_number() OVER (
            PARTITION BY release, name, obsid, obi, region_id
            ORDER BY per_source, separation_arcsec NULLS LAST, catalogue, file_row,
                file_sha256
        ) AS rank
    FROM candidates
)
SELECT
    f.release, f.name, f.obsid, f.obi, f.region_id, f.ra, f.dec,
    f.hard_hm,
    f.hard_hs,
    f.hard_ms,
    f.powlaw_gamma,
    f.bb_kt,
    f.var_prob_b,
    f.var_ratio_b,
    f.var_prob_h,
    f.var_ratio_h,
    f.var_prob_s,
    f.var_ratio_s,
    f.var_newq_b,
    f.missing, r.main_type, f.file_sha256, f.file_row
FROM csc.features AS f
LEFT JOIN ranked AS r
    ON r.rank = 1
    AND r.release = f.release AND r.name = f.name AND r.obsid = f.obsid
    AND r.obi IS NOT DISTINCT FROM f.obi AND r.region_id IS NOT DISTINCT FROM f.region_id
