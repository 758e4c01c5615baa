"""Useful floating-point operations of fits and predictions.

Only matrix products are counted, a multiplication and an addition as two, and
only those that the algorithm cannot do without, whoever does the work: an
implementation that computes more gets no credit for it. Results are by float
type, since the machine's rates differ: training and predictions are float32; the
projection and the posterior's sum are float64 (as the tutorial's are not; its
share is taken of the same work, all in float32).
"""

from __future__ import annotations

import math

from sksngp._networks.architecture import Architecture


def forward(arch: Architecture, samples: int = 1) -> int:
    """Operations that take one projected row to logits, of one member.

    Parameters
    ----------
    arch : Architecture
    samples : int, default=1
        Number of dropout masks. They share the first block's product, as masks
        multiply what comes out of a block.

    Returns
    -------
    int
    """
    masked = max(arch.num_layers - 1, 0) * arch.num_hidden**2 + _output(arch)
    shared = arch.num_hidden**2 if arch.num_layers else 0
    return 2 * (shared + samples * masked)


def backward(arch: Architecture) -> int:
    """Operations that take one row's loss to the gradients of one member.

    Of each trained kernel, and of each layer's input except where nothing below
    is trained: the first block reads the frozen projection. Random features are
    frozen, and need no gradient but of their input.
    """
    hidden, layers = arch.num_hidden, arch.num_layers
    kernels = layers * hidden**2 + _last_width(arch) * arch.num_outputs
    inputs = max(layers - 1, 0) * hidden**2 + (_output(arch) if layers else 0)
    return 2 * (kernels + inputs)


def _last_width(arch):
    return arch.num_inducing or arch.num_hidden


def _output(arch):
    """Multiplications from the last hidden representation to logits."""
    features = arch.num_hidden * arch.num_inducing if arch.num_inducing else 0
    return features + _last_width(arch) * arch.num_outputs


def variance(arch: Architecture) -> int:
    """Operations that take one row's random features to its variance.

    A squared norm after a product with a triangular matrix; as many as one row
    adds to the triangle of the precision. Where few directions of the precision
    say as much, fewer do, and a share of the roofline can exceed 1.
    """
    return arch.num_inducing * (arch.num_inducing + 1)


def fit(
    arch: Architecture, n: int, columns: int, epochs: int, batch_size: int
) -> dict[str, float]:
    """Operations of a fit.

    Each row is projected once. An SNGP's step also takes one power iteration, two
    products with a vector, for each hidden layer; after training each row's
    features enter the precision, which is factorised. Scores of training rows,
    from which thresholds come, are left out.

    Parameters
    ----------
    arch : Architecture
    n, columns : int
        Shape of the training data.
    epochs, batch_size : int

    Returns
    -------
    dict of str to float
        By float type.
    """
    hidden, inducing = arch.num_hidden, arch.num_inducing
    training = epochs * n * (forward(arch) + backward(arch))
    after = 2 * n * columns * hidden
    if inducing:
        steps = epochs * math.ceil(n / batch_size)
        training += steps * 4 * arch.num_layers * hidden**2
        features = 2 * (arch.num_layers * hidden**2 + hidden * inducing)
        training += n * features
        after += n * variance(arch) + inducing**3 / 3
    return {"float32": arch.members * training, "float64": arch.members * after}


def predict(
    arch: Architecture, n: int, columns: int, samples: int = 1
) -> dict[str, float]:
    """Operations of class probabilities for `n` rows.

    Parameters
    ----------
    arch : Architecture
    n, columns : int
        Shape of the rows.
    samples : int, default=1
        Number of dropout masks.

    Returns
    -------
    dict of str to float
        By float type.
    """
    projection, row = 2 * columns * arch.num_hidden, forward(arch, samples)
    if arch.num_inducing:
        row += variance(arch)
    return {
        "float64": arch.members * n * projection,
        "float32": arch.members * n * row,
    }


def ideal_seconds(flops: dict[str, float], rates: dict[str, float]) -> float:
    """Seconds that operations take at rates in GFLOP/s, both by float type."""
    return sum(count / (rates[dtype] * 1e9) for dtype, count in flops.items())
