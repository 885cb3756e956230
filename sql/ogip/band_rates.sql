-- One row per spectrum that is no background: net counts, rates and photon fluxes in the soft, medium and hard bands of the Chandra Source Catalog, and the three hardness ratios as it defines them.
-- A channel belongs to a band by its middle; bad channels and those without a known background are left out. The photon flux is the net rate of each channel over the effective area at its middle (of the ARF, else the row sums of a response that holds the area); without one it is null, and so are hardness ratios, which are made of photon fluxes; a negative flux counts as 0 in them. Nothing is corrected for the aperture. Columns are named as in the catalogue, so that `lacus classify` takes the rows.
-- Source: Evans et al. 2024, ApJS 274, 22 (bands; hardness ratios of photon fluxes).
-- key: release, spec_id
-- columns:
--   name: object, else the identifier of the spectrum {meta.id;src}
--   obsid: observation, where it is a number {meta.id;obs}
--   src_cnts_aper_s: net counts, 0.5-1.2 keV [ct] {phot.count;em.X-ray.soft}
--   src_cnts_aper_m: net counts, 1.2-2.0 keV [ct] {phot.count;em.X-ray.medium}
--   src_cnts_aper_h: net counts, 2.0-7.0 keV [ct] {phot.count;em.X-ray.hard}
--   src_cnts_error_s: error of src_cnts_aper_s [ct] {stat.error;phot.count;em.X-ray.soft}
--   src_cnts_error_m: error of src_cnts_aper_m [ct] {stat.error;phot.count;em.X-ray.medium}
--   src_cnts_error_h: error of src_cnts_aper_h [ct] {stat.error;phot.count;em.X-ray.hard}
--   src_rate_aper_s: net count rate, 0.5-1.2 keV [ct.s**-1] {arith.rate;phot.count;em.X-ray.soft}
--   src_rate_aper_m: net count rate, 1.2-2.0 keV [ct.s**-1] {arith.rate;phot.count;em.X-ray.medium}
--   src_rate_aper_h: net count rate, 2.0-7.0 keV [ct.s**-1] {arith.rate;phot.count;em.X-ray.hard}
--   photflux_aper_s: net photon flux, 0.5-1.2 keV [photon.s**-1.cm**-2] {phot.flux;em.X-ray.soft}
--   photflux_aper_m: net photon flux, 1.2-2.0 keV [photon.s**-1.cm**-2] {phot.flux;em.X-ray.medium}
--   photflux_aper_h: net photon flux, 2.0-7.0 keV [photon.s**-1.cm**-2] {phot.flux;em.X-ray.hard}
--   hard_hm: hardness ratio (h - m) / (h + m) of photon fluxes {phot.flux;em.X-ray;arith.ratio}
--   hard_hs: hardness ratio (h - s) / (h + s) of photon fluxes {phot.flux;em.X-ray;arith.ratio}
--   hard_ms: hardness ratio (m - s) / (m + s) of photon fluxes {phot.flux;em.X-ray;arith.ratio}
WITH curves AS (
    SELECT release, area_id AS curve_id, unnest(energ_lo) AS energ_lo,
        unnest(energ_hi) AS energ_hi, unnest(specresp) AS area
    FROM ogip.effective_area
    UNION ALL
    SELECT m.release, m.response_id AS curve_id, m.energ_lo, m.energ_hi,
        list_sum(
            list_slice(m.matrix, 1, coalesce(list_sum(list_slice(m.n_chan, 1, m.n_grp)), 0))
        ) AS area
    FROM ogip.redistribution AS m
    JOIN ogip.responses AS r ON r.release = m.release AND r.response_id = m.response_id
    WHERE r.includes_area
),
channels AS (
    SELECT release, spec_id, coalesce(area_id, response_id) AS curve_id, net_counts,
        net_counts_error, net_rate, (e_min + e_max) / 2 AS energy,
        CASE
            WHEN (e_min + e_max) / 2 < 1.2 THEN 's'
            WHEN (e_min + e_max) / 2 < 2.0 THEN 'm'
            ELSE 'h'
        END AS band
    FROM ogip.count_spectrum
    WHERE quality = 0 AND (e_min + e_max) / 2 >= 0.5 AND (e_min + e_max) / 2 < 7.0
        AND net_counts IS NOT NULL
),
with_area AS (
    SELECT c.release, c.spec_id, c.band, c.net_counts, c.net_counts_error, c.net_rate,
        c.net_rate / CASE WHEN c.energy < a.energ_hi AND a.area > 0 THEN a.area END AS flux
    FROM channels AS c
    ASOF LEFT JOIN curves AS a
        ON a.release = c.release AND a.curve_id = c.curve_id AND c.energy >= a.energ_lo
),
banded AS (
    SELECT release, spec_id,
        sum(net_counts) FILTER (WHERE band = 's') AS counts_s,
        sum(net_counts) FILTER (WHERE band = 'm') AS counts_m,
        sum(net_counts) FILTER (WHERE band = 'h') AS counts_h,
        sqrt(sum(pow(net_counts_error, 2)) FILTER (WHERE band = 's')) AS error_s,
        sqrt(sum(pow(net_counts_error, 2)) FILTER (WHERE band = 'm')) AS error_m,
        sqrt(sum(pow(net_counts_error, 2)) FILTER (WHERE band = 'h')) AS error_h,
        sum(net_rate) FILTER (WHERE band = 's') AS rate_s,
        sum(net_rate) FILTER (WHERE band = 'm') AS rate_m,
        sum(net_rate) FILTER (WHERE band = 'h') AS rate_h,
        sum(flux) FILTER (WHERE band = 's') AS flux_s,
        sum(flux) FILTER (WHERE band = 'm') AS flux_m,
        sum(flux) FILTER (WHERE band = 'h') AS flux_h
    FROM with_area
    GROUP BY release, spec_id
),
floored AS (
    SELECT release, spec_id,
        CASE WHEN flux_s < 0 THEN 0 ELSE flux_s END AS s,
        CASE WHEN flux_m < 0 THEN 0 ELSE flux_m END AS m,
        CASE WHEN flux_h < 0 THEN 0 ELSE flux_h END AS h
    FROM banded
)
SELECT s.release, s.spec_id, coalesce(s.object, s.spec_id) AS name,
    try_cast(s.obs_id AS BIGINT) AS obsid, s.ra_obj AS ra, s.dec_obj AS dec,
    s.telescope, s.instrument,
    b.counts_s AS src_cnts_aper_s, b.counts_m AS src_cnts_aper_m, b.counts_h AS src_cnts_aper_h,
    b.error_s AS src_cnts_error_s, b.error_m AS src_cnts_error_m, b.error_h AS src_cnts_error_h,
    b.rate_s AS src_rate_aper_s, b.rate_m AS src_rate_aper_m, b.rate_h AS src_rate_aper_h,
    b.flux_s AS photflux_aper_s, b.flux_m AS photflux_aper_m, b.flux_h AS photflux_aper_h,
    (f.h - f.m) / nullif(f.h + f.m, 0) AS hard_hm,
    (f.h - f.s) / nullif(f.h + f.s, 0) AS hard_hs,
    (f.m - f.s) / nullif(f.m + f.s, 0) AS hard_ms,
    s.file_sha256
FROM ogip.spectra AS s
LEFT JOIN banded AS b ON b.release = s.release AND b.spec_id = s.spec_id
LEFT JOIN floored AS f ON f.release = s.release AND f.spec_id = s.spec_id
WHERE coalesce(s.content, '') <> 'BKG' AND NOT EXISTS (
    SELECT 1 FROM ogip.pairs AS p
    WHERE p.release = s.release AND p.background_id = s.spec_id
)
