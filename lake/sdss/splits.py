"""Training, validation and test spectra that share no plate."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lake.errors import LacusError
from lake.sdss.calibration import least_spectra

SPLITS = ("train", "validation", "test")

#: In the order in which equals are served.
_SIDES = np.array(["train", "test", "validation"])


def assign(
    groups: Sequence[object] | npt.NDArray,
    classes: Sequence[str] | npt.NDArray,
    seed: int,
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
) -> npt.NDArray[np.str_]:
    """Deal whole groups out to the splits, class by class as well as the groups allow.

    Spectra of one plate share its calibration, its night and its part of the sky: a split
    through a plate reports how well a plate is recognised. The groups of the rarest class are
    dealt first, the largest of them first, each to the split that still wants the most of what
    it holds (Sechidis, Tsoumakas & Vlahavas 2011, ECML PKDD, LNCS 6913, 145, with groups in the
    place of single examples, and classes weighted by the square of their rarity). No class is
    missing from training: one that lies on one or two groups of like size is in training alone
    (`without_class` tells).

    Parameters
    ----------
    groups : sequence, length n
        The plate of each spectrum, or whatever else must not be on two sides.
    classes : sequence of str, length n
    seed : int
        Of the order among equals.
    fractions : tuple of float
        Wanted shares of training, validation and test; they sum to 1.

    Returns
    -------
    ndarray of str, shape (n,)
        ``train``, ``validation`` or ``test``. It depends on the set of rows and the seed, not
        on the order of the rows.

    Raises
    ------
    LacusError
        Lengths differ, or the fractions are no shares.
    """
    labels, names = np.asarray(classes, dtype=str), np.asarray(groups).astype(str)
    if labels.shape != names.shape or labels.ndim != 1:
        raise LacusError(f"{labels.shape} classes do not go with {names.shape} groups")
    if min(fractions) < 0 or fractions[0] == 0 or abs(sum(fractions) - 1) > 1e-9:
        raise LacusError(f"{fractions} are no shares of training, validation and test")
    class_names, code = np.unique(labels, return_inverse=True)
    group_names, group = np.unique(names, return_inverse=True)
    counts = np.zeros((len(group_names), len(class_names)))
    np.add.at(counts, (group, code), 1)

    held = counts > 0
    left = held.sum(axis=0)
    spread = np.where(held, left, len(group_names) + 1)
    rarest = spread.argmin(axis=1) if len(class_names) else np.empty(0, dtype=np.int64)
    size = np.take_along_axis(counts, rarest[:, None], axis=1)[:, 0]
    chance = np.random.default_rng(seed).permutation(len(group_names))
    train, validation, test = fractions
    wanted = np.array([train, test, validation])[:, None] * counts.sum(axis=0)
    weight = counts / (counts.sum(axis=0) * left) ** 2
    trained = np.zeros(len(class_names), dtype=bool)
    side = np.empty(len(group_names), dtype=np.int64)
    for number in np.lexsort((chance, -size, spread.min(axis=1, initial=len(group_names) + 1))):
        own = held[number]
        last_chance = np.any(own & ~trained & (left == 1))
        chosen = 0 if last_chance else int((wanted @ weight[number]).argmax())
        side[number] = chosen
        wanted[chosen] -= counts[number]
        trained |= own & (chosen == 0)
        left = left - own
    return _SIDES[side][group]


def without_class(
    split: npt.NDArray[np.str_], classes: Sequence[str] | npt.NDArray
) -> dict[str, list[str]]:
    """Say which classes a split lacks.

    Parameters
    ----------
    split : ndarray of str, shape (n,)
        From `assign`.
    classes : sequence of str, length n

    Returns
    -------
    dict
        The missing classes of each split, in alphabetical order.
    """
    labels = np.asarray(classes, dtype=str)
    every = set(labels.tolist())
    return {name: sorted(every - set(labels[split == name].tolist())) for name in SPLITS}


def cautions(
    split: npt.NDArray[np.str_], classes: Sequence[str] | npt.NDArray, accuracy: float
) -> list[str]:
    """Say what a network that is trained on a split cannot know of itself.

    Parameters
    ----------
    split : ndarray of str, shape (n,)
        From `assign`.
    classes : sequence of str, length n
    accuracy : float
        That predictions shall have which it does not abstain from.

    Returns
    -------
    list of str
        A sentence each; none where validation and test have spectra enough, of all classes.
    """
    held, least = int(np.count_nonzero(split == "validation")), least_spectra(accuracy)
    lacking = without_class(split, classes)
    found = []
    if not held:
        found.append(
            "no spectrum is held back for validation: probabilities are not calibrated, and the"
            " network abstains from all"
        )
    elif held < least:
        found.append(
            f"{held} of the {least} spectra that an accuracy of {accuracy:g} can be shown with"
            " are held back for validation: the network abstains from all"
        )
    if held and lacking["validation"]:
        found.append(f"no validation spectrum is of class {', '.join(lacking['validation'])}")
    if not np.any(split == "test"):
        found.append("no spectrum is left for a test: scores are of those trained on")
    elif lacking["test"]:
        found.append(f"no test spectrum is of class {', '.join(lacking['test'])}")
    return found
