"""A class posterior: Bayes' rule with shrunk Gaussians, in which rare classes take part.

The detections are divided by a mixture over their normal scores. Within component k the class c
has a prior P(c | k) and a Gaussian N(x; m_kc, S_kc), and

    P(c | x) = sum_k P(k | x) P(c | k) N(x; m_kc, S_kc)^T / sum_c' P(c' | k) N(x; m_kc', S_kc')^T.

All three are shrunk, because most of the sixty pairs of component and class have few labelled
members or none: m_kc and S_kc towards the component's own mean and covariance by a
normal-inverse-Wishart prior (Gelman et al., Bayesian Data Analysis, 3rd ed., section 3.6), P(c | k)
towards the share of the class among all labels. The strengths and the temperature T, which
calibrates, have the least log loss on held-out sources of the training labels.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from lake.csc.features import CLASSES
from lake.csc.folds import grouped_folds
from lake.csc.gaussian import Gaussians, batches
from lake.csc.mixture import Mixture, fit_mixture
from lake.csc.scores import NormalScores

FloatArray = npt.NDArray[np.float64]

_FOLDS = 5
_FLOOR = 1e-6  # of a probability under the logarithm
# Weak priors only: stronger ones gain a few per mille in log loss and lose the rare classes.
_MEAN_STRENGTHS = (2.0, 5.0)
_COVARIANCE_STRENGTHS = (100.0, 400.0)
_PRIOR_STRENGTHS = (3.0, 10.0)
_TEMPERATURES = (0.75, 1.0)


@dataclass(frozen=True)
class Shrinkage:
    """Strengths of the priors, each as a number of detections, and the temperature.

    Attributes
    ----------
    mean, covariance, prior : float
        How many detections the component's mean, its covariance, and the overall share of a
        class weigh as much as.
    temperature : float
        Exponent T of the class densities.
    log_loss : float or None
        On held-out sources of the training labels; None where there were too few to hold out.
    """

    mean: float = 5.0
    covariance: float = 200.0
    prior: float = 10.0
    temperature: float = 1.0
    log_loss: float | None = None


@dataclass(frozen=True)
class Posterior:
    """The fitted posterior, k components and c classes that have labels.

    Attributes
    ----------
    scores : NormalScores
    mixture : Mixture
        Over the scores.
    classes : ndarray of int, shape (c,)
        Index in `CLASSES`; a class without any label has probability 0.
    members : ndarray, shape (k, c)
        Labelled detections, by responsibility.
    means : ndarray, shape (k, c, f)
    covariances : ndarray, shape (k, c, f, f)
    prior : ndarray, shape (k, c)
        P(c | k).
    shrinkage : Shrinkage
    """

    scores: NormalScores
    mixture: Mixture
    classes: npt.NDArray[np.int64]
    members: FloatArray
    means: FloatArray
    covariances: FloatArray
    prior: FloatArray
    shrinkage: Shrinkage

    @cached_property
    def gaussians(self) -> Gaussians:
        """The class densities, component by component, shape (k * c, ...)."""
        f = self.means.shape[-1]
        return Gaussians(self.means.reshape(-1, f), self.covariances.reshape(-1, f, f))

    def evaluate(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Class probabilities and novelty.

        Parameters
        ----------
        x : ndarray, shape (n, f)
            Normalised features; missing ones (NaN) are integrated out.

        Returns
        -------
        probabilities : ndarray, shape (n, 10)
            Each row sums to one.
        novelty : ndarray, shape (n,)
            Chance of a squared Mahalanobis distance as large as that to the nearest class,
            chi-square with as many degrees of freedom as features were observed; NaN where
            none was. Only classes with a labelled member in the component count.
        """
        from scipy.special import chdtrc

        probabilities = np.zeros((len(x), len(CLASSES)))
        novelty = np.full(len(x), np.nan)
        populated = (self.members >= min(1.0, self.members.max())).ravel()
        for part in batches(len(x)):
            z = self.scores.transform(x[part])
            density, d2 = self.gaussians.log_density(z)
            probabilities[part, self.classes] = _combine(
                self.mixture.log_responsibilities(z),
                density.reshape(len(z), *self.prior.shape),
                self.prior,
                self.shrinkage.temperature,
            )
            observed = np.count_nonzero(~np.isnan(z), axis=1)
            seen = observed > 0
            novelty[part][seen] = chdtrc(observed[seen], d2[seen][:, populated].min(axis=1))
        return probabilities, novelty

    def to_dict(self) -> dict[str, Any]:
        """Give the posterior as plain numbers and lists."""
        return {
            "scores": self.scores.to_dict(),
            "mixture": self.mixture.to_dict(),
            "classes": [CLASSES[c] for c in self.classes],
            "members": self.members.tolist(),
            "means": self.means.tolist(),
            "covariances": self.covariances.tolist(),
            "prior": self.prior.tolist(),
            "shrinkage": asdict(self.shrinkage),
        }

    @classmethod
    def from_dict(cls, numbers: Mapping[str, Any]) -> "Posterior":
        """Rebuild from `to_dict`."""
        return cls(
            NormalScores.from_dict(numbers["scores"]),
            Mixture.from_dict(numbers["mixture"]),
            np.array([CLASSES.index(name) for name in numbers["classes"]], dtype=np.int64),
            np.asarray(numbers["members"], dtype=np.float64),
            np.asarray(numbers["means"], dtype=np.float64),
            np.asarray(numbers["covariances"], dtype=np.float64),
            np.asarray(numbers["prior"], dtype=np.float64),
            Shrinkage(**numbers["shrinkage"]),
        )


def fit_posterior(
    x: FloatArray,
    label: npt.NDArray[np.integer],
    source: npt.NDArray[np.object_],
    components: int = 6,
    seed: int = 42,
) -> Posterior | None:
    """Fit the posterior to labelled and unlabelled detections.

    Parameters
    ----------
    x : ndarray, shape (n, f)
        Normalised features. The scores and the mixture use every complete row, the classes
        the complete rows with a label.
    label : ndarray of int, shape (n,)
        Index in `CLASSES`, negative where there is no usable label.
    source : ndarray of str, shape (n,)
        Source names: what is held out together when the shrinkage is chosen.
    components : int
    seed : int

    Returns
    -------
    Posterior or None
        None where no complete row has a label.
    """
    complete = ~np.isnan(x).any(axis=1)
    labelled = complete & (label >= 0)
    if not labelled.any():
        return None
    scores = NormalScores.fit(x[complete])
    z = scores.transform(x[complete])
    mixture = fit_mixture(z, components, seed)
    z, source = z[labelled[complete]], source[labelled]
    responsibilities = mixture.log_responsibilities(z)
    classes, y = np.unique(label[labelled], return_inverse=True)
    shrinkage = _choose_shrinkage(z, y, source, responsibilities, mixture, seed)
    members, means, covariances = _shrunk_classes(
        z, y, np.exp(responsibilities), mixture, shrinkage.mean, shrinkage.covariance, len(classes)
    )
    return Posterior(
        scores,
        mixture,
        classes.astype(np.int64),
        members,
        means,
        covariances,
        _class_prior(members, shrinkage.prior),
        shrinkage,
    )


def _combine(
    log_responsibilities: FloatArray, density: FloatArray, prior: FloatArray, temperature: float
) -> FloatArray:
    """Apply Bayes' rule within each component and average: (n, k), (n, k, c) to (n, c)."""
    with np.errstate(divide="ignore"):  # a class that a held-out fold lacks has prior 0
        log_joint = temperature * density + np.log(prior)
    log_joint -= log_joint.max(axis=2, keepdims=True)
    np.exp(log_joint, out=log_joint)
    log_joint /= log_joint.sum(axis=2, keepdims=True)
    # Responsibilities add up to 1 but for rounding, which a sure class would carry beyond 1.
    return np.minimum(np.einsum("nk,nkc->nc", np.exp(log_responsibilities), log_joint), 1.0)


def _class_prior(members: FloatArray, strength: float) -> FloatArray:
    """P(c | k): the shares within each component, shrunk to the shares overall, (k, c)."""
    overall = members.sum(axis=0) / members.sum()
    return (members + strength * overall) / (members.sum(axis=1, keepdims=True) + strength)


def _shrunk_classes(
    z: FloatArray,
    y: npt.NDArray[np.integer],
    responsibilities: FloatArray,
    mixture: Mixture,
    mean_strength: float,
    covariance_strength: float,
    classes: int,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Members (k, c), means (k, c, f) and covariances (k, c, f, f) with their priors."""
    k, f = mixture.means.shape
    members = np.zeros((k, classes))
    means = np.empty((k, classes, f))
    covariances = np.empty((k, classes, f, f))
    for c in range(classes):
        own, weights = z[y == c], responsibilities[y == c]
        members[:, c] = weights.sum(axis=0)
        for j in range(k):
            mean = (weights[:, j] @ own + mean_strength * mixture.means[j]) / (
                members[j, c] + mean_strength
            )
            spread = own - mean
            shift = mixture.means[j] - mean
            scatter = (spread * weights[:, j, None]).T @ spread
            scatter += mean_strength * np.outer(shift, shift)
            scatter += covariance_strength * mixture.covariances[j]
            means[j, c] = mean
            covariances[j, c] = scatter / (covariance_strength + members[j, c])
    return members, means, covariances


def _choose_shrinkage(
    z: FloatArray,
    y: npt.NDArray[np.integer],
    source: npt.NDArray[np.object_],
    log_responsibilities: FloatArray,
    mixture: Mixture,
    seed: int,
) -> Shrinkage:
    """Take the strengths with the least log loss on held-out sources.

    The mixture has seen the held-out features but no label.
    """
    classes = int(y.max()) + 1
    if classes < 2 or len(np.unique(source)) < 2 * _FOLDS:
        return Shrinkage()
    fold = grouped_folds(source, y, _FOLDS, seed)
    losses: dict[tuple[float, float, float, float], float] = {}
    for mean, covariance in product(_MEAN_STRENGTHS, _COVARIANCE_STRENGTHS):
        for held in range(_FOLDS):
            out, rest = fold == held, fold != held
            members, means, covariances = _shrunk_classes(
                z[rest],
                y[rest],
                np.exp(log_responsibilities[rest]),
                mixture,
                mean,
                covariance,
                classes,
            )
            f = z.shape[1]
            gaussians = Gaussians(means.reshape(-1, f), covariances.reshape(-1, f, f))
            density = gaussians.log_density(z[out])[0].reshape(-1, *members.shape)
            for prior, temperature in product(_PRIOR_STRENGTHS, _TEMPERATURES):
                probabilities = _combine(
                    log_responsibilities[out], density, _class_prior(members, prior), temperature
                )
                given = probabilities[np.arange(len(probabilities)), y[out]]
                key = (mean, covariance, prior, temperature)
                losses[key] = losses.get(key, 0.0) - float(
                    np.log(np.maximum(given, _FLOOR)).sum() / len(z)
                )
    best = min(losses, key=lambda key: losses[key])
    return Shrinkage(*best, log_loss=losses[best])
