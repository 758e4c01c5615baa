"""From predictive probabilities to uncertainty scores in [0, 1].

Entropies are divided by log K, the entropy of a uniform guess, so that scores
compare across numbers of classes. Total, aleatoric and epistemic uncertainty
follow the decomposition of Depeweg et al. (2018, arXiv 1710.07283): the entropy
of the mean prediction, the mean entropy of the samples, and their difference.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

#: The kinds of uncertainty that every classifier offers.
KINDS = ("total", "aleatoric", "epistemic")
Kind: TypeAlias = Literal["total", "aleatoric", "epistemic"]


def normalised_entropy(proba: np.ndarray) -> NDArray[np.float64]:
    """Entropy over the last axis, divided by log K.

    Parameters
    ----------
    proba : ndarray of shape (..., K)

    Returns
    -------
    ndarray of shape (...)
        0 for a certain prediction, 1 for a uniform one.

    Examples
    --------
    >>> import numpy as np
    >>> normalised_entropy(np.array([[1.0, 0.0], [0.5, 0.5]]))
    array([0., 1.])
    """
    return np.clip(entr(proba).sum(axis=-1) / np.log(proba.shape[-1]), 0.0, 1.0)


def entropy_of_logits(logits: np.ndarray) -> NDArray[np.float64]:
    """Normalised entropy of ``softmax(logits)``, precise for certain rows too.

    The softmax of a certain row rounds to 1, and its entropy to 0 or a multiple of
    1e-16: the root of that would differ by 1e-8 between equal rows.

    Parameters
    ----------
    logits : ndarray of shape (n, K)

    Returns
    -------
    ndarray of shape (n,)

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
    """Total, aleatoric and epistemic uncertainty of sampled predictions.

    Parameters
    ----------
    samples : ndarray of shape (S, n, K)
        Class probabilities from S networks, dropout masks or posterior draws.

    Returns
    -------
    dict of str to ndarray of shape (n,)
        Keys as in `KINDS`; total = aleatoric + epistemic.

    Examples
    --------
    Two networks that are each certain and disagree:

    >>> import numpy as np
    >>> scores = decompose(np.array([[[1.0, 0.0]], [[0.0, 1.0]]]))
    >>> {kind: float(score[0]) for kind, score in scores.items()}
    {'total': 1.0, 'aleatoric': 0.0, 'epistemic': 1.0}
    """
    total = normalised_entropy(samples.mean(axis=0))
    # By Jensen's inequality at most the total; rounding may say otherwise.
    aleatoric = np.minimum(normalised_entropy(samples).mean(axis=0), total)
    return {"total": total, "aleatoric": aleatoric, "epistemic": total - aleatoric}
