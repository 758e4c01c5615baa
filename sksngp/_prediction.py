"""Prediction methods of the classifiers."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted

from ._data.collections import compute_if_lazy, split_label
from ._data.dask_predictions import lazy_on_dask
from ._data.input_types import plain_labels
from ._data.projection import InputProjection, padded_blocks
from ._data.sources import MatrixLike, RowSource
from ._data.validation import check_samples
from ._fitted_arrays import FittedArray
from ._networks.architecture import Architecture
from ._runtime import threads
from ._tensorflow import backend, network_pool
from ._uncertainty import conformal
from ._uncertainty.entropy import KINDS, Kind


class PredictionMixin:
    """Methods of a fitted classifier.

    They accept arrays, dataframes, pyarrow datasets and memory maps. For a dask array
    or dataframe, they return a lazy dask array that is computed partition by partition.

    They require the attributes and methods that are declared here.
    """

    # Parameters and attributes of the classifier.
    device: str | None
    architecture_: dict[str, Any]
    classes_: np.ndarray
    image_shape_: tuple[int, ...] | None
    n_features_in_: int
    temperature_: float
    ood_scores_: NDArray[np.float64]
    ood_threshold_: float
    projection_: InputProjection
    weights_: dict[str, np.ndarray]

    if TYPE_CHECKING:  # methods of the classifier

        @property
        def _fitted_architecture(self) -> Architecture: ...

        def _evaluate(
            self,
            compiled: network_pool.CompiledNetwork,
            projected: np.ndarray,
            quantity: str,
        ) -> np.ndarray: ...

        def _row_width(self) -> int: ...

        def _network_variables(self) -> dict[str, float]: ...

    #: Quantity that `_evaluate` returns as out-of-distribution score.
    _ood_score_kind: str = "epistemic"

    #: Number of parts of this score.
    _num_parts = 1

    @property
    def _ood_parts(self) -> str:
        """Quantity that `_evaluate` returns as the parts of this score."""
        return self._ood_score_kind

    @lazy_on_dask
    def predict(self, X: MatrixLike) -> np.ndarray:
        """Predict the most probable class.

        Parameters
        ----------
        X : array-like or dataframe of shape (n_samples, n_features)
            Input samples, or images of shape (n_samples, height, width, channels).

        Returns
        -------
        ndarray of shape (n_samples,)
            Class labels.
        """
        check_is_fitted(self)
        model = copy.copy(self)  # the same model, even if another thread refits
        return model.classes_[model.predict_proba(X).argmax(axis=1)]

    @lazy_on_dask
    def predict_proba(self, X: MatrixLike) -> NDArray[np.float64]:
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like or dataframe of shape (n_samples, n_features)
            Input samples, or images of shape (n_samples, height, width, channels).

        Returns
        -------
        float64 ndarray of shape (n_samples, n_classes)
            Columns in the order of `classes_`.
        """
        return self._predict(X, "proba")

    @lazy_on_dask
    def predict_log_proba(self, X: MatrixLike) -> NDArray[np.float64]:
        """Predict the logarithm of class probabilities.

        Parameters
        ----------
        X : array-like or dataframe of shape (n_samples, n_features)
            Input samples, or images of shape (n_samples, height, width, channels).

        Returns
        -------
        float64 ndarray of shape (n_samples, n_classes)
            Columns in the order of `classes_`.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def predict_uncertainty(
        self, X: MatrixLike, kind: Kind = "total"
    ) -> NDArray[np.float64]:
        """Predict the uncertainty of each sample.

        Parameters
        ----------
        X : array-like or dataframe of shape (n_samples, n_features)
            Input samples, or images of shape (n_samples, height, width, channels).
        kind : {"total", "aleatoric", "epistemic"}, default="total"
            Kind of uncertainty. "total" is the uncertainty of the prediction.
            "aleatoric" is the part due to overlapping classes, which more data would
            not reduce. "epistemic" is the part due to a lack of similar training data.
            The documentation of the class specifies how each is computed.

        Returns
        -------
        float64 ndarray of shape (n_samples,)
            Values in [0, 1]. Higher values indicate less certain predictions.
        """
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {kind!r}.")
        return self._predict_kind(X, kind)

    @lazy_on_dask
    def _predict_kind(self, X: MatrixLike, kind: str) -> NDArray[np.float64]:
        return self._predict(X, kind)

    @lazy_on_dask
    def predict_ood(self, X: MatrixLike) -> NDArray[np.bool_]:
        """Flag out-of-distribution samples.

        Parameters
        ----------
        X : array-like or dataframe of shape (n_samples, n_features)
            Input samples, or images of shape (n_samples, height, width, channels).

        Returns
        -------
        bool ndarray of shape (n_samples,)
            True if the out-of-distribution score, the opposite of `score_samples`,
            exceeds `ood_threshold_`. Of new samples from the distribution of the
            calibration set, at most a fraction `ood_alpha` is flagged, in expectation
            or, if it is set, with probability `ood_confidence`.
        """
        check_is_fitted(self)
        model = copy.copy(self)  # the same model, even if another thread refits
        return model._predict(X, model._ood_score_kind) > model.ood_threshold_

    @lazy_on_dask
    def ood_pvalue(self, X: MatrixLike) -> NDArray[np.float64]:
        """Compute conformal p-values of the hypothesis of being in distribution.

        The p-value depends on the rank of the out-of-distribution score of a sample
        among the scores of the calibration set, `ood_scores_` (Bates et al. 2023, arXiv
        2104.08279, equation 2). Of samples from the same distribution as the
        calibration set, at most a fraction alpha has a p-value of alpha or less, in
        expectation and for every alpha. `predict_ood` flags p-values of at most the
        `ood_alpha` of the last fit or calibration, or fewer with `ood_confidence`.

        The p-values of several samples are dependent, because all scores are compared
        with the same calibration set. The paper describes how to combine them.

        Parameters
        ----------
        X : array-like or dataframe of shape (n_samples, n_features)
            Input samples, or images of shape (n_samples, height, width, channels).

        Returns
        -------
        float64 ndarray of shape (n_samples,)
            Values in (0, 1]. The minimum is ``1 / (1 + len(ood_scores_))``.
        """
        check_is_fitted(self)
        model = copy.copy(self)  # the same model, even if another thread refits
        return conformal.pvalues(
            model._predict(X, model._ood_score_kind), model.ood_scores_
        )

    @lazy_on_dask
    def score_samples(self, X: MatrixLike) -> NDArray[np.float64]:
        """Return the opposite of the out-of-distribution score of each sample.

        The out-of-distribution score is the epistemic uncertainty, which is in [0, 1],
        except for `SNGPClassifier`, whose documentation describes its score. The sign
        and the name are those of scikit-learn's outlier detectors. ``Pipeline`` and
        ``GridSearchCV`` forward this method.

        Parameters
        ----------
        X : array-like or dataframe of shape (n_samples, n_features)
            Input samples, or images of shape (n_samples, height, width, channels).

        Returns
        -------
        float64 ndarray of shape (n_samples,)
            Values of at most 0; higher is more similar to the training data.
        """
        return -self._predict(X, self._ood_score_kind)

    def score(
        self, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the accuracy: the fraction of samples with a correct prediction.

        Parameters
        ----------
        X : array-like or dataframe of shape (n_samples, n_features)
            Input samples, or images of shape (n_samples, height, width, channels).
        y : array-like of shape (n_samples,), or str
            True labels, or the name of their column in a pyarrow dataset.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights.

        Returns
        -------
        float
            Value in [0, 1].
        """
        if isinstance(y, str):
            _, y = split_label(X, y)
        return float(
            accuracy_score(
                plain_labels(compute_if_lazy(y)),
                compute_if_lazy(self.predict(X)),
                sample_weight=compute_if_lazy(sample_weight),
            )
        )

    def _fitted_arrays(self) -> dict[str, FittedArray]:
        """Return the arrays that predictions require, by name."""
        architecture = self._fitted_architecture
        classes, columns = architecture.num_outputs, self.n_features_in_
        arrays = {
            "classes_": FittedArray(self.classes_, (classes,), dtype=None),
            "ood_scores_": FittedArray(self.ood_scores_, (None,)),
            "temperature_": FittedArray.of_positive(self.temperature_),
        }
        width = architecture.projection_width
        if width is not None:
            kernel = (architecture.members, columns, width)
            arrays["projection_.kernel"] = FittedArray(self.projection_.kernel, kernel)
        scaler = self.projection_.scaler
        if scaler is not None:
            columns = architecture.channels(self.image_shape_) or columns
            arrays["scaler.mean_"] = FittedArray(scaler.mean_, (columns,))
            arrays["scaler.scale_"] = FittedArray(
                scaler.scale_, (columns,), positive=True
            )
        shapes = backend.weight_shapes(architecture)
        if self.weights_.keys() != shapes.keys():
            raise ValueError("the names in weights_ differ from its architecture's")
        for name, (shape, dtype) in shapes.items():
            arrays[name] = FittedArray(self.weights_[name], shape, dtype)
        return arrays

    def _predict(self, X: MatrixLike, quantity: str) -> NDArray[np.float64]:
        check_is_fitted(self)
        model = copy.copy(self)  # the same model, even if another thread refits
        values = model._predict_valid(check_samples(model, X, reset=False), quantity)
        finite = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
        if not finite.all():
            architecture = model._fitted_architecture
            raise ValueError(
                f"The prediction of sample {np.argmin(finite)} is not finite: its "
                "values, or the activations of the network, may be too large for "
                f"{architecture.mixed or architecture.dtype}."
            )
        return values

    def _predict_valid(
        self, X: np.ndarray | RowSource, quantity: str
    ) -> NDArray[np.float64]:
        dtype = self.architecture_["dtype"]
        columns = {"proba": [len(self.classes_)], "ood parts": [self._num_parts]}
        result = np.empty((len(X), *columns.get(quantity, [])))

        def predict(rows: slice, block: np.ndarray) -> None:
            values = self._evaluate(compiled, self.projection_(block, dtype), quantity)
            result[rows] = values[: rows.stop - rows.start]

        self._prepare()
        width = max(self._row_width(), X.shape[1])
        with self._inference() as compiled:
            one_size = self._fitted_architecture.has_fixed_block_size
            blocks = padded_blocks(X, width, **({"budget": 0} if one_size else {}))
            threads.run_in_threads(predict, blocks)
        return result

    def _prepare(self) -> None:
        """Compute cached attributes before the threads start."""

    @contextmanager
    def _inference(self) -> Iterator[network_pool.CompiledNetwork]:
        """Lease a network that is loaded with the fitted weights."""
        with network_pool.lease(self.device, **self.architecture_) as compiled:
            compiled.load(self.weights_, **self._network_variables())
            yield compiled
