"""Monte Carlo dropout: a network averaged over dropout masks."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.utils._param_validation import Interval

from ._base import BaseNetworkClassifier
from ._fitted_arrays import FittedArray
from ._shared_parameters import (
    SharedParameters,
    parameter,
    with_own_constructor,
    with_parameters,
)
from ._uncertainty.entropy import quantity_of_samples
from ._wide_resnet import WideResNet

if TYPE_CHECKING:
    from ._data.rows import Rows
    from ._data.streamed_rows import StreamedRows
    from ._networks.custom_function import NetworkFunction
    from ._tensorflow.network_pool import CompiledNetwork


@with_parameters
class MCDropoutParameters(SharedParameters):
    """Parameters of `MCDropoutClassifier`."""

    num_samples: int = parameter(
        default=10,
        constraints=[Interval(Integral, 1, None, closed="left")],
        kind="int",
        text="Number of dropout masks, as in the tutorial.",
    )


@with_own_constructor
class MCDropoutClassifier(MCDropoutParameters, BaseNetworkClassifier):
    """Residual network with dropout in prediction.

    `num_samples` dropout masks are drawn when the classifier is fitted. Each mask
    defines a thinned network, and probabilities are the average of their softmaxes. The
    same masks are applied to all samples. Predictions are therefore reproducible and
    independent of the other samples in `X`.

    With ``p_s`` the probabilities under mask s, the total uncertainty is the entropy of
    their mean, the aleatoric uncertainty the mean of their entropies, and the epistemic
    uncertainty the difference (mutual information), all divided by log(n_classes). The
    uncertainty is not aware of the distance from the training data.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    masks_ : float64 ndarray of shape (num_samples, num_layers, 1, num_hidden)
        Dropout masks, 0 or 1 / (1 - dropout_rate). For custom networks, int32 seeds of
        shape (num_samples, 2).
    {shared attributes}

    See Also
    --------
    SNGPClassifier : Network with uncertainty that is aware of distance.
    DeepEnsembleClassifier : Independent networks instead of thinned ones.

    References
    ----------
    .. [1] Gal, Y. and Ghahramani, Z. (2016). "Dropout as a Bayesian
       approximation: representing model uncertainty in deep learning", arXiv
       1506.02142.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sksngp import MCDropoutClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MCDropoutClassifier(epochs=20, random_state=0).fit(X, y)
    >>> clf.predict_uncertainty(X[:2], kind="epistemic").shape
    (2,)
    """

    masks_: np.ndarray  # attribute of a fitted classifier

    _params_fixed_by_fit = ("standardize", "num_samples", "dropout_rate")

    def _custom_fields(self, function: NetworkFunction) -> dict[str, Any]:
        return {**super()._custom_fields(function), "dropout": self.dropout_rate > 0}

    def _network_variables(self) -> dict[str, float]:
        # The rate with which the masks were drawn; the parameter may have changed.
        return {
            **super()._network_variables(),
            "dropout_rate": self._fixed_params["dropout_rate"],
        }

    def _wide_resnet(self) -> WideResNet:
        return WideResNet(dropout_rate=self.dropout_rate)

    def _before_training(
        self, rows: Rows | StreamedRows, rng: np.random.Generator
    ) -> None:
        # A separate generator: the number of masks does not affect the training.
        (generator,) = rng.spawn(1)
        self.masks_ = self._fitted_architecture.draw_masks(
            generator, self.num_samples, self.dropout_rate
        )

    def _fitted_arrays(self) -> dict[str, FittedArray]:
        masks = FittedArray(self.masks_, *self._fitted_architecture.mask_spec)
        return {**super()._fitted_arrays(), "masks_": masks}

    def _row_width(self) -> int:
        return len(self.masks_) * super()._row_width()

    def _logits(
        self, compiled: CompiledNetwork, projected: np.ndarray
    ) -> NDArray[np.float64]:
        return (
            compiled.forward_masked(projected, self.masks_).numpy().astype(np.float64)
        )

    def _evaluate(
        self, compiled: CompiledNetwork, projected: np.ndarray, quantity: str
    ) -> NDArray[np.float64]:
        logits = self._logits(compiled, projected)
        samples = softmax(logits / self.temperature_, axis=-1)
        return quantity_of_samples(samples, quantity)
