"""The training loop: epochs, early stopping, progress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np
import tensorflow as tf

from .._data.rows import Rows
from .._data.streamed_rows import StreamedRows
from .._runtime.device import on_device
from .._runtime.progress import progress
from .compiled_network import CompiledNetwork


@dataclass
class History:
    """Loss and validation score of each epoch."""

    loss: list[float] = field(default_factory=list)
    validation_score: list[float] = field(default_factory=list)


class DivergenceError(ValueError):
    """Raised when the training loss or a weight becomes NaN or infinite."""


def train(
    compiled: CompiledNetwork,
    rows: Rows | StreamedRows,
    learning_rates: Sequence[float],
    *,
    batch_size: int | None,
    seed: int,
    validation: Rows | StreamedRows | None = None,
    patience: int = 10,
    verbose: bool = False,
) -> tuple[dict[str, np.ndarray], History]:
    """Train a network, starting from its current weights.

    Parameters
    ----------
    compiled : CompiledNetwork
        Network that is loaded with weights, variables and an optimizer state.
    rows : Rows or StreamedRows
    learning_rates : sequence of float
        Learning rate of each epoch.
    batch_size : int or None
        As for `CompiledNetwork.epoch`.
    seed : int
        Seed of shuffling and dropout.
    validation : Rows, StreamedRows or None, default=None
        Held-out samples. If given, training stops when their score has not increased
        for `patience` epochs, and the weights of the best epoch are returned.
    patience : int, default=10
    verbose : bool, default=False
        Report the progress on standard error; see `sksngp._runtime.progress.progress`.

    Returns
    -------
    weights : dict of str to ndarray
    history : History

    Raises
    ------
    DivergenceError
        If the loss of an epoch, or a weight at the end, is NaN or infinite.
    """
    run_epoch = _epochs(compiled, rows, batch_size, seed)
    history = History()
    best_epoch, best_weights = 0, None
    with progress(len(learning_rates), unit="epoch", enabled=verbose) as report:
        for epoch, learning_rate in enumerate(learning_rates):
            compiled.set_learning_rate(learning_rate)
            loss = run_epoch(epoch)
            if not np.isfinite(loss):
                raise DivergenceError(
                    f"The training loss became {loss} in epoch {epoch + 1}. Decrease "
                    "learning_rate."
                )
            history.loss.append(loss)
            if validation is None:
                report(loss=f"{loss:.4f}")
                continue
            scores = history.validation_score
            scores.append(validation_score(compiled, validation))
            report(loss=f"{loss:.4f}", validation=f"{scores[-1]:.4f}")
            if scores[-1] > max(scores[:-1], default=-np.inf):
                best_epoch, best_weights = epoch, compiled.dump()
            elif epoch - best_epoch >= patience:
                break
    if best_weights is None:
        best_weights = compiled.dump()
    _check_finite(best_weights)
    return best_weights, history


def _epochs(
    compiled: CompiledNetwork,
    rows: Rows | StreamedRows,
    batch_size: int | None,
    seed: int,
) -> Callable[[int], float]:
    """Return a function that trains for the epoch of a number and returns the loss."""
    # The size of a step must not depend on the unit of the weights.
    unit = rows.weights.mean()
    dtype = compiled.architecture.dtype

    def tensors(shard: Rows) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        with on_device(compiled.device):
            return (
                tf.constant(shard.projected, dtype),
                tf.constant(shard.labels, tf.int32),
                tf.constant(shard.weights / unit, dtype),
            )

    if isinstance(rows, Rows):
        held = tensors(rows)
        return lambda number: compiled.epoch(*held, batch_size, seed, number)
    if rows.source.client is not None:
        from . import dask_training

        return dask_training.epochs(compiled, rows, unit, batch_size, seed)
    numbers = count()

    def epoch(number: int) -> float:
        rng = np.random.default_rng([seed, number])
        total = 0.0
        for shard in rows.shuffle_buffers(rng):
            loss = compiled.epoch(*tensors(shard), batch_size, seed, next(numbers))
            total += loss * len(shard.labels)
        return total / len(rows.labels)

    return epoch


def _check_finite(weights: dict[str, np.ndarray]) -> None:
    # The loss of an epoch is computed before its last step.
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise DivergenceError(
                f"The weights {name} are no longer finite. Decrease learning_rate."
            )


def validation_score(compiled: CompiledNetwork, rows: Rows | StreamedRows) -> float:
    """Return the mean log-likelihood of labels under the mean softmax of members.

    Returns
    -------
    float
        Score of at most 0; higher is better.
    """
    total = 0.0
    for projected, part in rows.chunks(1, size=compiled.architecture.validation_chunk):
        outputs = compiled.forward(projected)
        logits = outputs[0] if isinstance(outputs, tuple) else outputs
        labels = np.broadcast_to(rows.labels[part], logits.shape[:-1])
        with on_device(compiled.device):
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        log_likelihood = -loss.numpy().astype(np.float64)
        if log_likelihood.ndim == 2:
            members = len(log_likelihood)
            log_likelihood = np.logaddexp.reduce(log_likelihood, 0) - np.log(members)
        total += float(rows.weights[part] @ log_likelihood)
    return total / float(rows.weights.sum())
