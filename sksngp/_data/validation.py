"""Validation of data and parameters."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from math import prod
from numbers import Integral, Real
from typing import Any, Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import _fit_context
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    _check_y,
    check_array,
    check_consistent_length,
    validate_data,
)

from .collections import (
    check_order,
    compute_if_lazy,
    is_collection,
    open_source,
    split_label,
)
from .input_types import (
    check_features,
    check_not_masked,
    plain_labels,
    text_columns_named,
)
from .sample_weight import WeightTotals, are_counts, in_units, warn_of_ambiguous_counts
from .sources import RowSource, iter_chunks, select_samples

#: Maximum sample weight. Weighted sums of squares must not overflow.
MAX_WEIGHT = 1e100
#: Maximum number of classes. Each optimizer step and each prediction computes one logit
#: for each class.
MAX_CLASSES = 100_000
#: Placeholder for `y` if there are no labels to check.
NO_LABELS = object()

Method = TypeVar("Method", bound=Callable[..., Any])


def checks_parameters(method: Method) -> Method:
    """Decorate a method to validate the parameters of its estimator first.

    In contrast to the decorator of scikit-learn, the type of the method is preserved.
    """
    return _fit_context(prefer_skip_nested_validation=True)(method)


@overload
def check_samples(estimator: Any, X: Any, *, reset: bool) -> np.ndarray | RowSource: ...


@overload
def check_samples(
    estimator: Any, X: Any, y: Any, *, reset: bool
) -> tuple[np.ndarray | RowSource, np.ndarray]: ...


def check_samples(estimator: Any, X: Any, y: Any = NO_LABELS, *, reset: bool) -> Any:
    """Validate `X` and optionally `y` like scikit-learn, and check the range of `X`.

    Parameters
    ----------
    estimator : estimator
        Classifier whose `dtype` determines the range of `X`.
    X : array-like of shape (n, n_features)
        Input samples.
    y : array-like of shape (n,), optional
        Class labels.
    reset : bool
        Whether to store the names and the number of features in `estimator`. If False,
        they are compared with the stored values.

    Returns
    -------
    X : float32 or float64 ndarray of shape (n, n_features), or RowSource
        Validated samples.
    y : ndarray of shape (n,)
        Validated labels. Only returned if `y` is given.
    """
    X = flatten_images(estimator, X, reset)
    check_features(X)
    if is_collection(X):
        return _check_collection(estimator, X, y, reset)
    if issparse(X):
        raise TypeError(
            "Sparse X is not supported, because distances between samples require "
            "standardized and therefore dense features. For categories, use "
            "OneHotEncoder(sparse_output=False), and in a ColumnTransformer also "
            "sparse_threshold=0. Reduce X otherwise, for example with "
            "sklearn.decomposition.TruncatedSVD in a Pipeline, or pass X.toarray()."
        )
    if getattr(X, "shape", ())[1:] == (0,):
        X = np.empty(X.shape)  # scikit-learn cannot infer a dtype without columns
    with text_columns_named(X):
        checked = validate_data(
            estimator,
            X,
            "no_validation" if y is NO_LABELS else y,
            reset=reset,
            dtype=(np.float64, np.float32),
        )
    rows = checked[0] if isinstance(checked, tuple) else checked
    _check_image_size(estimator, rows)
    _check_magnitude(estimator, rows)
    return checked


def flatten_images(estimator: Any, X: Any, reset: bool) -> Any:
    """Flatten images of shape (n, h, w, c), and store or check their shape.

    Other input is returned unchanged.
    """
    if isinstance(X, list | tuple) and _depth(X) > 2:
        X = np.asarray(X)
    shape = getattr(X, "shape", ())
    if len(shape) == 3:
        raise ValueError(
            f"Found array with dim 3, of shape {shape}. {type(estimator).__name__} "
            "expects an array of shape (n_samples, n_features) or images of shape "
            "(n_samples, height, width, channels). Use numpy.expand_dims(X, -1) for "
            "grayscale images and numpy.expand_dims(X, 0) for a single image."
        )
    is_images = len(shape) == 4 and all(isinstance(length, int) for length in shape)
    given = estimator.image_shape
    if reset and given is not None and not _is_image_shape(given):
        raise ValueError(
            "image_shape must be a tuple (height, width, channels) of positive "
            f"integers, got {given}."
        )
    known = given if reset else getattr(estimator, "image_shape_", None)
    if is_images and known is not None and tuple(known) != shape[1:]:
        raise ValueError(
            f"X must hold images of shape {tuple(known)}, got images of shape "
            f"{shape[1:]}."
        )
    if reset:
        estimator.image_shape_ = shape[1:] if is_images else given
    if not is_images:
        return X
    X = X if hasattr(X, "reshape") else np.asarray(X)
    return X.reshape(len(X), prod(shape[1:]))


def _depth(nested: Any) -> int:
    """Return the number of dimensions of nested lists, judged by the first elements."""
    depth = 0
    while isinstance(nested, list | tuple) and len(nested):
        depth, nested = depth + 1, nested[0]
    return depth + len(getattr(nested, "shape", ()))


def _is_image_shape(shape: tuple[Any, ...]) -> bool:
    return len(shape) == 3 and all(
        isinstance(length, Integral)
        and not isinstance(length, bool)
        and int(length) > 0
        for length in shape
    )


def _check_image_size(estimator: Any, rows: np.ndarray | RowSource) -> None:
    shape = getattr(estimator, "image_shape_", None)
    if shape is not None and rows.shape[1] != prod(shape):
        raise ValueError(
            f"X must have {prod(shape)} features for image_shape={shape}, got "
            f"{rows.shape[1]}."
        )


def _check_collection(estimator: Any, collection: Any, y: Any, reset: bool) -> Any:
    """Validate a collection like `check_samples`, one chunk at a time."""
    known = None if reset else getattr(estimator, "feature_names_in_", None)
    if isinstance(y, str):
        known, y = split_label(collection, y)
        check_labels(y, "y")
    source = open_source(collection, columns=known)
    validate_data(estimator, source.template(), reset=reset, skip_check_array=True)
    if y is not NO_LABELS:
        y = _check_y(y, estimator=estimator)
        check_consistent_length(source, y)
    _check_image_size(estimator, source)
    for _, chunk in iter_chunks(source):
        check_array(chunk, dtype=None, input_name="X", estimator=estimator)
        _check_magnitude(estimator, chunk)
    if not len(source):  # raise the error of scikit-learn
        check_array(np.empty(source.shape), input_name="X", estimator=estimator)
    return source if y is NO_LABELS else (source, y)


def _check_magnitude(estimator: Any, X: np.ndarray) -> None:
    # Standardization squares values in float64. Without standardization, values are
    # multiplied by float32 weights.
    largest = np.finfo(np.float32).max if estimator.dtype == "float32" else 1e150
    magnitude = np.maximum(X.max(axis=0), -X.min(axis=0))
    if (magnitude > largest).any():
        column = int(np.argmax(magnitude))
        names = getattr(estimator, "feature_names_in_", None)
        raise ValueError(
            "The absolute values of X must not exceed "
            f"{largest:.3g} with dtype={estimator.dtype!r}, got "
            f"{magnitude[column]:.3g} in feature "
            f"{column if names is None else repr(names[column])}. Rescale the feature."
        )


def check_training_samples(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    *,
    known_classes: np.ndarray | None,
    reset: bool,
    streaming: bool = False,
) -> tuple[
    np.ndarray | RowSource,
    NDArray[np.int32],
    NDArray[np.float64],
    NDArray[np.intp],
    np.ndarray,
    NDArray[np.float64],
]:
    """Validate training samples.

    Parameters
    ----------
    estimator : estimator
        Classifier. The weights are multiplied by its `class_weight`, and their totals
        are stored in it. See also `check_samples`.
    X : array-like of shape (n, n_features)
        Input samples.
    y : array-like of shape (n,)
        Class labels.
    sample_weight : array-like of shape (n,) or None
        Sample weights. If None, all samples have equal weight.
    known_classes : ndarray or None
        Sorted classes, which must include all labels. If None, the classes are those
        in `y`. There may be at most `MAX_CLASSES`.
    reset : bool
        Whether the samples start a new fit. See `check_samples`.
    streaming : bool, default=False
        Whether the samples are a batch of a stream. Their weights are then not divided
        by the unit, because the unit is known only at the end of the stream.

    Returns
    -------
    X : ndarray or RowSource of shape (m, n_features)
        Samples of positive weight.
    labels : int32 ndarray of shape (m,)
        Indices into `classes`.
    weights : float64 ndarray of shape (m,)
        Positive products of counts and importances. Their mean is 1 per count unless
        `streaming`.
    index : int ndarray of shape (m,)
        Positions of these samples in the original `X`.
    classes : ndarray of shape (n_classes,)
        Sorted classes.
    counts : float64 ndarray of shape (m,)
        Number of equal samples that each sample represents. See
        `sksngp._data.sample_weight`.
    """
    class_weight = estimator.class_weight
    if isinstance(class_weight, dict):
        _check_class_weight(class_weight)
    y, sample_weight = compute_if_lazy(y), compute_if_lazy(sample_weight)
    check_order(X, y, "y")
    check_order(X, sample_weight, "sample_weight")
    if not isinstance(y, str):  # the name of a column
        check_labels(y, "y")
    y = plain_labels(y)
    X, y = check_samples(estimator, X, y, reset=reset)
    if known_classes is None or y.dtype.kind not in "biu":  # integers are classes
        check_classification_targets(y)
    totals = WeightTotals()
    if streaming and not reset:
        totals = WeightTotals(*getattr(estimator, "_weight_totals", ()))
    weights, totals = _check_weights(sample_weight, X, totals)
    classes = np.unique(y) if known_classes is None else known_classes
    _check_classes(np.unique(y[weights > 0]), classes, known_classes is None)
    index = np.arange(len(weights))
    X, y, weights, index = _weighted(X, y, weights, index)
    labels = np.searchsorted(classes, y).astype(np.int32)
    counts = weights if totals.counts else np.ones(len(weights))
    if class_weight is not None:
        weights = weights * _class_weights(class_weight, classes, labels, weights)
        counts = counts[weights > 0]
        X, labels, weights, index = _weighted(X, labels, weights, index)
        _check_left(labels, class_weight, known_classes is None)
    totals = totals.plus(weights, counts)
    estimator._weight_totals = tuple(totals)
    if not streaming:
        weights = in_units(weights, totals.unit)
    return X, labels, weights, index, classes, counts


def _check_weights(
    sample_weight: Any, X: np.ndarray | RowSource, totals: WeightTotals
) -> tuple[NDArray[np.float64], WeightTotals]:
    """Validate sample weights, and determine whether they are counts."""
    check_not_masked(sample_weight, "sample_weight")
    weights = _check_sample_weight(
        sample_weight, X, dtype=np.float64, ensure_non_negative=True
    )
    if weights.max() > MAX_WEIGHT:
        raise ValueError(
            f"sample_weight must not exceed {MAX_WEIGHT:.3g}, got "
            f"{weights.max():.3g}. Divide the weights by their mean."
        )
    if sample_weight is None:  # each sample has a count of 1 or the mean importance
        return weights * (1.0 if totals.counts else totals.unit), totals
    counts = totals.counts and are_counts(weights)
    if counts:
        # The user's call is above this function, two others, `fit` and its wrapper.
        warn_of_ambiguous_counts(weights, stacklevel=6)
        return weights, totals
    if totals.counts:
        # After counts, or samples without weights, a weight of 1 is that of a sample.
        scale = 1.0 if totals.size else 1.0 / max(float(weights.mean()), 1e-300)
        totals = totals._replace(counts=False, scale=scale)
    return weights * totals.scale, totals


def check_labels(labels: Any, name: str) -> None:
    """Reject missing labels, and strings mixed with other types.

    NumPy would convert a list of such labels to strings, for example to a class "nan",
    or to "1" for the number 1.

    Parameters
    ----------
    labels : array-like of shape (n,)
        Class labels.
    name : str
        Name of the parameter, for the error message.

    Raises
    ------
    ValueError
        If labels are missing or have several types.
    """
    if labels is None:
        return
    if not isinstance(labels, list | tuple):
        labels = np.asarray(labels).ravel()
        if labels.dtype.kind not in "fmMO":
            return
    if _any_missing(labels):
        raise ValueError(
            f"{name} contains NaN or None. Drop the samples without a label, or assign "
            "them to a class of their own."
        )
    types = set(map(type, labels))
    if len({issubclass(kind, str) for kind in types}) > 1:
        names = ", ".join(sorted(kind.__name__ for kind in types))
        raise ValueError(f"{name} must hold labels of one type, got {names}.")


def _any_missing(labels: Any) -> bool:
    if isinstance(labels, np.ndarray) and labels.dtype.kind != "O":
        return bool(np.isnan(labels).any())
    return any(
        label is None
        or (isinstance(label, float | np.floating) and np.isnan(label))
        or type(label).__name__ in ("NAType", "NaTType")  # types of pandas
        for label in labels
    )


def _weighted(
    X: np.ndarray | RowSource,
    labels: np.ndarray,
    weights: np.ndarray,
    index: NDArray[np.intp],
) -> tuple[np.ndarray | RowSource, np.ndarray, np.ndarray, NDArray[np.intp]]:
    """Drop samples of weight 0, without a copy if there are none."""
    if weights.all():
        return X, labels, weights, index
    kept = weights > 0
    return select_samples(X, kept), labels[kept], weights[kept], index[kept]


def _class_weights(
    class_weight: dict[Any, float] | Literal["balanced"],
    classes: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
) -> np.ndarray:
    """Return the class weight of each sample."""
    if class_weight != "balanced":
        of_class = compute_class_weight(class_weight, classes=classes, y=classes)
        return of_class[labels]
    # The formula of scikit-learn divides by zero for a class without samples.
    totals = np.bincount(labels, weights)
    return weights.sum() / (np.count_nonzero(totals) * totals[labels])


def _check_class_weight(class_weight: dict[Any, Any]) -> None:
    for label, weight in class_weight.items():
        is_number = isinstance(weight, Real)
        if not is_number or not 0 <= weight < np.inf:
            raise ValueError(
                "The weights in class_weight must be finite and non-negative numbers, "
                f"got {weight!r} for class {label!r}."
            )
        if float(weight) > MAX_WEIGHT:  # which float32 cannot represent
            raise ValueError(
                f"The weights in class_weight must not exceed {MAX_WEIGHT:.3g}, "
                f"got {weight!r} for class {label!r}. Only their ratios matter."
            )


def _check_left(labels: np.ndarray, class_weight: object, first: bool) -> None:
    left, needed = len(np.unique(labels)), 2 if first else 1
    if left < needed:
        raise ValueError(
            f"At least {needed} of the classes in y must have a positive weight, got "
            f"{left} with class_weight={class_weight!r}."
        )


def _check_classes(present: np.ndarray, classes: np.ndarray, first: bool) -> None:
    if len(classes) > MAX_CLASSES:
        raise ValueError(
            f"{'y' if first else 'classes'} must have at most {MAX_CLASSES} classes, "
            f"got {len(classes)}. Use a regressor if y is continuous, drop y if it "
            "identifies samples, or merge classes."
        )
    unseen = np.setdiff1d(present, classes)
    if len(unseen):
        raise ValueError(
            f"The labels in y must be among the classes "
            f"{reprlib.repr(classes.tolist())}, got {reprlib.repr(unseen.tolist())}."
        )
    if len(present if first else classes) < 2:
        raise ValueError(
            "y must have at least two classes with positive sample_weight, got "
            f"{len(present)} class: {reprlib.repr(present.tolist())}."
        )
