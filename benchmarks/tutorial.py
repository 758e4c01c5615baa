"""The tutorial's recipe, written from its description.

Keras models of tf-models-official's layers, trained by Keras' ``fit`` and called
on all rows at once, as a reader of TensorFlow's *Uncertainty-aware Deep Learning
with SNGP* would: what `benchmarks.speed` compares the library with. Nothing of
`sksngp` is used here.
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

from benchmarks.settings import (
    BATCH_SIZE,
    DROPOUT_RATE,
    EPOCHS,
    LEARNING_RATE,
    NUM_HIDDEN,
    NUM_LAYERS,
    SPEC_NORM_BOUND,
)


class DeepResNet(tf_keras.Model):
    """Frozen projection, residual blocks with dropout, dense logits."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.input_layer = tf_keras.layers.Dense(NUM_HIDDEN, trainable=False)
        self.hidden_layers = [self.make_hidden_layer() for _ in range(NUM_LAYERS)]
        self.dropouts = [
            tf_keras.layers.Dropout(DROPOUT_RATE) for _ in range(NUM_LAYERS)
        ]
        self.output_layer = self.make_output_layer(num_classes)

    def make_hidden_layer(self):
        """One block's dense layer."""
        return tf_keras.layers.Dense(NUM_HIDDEN, activation="relu")

    def make_output_layer(self, num_classes):
        """The layer of logits."""
        return tf_keras.layers.Dense(num_classes)

    def call(self, inputs, training=False):
        """Logits, or whatever the output layer returns."""
        hidden = self.input_layer(inputs)
        for layer, dropout in zip(self.hidden_layers, self.dropouts, strict=True):
            hidden += dropout(layer(hidden), training=training)
        return self.output_layer(hidden)


class DeepResNetSNGP(DeepResNet):
    """The same with spectral normalisation and a Gaussian-process output."""

    def make_hidden_layer(self):
        """One block's dense layer, of bounded spectral norm."""
        return SpectralNormalization(
            super().make_hidden_layer(), norm_multiplier=SPEC_NORM_BOUND
        )

    def make_output_layer(self, num_classes):
        """Random features with a Laplace covariance, an exact sum."""
        return RandomFeatureGaussianProcess(num_classes, gp_cov_momentum=-1)

    def call(self, inputs, training=False, return_covariance=False):
        """Logits and, if asked for, the rows' full covariance matrix."""
        logits, covariance = super().call(inputs, training=training)
        return (logits, covariance) if return_covariance else logits


class ResetCovariance(tf_keras.callbacks.Callback):
    """Forget the last epoch's sum, so that only the final one counts."""

    def on_epoch_begin(self, epoch, logs=None):
        """Reset the precision matrix, but before the first epoch."""
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
    """Train a deterministic network; `y` holds 0, 1, ..., K - 1."""
    model = DeepResNet(int(y.max()) + 1)
    _fit(model, X, y, epochs)
    return model


def fit_sngp(X, y, epochs: int = EPOCHS) -> DeepResNetSNGP:
    """Train an SNGP, its covariance reset at the start of every epoch."""
    model = DeepResNetSNGP(int(y.max()) + 1)
    _fit(model, X, y, epochs, [ResetCovariance()])
    return model


def fit_ensemble(X, y, members: int = 10, epochs: int = EPOCHS) -> list[DeepResNet]:
    """Train deterministic networks, one after the other."""
    return [fit_deterministic(X, y, epochs) for _ in range(members)]


def predict_deterministic(model: DeepResNet, X) -> np.ndarray:
    """Class probabilities of all rows in one call."""
    return tf.nn.softmax(model(tf.constant(X, tf.float32))).numpy()


def predict_sngp(model: DeepResNetSNGP, X) -> tuple[np.ndarray, np.ndarray]:
    """Mean-field class probabilities and variances of all rows in one call."""
    logits, covariance = model(tf.constant(X, tf.float32), return_covariance=True)
    logits = mean_field_logits(logits, covariance, mean_field_factor=np.pi / 8)
    return tf.nn.softmax(logits).numpy(), np.diagonal(covariance.numpy())


def predict_dropout(model: DeepResNet, X, passes: int = 10) -> np.ndarray:
    """Class probabilities averaged over passes with dropout left on."""
    X = tf.constant(X, tf.float32)
    samples = [tf.nn.softmax(model(X, training=True)) for _ in range(passes)]
    return tf.reduce_mean(samples, axis=0).numpy()


def predict_ensemble(models: list[DeepResNet], X) -> np.ndarray:
    """Class probabilities averaged over networks."""
    return np.mean([predict_deterministic(model, X) for model in models], axis=0)
