import numpy as np
import pytest
import tensorflow as tf

from sksngp._networks.kinds import architecture_of
from sksngp._tensorflow.networks import network_type


@pytest.mark.parametrize(
    ("mixed", "largest"), [(None, 1e30), ("bfloat16", 1e30), ("float16", 65504.0)]
)
def test_layers_compute_in_their_type_and_return_that_of_the_network(mixed, largest):
    architecture = architecture_of(
        num_outputs=2, num_layers=1, num_hidden=4, mixed=mixed
    )
    network = network_type(architecture)(architecture)
    outputs = network.call_hidden_layer(tf.identity, tf.constant([1e30, -1.0]))
    assert outputs.dtype == tf.float32
    np.testing.assert_allclose(outputs, [largest, -1.0], rtol=1e-2)


def test_arrays_survive_loading():
    architecture = architecture_of(num_outputs=2, num_layers=1, num_hidden=4)
    network = network_type(architecture)(architecture)
    weights = architecture.initial_weights(np.random.default_rng(0), np.zeros(2))
    network.load(weights)
    dumped = network.dump()
    assert dumped.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(dumped[name], array)
