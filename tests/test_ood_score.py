"""Parts of the OOD score."""

import numpy as np
from numpy.testing import assert_allclose

from sksngp._uncertainty.ood_score import PART_WEIGHTS, combine


def test_parts_are_added_with_their_weights():
    values = np.random.default_rng(0).exponential(size=(4, 5))
    parts = dict(zip(PART_WEIGHTS, values, strict=True))
    assert_allclose(combine(parts), values[:3].sum(axis=0) + values[3] / 2)


def test_models_may_lack_a_part():
    parts = {"entropy": np.array([2.0, 4.0]), "variance": np.ones(2)}
    assert_allclose(combine(parts), [2.0, 3.0])
