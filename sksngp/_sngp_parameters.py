"""Parameters of `SNGPClassifier`."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Literal

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from ._shared_parameters import SharedParameters, parameter, with_parameters

#: Range of ``kernel_scale``. Beyond it, float32 cannot represent the random features.
MIN_KERNEL_SCALE, MAX_KERNEL_SCALE = 1e-30, 1e30


@with_parameters
class SNGPParameters(SharedParameters):
    """Parameters of `SNGPClassifier`."""

    spec_norm_bound: float | None = parameter(
        default=0.9,
        constraints=[Interval(Real, 0, None, closed="neither"), None],
        kind="float or None",
        text="""
        Bound on the spectral norm of each hidden layer, as in the tutorial. When
        training ends, the kernel of each layer is scaled so that its norm does not
        exceed the bound. The norms of large convolutions are computed to a relative
        accuracy of 0.1%. Frozen layers of custom networks are left unchanged. If
        None, the norms are not bounded.
        """,
    )
    num_inducing: int = parameter(
        default=1024,
        constraints=[Interval(Integral, 1, None, closed="left")],
        kind="int",
        text="""
        Number of random features M, as in the tutorial. A fitted posterior has 2 M^2
        bytes, or 4 M^2 in float64 and after `partial_fit`. After the first prediction,
        matrices of up to 20 M^2 bytes are kept in memory. The prediction of a sample
        takes M^2 / 2 multiplications, or fewer if the posterior differs from the prior
        in few directions only. After training, the output weights are replaced by
        their posterior mode if the training set is small enough: at most 65,536
        samples by default, and fewer with more than 16 classes.
        """,
    )
    kernel_scale: float | Literal["auto"] = parameter(
        default="auto",
        constraints=[
            StrOptions({"auto"}),
            Interval(Real, MIN_KERNEL_SCALE, MAX_KERNEL_SCALE, closed="both"),
        ],
        kind='"auto" or float',
        text="""
        Squared length-scale c of the kernel ``exp(-d^2 / (2 c))`` between hidden
        representations at distance d. If "auto", 1/16, 1/4, 1 and 4 times the mean
        squared distance of the training samples in the untrained network are compared
        by the log loss on held-out samples. If there are no folds and fewer than 100 of
        them (none, for custom networks), and in `partial_fit`, the factor is 1. While
        the network is trained, the factor is 1/16, or 5/8 for custom networks. It keeps
        this value if the training set is too large for the posterior mode of the output
        weights (see `num_inducing`). The tutorial's value of 1 predicts at chance for
        more than a few features. A number must be in [1e-30, 1e30].
        """,
    )
    ridge_penalty: float | Literal["auto"] = parameter(
        default="auto",
        constraints=[StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        kind='"auto" or float',
        text="""
        Prior precision of the output weights. If "auto", the values 0.03, 0.1 and 0.3
        are compared by the log loss on held-out samples, for the best network and
        `kernel_scale`. If there are no folds and fewer than 100 of them (none, for
        custom networks), in `partial_fit`, and if the training set is too large for the
        posterior mode of the output weights (see `num_inducing`), the value is 0.1. The
        tutorial uses 1.
        """,
    )
    cov_momentum: float = parameter(
        default=-1,
        constraints=[Options(Real, {-1}), Interval(Real, 0, 1, closed="neither")],
        kind="float",
        text="""
        If -1, the precision is the exact sum over all samples. If in (0, 1), it is a
        moving average over mini-batches of `batch_size` samples, which discounts the
        older batches of a `partial_fit` stream. In this case, the stream stores its
        latest 2,000 samples instead of a sample of all.
        """,
    )
    covariance: Literal["shared", "per_class"] = parameter(
        default="shared",
        constraints=[StrOptions({"shared", "per_class"})],
        kind='{"shared", "per_class"}',
        text="""
        Whether all classes share one covariance, as in the tutorial, or each class has
        its own, as in the Laplace approximation of the paper. The memory stated for
        `num_inducing` is then needed for each class. "per_class" requires
        ``inference="monte_carlo"``, because there is no mean-field formula for
        variances that differ between classes.
        """,
    )
    mean_field_factor: float = parameter(
        default=np.pi / 8,
        constraints=[Interval(Real, 0, None, closed="left")],
        kind="float",
        text="""
        Factor lambda in ``softmax(logits / sqrt(1 + lambda v))``. The tutorial's pi/8
        derives from the logistic function. For two classes, pi/4 is closer to sampling;
        for ten classes, pi/8 is. The value 0 disables the correction.
        """,
        shown="pi/8",
    )
    inference: Literal["mean_field", "monte_carlo"] = parameter(
        default="mean_field",
        constraints=[StrOptions({"mean_field", "monte_carlo"})],
        kind='{"mean_field", "monte_carlo"}',
        text="""
        Method that averages the softmax over the posterior of the logits. Sampling
        averages ``softmax(logits / T + sqrt(v) noise)``.
        """,
    )
    num_samples: int = parameter(
        default=100,
        constraints=[Interval(Integral, 1, None, closed="left")],
        kind="int",
        text="""
        Number of posterior samples if ``inference="monte_carlo"``. They are drawn
        once, when the classifier is fitted, and shared by all predictions.
        """,
    )
