"""The formulas of SNGP's predictions, for arrays and for tensors.

Predictions evaluate them with NumPy, exported models with TensorFlow. The functions
therefore receive the operations that differ between the two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

#: An ndarray or a tensor.
Array: TypeAlias = Any


class Operations(NamedTuple):
    """Elementwise operations of a library.

    Parameters
    ----------
    maximum, sqrt, clip : callable
        With the arguments of NumPy's functions of these names.
    """

    maximum: Callable[[Array, Array], Array]
    sqrt: Callable[[Array], Array]
    clip: Callable[[Array, float, float], Array]


NUMPY = Operations(np.maximum, np.sqrt, np.clip)


def whitened_variance(norms: Array, scale: float) -> Array:
    """Compute the posterior variance of logits from whitened features.

    Parameters
    ----------
    norms : array of shape (n, n_groups)
        Squared norms of the whitened random features.
    scale : float
        Factor of the covariance.
    """
    return scale * norms


def low_rank_variance(
    norms: Array, squares: Array, prior_variance: float, ops: Operations = NUMPY
) -> Array:
    """Compute the posterior variance of logits from a low-rank factor.

    Parameters
    ----------
    norms : array of shape (n, 1)
        Squared norms of the products of random features and the factor.
    squares : array of shape (n, 1)
        Squared norms of the random features.
    prior_variance : float
        Prior variance of an output weight.
    ops : Operations, default=NUMPY
    """
    # Keep the variance positive: rounding could otherwise give an uncertain sample a
    # variance of 0.
    return prior_variance * ops.maximum(squares - norms, 1e-7 * squares)


def mean_field_logits(
    logits: Array, variance: Array, factor: float, ops: Operations = NUMPY
) -> Array:
    """Scale logits such that their softmax approximates the expected softmax.

    See Lu, Ie and Sha (2020), arXiv 2006.07584, equation 12.
    """
    return logits / ops.sqrt(1.0 + factor * variance)


def sampled_logits(
    logits: Array, variance: Array, noise: Array, ops: Operations = NUMPY
) -> Array:
    """Sample logits from their posterior, given standard normal `noise`."""
    return logits + ops.sqrt(variance) * noise


def epistemic_uncertainty(
    ratio: Array, bounded: bool, ops: Operations = NUMPY
) -> Array:
    """Map variance ratios to [0, 1].

    Parameters
    ----------
    ratio : array of shape (n,)
        Posterior variance divided by prior variance, averaged over classes.
    bounded : bool
        Whether the ratio is at most 1. It is not if the ridge decays in a moving
        average.
    ops : Operations, default=NUMPY
    """
    return ops.clip(ratio, 0.0, 1.0) if bounded else ratio / (1.0 + ratio)


def variance_score(epistemic: Array, entropy: Array, ops: Operations = NUMPY) -> Array:
    """Combine the epistemic uncertainty with the class entropy of the mean logits."""
    return epistemic * ops.sqrt(entropy)
