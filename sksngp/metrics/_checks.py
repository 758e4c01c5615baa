"""Input validation for metrics."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from sklearn.utils import check_array, check_consistent_length

#: Tolerance for sums of probabilities, which allows for rounding in half precision.
SUM_TOLERANCE = 1e-3


def column(
    values: ArrayLike, name: str, dtype: DTypeLike | None = np.float64
) -> np.ndarray:
    """Validate a non-empty one-dimensional array of finite values."""
    checked: np.ndarray = check_array(
        values,
        dtype=dtype,
        ensure_2d=False,
        ensure_min_samples=0,
        input_name=name,
    )
    if checked.ndim != 1 or not len(checked):
        raise ValueError(
            f"{name} must have one dimension and at least one value, got an array of "
            f"shape {checked.shape}."
        )
    return checked


def check_weights(
    sample_weight: ArrayLike | None, n_samples: int
) -> NDArray[np.float64]:
    """Validate sample weights, and divide them by their maximum."""
    if sample_weight is None:
        return np.ones(n_samples)
    weight = column(sample_weight, "sample_weight")
    if weight.min() < 0 or not weight.any():
        raise ValueError(
            "sample_weight must be non-negative and have at least one positive value."
        )
    return weight / weight.max()  # sums of these weights cannot overflow


def probabilities(proba: ArrayLike) -> NDArray[np.float64]:
    """Validate an array of class probabilities, whose rows sum to 1."""
    checked: np.ndarray = check_array(proba, dtype=np.float64, input_name="proba")
    if checked.min() < 0:
        raise ValueError(
            f"proba must be non-negative, got a value of {checked.min():.6g}."
        )
    sums = checked.sum(axis=1)
    row = np.argmax(np.abs(sums - 1))
    if abs(sums[row] - 1) > SUM_TOLERANCE:
        raise ValueError(
            f"The rows of proba must sum to 1, got a sum of {sums[row]:.6g} in row "
            f"{row}."
        )
    return checked


def column_labels(
    labels: ArrayLike | None, y_true: np.ndarray, n_columns: int
) -> np.ndarray:
    """Return the class of each column of `proba`, and check the classes in `y_true`."""
    if labels is None:
        names, source = np.unique(y_true), "y_true (labels is None)"
    else:
        names, source = column(labels, "labels", dtype=None), "labels"
    # Sets are used because NumPy would treat the string "1" and the number 1 as equal.
    known = set(names.tolist())
    if len(known) != len(names):
        raise ValueError(f"labels must be unique, got {names.tolist()}.")
    if len(names) != n_columns:
        raise ValueError(
            "proba must have one column for each class, got "
            f"{n_columns} columns for {len(names)} classes in {source}. Pass labels to "
            "specify the class of each column."
        )
    unknown = set(y_true.tolist()) - known
    if unknown:
        raise ValueError(
            "The classes in y_true must be in labels, got "
            f"{sorted(unknown, key=str)}, which are not."
        )
    return names


def check_classification_inputs(
    y_true: ArrayLike, proba: ArrayLike, labels: ArrayLike | None
) -> tuple[np.ndarray, NDArray[np.float64], np.ndarray, NDArray[np.bool_]]:
    """Validate class labels and probabilities, and compare them.

    Returns
    -------
    y_true, proba, labels : ndarray
        Validated arrays.
    correct : bool ndarray of shape (n_samples,)
        Whether the most probable class of each sample equals its label.
    """
    truth = column(y_true, "y_true", dtype=None)
    checked = probabilities(proba)
    check_consistent_length(truth, checked)
    names = column_labels(labels, truth, checked.shape[1])
    return truth, checked, names, names[checked.argmax(axis=1)] == truth
