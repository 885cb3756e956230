-- One row per model, true and predicted class: spectra of the test side of the release that the
-- model was trained on.
-- key: release, model_id, class_mk, predicted_class
-- columns:
--   n: spectra {meta.number}
--   share: share of the spectra of the true class {stat.value;arith.ratio}
SELECT p.release, p.model_id, s.class_mk, p.predicted_class, count(*) AS n,
    count(*) / sum(count(*)) OVER (PARTITION BY p.release, p.model_id, s.class_mk) AS share
FROM sdss.cnn_predictions AS p
JOIN sdss.splits AS s
    ON s.release = p.release AND s.spec_id = p.spec_id
WHERE p.model_release = p.release AND s.split = 'test'
GROUP BY p.release, p.model_id, s.class_mk, p.predicted_class
