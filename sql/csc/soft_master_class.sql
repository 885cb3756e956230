-- One row per source and method: the mean of each class probability over its detections, and the
-- class whose mean is largest (the first of equals, in the order of the columns).
-- key: release, name, method
SELECT release, name, method, detection_count,
    p_qso, p_agn, p_seyfert_1, p_seyfert_2, p_hmxb, p_lmxb, p_xb, p_yso, p_ttau, p_orion_v,
    p_qso_std, p_agn_std, p_seyfert_1_std, p_seyfert_2_std, p_hmxb_std, p_lmxb_std, p_xb_std,
    p_yso_std, p_ttau_std, p_orion_v_std,
    soft_master_class
FROM csc.source_probabilities
