"""Checks of data, made before any work starts."""

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
from .input_types import check_features, check_not_masked, plain_labels
from .sample_weight import WeightTotals, are_counts, in_units, warn_of_ambiguous_counts
from .sources import RowSource, row_blocks, select_samples

#: Sums of squares of rows must not overflow with their weights.
LARGEST_WEIGHT = 1e100
#: Every step and every prediction computes a logit for each class.
MOST_CLASSES = 100_000
#: In place of labels where none are to be checked.
NO_LABELS = object()

Method = TypeVar("Method", bound=Callable[..., Any])


def checks_parameters(method: Method) -> Method:
    """Make a method check the estimator's parameters first.

    scikit-learn's decorator has no types; this one keeps those of the method.
    """
    return _fit_context(prefer_skip_nested_validation=True)(method)


@overload
def check_rows(estimator: Any, X: Any, *, reset: bool) -> np.ndarray | RowSource: ...


@overload
def check_rows(
    estimator: Any, X: Any, y: Any, *, reset: bool
) -> tuple[np.ndarray | RowSource, np.ndarray]: ...


def check_rows(estimator: Any, X: Any, y: Any = NO_LABELS, *, reset: bool) -> Any:
    """Check `X`, and `y` where given, as scikit-learn does, and the range of `X`.

    Parameters
    ----------
    estimator : estimator
        Its `dtype` decides the range; names and number of columns are set on it
        if `reset`, and compared with it if not.
    X : array-like of shape (n, n_features)
    y : array-like of shape (n,), optional
    reset : bool

    Returns
    -------
    X : float32 or float64 ndarray of shape (n, n_features)
    y : ndarray of shape (n,)
        Only if given.
    """
    X = flat_images(estimator, X, reset)
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
        X = np.empty(X.shape)  # of a frame without columns scikit-learn asks a dtype
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


def flat_images(estimator: Any, X: Any, reset: bool) -> Any:
    """Rows of pixels of images (n, h, w, c), whose shape the estimator remembers."""
    if isinstance(X, list | tuple) and _depth(X) > 2:
        X = np.asarray(X)
    shape = getattr(X, "shape", ())
    if len(shape) == 3:
        raise ValueError(
            f"Found array with dim 3, of shape {shape}. {type(estimator).__name__} "
            "expects rows, or images of shape (n_samples, height, width, channels): "
            "numpy.expand_dims(X, -1) of grey images, numpy.expand_dims(X, 0) of one."
        )
    is_images = len(shape) == 4 and all(isinstance(length, int) for length in shape)
    given = estimator.image_shape
    if reset and given is not None and not _is_image_shape(given):
        raise ValueError(
            "image_shape must be (height, width, channels), three positive integers, "
            f"got {given}."
        )
    known = given if reset else getattr(estimator, "image_shape_", None)
    if is_images and known is not None and tuple(known) != shape[1:]:
        raise ValueError(
            f"X holds images of shape {shape[1:]}; expected are those of shape {known}."
        )
    if reset:
        estimator.image_shape_ = shape[1:] if is_images else given
    if not is_images:
        return X
    X = X if hasattr(X, "reshape") else np.asarray(X)
    return X.reshape(len(X), prod(shape[1:]))


def _depth(nested: Any) -> int:
    """How many lists lie in each other, as far as the first elements tell."""
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
            f"image_shape={shape} has {prod(shape)} pixel values; rows of X have "
            f"{rows.shape[1]}."
        )


def _check_collection(estimator: Any, collection: Any, y: Any, reset: bool) -> Any:
    """As `check_rows`, a block at a time."""
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
    for _, chunk in row_blocks(source):
        check_array(chunk, dtype=None, input_name="X", estimator=estimator)
        _check_magnitude(estimator, chunk)
    if not len(source):  # scikit-learn's words for it
        check_array(np.empty(source.shape), input_name="X", estimator=estimator)
    return source if y is NO_LABELS else (source, y)


def _check_magnitude(estimator: Any, X: np.ndarray) -> None:
    # Standardisation squares float64 values; float32 weights meet raw columns.
    largest = np.finfo(np.float32).max if estimator.dtype == "float32" else 1e150
    magnitude = np.maximum(X.max(axis=0), -X.min(axis=0))
    if (magnitude > largest).any():
        column = int(np.argmax(magnitude))
        names = getattr(estimator, "feature_names_in_", None)
        raise ValueError(
            f"Column {column if names is None else repr(names[column])} of X holds a "
            f"value of magnitude {magnitude[column]:.3g}, beyond the largest that "
            f"dtype={estimator.dtype!r} allows, {largest:.3g}. Rescale the column."
        )


def check_training_rows(
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
    """Check rows to train on.

    Parameters
    ----------
    estimator : estimator
        Its `class_weight` is multiplied into the weights; see also `check_rows`. The
        totals of its weights are set on it.
    X : array-like of shape (n, n_features)
    y : array-like of shape (n,)
    sample_weight : array-like of shape (n,) or None
    known_classes : ndarray or None
        Sorted classes that `y` must not go beyond; None takes those in `y`.
        More than `MOST_CLASSES` are refused.
    reset : bool
    streaming : bool, default=False
        Whether these rows are of a stream, which they continue unless `reset`. Their
        weights are then not divided by their unit, which is known at its end only.

    Returns
    -------
    X : ndarray of shape (m, n_features)
        Without rows of weight 0.
    labels : int32 ndarray of shape (m,)
        Indices into `classes`.
    weights : float64 ndarray of shape (m,)
        Positive products of counts and importances, which have mean 1 unless
        `streaming`.
    index : int ndarray of shape (m,)
        Positions of these rows in the `X` that was passed.
    classes : ndarray of shape (n_classes,)
    counts : float64 ndarray of shape (m,)
        Number of equal samples that each row stands for; see
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
    X, y = check_rows(estimator, X, y, reset=reset)
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
    """Check sample weights, and decide whether they are counts."""
    check_not_masked(sample_weight, "sample_weight")
    weights = _check_sample_weight(
        sample_weight, X, dtype=np.float64, ensure_non_negative=True
    )
    if weights.max() > LARGEST_WEIGHT:
        raise ValueError(
            f"sample_weight must not exceed {LARGEST_WEIGHT:.3g}, got "
            f"{weights.max():.3g}. Divide the weights by their mean."
        )
    if sample_weight is None:  # each sample counts once, or is of mean importance
        return weights * (1.0 if totals.counts else totals.unit), totals
    counts = totals.counts and are_counts(weights)
    if counts:
        # The user's call stands above this function, two more, fit and its wrapper.
        warn_of_ambiguous_counts(weights, stacklevel=6)
        return weights, totals
    if totals.counts:  # what came before had another unit
        totals = totals._replace(
            counts=False, scale=totals.unit / max(float(weights.mean()), 1e-300)
        )
    return weights * totals.scale, totals


def check_labels(labels: Any, name: str) -> None:
    """Refuse labels that are missing, and text among other types.

    NumPy would make text of a list of these: a class "nan", or "1" for the number.

    Parameters
    ----------
    labels : array-like of shape (n,)
    name : str
        The parameter's.

    Raises
    ------
    ValueError
    """
    if labels is None:
        return
    if not isinstance(labels, list | tuple):
        labels = np.asarray(labels).ravel()
        if labels.dtype.kind not in "fmMO":
            return
    if _any_missing(labels):
        raise ValueError(
            f"{name} contains NaN or None. Leave out the rows without a label, or make "
            "a class of them."
        )
    types = set(map(type, labels))
    if len({issubclass(kind, str) for kind in types}) > 1:
        names = ", ".join(sorted(kind.__name__ for kind in types))
        raise ValueError(f"{name} mixes types: {names}. Pass labels of one type.")


def _any_missing(labels: Any) -> bool:
    if isinstance(labels, np.ndarray) and labels.dtype.kind != "O":
        return bool(np.isnan(labels).any())
    return any(
        label is None
        or (isinstance(label, float | np.floating) and np.isnan(label))
        or type(label).__name__ in ("NAType", "NaTType")  # pandas', not imported here
        for label in labels
    )


def _weighted(
    X: np.ndarray | RowSource,
    labels: np.ndarray,
    weights: np.ndarray,
    index: NDArray[np.intp],
) -> tuple[np.ndarray | RowSource, np.ndarray, np.ndarray, NDArray[np.intp]]:
    """Leave out rows of weight 0; no copy if there are none."""
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
    """Each row's weight for its class; "balanced" among the classes with rows."""
    if class_weight != "balanced":
        of_class = compute_class_weight(class_weight, classes=classes, y=classes)
        return of_class[labels]
    # scikit-learn's rule divides by zero for a class without rows.
    totals = np.bincount(labels, weights)
    return weights.sum() / (np.count_nonzero(totals) * totals[labels])


def _check_class_weight(class_weight: dict[Any, Any]) -> None:
    for label, weight in class_weight.items():
        is_number = isinstance(weight, Real)
        if not is_number or not 0 <= weight < np.inf:
            raise ValueError(
                "The weights in class_weight must be finite numbers of at least 0, "
                f"got {weight!r} for class {label!r}."
            )
        if weight > LARGEST_WEIGHT:
            raise ValueError(
                f"The weights in class_weight must not exceed {LARGEST_WEIGHT:.3g}, "
                f"got {weight!r} for class {label!r}. Only their ratios matter."
            )


def _check_left(labels: np.ndarray, class_weight: object, first: bool) -> None:
    left, needed = len(np.unique(labels)), 2 if first else 1
    if left < needed:
        raise ValueError(
            f"class_weight={class_weight!r} leaves rows of {left} of the classes in y "
            f"with a weight above 0; at least {needed} must have some."
        )


def _check_classes(present: np.ndarray, classes: np.ndarray, first: bool) -> None:
    if len(classes) > MOST_CLASSES:
        raise ValueError(
            f"{'y' if first else 'classes'} holds {len(classes)} classes, more than "
            f"the {MOST_CLASSES} that are allowed. A quantity needs a regressor; the "
            "names of rows are nothing to predict; else put classes into groups."
        )
    unseen = np.setdiff1d(present, classes)
    if len(unseen):
        raise ValueError(
            f"y holds the classes {reprlib.repr(unseen.tolist())}, which are not among "
            f"the known ones: {reprlib.repr(classes.tolist())}."
        )
    if len(present if first else classes) < 2:
        raise ValueError(
            "A classifier needs rows of at least two classes; y (with positive "
            f"sample_weight) holds {len(present)} class: "
            f"{reprlib.repr(present.tolist())}."
        )
