-- One row per source and method: the mean of each class probability over its detections, the class
-- whose mean is largest (the first of equals, in the order of the columns; of a single detection,
-- its class), and the first detection in the order obsid, obi, region_id, nulls first.
-- key: release, name, method
-- columns:
--   obsid: observation identifier of the first detection {meta.id;obs}
--   obi: observation interval number of the first detection; null where the input has none {meta.id;obs}
--   region_id: detection region identifier of the first detection; null where the input has none {meta.id}
--   detection_count: detections of the source that have probabilities {meta.number}
--   p_qso: mean probability of class QSO over the detections {stat.probability;stat.mean}
--   p_agn: mean probability of class AGN over the detections {stat.probability;stat.mean}
--   p_seyfert_1: mean probability of class Seyfert_1 over the detections {stat.probability;stat.mean}
--   p_seyfert_2: mean probability of class Seyfert_2 over the detections {stat.probability;stat.mean}
--   p_hmxb: mean probability of class HMXB over the detections {stat.probability;stat.mean}
--   p_lmxb: mean probability of class LMXB over the detections {stat.probability;stat.mean}
--   p_xb: mean probability of class XB over the detections {stat.probability;stat.mean}
--   p_yso: mean probability of class YSO over the detections {stat.probability;stat.mean}
--   p_ttau: mean probability of class TTau* over the detections {stat.probability;stat.mean}
--   p_orion_v: mean probability of class Orion_V* over the detections {stat.probability;stat.mean}
--   p_qso_std: population standard deviation (ddof 0) of the probability of class QSO {stat.stdev;stat.probability}
--   p_agn_std: population standard deviation (ddof 0) of the probability of class AGN {stat.stdev;stat.probability}
--   p_seyfert_1_std: population standard deviation (ddof 0) of the probability of class Seyfert_1 {stat.stdev;stat.probability}
--   p_seyfert_2_std: population standard deviation (ddof 0) of the probability of class Seyfert_2 {stat.stdev;stat.probability}
--   p_hmxb_std: population standard deviation (ddof 0) of the probability of class HMXB {stat.stdev;stat.probability}
--   p_lmxb_std: population standard deviation (ddof 0) of the probability of class LMXB {stat.stdev;stat.probability}
--   p_xb_std: population standard deviation (ddof 0) of the probability of class XB {stat.stdev;stat.probability}
--   p_yso_std: population standard deviation (ddof 0) of the probability of class YSO {stat.stdev;stat.probability}
--   p_ttau_std: population standard deviation (ddof 0) of the probability of class TTau* {stat.stdev;stat.probability}
--   p_orion_v_std: population standard deviation (ddof 0) of the probability of class Orion_V* {stat.stdev;stat.probability}
--   soft_master_class: class of largest mean probability {src.class;meta.main}
WITH means AS (
    SELECT c.release, c.name, c.method, count(*) AS detection_count,
        min_by(c.obsid, (c.obsid, coalesce(c.obi, -1), coalesce(c.region_id, -1))) AS obsid,
        min_by(
            coalesce(c.obi, -1), (c.obsid, coalesce(c.obi, -1), coalesce(c.region_id, -1))
        ) AS obi,
        min_by(
            coalesce(c.region_id, -1), (c.obsid, coalesce(c.obi, -1), coalesce(c.region_id, -1))
        ) AS region_id,
        avg(c.p_qso) AS p_qso,
        avg(c.p_agn) AS p_agn,
        avg(c.p_seyfert_1) AS p_seyfert_1,
        avg(c.p_seyfert_2) AS p_seyfert_2,
        avg(c.p_hmxb) AS p_hmxb,
        avg(c.p_lmxb) AS p_lmxb,
        avg(c.p_xb) AS p_xb,
        avg(c.p_yso) AS p_yso,
        avg(c.p_ttau) AS p_ttau,
        avg(c.p_orion_v) AS p_orion_v,
        stddev_pop(c.p_qso) AS p_qso_std,
        stddev_pop(c.p_agn) AS p_agn_std,
        stddev_pop(c.p_seyfert_1) AS p_seyfert_1_std,
        stddev_pop(c.p_seyfert_2) AS p_seyfert_2_std,
        stddev_pop(c.p_hmxb) AS p_hmxb_std,
        stddev_pop(c.p_lmxb) AS p_lmxb_std,
        stddev_pop(c.p_xb) AS p_xb_std,
        stddev_pop(c.p_yso) AS p_yso_std,
        stddev_pop(c.p_ttau) AS p_ttau_std,
        stddev_pop(c.p_orion_v) AS p_orion_v_std
    FROM csc.class_probabilities AS c
    JOIN csc.repeated_sources AS r
        ON r.release = c.release AND r.name = c.name AND r.method = c.method
    WHERE c.detection_class IS NOT NULL
    GROUP BY c.release, c.name, c.method
)
SELECT release, name, method, obsid, nullif(obi, -1) AS obi, nullif(region_id, -1) AS region_id,
    detection_count,
    p_qso, p_agn, p_seyfert_1, p_seyfert_2, p_hmxb, p_lmxb, p_xb, p_yso, p_ttau, p_orion_v,
    p_qso_std, p_agn_std, p_seyfert_1_std, p_seyfert_2_std, p_hmxb_std, p_lmxb_std, p_xb_std,
    p_yso_std, p_ttau_std, p_orion_v_std,
    CASE greatest(
        p_qso, p_agn, p_seyfert_1, p_seyfert_2, p_hmxb, p_lmxb, p_xb, p_yso, p_ttau, p_orion_v
    )
        WHEN p_qso THEN 'QSO'
        WHEN p_agn THEN 'AGN'
        WHEN p_seyfert_1 THEN 'Seyfert_1'
        WHEN p_seyfert_2 THEN 'Seyfert_2'
        WHEN p_hmxb THEN 'HMXB'
        WHEN p_lmxb THEN 'LMXB'
        WHEN p_xb THEN 'XB'
        WHEN p_yso THEN 'YSO'
        WHEN p_ttau THEN 'TTau*'
        WHEN p_orion_v THEN 'Orion_V*'
    END AS soft_master_class
FROM means
UNION ALL
SELECT c.release, c.name, c.method, c.obsid, c.obi, c.region_id, 1 AS detection_count,
    c.p_qso, c.p_agn, c.p_seyfert_1, c.p_seyfert_2, c.p_hmxb, c.p_lmxb, c.p_xb, c.p_yso,
    c.p_ttau, c.p_orion_v,
    0.0 AS p_qso_std, 0.0 AS p_agn_std, 0.0 AS p_seyfert_1_std, 0.0 AS p_seyfert_2_std,
    0.0 AS p_hmxb_std, 0.0 AS p_lmxb_std, 0.0 AS p_xb_std,
    0.0 AS p_yso_std, 0.0 AS p_ttau_std, 0.0 AS p_orion_v_std,
    c.detection_class AS soft_master_class
FROM csc.class_probabilities AS c
LEFT JOIN csc.repeated_sources AS r
    ON r.release = c.release AND r.name = c.name AND r.method = c.method
WHERE c.detection_class IS NOT NULL AND r.name IS NULL
