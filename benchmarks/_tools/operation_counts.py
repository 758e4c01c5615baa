"""Number of floating-point operations that fits and predictions require.

Only matrix products are counted. A multiplication and an addition count as two
operations. Operations that the algorithm does not require are not counted, even if an
implementation performs them. Results are separate for each float type, because the
rates of the machine differ: training and predictions use float32, whereas the
projection and the sum of the posterior use float64. The tutorial uses float32
throughout; its fraction of the roofline refers to the same operations, all in float32.
"""

from __future__ import annotations

import math

from sksngp._networks.architecture import Architecture


def forward(arch: Architecture, samples: int = 1) -> int:
    """Count the operations from a projected sample to the logits of one member.

    Parameters
    ----------
    arch : Architecture
    samples : int, default=1
        Number of dropout masks. They share the product of the first residual block,
        because masks multiply the output of a block.

    Returns
    -------
    int
    """
    masked = max(arch.num_layers - 1, 0) * arch.num_hidden**2 + _output(arch)
    shared = arch.num_hidden**2 if arch.num_layers else 0
    return 2 * (shared + samples * masked)


def backward(arch: Architecture) -> int:
    """Count the operations from the loss of a sample to the gradients of one member.

    Gradients are required for each trained kernel and for the input of each layer. The
    input of the first residual block is an exception, because the projection below it
    is frozen. Random features are frozen as well and require only the gradient of their
    input.
    """
    hidden, layers = arch.num_hidden, arch.num_layers
    kernels = layers * hidden**2 + _last_width(arch) * arch.num_outputs
    inputs = max(layers - 1, 0) * hidden**2 + (_output(arch) if layers else 0)
    return 2 * (kernels + inputs)


def _last_width(arch):
    return arch.num_inducing or arch.num_hidden


def _output(arch):
    """Count the multiplications from the hidden representation to the logits."""
    features = arch.num_hidden * arch.num_inducing if arch.num_inducing else 0
    return features + _last_width(arch) * arch.num_outputs


def variance(arch: Architecture) -> int:
    """Count the operations from the random features of a sample to its variance.

    The variance is a squared norm after a product with a triangular matrix. One sample
    adds as many operations to the triangle of the precision. If few directions of the
    precision suffice, an implementation needs fewer operations, and its fraction of the
    roofline can exceed 1.
    """
    return arch.num_inducing * (arch.num_inducing + 1)


def fit(
    arch: Architecture, n: int, columns: int, epochs: int, batch_size: int
) -> dict[str, float]:
    """Count the operations of a fit.

    Each sample is projected once. A training step of SNGP also requires one power
    iteration per hidden layer, that is, two products with a vector. After training, the
    random features of each sample are added to the precision, which is factorized. The
    scores that determine the threshold are not counted.

    Parameters
    ----------
    arch : Architecture
    n, columns : int
        Shape of the training data.
    epochs, batch_size : int

    Returns
    -------
    dict of str to float
        Operations of each float type.
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
    """Count the operations of the class probabilities of `n` samples.

    Parameters
    ----------
    arch : Architecture
    n, columns : int
        Shape of the samples.
    samples : int, default=1
        Number of dropout masks.

    Returns
    -------
    dict of str to float
        Operations of each float type.
    """
    projection, row = 2 * columns * arch.num_hidden, forward(arch, samples)
    if arch.num_inducing:
        row += variance(arch)
    return {
        "float64": arch.members * n * projection,
        "float32": arch.members * n * row,
    }


def ideal_seconds(flops: dict[str, float], rates: dict[str, float]) -> float:
    """Return the time of operations at the rates, in GFLOP/s, of their float types."""
    return sum(count / (rates[dtype] * 1e9) for dtype, count in flops.items())
