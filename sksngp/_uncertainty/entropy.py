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
from numpy.typing import NDArray
from scipy.special import entr

#: Kinds of uncertainty that all classifiers support.
KINDS = ("total", "aleatoric", "epistemic")
Kind: TypeAlias = Literal["total", "aleatoric", "epistemic"]


def normalized_entropy(proba: np.ndarray) -> NDArray[np.float64]:
    """Compute the entropy over the last axis, divided by log K.

    Parameters
    ----------
    proba : ndarray of shape (..., K)
        Class probabilities.

    Returns
    -------
    ndarray of shape (...)
        Normalized entropies, between 0 for probabilities of 0 and 1 and 1 for the
        uniform distribution.

    Examples
    --------
    >>> import numpy as np
    >>> normalized_entropy(np.array([[1.0, 0.0], [0.5, 0.5]]))
    array([0., 1.])
    """
    return np.clip(entr(proba).sum(axis=-1) / np.log(proba.shape[-1]), 0.0, 1.0)


def entropy_of_logits(logits: np.ndarray) -> NDArray[np.float64]:
    """Compute the normalized entropy of ``softmax(logits)`` with high accuracy.

    If the largest probability rounds to 1, the entropy of the rounded probabilities is
    0 or a multiple of 1e-16, and its square root could differ by 1e-8 between equal
    samples.

    Parameters
    ----------
    logits : ndarray of shape (n, K)
        Logits.

    Returns
    -------
    ndarray of shape (n,)
        Normalized entropies in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> entropy = entropy_of_logits(np.array([[0.0, 0.0], [0.0, 100.0]]))
    >>> float(entropy[0]), bool(0 < entropy[1] < 1e-40)
    (1.0, True)
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    others = np.exp(shifted)
    others[np.arange(len(logits)), logits.argmax(axis=1)] = 0.0
    log_proba = shifted - np.log1p(others.sum(axis=1, keepdims=True))
    entropy = -(np.exp(log_proba) * log_proba).sum(axis=1)
    return np.clip(entropy / np.log(logits.shape[1]), 0.0, 1.0)


def decompose(samples: np.ndarray) -> dict[str, NDArray[np.float64]]:
    """Decompose the uncertainty of sampled predictions.

    Parameters
    ----------
    samples : ndarray of shape (S, n, K)
        Class probabilities of S ensemble members, dropout masks or samples from the
        posterior.

    Returns
    -------
    dict of str to ndarray of shape (n,)
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
    total = normalized_entropy(samples.mean(axis=0))
    # By Jensen's inequality, the total is an upper bound. Rounding errors may violate
    # the inequality.
    aleatoric = np.minimum(normalized_entropy(samples).mean(axis=0), total)
    return {"total": total, "aleatoric": aleatoric, "epistemic": total - aleatoric}
