import numpy as np
import pytest

from sksngp._networks.dense_architecture import DenseArchitecture

SNGP = DenseArchitecture(num_outputs=3, num_layers=2, num_hidden=40, num_inducing=7)


def test_row_floats_are_those_of_the_widest_layer():
    assert SNGP.row_floats == 40
    assert DenseArchitecture(50, 2, 40, members=3).row_floats == 3 * 50


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.75])
def test_masks_keep_the_mean(rate):
    masks = SNGP.draw_masks(np.random.default_rng(0), 500, rate)
    assert masks.shape == (500, 2, 1, 40)
    assert set(np.unique(masks)) <= {0.0, 1.0 / (1.0 - rate)}
    assert abs(masks.mean() - 1.0) < 0.05


def test_masks_agree_with_their_specification():
    shape, dtype = SNGP.mask_spec
    masks = SNGP.draw_masks(np.random.default_rng(0), 3, 0.5)
    assert (None, *masks.shape[1:]) == shape
    assert masks.dtype == dtype
