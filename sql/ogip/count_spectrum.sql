-- One row per spectrum and channel: counts with their error, energies, and what the background leaves.
-- A rate is multiplied by the exposure. Errors are those of the file, else the root of the counts, also where STAT_ERR is 0 throughout and POISSERR is not F; a systematic error is added in quadrature. The background is scaled by exposure, BACKSCAL and AREASCAL; that of a grating spectrum is the sum of its columns above and below it. Where the pair has none, nothing is subtracted, and where it is not known in a channel (marked as bad, or of other channels), net values are null. Energies are those of the paired response, else of the file (EBOUNDS, or the wavelengths of a grating spectrum): channel by channel where spectrum and response have as many, numbered one after the other from whatever number, else by number.
-- Source: OGIP/92-007 and 92-007a; XSPEC manual, chapter 2; the CIAO script tg_bkg (backgrounds of gratings).
-- key: release, spec_id, position
-- columns:
--   position: place of the channel in the spectrum, from 1 {meta.number}
--   channel: channel number of the detector {meta.number;instr}
--   e_min: lower nominal energy [keV] {em.energy;stat.min}
--   e_max: upper nominal energy [keV] {em.energy;stat.max}
--   counts: counts, a rate times the exposure; null where the file has NaN [ct] {phot.count;em.X-ray}
--   counts_error: error of counts [ct] {stat.error;phot.count;em.X-ray}
--   off_counts: counts of the background spectrum, not scaled [ct] {phot.count;em.X-ray}
--   alpha: what scales off_counts to the source region; null where it is not known {stat.param}
--   background: background counts scaled to the source region; null where not known [ct] {phot.count;em.X-ray}
--   background_error: error of background [ct] {stat.error;phot.count;em.X-ray}
--   net_counts: counts less background [ct] {phot.count;em.X-ray}
--   net_counts_error: error of net_counts [ct] {stat.error;phot.count;em.X-ray}
--   rate: counts / (exposure AREASCAL) [ct.s**-1] {arith.rate;phot.count;em.X-ray}
--   net_rate: net_counts / (exposure AREASCAL) [ct.s**-1] {arith.rate;phot.count;em.X-ray}
--   net_rate_kev: net_rate by energy [ct.s**-1.keV**-1] {arith.rate;phot.count;em.X-ray}
--   net_rate_kev_error: error of net_rate_kev [ct.s**-1.keV**-1] {stat.error;phot.count;em.X-ray}
--   quality: QUALITY of the channel; 0, which is good, where the file has none {meta.code.qual}
--   grouping: GROUPING of the channel; 0 where the file has none {meta.code}
WITH paired AS (
    SELECT s.release, s.spec_id, s.file_sha256, p.background_id, p.response_id, p.area_id,
        nullif(greatest(s.exposure, 0), 0) AS seconds,
        coalesce(p.background_from = 'columns', FALSE) AS in_columns,
        nullif(greatest(CASE WHEN in_columns THEN s.exposure ELSE b.exposure END, 0), 0)
            AS b_seconds,
        s.quantity = 'RATE' AS is_rate,
        CASE WHEN in_columns THEN s.quantity ELSE b.quantity END = 'RATE' AS b_is_rate,
        nullif(greatest(coalesce(s.areascal, 1), 0), 0) AS area,
        CASE
            WHEN in_columns THEN area ELSE nullif(greatest(coalesce(b.areascal, 1), 0), 0)
        END AS b_area,
        nullif(greatest(coalesce(s.backscal, 1), 0), 0) AS back,
        CASE
            WHEN in_columns THEN coalesce(s.backscup, 0) + coalesce(s.backscdn, 0)
            ELSE nullif(greatest(coalesce(b.backscal, 1), 0), 0)
        END AS b_back,
        in_columns OR (
            coalesce(b.n_channels = s.n_channels, FALSE) AND coalesce(
                s.channel = b.channel OR (
                    s.channel = range(s.channel[1], s.channel[1] + s.n_channels)
                    AND b.channel = range(b.channel[1], b.channel[1] + b.n_channels)
                ),
                TRUE
            )
        ) AS fits,
        s.channel, s.sys_err, s.quality, s.grouping,
        CASE WHEN s.poisserr IS FALSE OR list_max(s.stat_err) <> 0 THEN s.stat_err END AS stat_err,
        coalesce(s.first_channel, r.first_channel) AS first_channel,
        coalesce(s.counts, s.rate) AS found,
        CASE
            WHEN NOT in_columns THEN coalesce(b.counts, b.rate)
            WHEN s.backscdn IS NULL THEN s.background_up
            WHEN s.backscup IS NULL THEN s.background_down
            ELSE list_transform(
                range(1, s.n_channels + 1),
                lambda i: s.background_up[i] + s.background_down[i]
            )
        END AS b_found,
        s.areascal_channel, s.backscal_channel,
        CASE WHEN b.poisserr IS FALSE OR list_max(b.stat_err) <> 0 THEN b.stat_err END
            AS b_stat_err,
        b.sys_err AS b_sys_err, b.quality AS b_quality,
        CASE WHEN in_columns THEN s.areascal_channel ELSE b.areascal_channel END
            AS b_areascal_channel,
        b.backscal_channel AS b_backscal_channel, range(1, s.n_channels + 1) AS positions,
        -- 12.398... keV Angstrom is h c.
        coalesce(e.e_min, list_transform(s.bin_hi, lambda w: 12.398419843320026 / nullif(w, 0)))
            AS e_mins,
        coalesce(e.e_max, list_transform(s.bin_lo, lambda w: 12.398419843320026 / nullif(w, 0)))
            AS e_maxs,
        CASE
            WHEN e.channel IS NULL THEN range(1, s.n_channels + 1)
            WHEN e.n_channels = s.n_channels
                AND e.channel = range(e.channel[1], e.channel[1] + e.n_channels)
                AND coalesce(
                    s.channel = range(s.channel[1], s.channel[1] + s.n_channels), TRUE
                )
                THEN range(1, s.n_channels + 1)
            ELSE list_transform(
                s.channel,
                lambda c: CASE
                    WHEN c >= e.channel[1] AND e.channel[c - e.channel[1] + 1] = c
                        THEN c - e.channel[1] + 1
                    ELSE coalesce(list_position(e.channel, c), 0)
                END
            )
        END AS places
    FROM ogip.spectra AS s
    LEFT JOIN ogip.pairs AS p ON p.release = s.release AND p.spec_id = s.spec_id
    LEFT JOIN ogip.spectra AS b ON b.release = p.release AND b.spec_id = p.background_id
    LEFT JOIN ogip.responses AS r ON r.release = p.release AND r.response_id = p.response_id
    LEFT JOIN ogip.ebounds AS e
        ON e.release = s.release AND e.ebounds_id = coalesce(r.ebounds_id, s.ebounds_id)
),
listed AS (
    SELECT release, spec_id, file_sha256, background_id, response_id, area_id, in_columns,
        seconds, b_seconds, is_rate, b_is_rate, area, b_area, back, b_back, first_channel,
        unnest(positions) AS position,
        unnest(list_select(e_mins, places)) AS e_min,
        unnest(list_select(e_maxs, places)) AS e_max,
        unnest(channel) AS channel,
        unnest(found) AS found,
        unnest(stat_err) AS stat_err,
        unnest(sys_err) AS sys_err,
        unnest(quality) AS quality,
        unnest(grouping) AS grouping,
        unnest(areascal_channel) AS areascal_channel,
        unnest(backscal_channel) AS backscal_channel,
        unnest(CASE WHEN fits THEN b_found END) AS b_found,
        unnest(CASE WHEN fits THEN b_stat_err END) AS b_stat_err,
        unnest(CASE WHEN fits THEN b_sys_err END) AS b_sys_err,
        unnest(CASE WHEN fits THEN b_quality END) AS b_quality,
        unnest(CASE WHEN fits THEN b_areascal_channel END) AS b_areascal_channel,
        unnest(CASE WHEN fits THEN b_backscal_channel END) AS b_backscal_channel
    FROM paired
),
counted AS (
    SELECT release, spec_id, file_sha256, background_id, response_id, area_id, in_columns,
        e_min, e_max, position, coalesce(channel, first_channel + position - 1) AS channel,
        coalesce(quality, 0) AS quality, coalesce(grouping, 0) AS grouping,
        seconds * coalesce(areascal_channel, area) AS effective_seconds,
        CASE WHEN isfinite(found) THEN found * CASE WHEN is_rate THEN seconds ELSE 1 END END
            AS counts,
        stat_err * CASE WHEN is_rate THEN seconds ELSE 1 END AS stat_err, sys_err,
        CASE WHEN isfinite(b_found) AND coalesce(b_quality, 0) = 0
            THEN b_found * CASE WHEN b_is_rate THEN b_seconds ELSE 1 END
        END AS off_counts,
        b_stat_err * CASE WHEN b_is_rate THEN b_seconds ELSE 1 END AS off_stat_err, b_sys_err,
        seconds * coalesce(areascal_channel, area) * coalesce(backscal_channel, back)
            / nullif(
                b_seconds * coalesce(b_areascal_channel, b_area)
                    * coalesce(b_backscal_channel, b_back),
                0
            ) AS alpha
    FROM listed
),
with_errors AS (
    SELECT release, spec_id, file_sha256, background_id, response_id, area_id, in_columns,
        e_min, e_max, position, channel, quality, grouping, effective_seconds, counts, off_counts,
        alpha,
        alpha * off_counts AS background,
        sqrt(
            pow(coalesce(stat_err, sqrt(CASE WHEN counts >= 0 THEN counts END)), 2)
            + pow(counts * coalesce(sys_err, 0), 2)
        ) AS counts_error,
        alpha * sqrt(
            pow(coalesce(off_stat_err, sqrt(CASE WHEN off_counts >= 0 THEN off_counts END)), 2)
            + pow(off_counts * coalesce(b_sys_err, 0), 2)
        ) AS background_error
    FROM counted
),
netted AS (
    SELECT release, spec_id, file_sha256, background_id, response_id, area_id, e_min, e_max,
        position, channel, quality, grouping, effective_seconds, counts, counts_error,
        off_counts, alpha, background, background_error,
        CASE WHEN background_id IS NULL AND NOT in_columns THEN counts ELSE counts - background END
            AS net_counts,
        CASE WHEN background_id IS NULL AND NOT in_columns THEN counts_error
            ELSE sqrt(pow(counts_error, 2) + pow(background_error, 2))
        END AS net_counts_error
    FROM with_errors
)
SELECT release, spec_id, position, channel,
    least(e_min, e_max) AS e_min, greatest(e_min, e_max) AS e_max,
    counts, counts_error, off_counts, alpha, background, background_error,
    net_counts, net_counts_error,
    counts / nullif(effective_seconds, 0) AS rate,
    net_counts / nullif(effective_seconds, 0) AS net_rate,
    net_counts / nullif(effective_seconds * abs(e_max - e_min), 0) AS net_rate_kev,
    net_counts_error / nullif(effective_seconds * abs(e_max - e_min), 0)
        AS net_rate_kev_error,
    quality, grouping, background_id, response_id, area_id, file_sha256
FROM netted
