-- One row per spectrum, recipe and step: all that was done to a spectrum. Loading, which every
-- recipe begins with, is there once, as a recipe of its own.
-- key: release, spec_id, recipe, step_order
-- columns:
--   recipe: name of the preprocessing recipe; 'load' for the steps of loading, which are of all recipes {meta.id}
SELECT release, spec_id, 'load' AS recipe, step_order, step_name, params_json, result_hash,
    timestamp, warnings, file_sha256
FROM sdss.loading_log
UNION ALL
SELECT release, spec_id, recipe, step_order, step_name, params_json, result_hash,
    timestamp, warnings, file_sha256
FROM sdss.recipe_log
