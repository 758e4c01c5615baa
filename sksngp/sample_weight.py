"""Sample weights: counts of equal samples, or importances of any unit.

Integers are counts: a sample of weight 2 stands for two equal samples, and data of
twice the weight determine the posterior twice as precisely. All other weights, and all
class weights, are importances. Their unit means nothing, so they are divided by their
mean.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: All larger float64 numbers are integers, and no counts.
LARGEST_COUNT = 2.0**53
#: Integers with a larger mean may be importances that were rounded.
LARGEST_CLEAR_MEAN = 10.0


class WeightTotals(NamedTuple):
    """Totals of the weights seen so far, which define the unit of importances.

    Parameters
    ----------
    weight : float
        Sum of the weights in the unit of the user.
    size : float
        Number of samples, in which counts are included.
    counts : bool
        Whether sample weights are counts.
    """

    weight: float = 0.0
    size: float = 0.0
    counts: bool = True


def are_counts(weights: NDArray[np.float64]) -> bool:
    """Return whether weights are counts: integers of at most `LARGEST_COUNT`.

    Parameters
    ----------
    weights : float64 ndarray of shape (n,)

    Returns
    -------
    bool

    Examples
    --------
    >>> import numpy as np
    >>> are_counts(np.array([1.0, 0.0, 3.0])), are_counts(np.array([0.5, 1.0]))
    (True, False)
    """
    return bool((weights == np.rint(weights)).all() and weights.max() <= LARGEST_COUNT)


def warn_of_ambiguous_counts(weights: NDArray[np.float64], stacklevel: int) -> None:
    """Warn of large counts, which may be meant as importances.

    Parameters
    ----------
    weights : float64 ndarray of shape (n,)
        Counts.
    stacklevel : int
        Number of frames between the caller of this function and the user's call.

    Warns
    -----
    UserWarning
        If the mean exceeds `LARGEST_CLEAR_MEAN`.
    """
    if weights.mean() > LARGEST_CLEAR_MEAN:
        warnings.warn(
            "The integers in sample_weight have a mean above "
            f"{LARGEST_CLEAR_MEAN:g} and are used as counts: each sample stands for "
            "as many equal samples, and the classifier becomes as certain as if all "
            "of them had been observed. If only the ratios of the weights matter, pass "
            "sample_weight / sample_weight.mean().",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


def with_mean_one(
    weights: NDArray[np.float64],
    counts: NDArray[np.float64],
    totals: WeightTotals,
) -> tuple[NDArray[np.float64], WeightTotals]:
    """Divide importances by their mean over all samples so far.

    Parameters
    ----------
    weights : float64 ndarray of shape (n,)
        Products of counts and importances, positive.
    counts : float64 ndarray of shape (n,)
        Positive; 1 where `totals.counts` is False.
    totals : WeightTotals
        Of the earlier samples of a stream.

    Returns
    -------
    weights : float64 ndarray of shape (n,)
        Counts remain as they are.
    totals : WeightTotals
        Including these samples.

    Examples
    --------
    >>> import numpy as np
    >>> importances = WeightTotals(counts=False)
    >>> with_mean_one(np.array([0.1, 0.3]), np.ones(2), importances)[0]
    array([0.5, 1.5])
    """
    totals = totals._replace(
        weight=totals.weight + float(weights.sum()),
        size=totals.size + float(counts.sum()),
    )
    if totals.counts and np.array_equal(weights, counts):
        return weights, totals
    scaled = weights / (totals.weight / totals.size)
    return np.maximum(scaled, np.finfo(np.float64).tiny), totals


def effective_weights(
    weights: NDArray[np.float64], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Scale weights so that they sum to the effective number of samples.

    With counts ``c_i`` and importances ``u_i``, that number is Kish's (1965, Survey
    Sampling, section 11.7)

        (sum_i c_i u_i)^2 / sum_i c_i u_i^2:

    the number of equally important samples whose mean has the same variance. A few
    important samples among many therefore are little evidence.

    Parameters
    ----------
    weights : float64 ndarray of shape (n,)
        ``c_i u_i``, positive.
    counts : float64 ndarray of shape (n,)
        ``c_i``, positive.

    Returns
    -------
    float64 ndarray of shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> weights = effective_weights(np.r_[100.0, np.full(100, 1.0)], np.ones(101))
    >>> round(float(weights.sum()), 2)
    3.96
    >>> effective_weights(np.array([3.0, 1.0]), np.array([3.0, 1.0]))
    array([3., 1.])
    """
    importances = weights / counts
    return weights * (weights.sum() / (weights @ importances))
