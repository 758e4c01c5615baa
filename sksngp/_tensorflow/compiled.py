"""A network, its optimiser and the functions compiled from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow.python.eager import context
from tensorflow.python.framework.func_graph import dismantle_func_graph

from .._networks.architecture import Architecture
from .._runtime.collector import collector_paused
from .._runtime.device import on_device
from .._runtime.threads import num_threads
from .custom_network import SEEDS_OF_STEP, network_of
from .residual_network import GP_WEIGHT_DECAY, ResidualNetwork, pieces

#: Members of an ensemble that train as one network, or the number of a single one.
Stack: TypeAlias = slice | int

#: Batches of fewer rows are normalised as a whole, others in two halves.
FEWEST_IN_HALVES = 16

#: Where layers compute in float16, losses are multiplied by so much, and gradients
#: divided: the small ones would be rounded to zero (Micikevicius et al. 2018, arXiv
#: 1710.03740, section 3.2). It is halved where large ones overflow.
LOSS_SCALE = 2.0**12

#: The optimisers whose update is one fused kernel a variable.
OPTIMIZERS = {
    "adam": tf_keras.optimizers.legacy.Adam,
    "rmsprop": tf_keras.optimizers.legacy.RMSprop,
    "sgd": lambda: tf_keras.optimizers.legacy.SGD(momentum=0.9, nesterov=True),
}


class CompiledNetwork:
    """A network with its optimiser and its compiled functions.

    Matrices of this size are too small to share one operation between cores:
    they would wait for each other more than they compute. Instead an ensemble is
    held as a few stacks of members, one for each core, and a single network's
    step takes its rows in two halves; the parts of a step run side by side.

    Parameters
    ----------
    architecture : Architecture
    device : str, default=None
        TensorFlow's name of where it computes; None is TensorFlow's choice.

    Attributes
    ----------
    requested_device : str or None
        What the one who leased it asked for; other machines may have it.
    networks : list of ResidualNetwork
        One, or the stacks of an ensemble's members.
    traces : int
        How often a function of this object was traced; it stops growing once
        each has been used.
    """

    def __init__(self, architecture: Architecture, device: str | None = None) -> None:
        self.architecture, self.device = architecture, device
        self.requested_device = device
        self._stacks = _stacks(architecture)
        with on_device(device):
            self._build()
        self.traces = 0
        self._loaded: tuple[()] | tuple[dict[str, np.ndarray], dict[str, float]] = ()
        self._matrix: tuple[np.ndarray | None, Any] = (None, None)
        self._compile()

    def _build(self) -> None:
        architecture = self.architecture
        self.networks = [
            network_of(replace(architecture, members=_size(stack)))
            for stack in self._stacks
        ]
        self.optimizers = [OPTIMIZERS[architecture.optimizer]() for _ in self._stacks]
        scaled = self.networks if architecture.mixed == "float16" else []
        self._loss_scales = [tf.Variable(LOSS_SCALE) for _ in scaled]
        for optimizer, network in zip(self.optimizers, self.networks, strict=True):
            optimizer.apply_gradients(  # creates the optimiser's variables
                [(tf.zeros_like(variable), variable) for variable in network.trainable]
            )

    def _compile(self) -> None:
        arch = self.architecture
        stack = [] if arch.members == 1 else [arch.members]
        masks = tf.TensorSpec([None, arch.num_layers, 1, arch.num_hidden], arch.dtype)
        if arch.body is not None:  # all members see the same rows; masks are seeds
            stack, masks = [], tf.TensorSpec([None, 2], tf.int32)
        rows = tf.TensorSpec([*stack, None, arch.num_columns], arch.dtype)
        inducing = arch.num_inducing or 1
        whitening = tf.TensorSpec([None, inducing, inducing], arch.dtype)
        self.hidden = self._compiled(self._hidden, [rows])
        self._compiled_hidden_of_batch = self._compiled(self._hidden_of_batch, [rows])
        self.forward = self._compiled(self._forward, [rows])
        self.forward_masked = self._compiled(self._forward_masked, [rows, masks])
        directions = tf.TensorSpec([inducing, None], arch.dtype)
        self._compiled_whiten = self._compiled(self._whiten, [rows, whitening])
        self._compiled_project = self._compiled(self._project, [rows, directions])
        labels = tf.TensorSpec([None], tf.int32)
        weights = tf.TensorSpec([None], arch.dtype)
        integers = [tf.TensorSpec([], tf.int32)] * 3
        self._compiled_epoch = self._compiled(
            self._epoch, [rows, labels, weights, *integers]
        )

    def _compiled(
        self, function: Callable[..., Any], signature: list[tf.TensorSpec]
    ) -> _Compiled:
        return _Compiled(function, signature, self.device)

    def forget(self) -> None:
        """Drop the arrays of the last user; the next `load` assigns all of them."""
        self._loaded, self._matrix = (), (None, None)

    def release(self) -> None:
        """Free the graphs of all functions; the network is of no use afterwards."""
        self.forget()
        for value in list(vars(self).values()):
            if isinstance(value, _Compiled):
                value.release()

    # Arrays in and out

    def load(self, weights: dict[str, np.ndarray], **scalars: float) -> None:
        """Take over a model's arrays, and parameters that are variables.

        Loading the same dict again costs nothing, so that a single row is
        predicted in little time. The arrays must therefore not change, and become
        read-only.
        """
        if self._loaded and self._loaded[0] is weights and self._loaded[1] == scalars:
            return
        self._loaded = ()
        with on_device(self.device):
            self._assign(weights, scalars)
        for array in weights.values():
            array.flags.writeable = False
        self._loaded = (weights, scalars)

    def _assign(
        self, weights: dict[str, np.ndarray], scalars: dict[str, float]
    ) -> None:
        for network, stack in zip(self.networks, self._stacks, strict=True):
            if len(self.networks) == 1:
                network.load(weights)
            else:
                network.load({name: array[stack] for name, array in weights.items()})
            for name, value in scalars.items():
                getattr(network, name).assign(value)

    def dump(self) -> dict[str, np.ndarray]:
        """Copy the network's variables into arrays, by name."""
        return self._join([network.dump() for network in self.networks])

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the size of the next steps."""
        for optimizer in self.optimizers:
            optimizer.learning_rate = learning_rate

    def load_optimizer(
        self, learning_rate: float, state: list[np.ndarray] | None = None
    ) -> None:
        """Start the optimiser from a `dump_optimizer`, or afresh."""
        self.set_learning_rate(learning_rate)
        for scale in self._loss_scales:
            scale.assign(LOSS_SCALE)
        for optimizer, stack in zip(self.optimizers, self._stacks, strict=True):
            for index, variable in enumerate(optimizer.variables()):
                if state is None:
                    variable.assign(tf.zeros_like(variable))
                elif len(self.networks) == 1 or not state[index].ndim:
                    variable.assign(state[index])  # or the number of steps, for all
                else:
                    variable.assign(state[index][stack])

    def dump_optimizer(self) -> list[np.ndarray]:
        """Copy of the optimiser's variables: step count and moments."""
        states = [
            {index: v.numpy() for index, v in enumerate(optimizer.variables())}
            for optimizer in self.optimizers
        ]
        return list(self._join(states).values())

    def _join(self, parts: list[dict[Any, np.ndarray]]) -> dict[Any, np.ndarray]:
        """One dict of arrays from those of the networks."""
        if len(parts) == 1:
            return parts[0]
        if self.architecture.body is not None:
            return {key: np.stack([part[key] for part in parts]) for key in parts[0]}
        return {
            key: np.concatenate([part[key] for part in parts]) if array.ndim else array
            for key, array in parts[0].items()
        }

    def state(self) -> dict[str, Any]:
        """Copy of all that training goes on from."""
        network = self.networks[0]
        names = "spec_norm_bound", "input_scale", "dropout_rate"
        return {
            "weights": self.dump(),
            "scalars": {name: float(getattr(network, name)) for name in names},
            "learning_rate": float(self.optimizers[0].learning_rate),
            "optimizer": self.dump_optimizer(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.load(state["weights"], **state["scalars"])
        self.load_optimizer(state["learning_rate"], state["optimizer"])

    # Prediction

    def _hidden(self, projected: tf.Tensor) -> tf.Tensor:
        self.traces += 1
        if len(self.networks) == 1:
            return self.networks[0].hidden(projected)
        if self.architecture.body is not None:
            return tf.stack([network.hidden(projected) for network in self.networks])
        parts = zip(self.networks, self._stacks, strict=True)
        return tf.concat(
            [network.hidden(projected[stack]) for network, stack in parts], axis=0
        )

    def hidden_of_batch(self, projected: np.ndarray) -> tf.Tensor:
        """Hidden representation as in training: normalised by the rows given."""
        self._loaded = ()  # the means of batches have moved
        return self._compiled_hidden_of_batch(projected)

    def _hidden_of_batch(self, projected: tf.Tensor) -> tf.Tensor:
        self.traces += 1
        return self.networks[0].training_hidden(projected, None)

    def _forward(self, projected: tf.Tensor) -> tf.Tensor | tuple[tf.Tensor, tf.Tensor]:
        self.traces += 1
        if len(self.networks) > 1 and self.architecture.body is not None:
            return tf.stack(
                [net.output(net.hidden(projected))[0] for net in self.networks]
            )
        if len(self.networks) > 1:
            logits = [
                network.output(network.hidden(projected[stack]))[0]
                for network, stack in zip(self.networks, self._stacks, strict=True)
            ]
            return tf.concat(logits, axis=0)
        network = self.networks[0]
        logits, features = network.output(network.hidden(projected))
        return logits if features is None else (logits, features)

    def _forward_masked(self, projected: tf.Tensor, masks: tf.Tensor) -> tf.Tensor:
        self.traces += 1
        network = self.networks[0]
        # One sample after the other, for the reason that `StackedDense` gives.
        return tf.map_fn(
            lambda mask: network.output(network.hidden(projected, mask))[0],
            masks,
            fn_output_signature=self.architecture.dtype,
        )

    def _whiten(
        self, projected: tf.Tensor, whitening: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        self.traces += 1
        logits, features = self._output(projected)
        return logits, features, tf.map_fn(partial(_whiten, features), whitening)

    def _project(
        self, projected: tf.Tensor, directions: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        self.traces += 1
        logits, features = self._output(projected)
        products = [
            features[:, piece] @ directions[piece]
            for piece in pieces(self.architecture.num_inducing or 1)
        ]
        return logits, features, tf.add_n(products)[tf.newaxis]

    def _output(self, projected: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        network = self.networks[0]
        return network.output(network.hidden(projected))

    def whiten(
        self, projected: np.ndarray, whitening: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """Logits of a Gaussian-process output, and what their variance is made of.

        Parameters
        ----------
        projected : array-like of shape (n, num_hidden)
        whitening : float64 ndarray of shape (G, M, M)
            Upper triangular. Passing the same array again copies nothing.

        Returns
        -------
        logits : ndarray of shape (n, K)
        features : ndarray of shape (n, M)
            Random features phi.
        whitened : ndarray of shape (G, n, M)
            ``whitening_g^T phi``.
        """
        return self._with_matrix(self._compiled_whiten, projected, whitening)

    def bounded(self) -> dict[str, np.ndarray]:
        """Return the loaded weights of a custom network at their norm bounds."""
        self._loaded = ()
        with on_device(self.device):
            for network in self.networks:
                network.bound_norms()
        return self.dump()

    def project(
        self, projected: np.ndarray, directions: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """As `whiten`, with ``directions^T phi`` (1, n, r) for directions (M, r)."""
        return self._with_matrix(self._compiled_project, projected, directions)

    def _with_matrix(
        self, function: _Compiled, projected: np.ndarray, matrix: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        known, tensor = self._matrix
        if known is not matrix:
            with on_device(self.device):
                tensor = tf.constant(matrix, self.architecture.dtype)
            self._matrix = matrix, tensor
        return tuple(output.numpy() for output in function(projected, tensor))

    # Training

    def epoch(
        self,
        projected: tf.Tensor | np.ndarray,
        labels: tf.Tensor | np.ndarray,
        weights: tf.Tensor | np.ndarray,
        batch_size: int | None,
        seed: int,
        number: int,
    ) -> float:
        """Go once over the rows in random order.

        Parameters
        ----------
        projected : tensor of shape (n, num_hidden) or (members, n, num_hidden)
        labels, weights : tensor of shape (n,)
        batch_size : int or None
            Largest number of rows a step; None takes all. The rows are spread
            evenly over the steps, so that none is led by a handful of rows.
        seed, number : int
            Key of the random draws, and the epoch's place among the others.

        Returns
        -------
        float
            Mean training loss of a member.
        """
        n = int(labels.shape[0])
        steps = 1 if batch_size is None else -(-n // batch_size)
        self._loaded = ()  # the arrays in the network are no longer a model's
        return float(
            self._compiled_epoch(projected, labels, weights, steps, seed, number)
        )

    def _epoch(
        self,
        projected: tf.Tensor,
        labels: tf.Tensor,
        weights: tf.Tensor,
        steps: tf.Tensor,
        seed: tf.Tensor,
        number: tf.Tensor,
    ) -> tf.Tensor:
        self.traces += 1
        n = tf.shape(labels)[0]
        members = self.architecture.members
        shape = [n] if members == 1 else [members, n]
        order = tf.argsort(_uniform(shape, seed, 3 * number))

        def advance(step: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            count = n // steps + tf.cast(step < n % steps, n.dtype)
            start = step * (n // steps) + tf.minimum(step, n % steps)
            taken = order[..., start : start + count]
            rows = tf.cast(count, total.dtype)
            loss = self._step(
                tf.gather(
                    projected, taken, axis=-2, batch_dims=len(projected.shape) - 2
                ),
                tf.gather(labels, taken),
                tf.gather(weights, taken) / rows,
                *self._dropout_draws(tf.shape(taken), seed, number * steps + step),
            )
            return step + 1, total + rows * loss

        _, total = tf.while_loop(
            lambda step, total: step < steps,
            advance,
            (tf.constant(0), tf.zeros([], self.architecture.dtype)),
            parallel_iterations=1,
        )
        return total / tf.cast(n * members, total.dtype)

    def _dropout_draws(
        self, shape: tf.Tensor, seed: tf.Tensor, step: tf.Tensor
    ) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        """Random bytes of all blocks, and from which value on a unit is kept.

        A byte has 256 values, of which `256 * dropout_rate` should drop; its
        fraction is made up for by a threshold that is now one value higher, now
        one lower, so that a unit is dropped with exactly that probability.
        """
        if self.architecture.body is not None:
            return self._dropout_seeds(seed, step), None
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
        rate = tf.cast(self.networks[0].dropout_rate, tf.float32)
        return draws, tf.floor(256.0 * rate + _uniform([], seed, 3 * step + 2))

    def _dropout_seeds(self, seed: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """A seed for the dropout layers of each network."""
        seeds = [
            tf.stack([seed + member, step * SEEDS_OF_STEP])
            for member in range(len(self.networks))
        ]
        return seeds[0] if len(seeds) == 1 else tf.stack(seeds)

    def _step(
        self,
        batch: tf.Tensor,
        labels: tf.Tensor,
        weights: tf.Tensor,
        draws: tf.Tensor | None,
        threshold: tf.Tensor | None,
    ) -> tf.Tensor:
        """One optimiser step; the members' weighted cross-entropies, summed."""
        if self.architecture.members == 1:
            return self._train_network(0, batch, labels, weights, draws, threshold)
        return tf.add_n(
            [
                self._train_network(
                    index,
                    batch[stack],
                    labels[stack],
                    weights[stack],
                    None if draws is None else draws[stack],
                    threshold,
                )
                for index, stack in enumerate(self._stacks)
            ]
        )

    def _train_network(
        self,
        index: int,
        batch: tf.Tensor,
        labels: tf.Tensor,
        weights: tf.Tensor,
        draws: tf.Tensor | None,
        threshold: tf.Tensor | None,
    ) -> tf.Tensor:
        network, optimizer = self.networks[index], self.optimizers[index]
        masks = None if draws is None else network.training_masks(draws, threshold)
        network.normalise()
        if self.architecture.members == 1:
            parts = list(_halves(network, batch, labels, weights, masks))
        else:
            parts = [(batch, labels, weights, masks)]
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


def _whiten(features: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """``factor^T phi`` for each row, without the products by the factor's zeros."""
    parts = pieces(features.shape[1])
    columns = []
    for index, outer in enumerate(parts):
        products = [
            features[:, inner] @ factor[inner, outer] for inner in parts[: index + 1]
        ]
        columns.append(tf.add_n(products))
    return tf.concat(columns, axis=1)


def _halves(
    network: ResidualNetwork,
    batch: tf.Tensor,
    labels: tf.Tensor,
    weights: tf.Tensor,
    masks: tf.Tensor | None,
) -> Iterator[tuple[tf.Tensor, ...]]:
    """The first and the second half of a batch's rows."""
    rows = tf.shape(labels)[0]
    half = rows // 2
    sizes = [half, rows - half]
    masks = [None] * 2 if masks is None else network.halve_masks(masks, sizes)
    if network.architecture.body is not None:
        # Few rows have no mean to normalise by: each part has all, at half the weight.
        few = rows < FEWEST_IN_HALVES
        end, start = tf.where(few, rows, half), tf.where(few, 0, half)
        weights *= tf.where(few, 0.5, 1.0)
        parts = [[each[:end], each[start:]] for each in (batch, labels, weights)]
    else:
        parts = [tf.split(each, sizes, num=2) for each in (batch, labels, weights)]
    return zip(*parts, masks, strict=True)


def _unscaled(gradients: list[tf.Tensor], scale: tf.Variable) -> list[tf.Tensor]:
    """Gradients of the loss itself; zeros, and half the scale, where one overflows."""
    finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(g)) for g in gradients])
    unscaled = [
        tf.where(finite, gradient / scale, tf.zeros_like(gradient))
        for gradient in gradients
    ]
    with tf.control_dependencies(unscaled):
        scale.assign(tf.where(finite, scale, scale / 2.0))
    return unscaled


def _loss_and_gradients(
    network: ResidualNetwork,
    share: float,
    scale: tf.Variable | None,
    batch: tf.Tensor,
    labels: tf.Tensor,
    weights: tf.Tensor,
    masks: tf.Tensor | None,
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    with tf.GradientTape() as tape:
        logits = network.training_logits(network.training_hidden(batch, masks))
        loss = tf.reduce_sum(
            weights * tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        )
        for penalty in network.penalties():
            loss += share * tf.cast(penalty, loss.dtype)
        scaled = loss if scale is None else scale * loss
    zero = tf.UnconnectedGradients.ZERO  # of a weight that the loss doesn't depend on
    gradients = tape.gradient(scaled, network.trainable, unconnected_gradients=zero)
    return loss, gradients


def _stacks(architecture: Architecture) -> Sequence[Stack]:
    """Members that train as one network: slices, two or more each, one a core.

    Networks that a function built can't be stacked: each member is one, by its number.
    """
    members = architecture.members
    if architecture.body is not None and members > 1:
        return list(range(members))
    count = max(1, min(num_threads(), members // 2))
    parts = np.array_split(np.arange(members), count)
    return [slice(int(part[0]), int(part[-1]) + 1) for part in parts]


def _size(stack: Stack) -> int:
    return stack.stop - stack.start if isinstance(stack, slice) else 1


class _Compiled:
    """A function traced at its first call, with less overhead than tf.function."""

    def __init__(
        self,
        function: Callable[..., Any],
        signature: list[tf.TensorSpec],
        device: str | None,
    ) -> None:
        def placed(*arguments: tf.Tensor) -> Any:
            with on_device(device):
                return function(*arguments)

        # Without AutoGraph, which takes most of the time of tracing.
        self._function: Any = tf.function(
            placed, input_signature=signature, autograph=False
        )
        self._device = device
        self._signature = signature
        self._concrete: Any = None

    def release(self) -> None:
        """Free the graph, and those of loops in it.

        They refer to each other through objects of C++, which Python's cycle collector
        does not follow.
        """
        graph = None if self._concrete is None else self._concrete.graph
        self._function = self._concrete = None
        if graph is not None:
            for each in list(_nested_graphs(graph)):
                dismantle_func_graph(each)

    def __call__(self, *arguments: Any) -> Any:
        if self._concrete is None:
            with collector_paused():
                self._concrete = self._function.get_concrete_function()
        with on_device(self._device):
            tensors = [
                tf.convert_to_tensor(argument, spec.dtype)
                for argument, spec in zip(arguments, self._signature, strict=True)
            ]
        return self._concrete(*tensors)


def _nested_graphs(graph: Any) -> Iterator[Any]:
    """Yield the graphs of loops in a graph, then the graph itself."""
    for function in graph._functions.values():
        yield from _nested_graphs(function.graph)
    yield graph


def free_kernels() -> None:
    """Free the kernels of operations, which TensorFlow keeps for each shape.

    Kernels that are still needed are made again.
    """
    context.context().clear_kernel_cache()


def _uniform(shape: Any, seed: tf.Tensor, counter: tf.Tensor) -> tf.Tensor:
    # "philox" names the algorithm, so that the numbers do not depend on XLA.
    return tf.random.stateless_uniform(shape, tf.stack([seed, counter]), alg="philox")
