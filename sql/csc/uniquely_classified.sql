-- One row per source and method whose soft and hard class agree.
-- key: release, name, method
-- columns:
--   master_class: class that both votes give {src.class;meta.main}
--   agg_master_class: its aggregated class: AGN, Seyfert, XB or YSO {src.class}
SELECT release, name, method,
    CASE
        WHEN soft_master_class IN ('QSO', 'AGN') THEN 'AGN'
        WHEN soft_master_class IN ('Seyfert_1', 'Seyfert_2') THEN 'Seyfert'
        WHEN soft_master_class IN ('HMXB', 'LMXB', 'XB') THEN 'XB'
        WHEN soft_master_class IN ('YSO', 'TTau*', 'Orion_V*') THEN 'YSO'
    END AS agg_master_class,
    soft_master_class AS master_class, detection_count,
    p_qso, p_qso_std, p_agn, p_agn_std, p_seyfert_1, p_seyfert_1_std,
    p_seyfert_2, p_seyfert_2_std, p_hmxb, p_hmxb_std, p_lmxb, p_lmxb_std,
    p_xb, p_xb_std, p_yso, p_yso_std, p_ttau, p_ttau_std,
    p_orion_v, p_orion_v_std,
    ra, dec,
    hard_hm, hard_hs, hard_ms, powlaw_gamma, bb_kt, var_prob_b,
    var_ratio_b, var_prob_h, var_ratio_h, var_prob_s, var_ratio_s, var_newq_b
FROM csc.master_class
WHERE soft_master_class = hard_master_class
