-- One row per spectrum: its counts, what the background leaves of them, how significant that is, and how much may hide in it.
-- Sums are over good channels whose background is known; see good_counts.
-- key: release, spec_id
SELECT g.release, g.spec_id, s.telescope, s.instrument, s.object, s.obs_id, s.content, s.exposure,
    g.background_id, g.n_channels, g.n_bad, g.n_unknown, g.counts, g.counts_error, g.off_counts,
    g.alpha, g.background, g.background_error, g.net_counts, g.net_counts_error, g.net_rate,
    l.upper_limit_90, l.upper_limit_90_estimated, l.significance, l.significance_from,
    g.file_sha256
FROM ogip.good_counts AS g
JOIN ogip.spectra AS s ON s.release = g.release AND s.spec_id = g.spec_id
LEFT JOIN ogip.net_count_limits AS l ON l.release = g.release AND l.spec_id = g.spec_id
