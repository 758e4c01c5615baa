import numpy as np
import pytest
import tf_keras

from sksngp._networks.custom_architecture import CustomArchitecture
from sksngp._networks.custom_function import NetworkFunction
from sksngp._tensorflow import backend


def network(shape):
    images = tf_keras.Input(shape)
    hidden = tf_keras.layers.Flatten()(tf_keras.layers.Conv2D(5, 3)(images))
    return tf_keras.Model(images, tf_keras.layers.Dense(4)(hidden))


@pytest.fixture
def architecture():
    function = backend.describe(NetworkFunction(network, (8, 6, 2)))
    return CustomArchitecture(3, 0, 4, members=2, function=function)


def test_sizes_are_those_of_the_model(architecture):
    assert architecture.num_columns == 8 * 6 * 2
    assert architecture.row_floats == 2 * 2 * (6 * 4 * 5)  # the convolution's outputs
    weights = (3 * 3 * 2 + 1) * 5 + (6 * 4 * 5 + 1) * 4
    needs = architecture.memory_needs(num_rows=9, num_columns=96, batch_size=None)
    assert f"2 networks ({weights} weights)" in needs[0].part


def test_channels_are_scaled_if_samples_are_images(architecture):
    assert architecture.channels((8, 6, 2)) == 2
    assert architecture.channels(None) is None


def test_masks_are_seeds(architecture):
    seeds = architecture.draw_masks(np.random.default_rng(0), 3, 0.5)
    shape, dtype = architecture.mask_spec
    assert (None, *seeds.shape[1:]) == shape
    assert seeds.dtype == dtype
    assert len(np.unique(seeds)) == seeds.size
