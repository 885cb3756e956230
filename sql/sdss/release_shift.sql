-- One row per model and release: what the model is worth on the spectra of a release that have a
-- class: the test side of the release it was trained on, all of any other. The class to be found
-- is there that of the split, elsewhere letter and subtype, or the letter if that is predicted.
-- key: release, model_id
-- columns:
--   n_labelled: spectra with a class {meta.number}
--   known_share: share of them whose class is one of the model's {stat.value;arith.ratio}
--   accuracy: share of them whose class is found {stat.value;arith.ratio}
--   letter_accuracy: share of them whose spectral letter is found (of a class without letter, the class) {stat.value;arith.ratio}
--   mean_probability: mean probability of the predicted class {stat.probability;stat.mean}
--   calibration_gap: mean probability less accuracy: above 0 where the model is too sure {stat.error}
--   abstained_share: share of them on which the model abstains {stat.value;arith.ratio}
WITH labelled AS (
    SELECT release, spec_id,
        coalesce(spectral_letter, class_mk) AS letter,
        CASE
            WHEN spectral_letter IS NULL THEN class_mk
            ELSE regexp_extract(class_mk, '[OBAFGKMLTY][0-9.]*')
        END AS learnt
    FROM sdss.spectra_labels
    WHERE class_mk IS NOT NULL
),
compared AS (
    SELECT p.release, p.model_id, p.model_release, p.probability, p.abstained,
        p.predicted_class = s.class_mk
            OR (s.class_mk IS NULL AND p.predicted_class IN (l.learnt, l.letter)) AS right_class,
        list_has_any(p.classes, [s.class_mk, l.learnt, l.letter]) AS known,
        coalesce(
            nullif(regexp_extract(p.predicted_class, '^([OBAFGKMLTY])[0-9.]*$', 1), ''),
            p.predicted_class
        ) = l.letter AS right_letter
    FROM sdss.cnn_predictions AS p
    JOIN labelled AS l
        ON l.release = p.release AND l.spec_id = p.spec_id
    LEFT JOIN sdss.splits AS s
        ON s.release = p.release AND s.spec_id = p.spec_id AND s.release = p.model_release
    WHERE p.release <> p.model_release OR s.split = 'test'
)
SELECT release, model_id, model_release, count(*) AS n_labelled,
    count(*) FILTER (WHERE known) / count(*) AS known_share,
    count(*) FILTER (WHERE right_class) / count(*) AS accuracy,
    count(*) FILTER (WHERE right_letter) / count(*) AS letter_accuracy,
    avg(probability) AS mean_probability,
    avg(probability) - count(*) FILTER (WHERE right_class) / count(*) AS calibration_gap,
    count(*) FILTER (WHERE abstained) / count(*) AS abstained_share
FROM compared
GROUP BY release, model_id, model_release
