"""Deep ensemble: independent networks, trained together in one graph."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.utils._param_validation import Interval

from ._base import BaseNetworkClassifier
from ._shared_parameters import (
    SharedParameters,
    parameter,
    with_own_constructor,
    with_parameters,
)
from ._uncertainty.entropy import quantity_of_samples

if TYPE_CHECKING:
    from ._tensorflow.network_pool import CompiledNetwork


@with_parameters
class DeepEnsembleParameters(SharedParameters):
    """Parameters of `DeepEnsembleClassifier`."""

    num_ensemble: int = parameter(
        default=10,
        constraints=[Interval(Integral, 1, None, closed="left")],
        kind="int",
        text="Number of ensemble members, as in the tutorial.",
    )


@with_own_constructor
class DeepEnsembleClassifier(DeepEnsembleParameters, BaseNetworkClassifier):
    """Average of residual networks with different initial weights.

    The ensemble members have their own weights, input rotations, shuffles and dropout
    masks. They share the compiled graph, in which their layers are stacked.

    With ``p_m`` the probabilities of member m, the total uncertainty is the entropy of
    their mean, the aleatoric uncertainty the mean of their entropies, and the epistemic
    uncertainty the difference (mutual information), all divided by log(n_classes). The
    uncertainty is not aware of the distance from the training data.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {shared attributes}

    See Also
    --------
    SNGPClassifier : Network with uncertainty that is aware of distance.
    MCDropoutClassifier : Thinned copies of one network instead of several.

    References
    ----------
    .. [1] Lakshminarayanan, B., Pritzel, A. and Blundell, C. (2017). "Simple and
       scalable predictive uncertainty estimation using deep ensembles", arXiv
       1612.01474.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sksngp import DeepEnsembleClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = DeepEnsembleClassifier(num_ensemble=3, epochs=20, random_state=0)
    >>> clf.fit(X, y).predict_proba(X[:2]).shape
    (2, 3)
    """

    def _architecture(self, fitted: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return {**super()._architecture(fitted), "members": int(self.num_ensemble)}

    def _evaluate(
        self, compiled: CompiledNetwork, projected: np.ndarray, quantity: str
    ) -> NDArray[np.float64]:
        logits = self._logits(compiled, projected)
        samples = softmax(logits / self.temperature_, axis=-1)
        return quantity_of_samples(samples, quantity)
