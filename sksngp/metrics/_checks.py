"""Checks of what the measures are given."""

from __future__ import annotations

import numpy as np
from sklearn.utils import check_array, check_consistent_length

#: How far a row of probabilities may be from 1: what half precision rounds away.
SUM_TOLERANCE = 1e-3


def column(values, name, dtype=np.float64):
    """Non-empty one-dimensional array of finite values."""
    values = check_array(
        values,
        dtype=dtype,
        ensure_2d=False,
        ensure_min_samples=0,
        input_name=name,
    )
    if values.ndim != 1 or not len(values):
        raise ValueError(
            f"{name} must have one dimension and at least one value; "
            f"its shape is {values.shape}."
        )
    return values


def weights(sample_weight, n_rows):
    if sample_weight is None:
        return np.ones(n_rows)
    weight = column(sample_weight, "sample_weight")
    if weight.min() < 0 or not weight.any():
        raise ValueError("sample_weight must not be negative, nor 0 in every row.")
    return weight / weight.max()  # so that no sum overflows


def probabilities(proba):
    proba = check_array(proba, dtype=np.float64, input_name="proba")
    if proba.min() < 0:
        raise ValueError(
            f"proba must hold probabilities, but has a value of {proba.min():.6g}."
        )
    sums = proba.sum(axis=1)
    row = np.argmax(np.abs(sums - 1))
    if abs(sums[row] - 1) > SUM_TOLERANCE:
        raise ValueError(
            f"Rows of proba must sum to 1; row {row} sums to {sums[row]:.6g}."
        )
    return proba


def column_labels(labels, y_true, n_columns):
    """Name the class of each column; all classes in `y_true` are among them."""
    given = labels is not None
    labels = column(labels, "labels", dtype=None) if given else np.unique(y_true)
    # Sets, as NumPy would take the string "1" for the number 1.
    known = set(labels.tolist())
    if len(known) != len(labels):
        raise ValueError(f"labels must differ from each other; got {labels.tolist()}.")
    if len(labels) != n_columns:
        source = "labels has" if given else "labels is not given and y_true has"
        raise ValueError(
            f"proba has {n_columns} columns, but {source} {len(labels)} classes; "
            "labels must name the class of each column."
        )
    unknown = set(y_true.tolist()) - known
    if unknown:
        raise ValueError(
            f"y_true has classes that are not in labels: {sorted(unknown, key=str)}."
        )
    return labels


def classified(y_true, proba, labels):
    """Checked classes, probabilities, the class of each column, and who is right.

    Returns
    -------
    y_true, proba, labels : ndarray
    correct : bool ndarray of shape (n,)
        Whether a row's most probable class is its own.
    """
    y_true = column(y_true, "y_true", dtype=None)
    proba = probabilities(proba)
    check_consistent_length(y_true, proba)
    labels = column_labels(labels, y_true, proba.shape[1])
    return y_true, proba, labels, labels[proba.argmax(axis=1)] == y_true
