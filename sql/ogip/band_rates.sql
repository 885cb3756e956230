-- One row per spectrum that is no background: net counts, rates and photon fluxes in the soft, medium and hard bands of the Chandra Source Catalog, and the three hardness ratios as it defines them.
-- A channel belongs to a band by its middle; bad channels and those without a known background are left out. The photon flux is the net rate of each channel over the effective area at its middle (of the ARF, else the row sums of a response that holds the area); without one it is null, and so are hardness ratios, which are made of photon fluxes; a negative flux counts as 0 in them. Nothing is corrected for the aperture. Sums go by channel, so that they are the same to the last digit every time. Columns are named as in the catalogue, so that `lacus classify` takes the rows.
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
WITH channels AS (
    SELECT release, spec_id, position, coalesce(area_id, response_id) AS curve_id, net_counts,
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
bins AS (
    SELECT release, area_id AS curve_id, unnest(energ_lo) AS energ_lo,
        unnest(energ_hi) AS energ_hi, unnest(specresp) AS area
    FROM ogip.effective_area
),
curves AS (
    SELECT release, curve_id, energ_lo, energ_hi, area
    FROM bins
    WHERE energ_lo < 7.0 AND energ_hi > 0.5
    UNION ALL
    SELECT m.release, m.response_id AS curve_id, m.energ_lo, m.energ_hi,
        list_sum(
            list_slice(m.matrix, 1, coalesce(list_sum(list_slice(m.n_chan, 1, m.n_grp)), 0))
        ) AS area
    FROM ogip.redistribution AS m
    JOIN ogip.responses AS r ON r.release = m.release AND r.response_id = m.response_id
    WHERE r.includes_area AND m.energ_lo < 7.0 AND m.energ_hi > 0.5
),
energies AS (
    SELECT DISTINCT release, curve_id, energy FROM channels
),
areas AS (
    SELECT e.release, e.curve_id, e.energy,
        CASE WHEN e.energy < c.energ_hi AND c.area > 0 THEN c.area END AS area
    FROM energies AS e
    ASOF JOIN curves AS c
        ON c.release = e.release AND c.curve_id = e.curve_id AND e.energy >= c.energ_lo
),
with_area AS (
    SELECT c.release, c.spec_id, c.position, c.band, c.net_counts, c.net_counts_error,
        c.net_rate, c.net_rate / a.area AS flux
    FROM channels AS c
    LEFT JOIN areas AS a
        ON a.release = c.release AND a.curve_id = c.curve_id AND a.energy = c.energy
),
sums AS (
    SELECT release, spec_id, band,
        sum(net_counts ORDER BY position) AS counts,
        sqrt(sum(pow(net_counts_error, 2) ORDER BY position)) AS error,
        sum(net_rate ORDER BY position) AS rate,
        sum(flux ORDER BY position) AS flux
    FROM with_area
    GROUP BY release, spec_id, band
),
banded AS (
    SELECT release, spec_id,
        max(counts) FILTER (WHERE band = 's') AS counts_s,
        max(counts) FILTER (WHERE band = 'm') AS counts_m,
        max(counts) FILTER (WHERE band = 'h') AS counts_h,
        max(error) FILTER (WHERE band = 's') AS error_s,
        max(error) FILTER (WHERE band = 'm') AS error_m,
        max(error) FILTER (WHERE band = 'h') AS error_h,
        max(rate) FILTER (WHERE band = 's') AS rate_s,
        max(rate) FILTER (WHERE band = 'm') AS rate_m,
        max(rate) FILTER (WHERE band = 'h') AS rate_h,
        max(flux) FILTER (WHERE band = 's') AS flux_s,
        max(flux) FILTER (WHERE band = 'm') AS flux_m,
        max(flux) FILTER (WHERE band = 'h') AS flux_h
    FROM sums
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
