-- One row per detection: the 12 features of the method, in its order.
-- A ratio given by the input is used where one of its terms is absent; a mean of 0 gives null.
-- Source: Perez-Diaz et al. 2024, arXiv 2401.12203.
-- key: release, name, obsid, obi, region_id
-- columns:
--   var_ratio_b: relative variability var_sigma_b / var_mean_b; broad band (0.5-7.0 keV) {src.var.amplitude;arith.ratio}
--   var_ratio_h: relative variability var_sigma_h / var_mean_h; hard band (2.0-7.0 keV) {src.var.amplitude;arith.ratio}
--   var_ratio_s: relative variability var_sigma_s / var_mean_s; soft band (0.5-1.2 keV) {src.var.amplitude;arith.ratio}
--   var_newq_b: mid-range over mean count rate, ((var_max_b + var_min_b) / 2) / var_mean_b {src.var.amplitude;arith.ratio}
--   missing: features that are null, in the order of the method, comma-separated; null where none is {meta.note}
WITH derived AS (
    SELECT
        release, name, obsid, obi, region_id, ra, dec,
        hard_hm, hard_hs, hard_ms, powlaw_gamma, bb_kt, var_prob_b, var_prob_h, var_prob_s,
        coalesce(var_sigma_b / nullif(var_mean_b, 0), var_ratio_b) AS var_ratio_b,
        coalesce(var_sigma_h / nullif(var_mean_h, 0), var_ratio_h) AS var_ratio_h,
        coalesce(var_sigma_s / nullif(var_mean_s, 0), var_ratio_s) AS var_ratio_s,
        coalesce(
            ((var_max_b + var_min_b) / 2) / nullif(var_mean_b, 0), var_newq_b
        ) AS var_newq_b,
        file_sha256, file_row
    FROM csc.detections
)
SELECT
    release, name, obsid, obi, region_id, ra, dec,
    hard_hm, hard_hs, hard_ms, powlaw_gamma, bb_kt,
    var_prob_b, var_ratio_b, var_prob_h, var_ratio_h, var_prob_s, var_ratio_s, var_newq_b,
    nullif(concat_ws(', ',
        CASE WHEN hard_hm IS NULL THEN 'hard_hm' END,
        CASE WHEN hard_hs IS NULL THEN 'hard_hs' END,
        CASE WHEN hard_ms IS NULL THEN 'hard_ms' END,
        CASE WHEN powlaw_gamma IS NULL THEN 'powlaw_gamma' END,
        CASE WHEN bb_kt IS NULL THEN 'bb_kt' END,
        CASE WHEN var_prob_b IS NULL THEN 'var_prob_b' END,
        CASE WHEN var_ratio_b IS NULL THEN 'var_ratio_b' END,
        CASE WHEN var_prob_h IS NULL THEN 'var_prob_h' END,
        CASE WHEN var_ratio_h IS NULL THEN 'var_ratio_h' END,
        CASE WHEN var_prob_s IS NULL THEN 'var_prob_s' END,
        CASE WHEN var_ratio_s IS NULL THEN 'var_ratio_s' END,
        CASE WHEN var_newq_b IS NULL THEN 'var_newq_b' END
    ), '') AS missing,
    file_sha256, file_row
FROM derived
