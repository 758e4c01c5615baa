"""Flags for batches of samples, at a stated false discovery rate."""

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
    """Flag samples of a batch at a stated false discovery rate.

    Of the flagged samples, at most a fraction `rate` is in distribution, in
    expectation (with 0 for a batch in which none is flagged). `predict_ood` bounds a
    different fraction, that of the in-distribution samples which are flagged: if OOD
    samples are rare, most of its flags may be false.

    This is the procedure of Benjamini and Hochberg [1]_ for p-values of the method
    `ood_pvalue`. These share their calibration scores and are positively dependent,
    for which the procedure keeps its rate [2]_. As it compares the samples of a batch
    with each other, a flag depends on the other samples.

    Parameters
    ----------
    pvalues : array-like of shape (n_samples,)
        P-values of a batch of samples, as returned by `ood_pvalue`.
    rate : float in (0, 1), default=0.1
        Largest expected fraction of false flags among all flags.

    Returns
    -------
    bool ndarray of shape (n_samples,)
        True for flagged samples.

    Raises
    ------
    ValueError
        If a p-value is not in [0, 1] or missing.

    See Also
    --------
    fewest_discoveries : How many samples have to be odd for any to be flagged.

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
            "pvalues must lie in [0, 1], got values between "
            f"{values.min():g} and {values.max():g}."
        )
    # The tolerance keeps 3 * (0.1 / 3) from missing 0.1.
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
    """Fewest samples that `control_false_discoveries` flags if it flags any.

    The smallest p-value is ``1 / (num_scores + 1)``. With so many samples at that
    p-value, but not with fewer, samples of a batch are flagged. One unusual sample is
    therefore never flagged in a batch of more than ``rate * (num_scores + 1)`` samples;
    more calibration scores, a smaller batch or a larger rate help.

    Parameters
    ----------
    num_samples : int
        Number of samples of the batch.
    num_scores : int
        Number of calibration scores, ``len(clf.ood_scores_)``.
    rate : float in (0, 1), default=0.1
        False discovery rate.

    Returns
    -------
    int
        More than `num_samples` if no sample can be flagged, which is so with fewer than
        ``1 / rate - 1`` scores.

    Examples
    --------
    >>> from sksngp import fewest_discoveries
    >>> fewest_discoveries(num_samples=100, num_scores=400, rate=0.1)
    3
    >>> fewest_discoveries(num_samples=40, num_scores=400, rate=0.1)
    1
    """
    return math.ceil(num_samples / (rate * (num_scores + 1)) - 1e-9)
