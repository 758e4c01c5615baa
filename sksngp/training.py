"""The training loop: whole epochs compiled into one graph."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf
import tf_keras
from tqdm.auto import tqdm

from .architecture import Architecture
from .networks import GP_WEIGHT_DECAY, ResidualNetwork
from .projection import Rows

#: The optimisers whose update is one fused kernel a variable.
OPTIMIZERS = {
    "adam": tf_keras.optimizers.legacy.Adam,
    "rmsprop": tf_keras.optimizers.legacy.RMSprop,
    "sgd": lambda: tf_keras.optimizers.legacy.SGD(momentum=0.9, nesterov=True),
}


class CompiledNetwork:
    """A network with its optimiser and its compiled functions.

    Parameters
    ----------
    architecture : Architecture

    Attributes
    ----------
    network : ResidualNetwork
    traces : int
        How often a function of this object was traced; it stops growing once
        each has been used.
    """

    def __init__(self, architecture: Architecture):
        self.architecture = architecture
        self.network = ResidualNetwork(architecture)
        self.optimizer = OPTIMIZERS[architecture.optimizer]()
        self.optimizer.apply_gradients(  # creates the optimiser's variables
            [(tf.zeros_like(variable), variable) for variable in self.network.trainable]
        )
        self.traces = 0
        self._compile()

    def _compile(self):
        dtype = self.architecture.dtype
        stack = [] if self.architecture.members == 1 else [self.architecture.members]
        rows = tf.TensorSpec([*stack, None, self.architecture.num_hidden], dtype)
        labels = tf.TensorSpec([None], tf.int32)
        weights = tf.TensorSpec([None], dtype)
        integer = tf.TensorSpec([], tf.int32)
        masks = tf.TensorSpec(
            [self.architecture.num_layers, None, 1, self.architecture.num_hidden], dtype
        )
        many = tf.TensorSpec([None, None, self.architecture.num_hidden], dtype)
        functions = {
            "epoch": (self._epoch, [rows, labels, weights, integer, integer, integer]),
            "hidden": (self._hidden, [rows]),
            "forward": (self._forward, [rows]),
            "forward_masked": (self._forward_masked, [many, masks]),
        }
        for name, (function, signature) in functions.items():
            compiled = tf.function(function, input_signature=signature)
            # Each network traces once; TensorFlow would count them together and warn.
            compiled._omit_frequent_tracing_warning = True
            setattr(self, name, compiled)

    def _hidden(self, projected):
        self.traces += 1
        return self.network.hidden(projected)

    def _forward(self, projected):
        self.traces += 1
        logits, features = self.network.output(self.network.hidden(projected))
        return logits if features is None else (logits, features)

    def _forward_masked(self, projected, masks):
        self.traces += 1
        return self.network.output(self.network.hidden(projected, masks))[0]

    def _epoch(self, projected, labels, weights, batch_size, seed, number):
        """One pass over shuffled rows; the mean training loss of a member."""
        self.traces += 1
        n = tf.shape(labels)[0]
        members = self.architecture.members
        shape = [n] if members == 1 else [members, n]
        order = tf.argsort(_uniform(shape, seed, 2 * number))
        total = tf.zeros([], self.architecture.dtype)
        for start in tf.range(0, n, batch_size):
            rows = order[..., start : start + batch_size]
            batch = tf.gather(projected, rows, axis=-2, batch_dims=rows.shape.rank - 1)
            step = number * ((n - 1) // batch_size + 1) + start // batch_size
            loss = self._step(
                batch,
                tf.gather(labels, rows),
                tf.gather(weights, rows),
                self._dropout_masks(batch, seed, 2 * step + 1),
            )
            total += loss
        return total / tf.cast(n * members, total.dtype)

    def _dropout_masks(self, batch, seed, counter):
        """Masks of all blocks from one counter-based draw."""
        if not self.architecture.dropout:
            return None
        shape = tf.concat([[self.architecture.num_layers], tf.shape(batch)], axis=0)
        keep = 1.0 - self.network.dropout_rate
        kept = _uniform(shape, seed, counter) < tf.cast(keep, tf.float32)
        return tf.cast(kept, keep.dtype) / keep

    def _step(self, batch, labels, weights, masks):
        """One optimiser step; the summed, weighted cross-entropy of the batch."""
        with tf.GradientTape() as tape:
            hidden = self.network.hidden(batch, masks, training=True)
            logits, features = self.network.output(hidden)
            cross_entropy = tf.reduce_sum(
                weights * tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            )
            rows = tf.cast(tf.shape(batch)[-2], cross_entropy.dtype)
            objective = cross_entropy / rows
            if features is not None:
                beta = self.network.weights["output/kernel"]
                objective += GP_WEIGHT_DECAY * tf.reduce_sum(beta * beta)
        gradients = tape.gradient(objective, self.network.trainable)
        self.optimizer.apply_gradients(
            zip(gradients, self.network.trainable, strict=True)
        )
        return cross_entropy

    def load_optimizer(self, learning_rate, state=None):
        """Start the optimiser from a `dump_optimizer`, or afresh."""
        self.optimizer.learning_rate = learning_rate
        for index, variable in enumerate(self.optimizer.variables()):
            variable.assign(state[index] if state else tf.zeros_like(variable))

    def dump_optimizer(self) -> list[np.ndarray]:
        """Copy of the optimiser's variables: step count and moments."""
        return [variable.numpy() for variable in self.optimizer.variables()]


def _uniform(shape, seed, counter):
    # "philox" names the algorithm, so that the numbers do not depend on XLA.
    return tf.random.stateless_uniform(shape, tf.stack([seed, counter]), alg="philox")


@dataclass
class History:
    """What training recorded: one entry an epoch."""

    loss: list[float] = field(default_factory=list)
    validation_score: list[float] = field(default_factory=list)


class DivergenceError(ValueError):
    """The training loss is no longer a finite number."""


def train(
    compiled: CompiledNetwork,
    rows: Rows,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    validation: Rows | None = None,
    patience: int = 10,
    verbose: bool = False,
) -> tuple[dict[str, np.ndarray], History]:
    """Train the network that `compiled` holds, from the weights it holds.

    Parameters
    ----------
    compiled : CompiledNetwork
        Loaded with weights, scalars and an optimiser state.
    rows : Rows
    epochs, batch_size : int
    seed : int
        Seeds shuffling and dropout.
    validation : Rows or None, default=None
        With it, training stops when the validation score has not risen for
        `patience` epochs, and the weights returned are those of the best epoch.
    patience : int, default=10
    verbose : bool, default=False
        Show a progress bar on standard error.

    Returns
    -------
    weights : dict of str to ndarray
    history : History

    Raises
    ------
    DivergenceError
        If an epoch's loss, or a weight in the end, is NaN or infinite.
    """
    dtype = compiled.architecture.dtype
    data = (
        tf.constant(rows.projected, dtype),
        tf.constant(rows.labels, tf.int32),
        # The step size must not depend on the unit of the weights.
        tf.constant(rows.weights / rows.weights.mean(), dtype),
    )
    history = History()
    best_epoch, best_weights = 0, None
    with tqdm(range(epochs), disable=not verbose, unit="epoch") as progress:
        for epoch in progress:
            loss = float(compiled.epoch(*data, batch_size, seed, epoch))
            if not np.isfinite(loss):
                raise DivergenceError(
                    f"The training loss became {loss} in epoch {epoch + 1}. A smaller "
                    "learning_rate usually mends this."
                )
            history.loss.append(loss)
            shown = {"loss": f"{loss:.4f}"}
            if validation is not None:
                scores = history.validation_score
                scores.append(validation_score(compiled, validation))
                shown["validation"] = f"{scores[-1]:.4f}"
                if scores[-1] > max(scores[:-1], default=-np.inf):
                    best_epoch, best_weights = epoch, compiled.network.dump()
                elif epoch - best_epoch >= patience:
                    break
            progress.set_postfix(shown)
    if best_weights is None:
        best_weights = compiled.network.dump()
    _check_finite(best_weights)
    return best_weights, history


def _check_finite(weights):
    # An epoch's losses precede its steps: the last step shows in no loss.
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise DivergenceError(
                f"The weights {name} are no longer finite. A smaller learning_rate "
                "usually mends this."
            )


def validation_score(compiled: CompiledNetwork, rows: Rows, chunk: int = 8192) -> float:
    """Mean log-likelihood of labels under the members' average softmax.

    Returns
    -------
    float
        At most 0; higher is better.
    """
    total = 0.0
    for start in range(0, len(rows.labels), chunk):
        part = slice(start, start + chunk)
        outputs = compiled.forward(
            tf.constant(rows.projected[..., part, :], compiled.architecture.dtype)
        )
        logits = outputs[0] if isinstance(outputs, tuple) else outputs
        labels = np.broadcast_to(rows.labels[part], logits.shape[:-1])
        log_likelihood = (
            -tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            .numpy()
            .astype(np.float64)
        )
        if log_likelihood.ndim == 2:
            members = len(log_likelihood)
            log_likelihood = np.logaddexp.reduce(log_likelihood, 0) - np.log(members)
        total += float(rows.weights[part] @ log_likelihood)
    return total / float(rows.weights.sum())
