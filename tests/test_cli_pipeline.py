"""Imputation, encoding and the split of the cross-check."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from sksngp import ResNetClassifier
from sksngp._cli.columns import Column
from sksngp._cli.pipeline import MAX_CATEGORIES, MIN_ROWS, build_pipeline, split_rows

COLUMNS = [Column("x", "number"), Column("t", "text"), Column("when", "time")]


def test_pipeline_imputes_and_encodes():
    values = pd.DataFrame(
        {
            "t": ["a", "b", np.nan, "b", "b"],
            "x": [1, 3, np.nan, 8, 5],
            "when": [1.0, 2, 3, 4, 5],
        }
    )
    encode = build_pipeline(COLUMNS, ResNetClassifier())[0]
    encoded = encode.fit_transform(values)
    # x, when, whether x is missing, and indicators of missing text, "a" and "b"
    expected = [
        [1, 1, 0, 0, 1, 0],
        [3, 2, 0, 0, 0, 1],
        [4, 3, 1, 1, 0, 0],
        [8, 4, 0, 0, 0, 1],
        [5, 5, 0, 0, 0, 1],
    ]
    np.testing.assert_array_equal(encoded, expected)
    unseen = encode.transform(values.assign(t="z", when=np.nan))
    np.testing.assert_array_equal(unseen[:, 3:], 0)
    np.testing.assert_array_equal(unseen[:, 1], 3)  # and no new indicator


def test_number_of_categories_is_bounded():
    values = pd.DataFrame({"t": [f"t{i // 3}" for i in range(900)]})
    encode = build_pipeline([Column("t", "text")], ResNetClassifier())[0]
    assert encode.fit_transform(values).shape == (900, MAX_CATEGORIES)


@given(st.lists(st.sampled_from("aabbbc"), min_size=1, max_size=60), st.integers(0, 9))
def test_split_rows(labels, seed):
    labels = np.array(labels)
    split = split_rows(labels, seed)
    names, counts = np.unique(labels, return_counts=True)
    common = set(names[counts >= MIN_ROWS])
    assert (split is None) == (not common)
    if split is not None:
        train, held_out = split
        assert sorted([*train, *held_out]) == list(range(len(labels)))
        assert set(labels[held_out]) == common
        assert set(labels[train]) == set(names)
