import numpy as np
import tf_keras

from sksngp._tensorflow.keras_layers import dense_layer


def test_dense_layer_has_the_given_weights():
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(3, 2)), rng.normal(size=(1, 2))
    inputs = tf_keras.Input((3,), dtype="float64")
    values = rng.normal(size=(5, 3))
    for given in (bias, None):
        outputs = dense_layer(kernel, given, inputs, dtype="float64")
        expected = values @ kernel + (0.0 if given is None else given)
        model = tf_keras.Model(inputs, outputs)
        np.testing.assert_allclose(model(values), expected, rtol=1e-12)
