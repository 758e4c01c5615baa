"""The recipe of the tutorial, written from its description.

`benchmarks.speed` compares this library with it. As in TensorFlow's tutorial
*Uncertainty-aware Deep Learning with SNGP*, Keras models of the layers of
tf-models-official are trained with the ``fit`` method of Keras, and predict all samples
in one call. The module does not use `sksngp`.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras
from official.nlp.modeling.layers import (
    RandomFeatureGaussianProcess,
    SpectralNormalization,
)
from official.nlp.modeling.layers.gaussian_process import mean_field_logits

from benchmarks._tools.tutorial_settings import (
    BATCH_SIZE,
    DROPOUT_RATE,
    EPOCHS,
    LEARNING_RATE,
    NUM_HIDDEN,
    NUM_LAYERS,
    SPEC_NORM_BOUND,
)


class DeepResNet(tf_keras.Model):
    """Frozen projection, residual blocks with dropout, and a dense output layer."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.input_layer = tf_keras.layers.Dense(NUM_HIDDEN, trainable=False)
        self.hidden_layers = [self.make_hidden_layer() for _ in range(NUM_LAYERS)]
        self.dropouts = [
            tf_keras.layers.Dropout(DROPOUT_RATE) for _ in range(NUM_LAYERS)
        ]
        self.output_layer = self.make_output_layer(num_classes)

    def make_hidden_layer(self):
        """Create the dense layer of a residual block."""
        return tf_keras.layers.Dense(NUM_HIDDEN, activation="relu")

    def make_output_layer(self, num_classes):
        """Create the output layer, which computes the logits."""
        return tf_keras.layers.Dense(num_classes)

    def call(self, inputs, training=False):
        """Return what the output layer computes from `inputs`."""
        hidden = self.input_layer(inputs)
        for layer, dropout in zip(self.hidden_layers, self.dropouts, strict=True):
            hidden += dropout(layer(hidden), training=training)
        return self.output_layer(hidden)


class DeepResNetSNGP(DeepResNet):
    """Network with spectral normalization and a Gaussian process output layer."""

    def make_hidden_layer(self):
        """Create a dense layer of bounded spectral norm."""
        return SpectralNormalization(
            super().make_hidden_layer(), norm_multiplier=SPEC_NORM_BOUND
        )

    def make_output_layer(self, num_classes):
        """Create a layer of random features whose covariance is an exact sum."""
        return RandomFeatureGaussianProcess(num_classes, gp_cov_momentum=-1)

    def call(self, inputs, training=False, return_covariance=False):
        """Return the logits and, on request, the covariance matrix of all samples."""
        logits, covariance = super().call(inputs, training=training)
        return (logits, covariance) if return_covariance else logits


class ResetCovariance(tf_keras.callbacks.Callback):
    """Reset the covariance in each epoch, so that it is that of the last one."""

    def on_epoch_begin(self, epoch, logs=None):
        """Reset the precision matrix before each epoch except the first."""
        if epoch:
            self.model.output_layer.reset_covariance_matrix()


def _fit(model, X, y, epochs, callbacks=()):
    model.compile(
        optimizer=tf_keras.optimizers.Adam(learning_rate=LEARNING_RATE),
        loss=tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model.fit(
        X,
        y,
        batch_size=BATCH_SIZE,
        epochs=epochs,
        callbacks=list(callbacks),
        verbose=0,
    )


def fit_deterministic(X, y, epochs: int = EPOCHS) -> DeepResNet:
    """Train a deterministic network; `y` contains 0, 1, ..., n_classes - 1."""
    model = DeepResNet(int(y.max()) + 1)
    _fit(model, X, y, epochs)
    return model


def fit_sngp(X, y, epochs: int = EPOCHS) -> DeepResNetSNGP:
    """Train an SNGP network and reset its covariance at the start of each epoch."""
    model = DeepResNetSNGP(int(y.max()) + 1)
    _fit(model, X, y, epochs, [ResetCovariance()])
    return model


def fit_ensemble(X, y, members: int = 10, epochs: int = EPOCHS) -> list[DeepResNet]:
    """Train deterministic networks, one after the other."""
    return [fit_deterministic(X, y, epochs) for _ in range(members)]


def predict_deterministic(model: DeepResNet, X) -> np.ndarray:
    """Predict the class probabilities of all samples in one call."""
    return tf.nn.softmax(model(tf.constant(X, tf.float32))).numpy()


def predict_sngp(model: DeepResNetSNGP, X) -> tuple[np.ndarray, np.ndarray]:
    """Predict mean-field probabilities and variances of all samples in one call."""
    logits, covariance = model(tf.constant(X, tf.float32), return_covariance=True)
    logits = mean_field_logits(logits, covariance, mean_field_factor=np.pi / 8)
    return tf.nn.softmax(logits).numpy(), np.diagonal(covariance.numpy())


def predict_dropout(model: DeepResNet, X, passes: int = 10) -> np.ndarray:
    """Average the class probabilities over several passes with dropout."""
    X = tf.constant(X, tf.float32)
    samples = [tf.nn.softmax(model(X, training=True)) for _ in range(passes)]
    return tf.reduce_mean(samples, axis=0).numpy()


def predict_ensemble(models: list[DeepResNet], X) -> np.ndarray:
    """Average the class probabilities of several networks."""
    return np.mean([predict_deterministic(model, X) for model in models], axis=0)
