"""Monte Carlo dropout: one network, averaged over dropout masks."""

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
from ._fitted_arrays import FittedArray
from ._uncertainty.entropy import decompose
from ._wide_resnet import WideResNet

if TYPE_CHECKING:
    from ._base import Body, CompiledNetwork, Rows, StreamedRows


class MCDropoutClassifier(BaseNetworkClassifier):
    """Residual network with dropout left on at prediction.

    `num_samples` dropout masks are drawn when the classifier is fitted. Each
    defines a thinned network; probabilities are the average of their softmaxes.
    As every row meets the same masks, a prediction is repeatable and does not
    depend on the rows beside it.

    With ``p_s`` the probabilities under mask s, total uncertainty is the entropy
    of their mean, aleatoric the mean of their entropies, and epistemic the
    difference (mutual information), all divided by log K. It is not aware of
    distance from the training data.

    Parameters
    ----------
    num_samples : int, default=10
        Number of dropout masks, as in the tutorial.
    {shared parameters}

    Attributes
    ----------
    masks_ : float64 ndarray of shape (num_samples, num_layers, 1, num_hidden)
        Dropout masks, 0 or 1 / (1 - dropout_rate). With other networks than "resnet"
        these are int32 seeds of shape (num_samples, 2).
    {shared attributes}

    See Also
    --------
    SNGPClassifier : Knows how far a row is from the training data.
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

    _parameter_constraints: dict[str, list[Any]] = {
        **BaseNetworkClassifier._parameter_constraints,
        "num_samples": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        *,
        num_samples: int = 10,
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
        self.num_samples = num_samples

    masks_: np.ndarray  # of a fitted classifier

    _settled = ("num_samples", "dropout_rate")

    def _architecture(self, fitted: Body | None = None) -> dict[str, Any]:
        return {**super()._architecture(fitted), "dropout": self.dropout_rate > 0}

    def _scalars(self) -> dict[str, float]:
        # What the samples were drawn with, whatever the parameter is now.
        return {**super()._scalars(), "dropout_rate": self._settled_as["dropout_rate"]}

    def _wide_resnet(self) -> WideResNet:
        return WideResNet(dropout_rate=self.dropout_rate)

    def _before_training(
        self, rows: Rows | StreamedRows, rng: np.random.Generator
    ) -> None:
        # From a generator of their own: their number must not change the training.
        rng = rng.spawn(1)[0]
        if self.architecture_.get("body") is not None:  # seeds of its dropout layers
            size = (self.num_samples, 2)
            self.masks_ = rng.integers(2**30, size=size, dtype=np.int32)
            return
        shape = (self.num_samples, self._depth(), 1, self._width())
        kept = rng.random(shape) >= self.dropout_rate
        self.masks_ = kept / (1.0 - self.dropout_rate)

    def _fitted_arrays(self) -> dict[str, FittedArray]:
        architecture = self.architecture_
        shape = (None, architecture["num_layers"], 1, architecture["num_hidden"])
        masks = FittedArray(self.masks_, shape)
        if architecture.get("body") is not None:
            masks = FittedArray(self.masks_, (None, 2), "int32")
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
        self, compiled: CompiledNetwork, projected: np.ndarray, what: str
    ) -> NDArray[np.float64]:
        logits = self._logits(compiled, projected)
        samples = softmax(logits / self.temperature_, axis=-1)
        return samples.mean(axis=0) if what == "proba" else decompose(samples)[what]
