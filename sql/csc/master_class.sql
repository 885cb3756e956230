-- One row per source and method: its soft and its hard class side by side, with position and
-- features of its first classified detection (ordered by obsid, obi, region_id), as published.
-- The class of a single detection is both.
-- key: release, name, method
-- columns:
--   hard_master_class: most frequent class of the detections {src.class}
SELECT s.release, s.name, s.method, s.soft_master_class,
    coalesce(h.hard_master_class, s.soft_master_class) AS hard_master_class, s.detection_count,
    s.p_qso, s.p_qso_std, s.p_agn, s.p_agn_std, s.p_seyfert_1, s.p_seyfert_1_std,
    s.p_seyfert_2, s.p_seyfert_2_std, s.p_hmxb, s.p_hmxb_std, s.p_lmxb, s.p_lmxb_std,
    s.p_xb, s.p_xb_std, s.p_yso, s.p_yso_std, s.p_ttau, s.p_ttau_std,
    s.p_orion_v, s.p_orion_v_std,
    f.ra, f.dec,
    f.hard_hm, f.hard_hs, f.hard_ms, f.powlaw_gamma, f.bb_kt, f.var_prob_b,
    f.var_ratio_b, f.var_prob_h, f.var_ratio_h, f.var_prob_s, f.var_ratio_s, f.var_newq_b
FROM csc.source_probabilities AS s
LEFT JOIN csc.hard_master_class AS h
    ON h.detection_count > 1
    AND h.release = s.release AND h.name = s.name AND h.method = s.method
LEFT JOIN csc.features AS f
    ON f.release = s.release AND f.name = s.name AND f.obsid = s.obsid
    AND f.obi IS NOT DISTINCT FROM s.obi AND f.region_id IS NOT DISTINCT FROM s.region_id
