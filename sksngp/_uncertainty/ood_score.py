"""Parts of the out-of-distribution score of `SNGPClassifier`, and their weights."""

from __future__ import annotations

from collections.abc import Mapping

from .arrays import Array

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


def combine(surprisals: Mapping[str, Array]) -> Array:
    """Combine the parts of the SNGP score using Fisher's method with weights.

    Parameters
    ----------
    surprisals : mapping of str to float64 array of shape (n,)
        Surprisal of each part, by its name in `PART_WEIGHTS`.

    Returns
    -------
    float64 array of shape (n,)
        Weighted sums of the surprisals.
    """
    return sum(PART_WEIGHTS[name] * part for name, part in surprisals.items())
