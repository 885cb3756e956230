-- One row per spectrum: sums over the channels that are good (QUALITY 0) and whose counts and background are known.
-- key: release, spec_id
-- columns:
--   n_channels: channels that are summed {meta.number}
--   n_bad: channels that are left out as they are marked as bad {meta.number}
--   n_unknown: good channels that are left out as their counts or background are not known {meta.number}
--   counts: counts in the source region [ct] {phot.count;em.X-ray}
--   counts_error: its error [ct] {stat.error;phot.count;em.X-ray}
--   off_counts: counts of the background spectrum, not scaled [ct] {phot.count;em.X-ray}
--   alpha: what scales off_counts to the source region; the mean over counts where it differs by channel {stat.param}
--   background: background counts scaled to the source region; null without a background [ct] {phot.count;em.X-ray}
--   background_error: its error [ct] {stat.error;phot.count;em.X-ray}
--   background_poisson_error: the error that it would have if its counts were Poissonian [ct] {stat.error;phot.count;em.X-ray}
--   net_counts: counts less background [ct] {phot.count;em.X-ray}
--   net_counts_error: its error [ct] {stat.error;phot.count;em.X-ray}
--   net_rate: net_counts / (exposure AREASCAL) [ct.s**-1] {arith.rate;phot.count;em.X-ray}
SELECT release, spec_id, background_id,
    count(*) FILTER (WHERE quality = 0 AND net_counts IS NOT NULL) AS n_channels,
    count(*) FILTER (WHERE quality <> 0) AS n_bad,
    count(*) FILTER (WHERE quality = 0 AND net_counts IS NULL) AS n_unknown,
    sum(counts) FILTER (WHERE quality = 0 AND net_counts IS NOT NULL) AS counts,
    sqrt(sum(pow(counts_error, 2)) FILTER (WHERE quality = 0 AND net_counts IS NOT NULL))
        AS counts_error,
    sum(off_counts) FILTER (WHERE quality = 0 AND net_counts IS NOT NULL) AS off_counts,
    coalesce(
        sum(background) FILTER (WHERE quality = 0 AND net_counts IS NOT NULL)
            / nullif(sum(off_counts) FILTER (WHERE quality = 0 AND net_counts IS NOT NULL), 0),
        avg(alpha) FILTER (WHERE quality = 0 AND net_counts IS NOT NULL)
    ) AS alpha,
    sum(background) FILTER (WHERE quality = 0 AND net_counts IS NOT NULL) AS background,
    sqrt(sum(pow(background_error, 2)) FILTER (WHERE quality = 0 AND net_counts IS NOT NULL))
        AS background_error,
    sqrt(abs(sum(alpha * background) FILTER (WHERE quality = 0 AND net_counts IS NOT NULL)))
        AS background_poisson_error,
    sum(net_counts) FILTER (WHERE quality = 0) AS net_counts,
    sqrt(sum(pow(net_counts_error, 2)) FILTER (WHERE quality = 0 AND net_counts IS NOT NULL))
        AS net_counts_error,
    sum(net_rate) FILTER (WHERE quality = 0) AS net_rate,
    file_sha256
FROM ogip.count_spectrum
GROUP BY release, spec_id, background_id, file_sha256
