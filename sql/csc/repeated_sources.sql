-- One row per source and method with more than one classified detection. Only these, a minority,
-- have something to average and to vote on; the views of master classes take the rest as it is.
-- key: release, name, method
-- columns:
--   detection_count: detections of the source that have probabilities {meta.number}
SELECT release, name, method, count(*) AS detection_count
FROM csc.class_probabilities
WHERE detection_class IS NOT NULL
GROUP BY release, name, method
HAVING count(*) > 1
