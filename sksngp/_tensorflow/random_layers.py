"""Stochastic layers driven by explicit seeds.

Results are therefore reproducible for a given `random_state`. The layers of Keras use
generators whose state depends on earlier draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras


def uniform(shape: Any, seed: tf.Tensor, counter: tf.Tensor) -> tf.Tensor:
    """Draw uniform numbers in [0, 1) from a seed and a counter."""
    # "philox" names the algorithm, so that the numbers do not depend on XLA.
    return tf.random.stateless_uniform(shape, tf.stack([seed, counter]), alg="philox")


class SeededLayer(tf_keras.layers.Layer):
    """Layer that receives a seed from the network before each call.

    Attributes
    ----------
    place : int
        Position among the seeded layers of a network.
    seed : int32 tensor of shape (2,) or None
        Seed of the next call. If None, the layer is deterministic.
    for_all_rows : bool
        Whether all samples have the same random values, as in predictions.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.place, self.seed, self.for_all_rows = 0, None, False

    def draw(self, shape: Any) -> tf.Tensor:
        """Draw uniform float32 numbers in [0, 1)."""
        seed = tf.add(self.seed, [0, self.place])
        return tf.random.stateless_uniform(shape, seed, alg="philox")


class Dropout(SeededLayer):
    """Dropout with a mask derived from `seed`; the identity if `seed` is None.

    Parameters
    ----------
    rate : float or tf.Variable
        Fraction of units that are set to zero.
    noise_shape : tuple of (int or None) or None, default=None
        As that of Keras' layer: units along an axis of 1 are dropped together.
    """

    def __init__(
        self,
        rate: float | tf.Variable,
        noise_shape: tuple[int | None, ...] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.rate, self.noise_shape = rate, noise_shape

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        if self.seed is None:
            return inputs
        shape = tf.unstack(tf.shape(inputs), inputs.shape.rank)
        for axis, length in enumerate(self.noise_shape or ()):
            shape[axis] = shape[axis] if length is None else length
        if self.for_all_rows:
            shape[0] = 1
        kept = tf.cast(self.draw(shape) >= self.rate, inputs.dtype)
        return inputs * kept / (1.0 - tf.cast(self.rate, inputs.dtype))


class ShiftAndFlip(SeededLayer):
    """Images moved at random, over a border of zeros, and mirrored half of the time.

    In predictions, images do not change.

    Parameters
    ----------
    margins : sequence of int
        Pixels that an image moves at most, up or down and to either side.
    """

    def __init__(self, margins: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.margins = tuple(margins)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        if self.seed is None or self.for_all_rows:
            return inputs
        _, height, width, _ = inputs.shape
        down, aside, mirrored = tf.unstack(self.draw([tf.shape(inputs)[0], 3]), axis=1)
        columns = tf.range(width)
        columns = tf.where(mirrored[:, None] < 0.5, columns, columns[::-1])
        images = tf.pad(inputs, [(0, 0), *((m, m) for m in self.margins), (0, 0)])
        top, left = (
            tf.cast(draws * (2 * margin + 1), tf.int32)[:, None]
            for draws, margin in zip((down, aside), self.margins, strict=True)
        )
        images = tf.gather(images, top + tf.range(height), axis=1, batch_dims=1)
        return tf.gather(images, left + columns, axis=2, batch_dims=1)
