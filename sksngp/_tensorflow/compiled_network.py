"""A network, its optimizer and the functions compiled from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from .._networks.architecture import Architecture
from .._runtime.device import on_device
from .compiled_function import CompiledFunction
from .layers import feature_slices
from .networks import network_type
from .training_step import Optimization


class CompiledNetwork:
    """A network with its optimizer and its compiled functions.

    An ensemble is divided into several networks, as `sksngp._tensorflow.member_groups`
    explains.

    Parameters
    ----------
    architecture : Architecture
    device : str, default=None
        TensorFlow's name of the device. If None, TensorFlow chooses.

    Attributes
    ----------
    requested_device : str or None
        Device that the user requested; other machines may have it.
    networks : list of Network
        One network, or the member groups of an ensemble.
    traces : int
        Number of traced functions. It stops growing once each function has been used.
    """

    def __init__(self, architecture: Architecture, device: str | None = None) -> None:
        self.architecture, self.device = architecture, device
        self.requested_device = device
        kind = network_type(architecture)
        self.members = kind.member_groups(architecture.members)
        with on_device(device):
            self.networks = [
                kind(replace(architecture, members=size)) for size in self.members.sizes
            ]
            self.optimization = Optimization(architecture, self.networks, self.members)
        self.traces = 0
        self._weights: dict[str, np.ndarray] = {}  # of the last `load` or `dump`
        self._variables: dict[str, float] = {}
        self._matrix: tuple[np.ndarray | None, Any] = (None, None)
        self._compile()

    def _compile(self) -> None:
        arch = self.architecture
        samples = tf.TensorSpec(
            [*self.members.sample_axes, None, arch.num_columns], arch.dtype
        )
        shape, dtype = arch.mask_spec
        floating = tf.as_dtype(dtype).is_floating
        masks = tf.TensorSpec(shape, arch.dtype if floating else dtype)
        inducing = arch.num_inducing or 1
        whitening = tf.TensorSpec([None, inducing, inducing], arch.dtype)
        low_rank = tf.TensorSpec([inducing, None], arch.dtype)
        self.hidden = self._compiled(self._hidden, [samples])
        self._hidden_of_batch = self._compiled(self._training_hidden, [samples])
        self.forward = self._compiled(self._forward, [samples])
        self.forward_masked = self._compiled(self._forward_masked, [samples, masks])
        self._compiled_whitened = self._compiled(
            self._whitened_norms, [samples, whitening]
        )
        self._compiled_low_rank = self._compiled(
            self._low_rank_norms, [samples, low_rank]
        )
        labels = tf.TensorSpec([None], tf.int32)
        weights = tf.TensorSpec([None], arch.dtype)
        integers = [tf.TensorSpec([], tf.int32)] * 3
        self._compiled_epoch = self._compiled(
            self._epoch, [samples, labels, weights, *integers]
        )

    def _compiled(
        self, function: Callable[..., Any], signature: list[tf.TensorSpec]
    ) -> CompiledFunction:
        def counted(*arguments: tf.Tensor) -> Any:
            self.traces += 1
            return function(*arguments)

        return CompiledFunction(counted, signature, self.device)

    def forget(self) -> None:
        """Drop the arrays of the last user; the next `load` assigns all arrays."""
        self._weights, self._matrix = {}, (None, None)
        self.optimization.forget()

    def release(self) -> None:
        """Free the graphs of all functions; the network cannot be used afterwards."""
        self.forget()
        for value in list(vars(self).values()):
            if isinstance(value, CompiledFunction):
                value.release()

    # State

    def load(self, weights: dict[str, np.ndarray], **variables: float) -> None:
        """Assign the arrays of a model, and parameters that are variables.

        Arrays that the network already holds are not copied, so that the prediction of
        a single sample and each step of a stream are fast. The arrays must therefore
        not change, and become read-only.
        """
        held, self._weights = self._weights, {}
        set_to, self._variables = self._variables, {}
        same = {name for name, array in weights.items() if held.get(name) is array}
        with on_device(self.device):
            parts = self.members.split_weights(weights)
            for network, part in zip(self.networks, parts, strict=True):
                if len(same) < len(weights):
                    network.load(part, same)
                for name, value in variables.items():
                    if set_to.get(name) != value:
                        getattr(network, name).assign(value)
        self._weights, self._variables = _read_only(weights), variables

    def dump(self) -> dict[str, np.ndarray]:
        """Copy the variables of the network into read-only arrays, by name."""
        parts = [network.dump() for network in self.networks]
        self._weights = _read_only(self.members.join_all(parts))
        return dict(self._weights)

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the learning rate of the next steps."""
        self.optimization.set_learning_rate(learning_rate)

    def load_optimizer(
        self, learning_rate: float, state: list[np.ndarray] | None = None
    ) -> None:
        """Initialize the optimizer, or restore the result of `dump_optimizer`."""
        self.optimization.load(learning_rate, state)

    def dump_optimizer(self) -> list[np.ndarray]:
        """Copy the variables of the optimizer: number of steps and moments."""
        return self.optimization.dump()

    def state(self) -> dict[str, Any]:
        """Copy the state from which training continues."""
        network = self.networks[0]
        names = "spec_norm_bound", "input_scale", "dropout_rate"
        return {
            "weights": self.dump(),
            "variables": {name: float(getattr(network, name)) for name in names},
            "learning_rate": float(self.optimization.optimizers[0].learning_rate),
            "optimizer": self.dump_optimizer(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the result of `state`."""
        self.load(state["weights"], **state["variables"])
        self.load_optimizer(state["learning_rate"], state["optimizer"])

    def bounded(
        self, weights: dict[str, np.ndarray], bound: float
    ) -> dict[str, np.ndarray]:
        """Return loaded weights whose spectral norms do not exceed the bound."""
        held, self._weights = self._weights, {}
        with on_device(self.device):
            bounded = self.networks[0].bounded(weights, bound)
        self._weights = {
            name: array for name, array in held.items() if bounded[name] is array
        }
        return bounded

    # Prediction

    def _hidden(self, projected: tf.Tensor) -> tf.Tensor:
        return self.members.apply([net.hidden for net in self.networks], projected)

    def _training_hidden(self, projected: tf.Tensor) -> tf.Tensor:
        return self.networks[0].training_hidden(projected, None)

    def untrained_hidden(self, projected: np.ndarray) -> tf.Tensor:
        """Return hidden representations before training."""
        if not self.networks[0].uses_batch_statistics:
            return self.hidden(projected)
        self._weights = {}  # the moving averages change
        return self._hidden_of_batch(projected)

    def _forward(self, projected: tf.Tensor) -> tf.Tensor | tuple[tf.Tensor, tf.Tensor]:
        if self.architecture.num_inducing is None:
            return self.members.apply([net.logits for net in self.networks], projected)
        return self._output(projected)

    def _forward_masked(self, projected: tf.Tensor, masks: tf.Tensor) -> tf.Tensor:
        # One sample of the network after the other, as `StackedDense` explains.
        return tf.map_fn(
            lambda mask: self.networks[0].logits(projected, mask),
            masks,
            fn_output_signature=self.architecture.dtype,
        )

    def _whitened_norms(
        self, projected: tf.Tensor, whitening: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        hidden, logits, slices = self._output_in_slices(projected)
        norms = tf.map_fn(partial(_whitened_norms, slices), whitening)
        return logits, _squared_norms(slices), tf.transpose(norms), hidden

    def _low_rank_norms(
        self, projected: tf.Tensor, low_rank_factor: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        hidden, logits, slices = self._output_in_slices(projected)
        parts = feature_slices(self.architecture.num_inducing or 1)
        products = [
            features @ low_rank_factor[part]
            for features, part in zip(slices, parts, strict=True)
        ]
        norms = _squared_norms([tf.add_n(products)])
        return logits, _squared_norms(slices), norms[:, tf.newaxis], hidden

    def _output_in_slices(
        self, projected: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        network = self.networks[0]
        hidden = network.hidden(projected)
        return hidden, *network.output_in_slices(hidden)

    def _output(self, projected: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        network = self.networks[0]
        return network.output(network.hidden(projected))

    def whitened_norms(
        self, projected: np.ndarray, whitening: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """Return the logits of a Gaussian-process output, and norms for variances.

        The norms are computed in the graph: whitened features are many times larger.

        Parameters
        ----------
        projected : array-like of shape (n, num_hidden)
        whitening : float64 ndarray of shape (n_groups, num_inducing, num_inducing)
            Upper triangular. If the same array is passed again, it is not copied.

        Returns
        -------
        logits : ndarray of shape (n, n_classes)
        squares : ndarray of shape (n,)
            ``|phi|^2`` of the random features phi.
        norms : ndarray of shape (n, n_groups)
            ``|whitening_g^T phi|^2``.
        hidden : ndarray of shape (n, num_hidden)
            Hidden representations.
        """
        return self._with_matrix(self._compiled_whitened, projected, whitening)

    def low_rank_norms(
        self, projected: np.ndarray, low_rank_factor: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """Return the results of `whitened_norms` for a low-rank factor.

        For a factor B of shape (num_inducing, rank), the norms are ``|B^T phi|^2`` and
        have the shape (n, 1).
        """
        return self._with_matrix(self._compiled_low_rank, projected, low_rank_factor)

    def _with_matrix(
        self, function: CompiledFunction, projected: np.ndarray, matrix: np.ndarray
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
        """Train for one epoch, with samples in random order.

        Parameters
        ----------
        projected : tensor of shape (n, num_hidden) or (members, n, num_hidden)
        labels, weights : tensor of shape (n,)
        batch_size : int or None
            Maximum size of a mini-batch. If None, there is one step on all samples.
            Samples are distributed evenly over the steps.
        seed, number : int
            Seed of the random draws, and number of the epoch.

        Returns
        -------
        float
            Mean training loss of a member.
        """
        n = int(labels.shape[0])
        steps = 1 if batch_size is None else -(-n // batch_size)
        self._weights = {}  # they are no longer those of the loaded model
        self.optimization.forget()
        return float(
            self._compiled_epoch(projected, labels, weights, steps, seed, number)
        )

    def _epoch(self, *arguments: tf.Tensor) -> tf.Tensor:
        return self.optimization.epoch(*arguments)


def _read_only(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a copy of a dict whose arrays cannot be changed any more."""
    for array in weights.values():
        array.flags.writeable = False
    return dict(weights)


def _squared_norms(slices: Sequence[tf.Tensor]) -> tf.Tensor:
    """Return the squared norms of samples whose features come in slices."""
    return tf.add_n([tf.reduce_sum(tf.square(each), axis=-1) for each in slices])


def _whitened_norms(slices: Sequence[tf.Tensor], factor: tf.Tensor) -> tf.Tensor:
    """Return ``|factor^T phi|^2`` without products by zeros below the diagonal."""
    parts = feature_slices(factor.shape[0])
    columns = []
    for index, outer in enumerate(parts):
        products = [
            features @ factor[inner, outer]
            for features, inner in zip(slices, parts[: index + 1], strict=False)
        ]
        columns.append(tf.add_n(products))
    return _squared_norms(columns)
