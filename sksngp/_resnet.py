"""The deterministic residual network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ._base import BaseNetworkClassifier
from ._shared_parameters import with_own_constructor
from ._uncertainty.entropy import normalized_entropy

if TYPE_CHECKING:
    from ._tensorflow.network_pool import CompiledNetwork


@with_own_constructor
class ResNetClassifier(BaseNetworkClassifier):
    """Deterministic residual network, the baseline of the other three.

    A single network cannot distinguish an out-of-distribution sample from a sample in a
    region where classes overlap. `predict_uncertainty` therefore returns the entropy of
    the prediction for every `kind`, and `predict_ood` flags samples of high entropy.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {shared attributes}

    See Also
    --------
    SNGPClassifier : Network with uncertainty that is aware of distance.
    MCDropoutClassifier : Average of this network over dropout masks.
    DeepEnsembleClassifier : Average of several such networks.

    References
    ----------
    .. [1] He, K., Zhang, X., Ren, S. and Sun, J. (2016). "Deep residual learning
       for image recognition", arXiv 1512.03385.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sksngp import ResNetClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = ResNetClassifier(epochs=50, batch_size=32, random_state=0).fit(X, y)
    >>> clf.predict_proba(X[:2]).shape
    (2, 3)
    >>> clf.score(X, y) > 0.9
    True
    """

    def _evaluate(
        self, compiled: CompiledNetwork, projected: np.ndarray, quantity: str
    ) -> NDArray[np.float64]:
        proba = self._tempered(self.temperature_, self._logits(compiled, projected))
        return proba if quantity == "proba" else normalized_entropy(proba)
