"""Uncertainty scores in [0, 1], computed from predicted probabilities.

Entropies are divided by log K, the entropy of the uniform distribution, so that scores
are comparable for different numbers of classes. Total, aleatoric and epistemic
uncertainty follow the decomposition of Depeweg et al. (2018, arXiv 1710.07283). They
are the entropy of the mean prediction, the mean entropy of the sampled predictions, and
the difference of the two.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from .arrays import Array, Namespace

#: Kinds of uncertainty that all classifiers support.
KINDS = ("total", "aleatoric", "epistemic")
Kind: TypeAlias = Literal["total", "aleatoric", "epistemic"]


def normalized_entropy(proba: Array, xp: Namespace = np) -> Array:
    """Compute the entropy over the last axis, divided by log K.

    Parameters
    ----------
    proba : array of shape (..., K)
        Class probabilities.
    xp : Namespace, default=numpy
        Namespace of the arrays.

    Returns
    -------
    array of shape (...)
        Normalized entropies, between 0 for probabilities of 0 and 1 and 1 for the
        uniform distribution.

    Examples
    --------
    >>> import numpy as np
    >>> normalized_entropy(np.array([[1.0, 0.0], [0.5, 0.5]]))
    array([0., 1.])
    """
    terms = -proba * xp.log(xp.where(proba > 0.0, proba, 1.0))
    entropy = xp.sum(terms, axis=-1) / np.log(proba.shape[-1])
    return xp.clip(entropy, 0.0, 1.0)


def entropy_of_logits(logits: Array, xp: Namespace = np) -> Array:
    """Compute the normalized entropy of ``softmax(logits)`` with high accuracy.

    If the largest probability rounds to 1, the entropy of the rounded probabilities is
    0 or a multiple of 1e-16, and its square root could differ by 1e-8 between equal
    samples.

    Parameters
    ----------
    logits : array of shape (n, K)
        Logits.
    xp : Namespace, default=numpy
        Namespace of the arrays.

    Returns
    -------
    array of shape (n,)
        Normalized entropies in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> entropy = entropy_of_logits(np.array([[0.0, 0.0], [0.0, 100.0]]))
    >>> float(entropy[0]), bool(0 < entropy[1] < 1e-40)
    (1.0, True)
    """
    num_classes = logits.shape[1]
    shifted = logits - xp.max(logits, axis=1, keepdims=True)
    best = xp.equal(xp.arange(num_classes), xp.argmax(logits, axis=1)[:, None])
    others = xp.where(best, 0.0, xp.exp(shifted))
    log_proba = shifted - xp.log1p(xp.sum(others, axis=1, keepdims=True))
    entropy = -xp.sum(xp.exp(log_proba) * log_proba, axis=1)
    return xp.clip(entropy / np.log(num_classes), 0.0, 1.0)


def quantity_of_samples(samples: Array, quantity: str) -> Array:
    """Compute the mean of sampled predictions, or an uncertainty.

    Parameters
    ----------
    samples : ndarray of shape (S, n, K) or (n, K)
        Class probabilities, as for `decompose`. Two dimensions stand for one sample.
    quantity : str
        "proba", or one of `KINDS`.

    Returns
    -------
    ndarray of shape (n, K) for "proba", or (n,)
    """
    samples = samples.reshape(-1, *samples.shape[-2:])
    if quantity == "proba":
        return samples.mean(axis=0)
    return decompose(samples)[quantity]


def decompose(samples: Array, xp: Namespace = np) -> dict[str, Array]:
    """Decompose the uncertainty of sampled predictions.

    Parameters
    ----------
    samples : array of shape (S, n, K)
        Class probabilities of S ensemble members, dropout masks or samples from the
        posterior.
    xp : Namespace, default=numpy
        Namespace of the arrays.

    Returns
    -------
    dict of str to array of shape (n,)
        Uncertainty of each kind in `KINDS`. The total uncertainty is the sum of the
        aleatoric and the epistemic uncertainty.

    Examples
    --------
    In this example, two ensemble members make opposite predictions with certainty:

    >>> import numpy as np
    >>> scores = decompose(np.array([[[1.0, 0.0]], [[0.0, 1.0]]]))
    >>> {kind: float(score[0]) for kind, score in scores.items()}
    {'total': 1.0, 'aleatoric': 0.0, 'epistemic': 1.0}
    """
    total = normalized_entropy(xp.mean(samples, axis=0), xp)
    # By Jensen's inequality, the total is an upper bound. Rounding errors may violate
    # the inequality.
    mean_entropy = xp.mean(normalized_entropy(samples, xp), axis=0)
    aleatoric = xp.minimum(mean_entropy, total)
    return {"total": total, "aleatoric": aleatoric, "epistemic": total - aleatoric}
