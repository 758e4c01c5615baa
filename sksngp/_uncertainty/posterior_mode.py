"""Posterior mode of the output weights of the Gaussian-process layer.

The output is linear in random features phi(x), with the prior N(0, I / s) on the
weights beta of each class and a flat prior on the biases. The mode minimizes

    sum_i w_i (-log softmax(beta^T phi_i + b)[y_i]) + (s / 2) |beta|^2,

a convex problem (Rasmussen and Williams 2006, *Gaussian Processes for Machine
Learning*, section 3.5, for the same mode in function space). The Laplace approximation
of Liu et al. (2020, arXiv 2006.10108, equation 9) is an expansion around this mode.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression

from .._runtime.blas import one_thread
from .._runtime.shared_context import SharedContext

#: Maximum absolute value of the gradient of the mean loss at the mode, divided by the
#: prior precision. The error of the weights is the gradient over the curvature, which
#: may be as small as the prior precision.
TOLERANCE = 1e-10
#: Maximum absolute value of the gradient if candidates are compared in float32.
ROUGH_TOLERANCE = 3e-4
#: Maximum number of iterations. Both solvers need far fewer on well-scaled random
#: features.
MAX_ITER = 1000


@contextmanager
def _ignore_warnings() -> Iterator[None]:
    # Rounding errors may keep the gradient above such a small tolerance. If the classes
    # have few samples, scikit-learn warns that y may be a regression target.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        # SciPy's LineSearchWarning, for the same reason.
        warnings.filterwarnings("ignore", ".*line search", RuntimeWarning)
        yield


_without_warnings = SharedContext(_ignore_warnings)


class OutputWeights(NamedTuple):
    """Weights and biases of a linear output layer.

    Parameters
    ----------
    kernel : float64 ndarray of shape (n_random_features, n_classes)
        Weights of the random features.
    bias : float64 ndarray of shape (n_classes,)
        Biases of the classes.
    """

    kernel: NDArray[np.float64]
    bias: NDArray[np.float64]

    def logits(self, features: np.ndarray) -> NDArray[np.float64]:
        """Return the logits of random features, of shape (n, n_classes)."""
        return features @ self.kernel.astype(features.dtype) + self.bias


@one_thread
def posterior_mode(
    features: np.ndarray,
    labels: NDArray[np.int32],
    weights: NDArray[np.float64],
    *,
    num_classes: int,
    ridge: float,
    rough: bool = False,
) -> OutputWeights:
    """Compute the posterior mode of the output weights.

    Parameters
    ----------
    features : float32 or float64 ndarray of shape (n, n_random_features)
        Random features of the training samples.
    labels : int32 ndarray of shape (n,)
        Indices of classes. A class without samples is assigned a mean probability of
        about 1 / (n + K).
    weights : float64 ndarray of shape (n,)
        Sample weights. A sample of weight 2 is equivalent to two equal samples.
    num_classes : int
        Number of classes K.
    ridge : float
        Prior precision s.
    rough : bool, default=False
        If True, stop at a tolerance that is sufficient to compare candidates.

    Returns
    -------
    OutputWeights
        Weights and biases at the mode.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> features, labels = rng.normal(size=(50, 4)), np.arange(50, dtype=np.int32) % 2
    >>> mode = posterior_mode(
    ...     features, labels, np.ones(50), num_classes=2, ridge=0.1
    ... )
    >>> mode.kernel.shape, mode.bias.shape
    ((4, 2), (2,))
    """
    present = np.unique(labels)
    kernel = np.zeros((features.shape[1], num_classes))
    bias = np.zeros(num_classes)
    if len(present) > 1:
        kernel[:, present], bias[present] = _solve(
            features, labels, weights, ridge, rough
        )
    missing = np.setdiff1d(np.arange(num_classes), present)
    if len(missing):
        others = features @ kernel[:, present] + bias[present]
        level = np.average(logsumexp(others, axis=1), weights=weights)
        bias[missing] = level - np.log(weights.sum() + num_classes)
    return OutputWeights(kernel, bias)


def _solve(
    features: np.ndarray,
    labels: NDArray[np.int32],
    weights: NDArray[np.float64],
    ridge: float,
    rough: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the weights and biases of the classes that occur in `labels`."""
    binary = len(np.unique(labels)) == 2
    unit = weights.mean()  # the weights may exceed the range of float32
    # With two classes, scikit-learn fits the difference of the logits. Its weights have
    # twice the prior variance.
    model = LogisticRegression(
        C=(2.0 if binary else 1.0) * unit / ridge,
        solver="lbfgs" if rough else "newton-cg",
        tol=ROUGH_TOLERANCE if rough else TOLERANCE * min(ridge, 1.0),
        max_iter=MAX_ITER,
    )
    with _without_warnings:
        model.fit(features, labels, sample_weight=weights / unit)
    kernel = model.coef_.T.astype(np.float64)
    bias = model.intercept_.astype(np.float64)
    if binary:
        return np.hstack([-kernel, kernel]) / 2, np.array([-bias[0], bias[0]]) / 2
    return kernel, bias - bias.mean()
