"""Pipeline of imputation, one-hot encoding and a classifier, and the split of rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

from .columns import Column

#: Maximum number of indicators of a text column. The most frequent values have their
#: own indicator, and all others share one.
MAX_CATEGORIES = 100

#: Minimum number of rows of a class to be included in the cross-check, which holds out
#: a quarter of them.
MIN_ROWS = 4


def build_pipeline(columns: Sequence[Column], classifier: ClassifierMixin) -> Pipeline:
    """Build a pipeline of imputation, one-hot encoding and a classifier.

    Missing numbers are replaced by the median, with an indicator feature if the
    training set has missing values. In text columns, missing is a category.

    Parameters
    ----------
    columns : sequence of Column
        Columns of the training table.
    classifier : classifier
        Last step of the pipeline.

    Returns
    -------
    Pipeline
        Unfitted pipeline, whose input is the values of `Features`.
    """
    # A column may be empty in the rows that a pipeline is fitted on.
    impute_number = SimpleImputer(
        strategy="median", keep_empty_features=True, add_indicator=True
    )
    encode_text = make_pipeline(
        SimpleImputer(
            strategy="constant", fill_value="(missing)", keep_empty_features=True
        ),
        OneHotEncoder(
            # If there are infrequent categories, unknown values are encoded as one of
            # them. Otherwise, they are ignored.
            handle_unknown="infrequent_if_exist",
            max_categories=MAX_CATEGORIES,
            sparse_output=False,
            dtype="float64",  # model files may hold the name but not the type
        ),
    )
    text = [column.name for column in columns if column.kind == "text"]
    numeric = [column.name for column in columns if column.kind != "text"]
    encode = ColumnTransformer(
        [("numeric", impute_number, numeric), ("text", encode_text, text)]
    )
    return Pipeline([("encode", encode), ("classify", classifier)])


def split_rows(
    labels: np.ndarray, random_state: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Split rows into a training set and held-out rows, stratified by class.

    Parameters
    ----------
    labels : ndarray of shape (n,)
        Class labels.
    random_state : int
        Seed of the split.

    Returns
    -------
    (ndarray, ndarray) or None
        Positions of the training rows and of the held-out rows, a quarter of all. Rows
        of classes with fewer than `MIN_ROWS` rows are in the training set. None if all
        classes are that small.
    """
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    common = counts[inverse] >= MIN_ROWS
    if not common.any():
        return None
    train, held_out = train_test_split(
        np.flatnonzero(common),
        test_size=0.25,
        stratify=labels[common],
        random_state=random_state,
    )
    return np.concatenate([train, np.flatnonzero(~common)]), held_out
