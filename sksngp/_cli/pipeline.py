"""The classifier behind imputation and one-hot encoding, and how it is split."""

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

#: Values of a text column that get an indicator of their own, the most frequent first.
#: All others share one, so that the width of the encoded table is bounded.
MAX_CATEGORIES = 100

#: Smallest number of samples of a class for it to take part in the cross-check: a
#: quarter of them is held out.
MIN_ROWS = 4


def build_pipeline(columns: Sequence[Column], classifier: ClassifierMixin) -> Pipeline:
    """Put a classifier behind imputation and one-hot encoding.

    Missing numbers become the median, and an indicator tells that they were missing if
    training has missing ones. For text, missing is a value of its own.

    Parameters
    ----------
    columns : sequence of Column
    classifier : classifier

    Returns
    -------
    Pipeline
        Not fitted; takes the values of `Features`.
    """
    # Part of the rows may lack every value of a column, which is kept nevertheless.
    impute_number = SimpleImputer(
        strategy="median", keep_empty_features=True, add_indicator=True
    )
    encode_text = make_pipeline(
        SimpleImputer(
            strategy="constant", fill_value="(missing)", keep_empty_features=True
        ),
        OneHotEncoder(
            # As "ignore", but a value that training does not have counts as one of
            # the rare ones if there are any.
            handle_unknown="infrequent_if_exist",
            max_categories=MAX_CATEGORIES,
            sparse_output=False,
            dtype="float64",  # model files hold the name, not the type
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
    """Return row numbers to train on and row numbers to hold out, stratified.

    Parameters
    ----------
    labels : ndarray of shape (n,)
    random_state : int

    Returns
    -------
    (ndarray, ndarray) or None
        A quarter is held out; classes of fewer than `MIN_ROWS` rows are only trained
        on. None if there are no others.
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
