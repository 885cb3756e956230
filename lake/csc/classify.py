"""Classify detections with a trained model, one detection at a time as far as results go."""

from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lake.csc.features import CLASSES
from lake.csc.model import ClassModel
from lake.csc.outcome import (
    NO_FEATURES,
    Scored,
    classified_table,
    missing_text,
    responsibilities_table,
)
from lake.csc.softmin import MIN_MEMBERS, softmin
from lake.csc.threads import one_thread
from lake.errors import UsageError

FloatArray = npt.NDArray[np.float64]
Method = Literal["softmin", "posterior"]

NOVELTY_THRESHOLD = 0.01
"""The posterior abstains below this novelty p-value."""

MARGIN_THRESHOLD = 0.1
"""The posterior abstains where the runner-up comes closer than this."""

NO_LABELS = "the model was trained without labels"


@one_thread()
def classify(model: ClassModel, table: pa.Table, method: Method) -> pa.Table:
    """Classify the detections of a table that have no label, or an ambiguous one.

    Parameters
    ----------
    model : ClassModel
    table : pyarrow.Table
        The twelve features, identification columns (release, name, obsid, obi, region_id,
        file_sha256, file_row: those there are), and main_type where labels exist. Without
        main_type every row is classified.
    method : {"softmin", "posterior"}
        The published rule, which needs all twelve features; or the posterior probability,
        which integrates over missing ones.

    Returns
    -------
    pyarrow.Table
        In input order: the identification columns, method, cluster, ten probabilities (null
        where there are none), detection_class, runner_up (null where no other class has a
        probability above 0), margin, novelty_p_value, abstained, reason, model_id. A row's
        outcome depends on the model and that row alone.

        novelty_p_value is, for softmin, sum_k P(k | x) P(chi2 > d2_k) over the components of
        the mixture and, for the posterior, P(chi2 > d2) of the nearest class. The published
        rule never abstains where it has probabilities; the posterior does below
        `NOVELTY_THRESHOLD` and `MARGIN_THRESHOLD`, and still names its best class.

    Raises
    ------
    UsageError
        If the method is none of the two.
    LacusError
        If a feature column is absent or not numeric.
    """
    if method == "softmin":
        return classified_table(table, method, model.model_id, lambda raw: _softmin(model, raw))
    if method == "posterior":
        return classified_table(table, method, model.model_id, lambda raw: _posterior(model, raw))
    raise UsageError(f"unknown method {method!r}; the methods are 'softmin' and 'posterior'")


@one_thread()
def responsibilities(model: ClassModel, table: pa.Table) -> pa.Table:
    """Give the cluster and the responsibilities of every detection, labelled or not.

    Parameters
    ----------
    model : ClassModel
    table : pyarrow.Table
        As for `classify`; missing features are integrated out.

    Returns
    -------
    pyarrow.Table
        Identification columns, cluster (int32), responsibility_0, responsibility_1, ... (they
        add up to one in each row); null where a row has no feature at all.
    """

    def evaluate(raw: FloatArray) -> FloatArray:
        return model.mixture.responsibilities(model.normalisation.transform(raw)[0])

    return responsibilities_table(table, model.components, evaluate)


def mixture_novelty(log_responsibilities: FloatArray, d2: FloatArray, x: FloatArray) -> FloatArray:
    """Novelty under a mixture: sum_k P(k | x) P(chi2 > d2_k).

    Parameters
    ----------
    log_responsibilities, d2 : ndarray, shape (n, k)
        As `Mixture.evaluate` gives them.
    x : ndarray, shape (n, f)
        The features they were taken at; as many degrees of freedom as are observed.

    Returns
    -------
    ndarray, shape (n,)
        NaN where nothing is observed.
    """
    from scipy.special import chdtrc

    observed = np.count_nonzero(~np.isnan(x), axis=1)
    tail = chdtrc(np.maximum(observed, 1)[:, None], d2)
    p = np.clip(np.einsum("nk,nk->n", np.exp(log_responsibilities), tail), 0.0, 1.0)
    p[observed == 0] = np.nan
    return p


def _softmin(model: ClassModel, raw: FloatArray) -> Scored:
    x, _ = model.normalisation.transform(raw)
    log_responsibilities, _, d2 = model.mixture.evaluate(x)
    nothing = np.isnan(x).all(axis=1)
    cluster = log_responsibilities.argmax(axis=1).astype(np.int32)
    cluster[nothing] = -1
    probabilities = softmin(x, cluster, model.statistics)
    reason = missing_text(x)
    lacking = np.array([text is not None for text in reason], dtype=bool)
    reason[lacking] = "missing: " + reason[lacking]
    reason[nothing] = NO_FEATURES
    empty = np.isnan(probabilities[:, 0]) & ~lacking
    if model.posterior is None:
        reason[empty] = NO_LABELS
    else:
        for k in np.unique(cluster[empty]):
            reason[empty & (cluster == k)] = (
                f"no class has {MIN_MEMBERS} labelled members in cluster {k}"
            )
    return Scored(
        cluster,
        probabilities,
        mixture_novelty(log_responsibilities, d2, x),
        np.zeros(len(x), dtype=bool),
        reason,
    )


def _posterior(model: ClassModel, raw: FloatArray) -> Scored:
    x, _ = model.normalisation.transform(raw)
    nothing = np.isnan(x).all(axis=1)
    cluster = model.mixture.predict(x)
    cluster[nothing] = -1
    reason = np.full(len(x), None, dtype=object)
    abstained = np.zeros(len(x), dtype=bool)
    if model.posterior is None:
        reason[:] = NO_LABELS
        reason[nothing] = NO_FEATURES
        nothing_known = np.full((len(x), len(CLASSES)), np.nan)
        return Scored(cluster, nothing_known, np.full(len(x), np.nan), abstained, reason)
    probabilities, novelty = model.posterior.evaluate(x)
    probabilities[nothing] = np.nan
    two = np.sort(probabilities, axis=1)
    close = two[:, -1] - two[:, -2] < MARGIN_THRESHOLD
    novel = novelty < NOVELTY_THRESHOLD
    reason[close] = f"margin below {MARGIN_THRESHOLD}"
    reason[novel] = f"novelty p-value below {NOVELTY_THRESHOLD}"
    reason[close & novel] = (
        f"novelty p-value below {NOVELTY_THRESHOLD}, margin below {MARGIN_THRESHOLD}"
    )
    reason[nothing] = NO_FEATURES
    return Scored(cluster, probabilities, novelty, close | novel, reason)
