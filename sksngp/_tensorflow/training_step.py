"""The graph of an epoch of training: mini-batches, gradients and optimizers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from .._networks.architecture import Architecture
from .member_groups import MemberGroups
from .network import GP_WEIGHT_DECAY, Network
from .random_layers import uniform

#: If layers compute in float16, losses are multiplied by this factor and gradients are
#: divided by it, because small gradients would be rounded to zero (Micikevicius et al.
#: 2018, arXiv 1710.03740, section 3.2). The factor is halved if gradients overflow.
LOSS_SCALE = 2.0**12

#: Optimizers whose update is one fused kernel per variable.
OPTIMIZERS = {
    "adam": tf_keras.optimizers.legacy.Adam,
    "rmsprop": tf_keras.optimizers.legacy.RMSprop,
    "sgd": lambda: tf_keras.optimizers.legacy.SGD(momentum=0.9, nesterov=True),
}


class Optimization:
    """Optimizers of the networks of an architecture.

    Parameters
    ----------
    architecture : Architecture
    networks : list of Network
    members : MemberGroups
    """

    def __init__(
        self,
        architecture: Architecture,
        networks: Sequence[Network],
        members: MemberGroups,
    ) -> None:
        self.architecture, self.networks = architecture, networks
        self.members = members
        self.optimizers = [OPTIMIZERS[architecture.optimizer]() for _ in networks]
        self._learning_rate: float | None = None
        self._held: list[np.ndarray] | None = None  # the state of the last `dump`
        scaled = networks if architecture.mixed == "float16" else []
        self._loss_scales = [tf.Variable(LOSS_SCALE) for _ in scaled]
        for optimizer, network in zip(self.optimizers, networks, strict=True):
            optimizer.apply_gradients(  # creates the variables of the optimizer
                [(tf.zeros_like(variable), variable) for variable in network.trainable]
            )

    # State

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the learning rate of the next steps."""
        if learning_rate != self._learning_rate:
            for optimizer in self.optimizers:
                optimizer.learning_rate = learning_rate
            self._learning_rate = learning_rate

    def load(self, learning_rate: float, state: list[np.ndarray] | None = None) -> None:
        """Initialize the optimizers, or restore the result of `dump`.

        Nothing is copied if the optimizers have not changed since that `dump`.
        """
        self.set_learning_rate(learning_rate)
        for scale in self._loss_scales:
            scale.assign(LOSS_SCALE)
        if state is not None and state is self._held:
            return
        self.forget()
        for position, optimizer in enumerate(self.optimizers):
            for index, variable in enumerate(optimizer.variables()):
                if state is None:
                    variable.assign(tf.zeros_like(variable))
                else:
                    variable.assign(self.members.split_array(state[index])[position])

    def dump(self) -> list[np.ndarray]:
        """Copy the variables of the optimizers: number of steps and moments."""
        states = [
            {index: v.numpy() for index, v in enumerate(optimizer.variables())}
            for optimizer in self.optimizers
        ]
        self._held = list(self.members.join_all(states).values())
        return self._held

    def forget(self) -> None:
        """Forget the last `dump`, because the optimizers change."""
        self._held = None

    # Graph

    def epoch(
        self,
        projected: tf.Tensor,
        labels: tf.Tensor,
        weights: tf.Tensor,
        steps: tf.Tensor,
        seed: tf.Tensor,
        number: tf.Tensor,
    ) -> tf.Tensor:
        """Train for one epoch; see `CompiledNetwork.epoch`."""
        n = tf.shape(labels)[0]
        members = self.architecture.members
        shape = [n] if members == 1 else [members, n]
        order = tf.argsort(uniform(shape, seed, 3 * number))

        def advance(step: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            count = n // steps + tf.cast(step < n % steps, n.dtype)
            start = step * (n // steps) + tf.minimum(step, n % steps)
            taken = order[..., start : start + count]
            size = tf.cast(count, total.dtype)
            loss = self._step(
                tf.gather(
                    projected, taken, axis=-2, batch_dims=len(projected.shape) - 2
                ),
                tf.gather(labels, taken),
                tf.gather(weights, taken) / size,
                *self.dropout_draws(tf.shape(taken), seed, number * steps + step),
            )
            return step + 1, total + size * loss

        _, total = tf.while_loop(
            lambda step, total: step < steps,
            advance,
            (tf.constant(0), tf.zeros([], self.architecture.dtype)),
            parallel_iterations=1,
        )
        return total / tf.cast(n * members, total.dtype)

    def dropout_draws(
        self, shape: tf.Tensor, seed: tf.Tensor, step: tf.Tensor
    ) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        """Draw the random values of dropout for a step."""
        number = len(self.networks)
        return self.networks[0].dropout_draws(shape, seed, step, number)

    def _step(
        self,
        batch: tf.Tensor,
        labels: tf.Tensor,
        weights: tf.Tensor,
        draws: tf.Tensor | None,
        threshold: tf.Tensor | None,
    ) -> tf.Tensor:
        """Perform an optimizer step; return the sum of the members' losses."""
        parts: list[list[Any]] = [
            self.members.split_batch(each) for each in (batch, labels, weights, draws)
        ]
        losses = [
            self._train_network(index, threshold, *arguments)
            for index, arguments in enumerate(zip(*parts, strict=True))
        ]
        return losses[0] if self.architecture.members == 1 else tf.add_n(losses)

    def _train_network(
        self,
        index: int,
        threshold: tf.Tensor | None,
        batch: tf.Tensor,
        labels: tf.Tensor,
        weights: tf.Tensor,
        draws: tf.Tensor | None,
    ) -> tf.Tensor:
        network, optimizer = self.networks[index], self.optimizers[index]
        masks = None if draws is None else network.training_masks(draws, threshold)
        network.normalize()
        parts: list[tuple[Any, ...]] = [(batch, labels, weights, masks)]
        if self.architecture.members == 1:  # both halves are computed in parallel
            parts = network.halves((batch, labels), weights, masks)
        loss_scale = self._loss_scales[index] if self._loss_scales else None
        losses, gradients_of_parts = zip(
            *(
                _loss_and_gradients(network, 1 / len(parts), loss_scale, *part)
                for part in parts
            ),
            strict=True,
        )
        gradients = [tf.add_n(each) for each in zip(*gradients_of_parts, strict=True)]
        if loss_scale is not None:
            gradients = _unscaled(gradients, loss_scale)
        if network.architecture.num_inducing is not None:
            beta = network.weights["output/kernel"]
            position = next(i for i, v in enumerate(network.trainable) if v is beta)
            gradients[position] += 2.0 * GP_WEIGHT_DECAY * beta
        optimizer.apply_gradients(zip(gradients, network.trainable, strict=True))
        return tf.add_n(losses)


def _unscaled(gradients: list[tf.Tensor], scale: tf.Variable) -> list[tf.Tensor]:
    """Divide gradients by the scale; if one overflows, return zeros and halve it."""
    finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(g)) for g in gradients])
    unscaled = [
        tf.where(finite, gradient / scale, tf.zeros_like(gradient))
        for gradient in gradients
    ]
    with tf.control_dependencies(unscaled):
        scale.assign(tf.where(finite, scale, scale / 2.0))
    return unscaled


def _loss_and_gradients(
    network: Network,
    fraction: float,
    scale: tf.Variable | None,
    batch: tf.Tensor,
    labels: tf.Tensor,
    weights: tf.Tensor,
    masks: tf.Tensor | None,
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Return the loss of a part of a mini-batch and its gradients.

    The penalties of the network are multiplied by `fraction`.
    """
    with tf.GradientTape() as tape:
        logits = network.training_logits(network.training_hidden(batch, masks))
        loss = tf.reduce_sum(
            weights * tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        )
        for penalty in network.penalties():
            loss += fraction * tf.cast(penalty, loss.dtype)
        scaled = loss if scale is None else scale * loss
    zero = tf.UnconnectedGradients.ZERO  # for weights without influence on the loss
    gradients = tape.gradient(scaled, network.trainable, unconnected_gradients=zero)
    return loss, gradients
