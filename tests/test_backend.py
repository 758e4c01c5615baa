import random

import numpy as np
import pytest
import tf_keras

from sksngp._networks.custom_function import NetworkFunction
from sksngp._networks.kinds import architecture_of
from sksngp._tensorflow import backend


def network(shape):
    rows = tf_keras.Input(shape)
    return tf_keras.Model(rows, tf_keras.layers.Dense(4)(rows))


@pytest.fixture
def architecture():
    fields = {"num_outputs": 2, "num_layers": 0, "num_hidden": 4}
    function = backend.describe(NetworkFunction(network, (3,)))
    return lambda members: architecture_of(**fields, function=function, members=members)


def test_start_can_be_repeated():
    backend.start()
    backend.start()


def test_description_belongs_to_a_copy():
    function = NetworkFunction(network, (3,))
    described = backend.describe(function)
    assert function.description is None
    assert described.description.num_features == 4
    assert described.description.num_weights == 3 * 4 + 4
    assert described.has_function_of(function)


@pytest.mark.parametrize("members", [1, 2])
def test_weights_have_the_shapes_that_are_stated(architecture, members):
    arrays = backend.built_weights(architecture(members), np.random.default_rng(0))
    shapes = backend._built_shapes(architecture(members))
    found = {name: (array.shape, array.dtype.name) for name, array in arrays.items()}
    assert found == shapes
    assert len(found) == 2
    if members == 2:
        kernel = next(array for array in arrays.values() if array.ndim == 3)
        assert not np.array_equal(kernel[0], kernel[1])


def test_weights_depend_only_on_the_generator(architecture):
    state = random.getstate(), np.random.get_state()[1].tolist()
    first, second = (
        backend.built_weights(architecture(1), np.random.default_rng(3))
        for _ in range(2)
    )
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == state
