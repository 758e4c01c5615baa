"""The formulas of SNGP's predictions."""

from __future__ import annotations

import numpy as np

from .arrays import Array, Namespace


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
    norms: Array, squares: Array, prior_variance: float, xp: Namespace = np
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
    xp : Namespace, default=numpy
        Namespace of the arrays.
    """
    # Keep the variance positive: rounding could otherwise give an uncertain sample a
    # variance of 0.
    return prior_variance * xp.maximum(squares - norms, 1e-7 * squares)


def mean_field_logits(
    logits: Array, variance: Array, factor: float, xp: Namespace = np
) -> Array:
    """Scale logits such that their softmax approximates the expected softmax.

    See Lu, Ie and Sha (2020), arXiv 2006.07584, equation 12.
    """
    return logits / xp.sqrt(1.0 + factor * variance)


def sampled_logits(
    logits: Array, variance: Array, noise: Array, xp: Namespace = np
) -> Array:
    """Sample logits from their posterior, given standard normal `noise`."""
    return logits + xp.sqrt(variance) * noise


def epistemic_uncertainty(ratio: Array, bounded: bool, xp: Namespace = np) -> Array:
    """Map variance ratios to [0, 1].

    Parameters
    ----------
    ratio : array of shape (n,)
        Posterior variance divided by prior variance, averaged over classes.
    bounded : bool
        Whether the ratio is at most 1. It is not if the ridge decays in a moving
        average.
    xp : Namespace, default=numpy
        Namespace of the arrays.
    """
    return xp.clip(ratio, 0.0, 1.0) if bounded else ratio / (1.0 + ratio)


def variance_score(epistemic: Array, entropy: Array, xp: Namespace = np) -> Array:
    """Combine the epistemic uncertainty with the class entropy of the mean logits."""
    return epistemic * xp.sqrt(entropy)
