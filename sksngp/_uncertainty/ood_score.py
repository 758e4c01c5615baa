"""Parts of the out-of-distribution score of `SNGPClassifier`, and their weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .arrays import Array, Namespace
from .surprisal import Surprisal

#: Weights of the parts of the SNGP score. On the tuning tables of `benchmarks.tables`,
#: the distance in hidden space has a small effect, and the entropy hardly any. On data
#: whose raw features carry little information, such as images of digits, both improve
#: the detection of unseen classes.
PART_WEIGHTS = {
    "variance": 1.0,
    "input distance": 1.0,
    "hidden distance": 1.0,
    "entropy": 0.5,
}

#: Number by which the surprisal of samples between the classes is reduced: they must
#: have an unusually small distance and a large entropy. On the tuning tables of
#: `benchmarks.tables`, smaller numbers reduce the AUROC of shuffled features. On
#: components of texts, larger ones reduce that of unseen topics.
BETWEEN_CLASSES = 4.0


def surprisals_of_parts(
    references: Mapping[str, Surprisal], parts: Mapping[str, Array], xp: Namespace = np
) -> dict[str, Array]:
    """Convert the parts of the score of new samples to surprisals.

    Parameters
    ----------
    references : mapping of str to Surprisal
        Distributions of the parts among in-distribution samples.
    parts : mapping of str to array of shape (n,)
        Parts of the score, by their names in `PART_WEIGHTS`.
    xp : Namespace, default=numpy
        Namespace of the arrays.

    Returns
    -------
    dict of str to float64 array of shape (n,)
        Surprisal of each part, and of a small distance in input space.
    """
    surprisals = {name: of(parts[name], xp) for name, of in references.items()}
    if "input distance" in references:
        small = references["input distance"].of_small(parts["input distance"], xp)
        surprisals["small input distance"] = small
    return surprisals


def surprisals_of_references(
    references: Mapping[str, Surprisal], parts: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """Convert the parts of the score of the reference samples themselves.

    Each sample is compared with the others, see `Surprisal.leave_one_out`. Parameters
    and result are those of `surprisals_of_parts`.
    """
    surprisals = {
        name: of.leave_one_out(parts[name]) for name, of in references.items()
    }
    distance = parts["input distance"]
    small = references["input distance"].leave_one_out(distance, small=True)
    return surprisals | {"small input distance": small}


def combine(surprisals: Mapping[str, Array], xp: Namespace = np) -> Array:
    """Combine the parts of the SNGP score using Fisher's method with weights.

    A sample whose distance in input space is unusually small, and whose entropy is
    unusually large, lies between the classes. A text on an unseen topic has such
    features: it contains few of the words whose frequencies distinguish the topics.
    The surprisal of the distance is therefore at least the sum of both surprisals,
    minus `BETWEEN_CLASSES`.

    Parameters
    ----------
    surprisals : mapping of str to float64 array of shape (n,)
        Surprisals that `surprisals_of_parts` returns.
    xp : Namespace, default=numpy
        Namespace of the arrays.

    Returns
    -------
    float64 array of shape (n,)
        Weighted sums of the surprisals.
    """
    combined = {name: surprisals[name] for name in PART_WEIGHTS if name in surprisals}
    if {"small input distance", "entropy"} <= surprisals.keys():
        between = surprisals["small input distance"] + surprisals["entropy"]
        combined["input distance"] = xp.maximum(
            surprisals["input distance"], between - BETWEEN_CLASSES
        )
    return sum(PART_WEIGHTS[name] * part for name, part in combined.items())
