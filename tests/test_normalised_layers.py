"""Spectral norms of the layers of custom networks, measured on dense matrices.

`test_body_network.py` tests plain Conv2D and Dense layers.
"""

import warnings
from dataclasses import replace
from functools import partial

import cloudpickle
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from numpy.testing import assert_allclose, assert_array_equal
from tf_keras import layers

from sksngp import ResNetClassifier, SNGPClassifier, normalised_layers
from sksngp.architecture import Architecture
from sksngp.body import Body
from sksngp.body_network import BodyNetwork
from sksngp.persistence import ModelFileError, save

#: Settings of layers with one kernel, and the shape of an input for one sample.
OPERATORS = [
    (layers.Conv1D, {"filters": 3, "kernel_size": 3}, (7, 2)),
    (layers.Conv1D, {"filters": 3, "kernel_size": 3, "padding": "causal"}, (7, 2)),
    (layers.Conv1D, {"filters": 3, "kernel_size": 2, "dilation_rate": 2}, (7, 2)),
    (
        layers.Conv1D,
        {"filters": 3, "kernel_size": 3, "padding": "same", "strides": 2},
        (8, 2),
    ),
    (layers.Conv2D, {"filters": 4, "kernel_size": 2, "groups": 2}, (4, 4, 2)),
    (layers.Conv2D, {"filters": 3, "kernel_size": 2, "dilation_rate": 2}, (5, 5, 2)),
    (layers.Conv3D, {"filters": 2, "kernel_size": 2}, (3, 3, 3, 1)),
    (
        layers.Conv1DTranspose,
        {"filters": 3, "kernel_size": 3, "strides": 2, "padding": "same"},
        (5, 2),
    ),
    (
        layers.Conv2DTranspose,
        {"filters": 3, "kernel_size": 3, "strides": 2},
        (3, 4, 2),
    ),
    (layers.Conv3DTranspose, {"filters": 2, "kernel_size": 2}, (2, 2, 2, 1)),
    (
        layers.DepthwiseConv1D,
        {"kernel_size": 3, "depth_multiplier": 2, "padding": "same"},
        (6, 2),
    ),
    (
        layers.DepthwiseConv2D,
        {"kernel_size": 3, "strides": 2, "padding": "same"},
        (5, 5, 2),
    ),
    (layers.EinsumDense, {"equation": "abc,ce->abe", "output_shape": (3, 4)}, (3, 2)),
    (layers.EinsumDense, {"equation": "...c,cd->...d", "output_shape": 4}, (3, 2)),
    (
        layers.EinsumDense,
        {"equation": "ab...,bc->ac...", "output_shape": (4, None)},
        (2, 3),
    ),
    (
        layers.EinsumDense,
        {"equation": "abc,bcd->abd", "output_shape": (3, 4)},
        (3, 2),
    ),
]


def identifier(value):
    """Return the name of a layer class, or the settings of a layer."""
    return getattr(value, "__name__", None) or " ".join(map(str, value))


each_operator = pytest.mark.parametrize(
    ("layer", "settings", "shape"), OPERATORS, ids=identifier
)


def network_of(layer, shape):
    """Build a network that has a layer, and restore the order of its outputs."""
    inputs = tf_keras.Input(shape)
    return tf_keras.Model(inputs, layers.Flatten()(layer(inputs)))


def built(make_layer, shape, bound=0.5, **fields):
    """Return a network with a bound, and the layer in it, with large weights."""
    found = []

    def network(shape):
        found.append(make_layer())
        return network_of(found[-1], shape)

    architecture = Architecture(
        num_outputs=2,
        num_layers=0,
        num_hidden=int(network(shape).output_shape[-1]),
        num_inducing=4,
        dropout=False,
        body=Body(network, shape),
        **fields,
    )
    body = BodyNetwork(architecture)
    body.spec_norm_bound.assign(bound)
    rng = np.random.default_rng(0)
    for variable in found[-1].variables:
        variable.assign(rng.normal(size=variable.shape))
    for kernel in body.in_place:
        for vector in (kernel.u, kernel.v):
            vector.assign(rng.normal(size=vector.shape))
    return body, found[-1]


def exact_norm(layer, shape):
    """Compute the norm of an affine layer from its outputs for all unit inputs."""
    size = int(np.prod(shape))
    units = np.eye(size, dtype=np.float32).reshape(-1, *shape)
    outputs = layer(units).numpy().astype(np.float64) - layer(0 * units[:1]).numpy()
    return np.linalg.norm(outputs.reshape(size, -1), 2)


def train(body):
    """Bound the norms as training does."""
    for _ in range(60):
        body.normalise()


# Layers with one kernel


@each_operator
def test_norm_is_at_the_bound_when_training_ends(layer, settings, shape):
    body, inner = built(partial(layer, **settings), shape)
    assert len(body.normalised) == 1
    assert exact_norm(inner, shape) > 0.5
    train(body)
    assert exact_norm(inner, shape) == pytest.approx(0.5, rel=0.05)
    body.bound_norms()
    assert 0.5 * (1 - 1e-3) < exact_norm(inner, shape) <= 0.5 * (1 + 1e-6)
