-- One row per exposure and mask, and label of it: what is cut out there, how well the detector
-- frame is known, and the expressions of evselect that do it, or that take what is kept where
-- nothing is cut out. A mask that is a list of regions has no pixels, so its areas are null.
-- key: release, mask, label, obsid, exposure
-- columns:
--   regions_excluded: regions that are cut out {meta.number}
--   area_excluded: area that is cut out of the whole mask [arcmin**2] {phys.angArea}
--   area_included: area of the mask that is kept [arcmin**2] {phys.angArea}
--   expression_sky: selection expression in sky pixels, for images and spectra of events {meta.note}
--   expression_det: selection expression in detector pixels, for tasks that work in DETX, DETY {meta.note}
SELECT t.release, t.mask, t.label, t.obsid, t.exposure, o.instrument, o.object,
    any_value(m.boxes_excluded) AS regions_excluded,
    any_value(m.pixels_excluded * m.pixel_scale ** 2 / 3600) AS area_excluded,
    any_value(m.pixels_included * m.pixel_scale ** 2 / 3600) AS area_included,
    o.calibration, o.residual_p95,
    max(t.expression) FILTER (WHERE t.frame = 'sky') AS expression_sky,
    max(t.expression) FILTER (WHERE t.frame = 'det') AS expression_det
FROM xmm.region_tables AS t
JOIN xmm.observations AS o
    ON o.release = t.release AND o.obsid = t.obsid AND o.exposure = t.exposure
JOIN xmm.masks AS m
    ON m.release = t.release AND m.mask = t.mask AND m.label = t.label
WHERE t.role = CASE WHEN m.boxes_excluded > 0 THEN 'bkg' ELSE 'mask' END
GROUP BY t.release, t.mask, t.label, t.obsid, t.exposure, o.instrument, o.object,
    o.calibration, o.residual_p95
