"""The tutorial's network of dense residual blocks.

The samples are the outputs of the frozen input projection (see
`sksngp._data.projection`), so the architecture does not depend on the number of
features. Hidden layers are ``Dense`` (deterministic network, Monte Carlo dropout),
``SpectralNormalization(Dense)`` (SNGP) or ``StackedDense`` (deep ensemble).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from .._networks.dense_architecture import project_spectral_norm
from .layers import NormalizedDense, StackedDense
from .member_groups import StackedMembers
from .network import Network
from .random_layers import uniform


class ResidualNetwork(Network):
    """Residual blocks ``h + dropout(relu(dense(h)))`` and an output layer."""

    member_groups = StackedMembers
    uses_batch_statistics = False

    def make_hidden_layers(self) -> list[tf_keras.layers.Layer]:
        """Build the dense layers of the residual blocks."""
        return [self._make_hidden_layer() for _ in range(self.architecture.num_layers)]

    def _make_hidden_layer(self) -> tf_keras.layers.Layer:
        units, dtype = self.architecture.num_hidden, self.hidden_type()
        if self.architecture.members > 1:
            return StackedDense(
                self.architecture.members, units, activation="relu", dtype=dtype
            )
        dense = tf_keras.layers.Dense(
            units, activation="relu", kernel_initializer="zeros", dtype=dtype
        )
        if self.architecture.num_inducing is None:
            return dense
        return NormalizedDense(dense, norm_multiplier=self.spec_norm_bound, dtype=dtype)

    def hidden(self, projected: tf.Tensor, masks: tf.Tensor | None = None) -> tf.Tensor:
        """Return the hidden representations (..., n, num_hidden).

        `masks`, if given, multiply the outputs of the blocks. Their shape is
        (..., num_layers, n or 1, num_hidden).
        """
        hidden = projected
        if masks is not None:
            masks = tf.unstack(masks, self.architecture.num_layers, axis=-3)
        normalized = self.architecture.num_inducing is not None
        for block, layer in enumerate(self.hidden_layers):
            # `normalize` performs the power iteration of a training call.
            settings = {"training": False} if normalized else {}
            update = self.call_hidden_layer(layer, hidden, **settings)
            if masks is None:
                hidden += update
            else:
                hidden = _add_masked(hidden, update, masks[block])
        return hidden

    def training_hidden(
        self, projected: tf.Tensor, masks: tf.Tensor | None
    ) -> tf.Tensor:
        """Return the hidden representations in a training step."""
        return self.hidden(projected, masks)

    def sampled_logits(self, projected: tf.Tensor, masks: np.ndarray) -> tf.Tensor:
        """Return the logits with each of the masks, in one batch."""
        masks = tf.constant(masks, self.architecture.dtype)
        return self.logits(projected[None], masks)

    def dropout_draws(
        self, shape: tf.Tensor, seed: tf.Tensor, step: tf.Tensor, num_networks: int
    ) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        """Draw random bytes for all blocks, and the smallest byte of a kept unit.

        A byte has 256 values, of which `256 * dropout_rate` should drop a unit. The
        threshold is rounded up or down at random, so that a unit is dropped with
        exactly this probability.
        """
        if not self.architecture.dropout:
            return None, None
        blocks, width = self.architecture.num_layers, self.architecture.num_hidden
        shape = tf.concat([shape[:-1], [blocks], shape[-1:], [width]], axis=0)
        size = tf.reduce_prod(shape)
        words = tf.random.stateless_uniform(
            [(size + 3) // 4],
            tf.stack([seed, 3 * step + 1]),
            minval=None,
            maxval=None,
            dtype=tf.int32,
            alg="philox",
        )
        draws = tf.reshape(tf.reshape(tf.bitcast(words, tf.uint8), [-1])[:size], shape)
        rate = tf.cast(self.dropout_rate, tf.float32)
        return draws, tf.floor(256.0 * rate + uniform([], seed, 3 * step + 2))

    def training_masks(
        self, draws: tf.Tensor, threshold: tf.Tensor | None
    ) -> tf.Tensor:
        """Return masks with values 1 / (1 - rate) for kept units and 0 for others."""
        kept = _kept(draws, threshold, self.dropout_rate.dtype)
        return kept * (1.0 / (1.0 - self.dropout_rate))

    def halves(
        self, samples: Sequence[tf.Tensor], weights: tf.Tensor, masks: tf.Tensor | None
    ) -> list[tuple[tf.Tensor, ...]]:
        """Divide a mini-batch into two halves."""
        num_samples = tf.shape(weights)[0]
        half = num_samples // 2
        sizes = [half, num_samples - half]
        # The axis of blocks precedes that of samples.
        split_masks = [None] * 2 if masks is None else tf.split(masks, sizes, 1, num=2)
        parts = [tf.split(each, sizes, num=2) for each in (*samples, weights)]
        return list(zip(*parts, split_masks, strict=True))

    def normalize(self) -> None:
        """Bound the spectral norms of hidden kernels with one power iteration each.

        This is the computation of `SpectralNormalization` in a training call, for all
        layers in one batched product.
        """
        layers = self.hidden_layers
        if self.architecture.num_inducing is None or not layers:
            return
        kernels = tf.stack([layer.layer.kernel for layer in layers])
        u = tf.stack([layer.u for layer in layers])
        v = tf.nn.l2_normalize(tf.matmul(u, kernels, transpose_b=True), axis=-1)
        image = tf.matmul(v, kernels)
        u = tf.nn.l2_normalize(image, axis=-1)
        sigma = tf.reduce_sum(image * u, axis=-1, keepdims=True)
        kernels *= tf.minimum(self.spec_norm_bound / sigma, 1.0)
        parts = (tf.unstack(stacked, len(layers)) for stacked in (kernels, u, v))
        for layer, kernel, left, right in zip(layers, *parts, strict=True):
            layer.layer.kernel.assign(kernel)
            layer.u.assign(left)
            layer.v.assign(right)

    def bounded(
        self, weights: dict[str, np.ndarray], bound: float
    ) -> dict[str, np.ndarray]:
        """Return weights whose exact spectral norms do not exceed the bound."""
        return project_spectral_norm(weights, bound)

    def collect_hidden_weights(self) -> dict[str, tf.Variable]:
        """Return the variables of the residual blocks by name."""
        weights: dict[str, tf.Variable] = {}
        for block, layer in enumerate(self.hidden_layers):
            dense = getattr(layer, "layer", layer)
            weights[f"hidden_{block}/kernel"] = dense.kernel
            weights[f"hidden_{block}/bias"] = dense.bias
            if dense is not layer:  # the vectors of the power iteration
                weights[f"hidden_{block}/u"] = layer.u
                weights[f"hidden_{block}/v"] = layer.v
        return weights

    def collect_trainable(self) -> list[tf.Variable]:
        """Return the kernels and biases except those of random features."""
        return [
            variable
            for name, variable in self.weights.items()
            if name.rpartition("/")[2] in ("kernel", "bias")
            and not name.startswith("random_features")
        ]

    @classmethod
    def keras_hidden(
        cls,
        samples: tf.Tensor,
        classifier: Any,
        weights: dict[str, np.ndarray],
        mask: np.ndarray | None,
    ) -> tf.Tensor:
        """Return layers of tf-models-official; `mask` defines a thinned network."""
        # Imported here because it imports all layers of tf-models-official.
        from .keras_layers import residual_blocks

        return residual_blocks(samples, classifier, weights, mask)


@tf.custom_gradient
def _add_masked(
    hidden: tf.Tensor, update: tf.Tensor, mask: tf.Tensor
) -> tuple[tf.Tensor, Any]:
    """Return ``hidden + update * mask``.

    The gradient of TensorFlow would check in every step that nothing was broadcast,
    with a fifth of the graph's operations.
    """

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, None]:
        return upstream, upstream * mask, None

    return hidden + update * mask, gradient


def _kept(draws: tf.Tensor, threshold: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Return 1 for bytes of at least the threshold, which is in 0 to 256, else 0."""
    at_least = tf.cast(tf.minimum(threshold, 255.0), tf.uint8)
    return tf.cast(draws >= at_least, dtype) * tf.cast(threshold < 256.0, dtype)
