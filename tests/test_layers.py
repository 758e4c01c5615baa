import numpy as np
import pytest

from sksngp._tensorflow.layers import (
    FEATURE_SLICE_SIZE,
    GaussianProcessOutput,
    StackedDense,
    feature_slices,
)


@pytest.mark.parametrize("size", [1, FEATURE_SLICE_SIZE, FEATURE_SLICE_SIZE + 1, 1024])
def test_slices_cover_all_features_once(size):
    indices = np.arange(size)
    parts = [indices[part] for part in feature_slices(size)]
    np.testing.assert_array_equal(np.concatenate(parts), indices)
    assert max(map(len, parts)) <= FEATURE_SLICE_SIZE


def test_stacked_layers_are_those_of_the_members():
    rng = np.random.default_rng(0)
    inputs, kernel = rng.normal(size=(3, 5, 4)), rng.normal(size=(3, 4, 2))
    bias = rng.normal(size=(3, 1, 2))
    layer = StackedDense(3, 2, dtype="float64")
    layer(inputs)
    layer.set_weights([kernel, bias])
    np.testing.assert_allclose(layer(inputs), inputs @ kernel + bias, rtol=1e-12)


def test_training_logits_are_those_of_a_call():
    rng = np.random.default_rng(0)
    layer = GaussianProcessOutput(
        3, num_inducing=300, return_gp_cov=False, dtype="float64"
    )
    inputs = rng.normal(size=(7, 4))
    layer(inputs)
    layer._random_feature.set_weights(
        [rng.normal(size=(4, 300)), rng.uniform(0, 6, 300)]
    )
    layer._gp_output_layer.set_weights([rng.normal(size=(300, 3))])
    logits, features = layer(inputs)
    assert features.shape == (7, 300)
    np.testing.assert_allclose(layer.training_logits(inputs), logits, rtol=1e-10)
