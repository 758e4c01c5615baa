"""Quantities of a classifier on a grid of two features."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array

from .._pipelines import find, ood_score, predict_uncertainty, threshold_of
from ._common import literal

#: Quantities that `UncertaintyDisplay` can plot.
SURFACES = ("probability", "total", "aleatoric", "epistemic", "ood")
Surface: TypeAlias = Literal["probability", "total", "aleatoric", "epistemic", "ood"]


def check_kind(kind: str) -> None:
    """Raise an error if a quantity is not one of `SURFACES`."""
    if kind not in SURFACES:
        raise ValueError(f"kind must be one of {', '.join(SURFACES)}, got {kind!r}.")


def two_features(X: ArrayLike, name: str) -> np.ndarray:
    """Return samples as an array if they have two features."""
    # Missing values are allowed because a pipeline may impute them.
    points: np.ndarray = check_array(X, ensure_all_finite="allow-nan", input_name=name)
    if points.shape[1] != 2:
        raise ValueError(f"{name} must have 2 features, got {points.shape[1]}.")
    return points


def make_grid(
    points: np.ndarray,
    ood: np.ndarray | None,
    resolution: int,
    eps: float | tuple[float, float],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a grid over the range of the points, extended by `eps` on each side."""
    margin = np.asarray(eps, dtype=float)
    if margin.shape not in ((), (2,)) or not np.all(margin >= 0):
        raise ValueError(
            "eps must be a non-negative number or a pair of such numbers, got "
            f"{margin.tolist()!r}."
        )
    shown = points if ood is None else np.concatenate([points, ood])
    low, high = np.nanmin(shown, axis=0) - margin, np.nanmax(shown, axis=0) + margin
    first, second = np.linspace(low, high, resolution).T
    xx0, xx1 = np.meshgrid(first, second)
    return xx0, xx1


def in_container_of(X: Any, samples: np.ndarray, estimator: Any) -> Any:
    """Return samples in the container type that the estimator expects.

    If `X` is a dataframe, the result is a dataframe of the same type. If only the
    estimator has feature names, the result is a pandas dataframe.
    """
    if hasattr(X, "columns"):
        return type(X)(dict(zip(X.columns, samples.T, strict=True)))
    if hasattr(estimator, "feature_names_in_"):
        import pandas as pd

        return pd.DataFrame(samples, columns=estimator.feature_names_in_)
    return samples


def compute_surface(
    estimator: Any, samples: Any, kind: Surface, class_of_interest: Any
) -> tuple[np.ndarray, str, float | None]:
    """Compute the response at each sample, its label, and the threshold."""
    if kind == "probability":
        response, label = _probability(estimator, samples, class_of_interest)
        return response, label, None
    if class_of_interest is not None:
        raise ValueError(
            "class_of_interest must be None unless kind='probability', got "
            f"class_of_interest={class_of_interest!r} with kind={kind!r}."
        )
    if kind == "ood":
        return ood_score(estimator, samples), label_of(kind), threshold_of(estimator)
    return predict_uncertainty(estimator, samples, kind=kind), label_of(kind), None


def label_of(kind: Surface) -> str:
    """Return the name of an uncertainty or of the out-of-distribution score."""
    return "out-of-distribution score" if kind == "ood" else f"{kind} uncertainty"


def _probability(
    estimator: Any, samples: Any, class_of_interest: Any
) -> tuple[np.ndarray, str]:
    """Compute the probability of a class or of the most probable class, and a label."""
    find(estimator, "predict_proba")  # raises an error if the method does not exist
    classes = estimator.classes_
    proba = estimator.predict_proba(samples)
    if class_of_interest is None:
        if len(classes) > 2:
            return proba.max(axis=1), "probability of the most probable class"
        class_of_interest = classes[-1]
    column = np.flatnonzero(classes == class_of_interest)
    if len(column) == 0:
        raise ValueError(
            f"class_of_interest must be one of the classes {classes.tolist()}, got "
            f"{class_of_interest!r}."
        )
    return proba[:, column[0]], f"probability of class {literal(class_of_interest)}"
