import random

import pytest
import tf_keras

from sksngp._networks.custom_function import NetworkFunction
from sksngp._tensorflow.custom_build import build, describe


def network(shape):
    return tf_keras.Sequential([tf_keras.layers.Dense(3, input_shape=shape)])


def test_initial_weights_follow_from_the_seed():
    state = random.getstate()
    first, again, other = (
        build(NetworkFunction(network, (4,)), seed).get_weights()[0]
        for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).any()
    assert random.getstate() == state


def test_description_counts_weights_and_outputs():
    description = describe(NetworkFunction(network, (4,)))
    assert description.num_weights == 4 * 3 + 3
    assert description.num_features == description.widest_floats == 3
    assert description.num_normalized == 1
    assert not description.unnormalized


def test_types_are_checked():
    def double(shape):
        layer = tf_keras.layers.Dense(3, input_shape=shape, dtype="float64")
        return tf_keras.Sequential([layer])

    with pytest.raises(ValueError, match="must compute in float32, got float64"):
        build(NetworkFunction(double, (4,)))
