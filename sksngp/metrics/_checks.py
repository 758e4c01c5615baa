"""Checks of what the measures are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils._param_validation import validate_params

#: How far a row of probabilities may be from 1: what half precision rounds away.
SUM_TOLERANCE = 1e-3


Function = TypeVar("Function", bound=Callable[..., Any])


def checks_parameters(
    constraints: dict[str, list[Any]],
) -> Callable[[Function], Function]:
    """Make a function check its parameters first.

    scikit-learn's decorator has no types; this one keeps those of the function.
    """
    return validate_params(constraints, prefer_skip_nested_validation=True)


def column(
    values: ArrayLike, name: str, dtype: DTypeLike | None = np.float64
) -> np.ndarray:
    """Non-empty one-dimensional array of finite values."""
    checked: np.ndarray = check_array(
        values,
        dtype=dtype,
        ensure_2d=False,
        ensure_min_samples=0,
        input_name=name,
    )
    if checked.ndim != 1 or not len(checked):
        raise ValueError(
            f"{name} must have one dimension and at least one value; "
            f"its shape is {checked.shape}."
        )
    return checked


def weights(sample_weight: ArrayLike | None, n_rows: int) -> NDArray[np.float64]:
    """Weights of rows, of which the largest is 1."""
    if sample_weight is None:
        return np.ones(n_rows)
    weight = column(sample_weight, "sample_weight")
    if weight.min() < 0 or not weight.any():
        raise ValueError("sample_weight must not be negative, nor 0 in every row.")
    return weight / weight.max()  # so that no sum overflows


def probabilities(proba: ArrayLike) -> NDArray[np.float64]:
    """Array of probabilities, whose rows sum to 1."""
    checked: np.ndarray = check_array(proba, dtype=np.float64, input_name="proba")
    if checked.min() < 0:
        raise ValueError(
            f"proba must hold probabilities, but has a value of {checked.min():.6g}."
        )
    sums = checked.sum(axis=1)
    row = np.argmax(np.abs(sums - 1))
    if abs(sums[row] - 1) > SUM_TOLERANCE:
        raise ValueError(
            f"Rows of proba must sum to 1; row {row} sums to {sums[row]:.6g}."
        )
    return checked


def column_labels(
    labels: ArrayLike | None, y_true: np.ndarray, n_columns: int
) -> np.ndarray:
    """Name the class of each column; all classes in `y_true` are among them."""
    if labels is None:
        names, source = np.unique(y_true), "labels is not given and y_true has"
    else:
        names, source = column(labels, "labels", dtype=None), "labels has"
    # Sets, as NumPy would take the string "1" for the number 1.
    known = set(names.tolist())
    if len(known) != len(names):
        raise ValueError(f"labels must differ from each other; got {names.tolist()}.")
    if len(names) != n_columns:
        raise ValueError(
            f"proba has {n_columns} columns, but {source} {len(names)} classes; "
            "labels must name the class of each column."
        )
    unknown = set(y_true.tolist()) - known
    if unknown:
        raise ValueError(
            f"y_true has classes that are not in labels: {sorted(unknown, key=str)}."
        )
    return names


def classified(
    y_true: ArrayLike, proba: ArrayLike, labels: ArrayLike | None
) -> tuple[np.ndarray, NDArray[np.float64], np.ndarray, NDArray[np.bool_]]:
    """Checked classes, probabilities, the class of each column, and who is right.

    Returns
    -------
    y_true, proba, labels : ndarray
    correct : bool ndarray of shape (n,)
        Whether a row's most probable class is its own.
    """
    truth = column(y_true, "y_true", dtype=None)
    checked = probabilities(proba)
    check_consistent_length(truth, checked)
    names = column_labels(labels, truth, checked.shape[1])
    return truth, checked, names, names[checked.argmax(axis=1)] == truth
