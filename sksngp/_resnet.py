"""The deterministic residual network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ._base import (
    BaseNetworkClassifier,
    ClassWeight,
    CrossValidator,
    Network,
    RandomState,
    Schedule,
)
from ._uncertainty.entropy import normalized_entropy

if TYPE_CHECKING:
    from ._base import CompiledNetwork


class ResNetClassifier(BaseNetworkClassifier):
    """Deterministic residual network, the baseline of the other three.

    A single network cannot tell a row it has never seen the like of from one
    where classes overlap: `predict_uncertainty` returns the entropy of the
    prediction for every `kind`, and `predict_ood` flags rows of high entropy.

    Parameters
    ----------
    {shared parameters}

    Attributes
    ----------
    {shared attributes}

    See Also
    --------
    SNGPClassifier : Knows how far a row is from the training data.
    MCDropoutClassifier : Averages this network over dropout masks.
    DeepEnsembleClassifier : Averages several such networks.

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

    def __init__(
        self,
        *,
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

    def _evaluate(
        self, compiled: CompiledNetwork, projected: np.ndarray, what: str
    ) -> NDArray[np.float64]:
        proba = self._tempered(self.temperature_, self._logits(compiled, projected))
        return proba if what == "proba" else normalized_entropy(proba)
