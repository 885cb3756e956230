-- One row per release and class: what the spectra of the class are like. Spectra without a label
-- make a row whose class is null.
-- key: release, class_mk
-- columns:
--   n_spectra: spectra of this class {meta.number}
--   share: share of the release's spectra that are of this class {stat.value;arith.ratio}
--   share_labelled: share of all the release's spectra that have a class {stat.value;arith.ratio}
--   sn_median: median over the spectra of their median signal-to-noise ratio {stat.snr;stat.median}
--   wavelength_min: shortest wavelength that any of them has [Angstrom] {em.wl;stat.min}
--   wavelength_max: longest wavelength that any of them has [Angstrom] {em.wl;stat.max}
--   wavelength_min_median: median over the spectra of their shortest wavelength [Angstrom] {em.wl;stat.median}
--   wavelength_max_median: median over the spectra of their longest wavelength [Angstrom] {em.wl;stat.median}
--   resolution_r: median resolving power {spect.resolution;stat.median}
--   ebv_sfd: median E(B-V) of Schlegel, Finkbeiner & Davis (1998) [mag] {phot.color.excess;stat.median}
--   n_plates: different plates {meta.number}
--   data_releases: releases or versions of the reduction, comma-separated {meta.version}
SELECT m.release, l.class_mk, count(*) AS n_spectra,
    count(*) / sum(count(*)) OVER (PARTITION BY m.release) AS share,
    sum(count(l.class_mk)) OVER (PARTITION BY m.release)
        / sum(count(*)) OVER (PARTITION BY m.release) AS share_labelled,
    median(m.sn_median) AS sn_median,
    min(m.wavelength_min_A) AS wavelength_min,
    max(m.wavelength_max_A) AS wavelength_max,
    median(m.wavelength_min_A) AS wavelength_min_median,
    median(m.wavelength_max_A) AS wavelength_max_median,
    median(m.resolution_r) AS resolution_r,
    median(m.ebv_sfd) AS ebv_sfd,
    count(DISTINCT m.plate) AS n_plates,
    string_agg(DISTINCT m.data_release, ', ' ORDER BY m.data_release) AS data_releases
FROM sdss.spectra_metadata AS m
LEFT JOIN sdss.spectra_labels AS l
    ON l.release = m.release AND l.spec_id = m.spec_id
GROUP BY m.release, l.class_mk
