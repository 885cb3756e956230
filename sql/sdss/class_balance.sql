-- One row per release, class that is learnt and side of the split.
-- key: release, class_mk, split
-- columns:
--   n: spectra {meta.number}
--   share: share of the spectra of this side {stat.value;arith.ratio}
--   n_groups: leakage groups that they are of {meta.number}
SELECT release, class_mk, split, count(*) AS n,
    count(*) / sum(count(*)) OVER (PARTITION BY release, split) AS share,
    count(DISTINCT leakage_group) AS n_groups
FROM sdss.splits
GROUP BY release, class_mk, split
