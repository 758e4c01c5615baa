"""Flags for a batch of samples with control of the false discovery rate."""

from __future__ import annotations

import math
from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import false_discovery_control
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.validation import column_or_1d

_PARAMETERS = {"rate": [Interval(Real, 0, 1, closed="neither")]}


@validate_params(
    {"pvalues": ["array-like"], **_PARAMETERS}, prefer_skip_nested_validation=True
)
def control_false_discoveries(
    pvalues: ArrayLike, rate: float = 0.1
) -> NDArray[np.bool_]:
    """Flag OOD samples in a batch, controlling the false discovery rate.

    The false discovery rate is the expected fraction of in-distribution samples among
    the flagged samples, which counts as 0 if no sample of the batch is flagged. It is
    at most `rate`. In contrast, `predict_ood` bounds the fraction of flagged samples
    among the in-distribution samples. If OOD samples are rare, most of its flags may be
    false.

    The p-values of the method `ood_pvalue` are passed to the procedure of Benjamini and
    Hochberg [1]_. They share their calibration set and are therefore positively
    dependent, a case in which the procedure controls the rate [2]_. The procedure
    compares the samples of a batch with each other. Whether a sample is flagged
    therefore depends on the other samples.

    Parameters
    ----------
    pvalues : array-like of shape (n_samples,)
        P-values of a batch of samples, as returned by `ood_pvalue`.
    rate : float in (0, 1), default=0.1
        Maximum false discovery rate.

    Returns
    -------
    bool ndarray of shape (n_samples,)
        True for flagged samples.

    Raises
    ------
    ValueError
        If a p-value is missing or outside [0, 1].

    See Also
    --------
    fewest_discoveries : Minimum number of samples that can be flagged.

    References
    ----------
    .. [1] Benjamini, Y. and Hochberg, Y. (1995). "Controlling the false discovery
       rate", Journal of the Royal Statistical Society B 57.
    .. [2] Bates, S., Candes, E., Lei, L., Romano, Y. and Sesia, M. (2023). "Testing
       for outliers with conformal p-values", Annals of Statistics 51, arXiv 2104.08279.

    Examples
    --------
    >>> from sksngp import control_false_discoveries
    >>> control_false_discoveries([0.002, 0.3, 0.004, 0.9, 0.04], rate=0.1)
    array([ True, False,  True, False,  True])
    """
    checked = check_array(
        pvalues,
        ensure_2d=False,
        ensure_min_samples=0,
        dtype=float,
        input_name="pvalues",
    )
    values = column_or_1d(checked)
    if len(values) == 0:
        return np.zeros(0, bool)
    if values.min() < 0 or values.max() > 1:
        raise ValueError(
            "pvalues must be in [0, 1], got values between "
            f"{values.min():g} and {values.max():g}."
        )
    # The tolerance accepts a p-value of 3 * (0.1 / 3), which rounds to more than 0.1.
    adjusted: NDArray[np.float64] = false_discovery_control(values)
    return adjusted <= rate + 1e-12


@validate_params(
    {
        "num_samples": [Interval(Integral, 1, None, closed="left")],
        "num_scores": [Interval(Integral, 0, None, closed="left")],
        **_PARAMETERS,
    },
    prefer_skip_nested_validation=True,
)
def fewest_discoveries(num_samples: int, num_scores: int, rate: float = 0.1) -> int:
    """Return the minimum number of samples flagged by `control_false_discoveries`.

    The function flags either no sample or at least this number of samples. The smallest
    possible p-value is ``1 / (num_scores + 1)``, and the returned number of samples
    with this p-value is required for any to be flagged. In particular, a single unusual
    sample is never flagged in a batch of more than ``rate * (num_scores + 1)`` samples.
    More calibration scores, smaller batches or a larger rate decrease the number.

    Parameters
    ----------
    num_samples : int
        Number of samples in the batch.
    num_scores : int
        Number of calibration scores, ``len(clf.ood_scores_)``.
    rate : float in (0, 1), default=0.1
        False discovery rate.

    Returns
    -------
    int
        Minimum number of flagged samples. It exceeds `num_samples` if no sample can be
        flagged, which is the case for fewer than ``1 / rate - 1`` scores.

    Examples
    --------
    >>> from sksngp import fewest_discoveries
    >>> fewest_discoveries(num_samples=100, num_scores=400, rate=0.1)
    3
    >>> fewest_discoveries(num_samples=40, num_scores=400, rate=0.1)
    1
    """
    return math.ceil(num_samples / (rate * (num_scores + 1)) - 1e-9)
