"""Deep ensemble: independent networks, trained side by side as one graph."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.utils._param_validation import Interval

from ._base import (
    BaseNetworkClassifier,
    ClassWeight,
    CrossValidator,
    Network,
    RandomState,
    Schedule,
)
from ._uncertainty.entropy import decompose

if TYPE_CHECKING:
    from ._base import Body, CompiledNetwork


class DeepEnsembleClassifier(BaseNetworkClassifier):
    """Average of residual networks from different initial weights.

    The members have their own weights, input rotations, shuffles and dropout
    masks; they share the compiled graph, in which their layers are stacked.

    With ``p_m`` the probabilities of member m, total uncertainty is the entropy
    of their mean, aleatoric the mean of their entropies, and epistemic the
    difference (mutual information), all divided by log K. It is not aware of
    distance from the training data.

    Parameters
    ----------
    num_ensemble : int, default=10
        Number of networks, as in the tutorial.
    {shared parameters}

    Attributes
    ----------
    {shared attributes}

    See Also
    --------
    SNGPClassifier : Knows how far a row is from the training data.
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

    _parameter_constraints: dict[str, list[Any]] = {
        **BaseNetworkClassifier._parameter_constraints,
        "num_ensemble": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        *,
        num_ensemble: int = 10,
        network: Network = "resnet",
        image_shape: tuple[int, int, int] | None = None,
        num_layers: int | Literal["auto"] = "auto",
        num_hidden: int | Literal["auto"] = "auto",
        dropout_rate: float = 0.1,
        standardize: bool = True,
        dtype: Literal["float32", "float64"] = "float32",
        mixed_precision: Literal["bfloat16", "float16"] | None = None,
        device: str | None = None,
        optimizer: Literal["adam", "rmsprop", "sgd"] = "adam",
        learning_rate: float = 3e-3,
        learning_rate_schedule: Schedule = "cosine",
        epochs: int | Literal["auto"] = "auto",
        batch_size: int | None = 128,
        early_stopping: bool = False,
        cv: CrossValidator = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        temperature: float | Literal["auto"] = "auto",
        class_weight: ClassWeight = None,
        warm_start: bool = False,
        ood_alpha: float = 0.05,
        ood_confidence: float | None = None,
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            network=network,
            image_shape=image_shape,
            num_layers=num_layers,
            num_hidden=num_hidden,
            dropout_rate=dropout_rate,
            standardize=standardize,
            dtype=dtype,
            mixed_precision=mixed_precision,
            device=device,
            optimizer=optimizer,
            learning_rate=learning_rate,
            learning_rate_schedule=learning_rate_schedule,
            epochs=epochs,
            batch_size=batch_size,
            early_stopping=early_stopping,
            cv=cv,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            temperature=temperature,
            class_weight=class_weight,
            warm_start=warm_start,
            ood_alpha=ood_alpha,
            ood_confidence=ood_confidence,
            random_state=random_state,
            verbose=verbose,
        )
        self.num_ensemble = num_ensemble

    def _architecture(self, fitted: Body | None = None) -> dict[str, Any]:
        return {**super()._architecture(fitted), "members": int(self.num_ensemble)}

    def _evaluate(
        self, compiled: CompiledNetwork, projected: np.ndarray, what: str
    ) -> NDArray[np.float64]:
        logits = self._logits(compiled, projected)
        samples = softmax(logits / self.temperature_, axis=-1)
        samples = samples.reshape(-1, *samples.shape[-2:])  # an ensemble of one, too
        return samples.mean(axis=0) if what == "proba" else decompose(samples)[what]
