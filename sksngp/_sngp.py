"""Spectral-normalised neural Gaussian process."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.utils._param_validation import Interval, Options, StrOptions

from ._base import (
    BaseNetworkClassifier,
    ClassWeight,
    CrossValidator,
    Network,
    RandomState,
    Schedule,
)
from ._data import holdout
from ._data.sources import select
from ._fitted_arrays import FittedArray
from ._networks.architecture import project_spectral_norm
from ._networks.memory_needs import Need, posterior_need
from ._runtime.blas import one_thread
from ._uncertainty import posterior
from ._uncertainty.entropy import entropy_of_logits, normalised_entropy
from ._uncertainty.input_distance import InputDistance, fit_input_distance
from ._uncertainty.posterior_mode import posterior_mode
from ._uncertainty.surprisal import PART_WEIGHTS, Surprisal, combine, fit_surprisal

if TYPE_CHECKING:
    from ._base import CompiledNetwork, Rows, Samples, Splits, StreamedRows
    from ._data.sources import RowSource
    from ._networks.custom_function import Body
    from ._stream_state import StreamState

#: Factors of the mean squared distance between hidden representations that
#: ``kernel_scale="auto"`` compares as squared length-scales of the kernel.
KERNEL_FACTORS = (1 / 16, 1 / 4, 1.0, 4.0)
#: Range of ``kernel_scale``. Beyond it, float32 cannot represent the random features.
SMALLEST_KERNEL_SCALE, LARGEST_KERNEL_SCALE = 1e-30, 1e30
#: The factor if no samples are held out, and so nothing can be compared.
DEFAULT_KERNEL_FACTOR = 1.0
#: The factor at which the network is trained, and which is kept if the output layer is
#: trained as well: a short length-scale makes the network keep samples apart.
TRAINING_KERNEL_FACTOR = 1 / 16
#: The same for custom networks. They hardly learn at shorter ones in few steps
#: (``benchmarks/images.py --kernel-scales``).
BODY_KERNEL_FACTOR = 10 / 16
#: The output layer is computed if the samples have at most so many random features
#: together, and as many products of random features and classes.
MOST_FEATURES = 2**26
MOST_PRODUCTS = 2**30
#: With more products than that, it is computed in float32 to a rougher tolerance.
MOST_EXACT_PRODUCTS = 2**24
#: Training samples on which kernel factors are compared.
LARGEST_COMPARISON = 4000
#: Held-out samples that suffice to bring the parts of the score to one scale.
FEWEST_REFERENCES = 20


class SNGPClassifier(BaseNetworkClassifier):
    """Spectral-normalised neural Gaussian process (SNGP).

    A residual network whose hidden layers have bounded spectral norm, so that
    they keep rows apart that are far apart, and whose output is a Gaussian
    process over random features of the last hidden representation [1]_. Its
    variance grows with the distance from the training data; class probabilities
    fall towards a guess and `predict_ood` flags the row.

    The posterior is the exact Laplace posterior at the trained weights: one
    pass over the rows that were trained on, in float64. Variances are predicted in
    `dtype`; where it is float32 and the data have few directions, those that
    matter less than a thousandth of a variance are left out.

    Uncertainties, all in [0, 1]: total is the entropy of `predict_proba`
    divided by log K; aleatoric the same of the softmax of the mean logits, that
    is, with the output weights taken as known; epistemic is the share of the
    prior variance that the data have left, ``v(x) / v_prior(x)`` (averaged over
    classes if ``covariance="per_class"``; with ``cov_momentum > 0``, where this
    ratio u is unbounded, ``u / (1 + u)``).

    The out-of-distribution score, by which `predict_ood`, `ood_pvalue` and
    `score_samples` go, combines three scores, each of which finds what others miss:

    - the epistemic uncertainty times the square root of H(softmax(logits)), the entropy
      of the mean logits at temperature 1. It is large where the data say little about a
      sample and the classes are open, as for an unknown class among known ones;
    - the distance from the training data in the inputs, whitened by their covariance
      within classes: the variance of a second Gaussian process (`input_distance_`).
      It is large where a single feature has an unusual value for its class;
    - the entropy itself, which is large between classes.

    The out-of-distribution score is the sum of minus the log probabilities of values at
    least as high, estimated on samples that were not trained on (Fisher's rule). The
    third of them counts half. Custom networks, for images and texts, only have the
    first score.

    Parameters
    ----------
    spec_norm_bound : float or None, default=0.9
        Bound on the spectral norm of each hidden layer, as in the tutorial. When
        training ends, the kernel of each layer is scaled so that its norm does not
        exceed the bound. The norms of large convolutions are computed to a relative
        accuracy of 0.1%. Frozen layers of custom networks are left unchanged. If
        None, the norms are not bounded.
    num_inducing : int, default=1024
        Number of random features M, as in the tutorial. The posterior takes
        8 M^2 bytes, twice as much after the first prediction. Predicting a sample takes
        M^2 / 2 multiplications, or fewer if the data have few directions. After
        training, the output weights are replaced by their posterior mode if the
        training samples are few enough: at most 65,536 by default, and fewer with more
        than 16 classes.
    kernel_scale : "auto" or float, default="auto"
        Squared length-scale c of the kernel ``exp(-d^2 / (2 c))`` between hidden
        representations at distance d. If "auto", 1/16, 1/4, 1 and 4 times the mean
        squared distance of the training samples in the untrained network are compared
        by the log loss on held-out samples; without such samples it is 1 times that
        distance, as it is in `partial_fit`. While the network is trained it is 1/16 of
        it, and it stays there if the samples are too many for the output layer to be
        computed (see `num_inducing`). The tutorial's 1 predicts at chance on more than
        a few features. A number must be in [1e-30, 1e30].
    ridge_penalty : float, default=0.1
        Prior precision of the output weights. The tutorial uses 1.
    cov_momentum : float, default=-1
        -1 sums the precision exactly over all rows. A value in (0, 1) keeps a
        moving average over batches of `batch_size` rows instead, which forgets
        the older chunks of a `partial_fit` stream: of that, the latest 2,000 rows are
        kept rather than a sample of all.
    covariance : {"shared", "per_class"}, default="shared"
        One covariance for all classes, as in the tutorial, or the paper's
        Laplace form with one for each, at 8 K M^2 bytes. The latter needs
        ``inference="monte_carlo"``: variances that differ between classes have
        no mean-field formula.
    mean_field_factor : float, default=pi/8
        Factor lambda in ``softmax(logits / sqrt(1 + lambda v))``. The tutorial's
        pi/8 derives from the logistic function; for two classes pi/4 comes
        closer to sampling, for ten pi/8 does. 0 switches the correction off.
    inference : {"mean_field", "monte_carlo"}, default="mean_field"
        How the softmax is averaged over the posterior of the logits; sampling averages
        ``softmax(logits / T + sqrt(v) noise)``.
    num_samples : int, default=100
        Number of posterior samples if ``inference="monte_carlo"``. They are
        drawn once, when the classifier is fitted, and shared by all rows.
    {shared parameters}

    Attributes
    ----------
    kernel_scale_ : float
        Squared length-scale in use.
    posterior_ : Posterior
        Factorised posterior precision of the output weights.
    input_distance_ : InputDistance or None
        The distance from the training data in the inputs; None for custom networks.
    noise_ : float64 ndarray of shape (num_samples, n_classes)
        Standard normal draws for ``inference="monte_carlo"``.
    {shared attributes}

    See Also
    --------
    ResNetClassifier : The same network without distance awareness.

    References
    ----------
    .. [1] Liu, J. Z., Lin, Z., Padhy, S., Tran, D., Bedrax-Weiss, T. and
       Lakshminarayanan, B. (2020). "Simple and principled uncertainty
       estimation with deterministic deep learning via distance awareness",
       arXiv 2006.10108; journal version arXiv 2205.00403.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sksngp import SNGPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = SNGPClassifier(epochs=20, num_inducing=256, random_state=0).fit(X, y)
    >>> clf.score(X, y) > 0.9
    True
    >>> clf.predict_ood([[50.0, 30.0, 60.0, 25.0]])
    array([ True])
    """

    _parameter_constraints: dict[str, list[Any]] = {
        **BaseNetworkClassifier._parameter_constraints,
        "spec_norm_bound": [Interval(Real, 0, None, closed="neither"), None],
        "num_inducing": [Interval(Integral, 1, None, closed="left")],
        "kernel_scale": [
            StrOptions({"auto"}),
            Interval(Real, SMALLEST_KERNEL_SCALE, LARGEST_KERNEL_SCALE, closed="both"),
        ],
        "ridge_penalty": [Interval(Real, 0, None, closed="neither")],
        "cov_momentum": [
            Options(Real, {-1}),
            Interval(Real, 0, 1, closed="neither"),
        ],
        "covariance": [StrOptions({"shared", "per_class"})],
        "mean_field_factor": [Interval(Real, 0, None, closed="left")],
        "inference": [StrOptions({"mean_field", "monte_carlo"})],
        "num_samples": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        *,
        spec_norm_bound: float | None = 0.9,
        num_inducing: int = 1024,
        kernel_scale: float | Literal["auto"] = "auto",
        ridge_penalty: float = 0.1,
        cov_momentum: float = -1,
        covariance: Literal["shared", "per_class"] = "shared",
        mean_field_factor: float = np.pi / 8,
        inference: Literal["mean_field", "monte_carlo"] = "mean_field",
        num_samples: int = 100,
        network: Network = "resnet",
        image_shape: tuple[int, int, int] | None = None,
        num_layers: int | Literal["auto"] = "auto",
        num_hidden: int | Literal["auto"] = "auto",
        dropout_rate: float = 0.1,
        standardize: bool = True,
        dtype: Literal["float32", "float64"] = "float32",
        mixed_precision: Literal["bfloat16", "float16"] | None = None,
        device: str | None = None,
        optimizer: Literal["adam", "rmsprop", "sgd"] = "adam",
        learning_rate: float = 3e-3,
        learning_rate_schedule: Schedule = "cosine",
        epochs: int | Literal["auto"] = "auto",
        batch_size: int | None = 128,
        early_stopping: bool = False,
        cv: CrossValidator = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        temperature: float | Literal["auto"] = "auto",
        class_weight: ClassWeight = None,
        warm_start: bool = False,
        ood_alpha: float = 0.05,
        ood_confidence: float | None = None,
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            network=network,
            image_shape=image_shape,
            num_layers=num_layers,
            num_hidden=num_hidden,
            dropout_rate=dropout_rate,
            standardize=standardize,
            dtype=dtype,
            mixed_precision=mixed_precision,
            device=device,
            optimizer=optimizer,
            learning_rate=learning_rate,
            learning_rate_schedule=learning_rate_schedule,
            epochs=epochs,
            batch_size=batch_size,
            early_stopping=early_stopping,
            cv=cv,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            temperature=temperature,
            class_weight=class_weight,
            warm_start=warm_start,
            ood_alpha=ood_alpha,
            ood_confidence=ood_confidence,
            random_state=random_state,
            verbose=verbose,
        )
        self.spec_norm_bound = spec_norm_bound
        self.num_inducing = num_inducing
        self.kernel_scale = kernel_scale
        self.ridge_penalty = ridge_penalty
        self.cov_momentum = cov_momentum
        self.covariance = covariance
        self.mean_field_factor = mean_field_factor
        self.inference = inference
        self.num_samples = num_samples

    # Attributes of a fitted classifier.
    kernel_scale_: float
    noise_: NDArray[np.float64]
    posterior_: posterior.Posterior
    input_distance_: InputDistance | None
    _prior_variance: float
    _surprisals: tuple[Surprisal, ...] | None

    _ood_score = "ood"
    _depths = (0, 2, 6)
    _computes_output: bool  # rather than trains it
    _settled = (
        "kernel_scale",
        "num_samples",
        "covariance",
        "ridge_penalty",
        "cov_momentum",
    )

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "weights_" in state:  # fitted before there was a second score
            state = {"input_distance_": None, "_surprisals": None, **state}
        super().__setstate__(state)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.covariance == "per_class" and self.inference == "mean_field":
            raise ValueError(
                "covariance='per_class' has no mean-field probabilities; "
                "pass inference='monte_carlo' with it."
            )

    def _architecture(self, fitted: Body | None = None) -> dict[str, Any]:
        fields = {
            **super()._architecture(fitted),
            "num_inducing": int(self.num_inducing),
        }
        body = fields.get("body")
        if body is None:
            return fields
        if self.spec_norm_bound is None:
            return {**fields, "normalised": False}
        if not body.description.num_normalised:
            raise ValueError(
                f"network={body.name} returns a model without trainable layers to "
                "normalise, such as Dense and convolutions, or with a `call` of its "
                "own, which hides them. Return a functional or sequential model of "
                "such layers, or pass spec_norm_bound=None."
            )
        self._warn_of_unnormalised(body)
        return fields

    def _warn_of_unnormalised(self, body: Body) -> None:
        """Name the layers that the bound does not reach, once per classifier."""
        assert body.description is not None
        names = body.description.unnormalised
        kinds = [name.partition(" ")[2] for name in names]  # Keras numbers the names
        if not names or kinds == getattr(self, "_unnormalised", None):
            return
        self._unnormalised = kinds
        warnings.warn(
            f"spec_norm_bound={self.spec_norm_bound} has no effect on these layers of "
            f"network={body.name}: {', '.join(names)}. Only layers whose kernel is a "
            "matrix, or a convolution of inputs of known size, are normalized; others "
            "may not preserve distances. Pass spec_norm_bound=None to bound no norm.",
            UserWarning,
            stacklevel=7,  # the caller of fit
        )

    def _memory_needs(
        self, fields: dict[str, Any], num_rows: int, num_columns: int
    ) -> list[Need]:
        groups = 1 if self.covariance == "shared" else len(self.classes_)
        return [
            *super()._memory_needs(fields, num_rows, num_columns),
            posterior_need(int(self.num_inducing), groups),
        ]

    def _row_width(self) -> int:
        groups = len(self.posterior_.factor) if hasattr(self, "posterior_") else 1
        return max(super()._row_width(), groups * self.architecture_["num_inducing"])

    def _scalars(self) -> dict[str, float]:
        return {
            **super()._scalars(),
            "spec_norm_bound": self._bound(),
            "input_scale": 1.0 / np.sqrt(self.kernel_scale_),
        }

    def _bound(self) -> float:
        return np.inf if self.spec_norm_bound is None else self.spec_norm_bound

    def _before_training(
        self, rows: Rows | StreamedRows, rng: np.random.Generator
    ) -> None:
        self.kernel_scale_ = 1.0
        if self.kernel_scale == "auto":
            self._distance = self._mean_squared_distance(rows) or 1.0
            dense = self.architecture_.get("body") is None
            factor = TRAINING_KERNEL_FACTOR if dense else BODY_KERNEL_FACTOR
            self.kernel_scale_ = factor * self._distance
        else:
            self.kernel_scale_ = float(self.kernel_scale)
        # From a generator of its own: num_samples must not change the training.
        (own,) = rng.spawn(1)
        self.noise_ = own.standard_normal((self.num_samples, len(self.classes_)))

    def _factors_to_compare(
        self, samples: Samples, splits: Splits
    ) -> tuple[float | None, ...]:
        if self.kernel_scale != "auto" or not self._computes_output:
            return (None,)
        return KERNEL_FACTORS if splits.any() else (DEFAULT_KERNEL_FACTOR,)

    def _depths_to_compare(self, samples: Samples, splits: Splits) -> tuple[int, ...]:
        self._computes_output = self._output_is_small(len(samples.labels))
        depths = super()._depths_to_compare(samples, splits)
        return depths if self._computes_output else depths[-1:]

    def _output_is_small(self, num_rows: int) -> bool:
        """Whether the output layer is computed rather than trained."""
        features = num_rows * int(self.num_inducing)
        return (
            features <= MOST_FEATURES and features * len(self.classes_) <= MOST_PRODUCTS
        )

    def _candidate_logits(
        self,
        rows: Rows | StreamedRows,
        held_out: Rows | StreamedRows,
        factors: Sequence[float | None],
    ) -> list[np.ndarray]:
        if not self._computes_output:
            return super()._candidate_logits(rows, held_out, factors)
        step = -(-len(rows.labels) // LARGEST_COMPARISON)
        hidden, others = self._hidden(rows)[::step], self._hidden(held_out)
        results = []
        for factor in factors:
            scale = self.kernel_scale_ if factor is None else factor * self._distance
            mode = posterior_mode(
                self._random_features(hidden, scale),
                rows.labels[::step],
                rows.weights[::step] * step,
                num_classes=len(self.classes_),
                ridge=self.ridge_penalty,
                rough=True,
            )
            results.append(mode.logits(self._random_features(others, scale)))
        return results

    def _hidden(self, rows: Rows | StreamedRows) -> np.ndarray:
        """Hidden representations of samples, (n, num_hidden)."""
        with self._inference() as compiled:
            return np.concatenate(
                [
                    compiled.hidden(block).numpy()
                    for block, _ in rows.chunks(self._row_width())
                ]
            )

    @one_thread()
    def _random_features(self, hidden: np.ndarray, scale: float) -> np.ndarray:
        """Random features of hidden representations at a squared length-scale."""
        phase = hidden @ self.weights_["random_features/kernel"]
        phase *= hidden.dtype.type(1.0 / np.sqrt(scale))
        phase += self.weights_["random_features/bias"]
        features = np.cos(phase, out=phase)
        features *= hidden.dtype.type(np.sqrt(2.0 / features.shape[1]))
        self._check_overflow(features)
        return features

    def _finish(self, rows: Rows | StreamedRows, kernel_factor: float | None) -> None:
        if kernel_factor is not None:
            self.kernel_scale_ = kernel_factor * self._distance
        if getattr(self, "_computes_output", False):  # not before this was a choice
            self._compute_output(rows)
        self._absorb(rows, afresh=True)
        self.input_distance_ = None
        if self.architecture_.get("body") is None:
            self.input_distance_ = fit_input_distance(
                rows, len(self.classes_), seed=self._split
            )

    def _compute_output(self, rows: Rows | StreamedRows) -> None:
        """Replace the trained output layer by its posterior mode."""
        dtype = self.architecture_["dtype"]
        size, classes = len(rows.labels), len(self.classes_)
        many = size * int(self.num_inducing) * classes > MOST_EXACT_PRODUCTS
        rough = many and dtype == "float32"
        features = np.empty((size, int(self.num_inducing)), dtype if rough else float)
        start = 0
        for part, _ in self._features(rows):
            features[start : start + len(part)] = part
            start += len(part)
        mode = posterior_mode(
            features,
            rows.labels,
            rows.weights,
            num_classes=classes,
            ridge=self.ridge_penalty,
            rough=rough,
        )
        self.weights_ = {
            **self.weights_,
            "output/kernel": mode.kernel.astype(dtype),
            "output/bias": mode.bias.astype(dtype),
        }

    def _finish_stream(self, rows: Rows | StreamedRows, state: StreamState) -> None:
        if state.fitted:
            self._absorb(rows, afresh=False)
            if self.input_distance_ is not None:
                self.input_distance_ = self.input_distance_.absorb(rows)
            return
        if self._forgets():  # as much as all batches of the stream would have
            momentum = self.cov_momentum ** (state.memory.seen / len(rows.labels))
            self.cov_momentum = max(momentum, np.finfo(np.float64).tiny)
        self._computes_output = self._output_is_small(len(rows.labels))
        computed = self._computes_output and self.kernel_scale == "auto"
        self._finish(rows, DEFAULT_KERNEL_FACTOR if computed else None)

    def _forgets(self) -> bool:
        return self.cov_momentum > 0

    def _constrain_weights(self) -> None:
        self.weights_ = self._bounded(self.weights_)

    def _mean_squared_distance(self, rows: Rows | StreamedRows) -> float:
        """Mean of |h_i - h_j|^2 over pairs of rows: twice the total variance."""
        total, square = rows.total(self._hidden_moments)
        mean = total / rows.weights.sum()
        return max(2.0 * float(square / rows.weights.sum() - mean @ mean), 0.0)

    def _hidden_moments(self, rows: Rows) -> tuple[np.ndarray, float]:
        """Weighted sums of the hidden representations and of their squared norms."""
        total: Any = 0.0
        square: Any = 0.0
        with self._inference() as compiled:
            hidden_of: Callable[[np.ndarray], Any] = compiled.hidden
            if self.architecture_.get("body") is not None:
                # Batch normalisation has no means of its own before training.
                hidden_of = compiled.hidden_of_batch
            for block, part in rows.chunks(self._row_width()):
                hidden = _float64(hidden_of(block))
                total += rows.weights[part] @ hidden
                square += rows.weights[part] @ np.einsum("nh,nh->n", hidden, hidden)
        return total, square

    def _bounded(self, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Weights whose spectral norms, too, have arrived at the bound."""
        if self.architecture_.get("body") is None:
            return project_spectral_norm(weights, self._bound())
        with self._inference() as compiled:
            return compiled.bounded()

    def _absorb(self, rows: Rows | StreamedRows, afresh: bool) -> None:
        """Take rows into the posterior, or into the prior."""
        shared = self.covariance == "shared"
        if afresh:
            groups = 1 if shared else len(self.classes_)
            scale = self.ridge_penalty if shared else 1.0
            self._prior_variance = scale / self.ridge_penalty
            precision = posterior.prior_precision(
                self.num_inducing, self.ridge_penalty, groups
            )
        else:
            scale = self.posterior_.scale
            precision = self.posterior_.precision
        if self.cov_momentum > 0:
            batch = self.batch_size or len(rows.labels)
            precision = posterior.average_rows(
                precision, self._features(rows, batch), self.cov_momentum
            )
        else:
            precision = precision + rows.total(self._information)[0]
        ridge = None if self.cov_momentum > 0 else self.ridge_penalty
        self.posterior_ = posterior.factorise(precision, scale, ridge)

    def _information(self, rows: Rows) -> tuple[np.ndarray]:
        """What rows add to the precision."""
        groups = 1 if self.covariance == "shared" else len(self.classes_)
        size = self.architecture_["num_inducing"]
        nothing = np.zeros((groups, size, size))
        return (posterior.add_rows(nothing, self._features(rows)),)

    def _fitted_arrays(self) -> dict[str, FittedArray]:
        size, classes = self.architecture_["num_inducing"], len(self.classes_)
        groups = 1 if self._settled_as["covariance"] == "shared" else classes
        factor = self.posterior_.factor
        scales = {
            "kernel_scale_": self.kernel_scale_,
            "prior variance": self._prior_variance,
            "posterior_.scale": self.posterior_.scale,
        }
        return {
            **super()._fitted_arrays(),
            "posterior_.factor": FittedArray(factor, (groups, size, size)),
            "diagonal of posterior_.factor": FittedArray(
                np.diagonal(factor, axis1=1, axis2=2), (groups, size), positive=True
            ),
            "noise_": FittedArray(self.noise_, (None, classes)),
            **self._distance_arrays(),
            **{
                name: FittedArray(np.array(value, float), (), positive=True)
                for name, value in scales.items()
            },
        }

    def _distance_arrays(self) -> dict[str, FittedArray]:
        """The same of the distance in input space."""
        distance, surprisals = self.input_distance_, self._surprisals
        if distance is None:
            return {}
        if surprisals is None or len(surprisals) != len(PART_WEIGHTS):
            raise ValueError("the parts of the out-of-distribution score have no scale")
        width, dtype = self.architecture_["num_hidden"], self.architecture_["dtype"]
        size = distance.bias.shape[0]
        arrays = {
            "input_distance_.kernel": FittedArray(
                distance.kernel, (width, size), dtype
            ),
            "input_distance_.bias": FittedArray(distance.bias, (size,), dtype),
            "input_distance_.posterior.factor": FittedArray(
                distance.posterior.factor, (1, size, size)
            ),
            "diagonal of input_distance_.posterior.factor": FittedArray(
                np.diagonal(distance.posterior.factor, axis1=1, axis2=2),
                (1, size),
                positive=True,
            ),
        }
        for number, surprisal in enumerate(surprisals):
            arrays[f"surprisal {number}: scores"] = FittedArray(
                surprisal.scores, (None,)
            )
            arrays[f"surprisal {number}: excess"] = FittedArray(
                np.array(surprisal.excess, float), (), positive=True
            )
        return arrays

    def _predictive_parts(self, rows: Rows | StreamedRows) -> tuple[np.ndarray, ...]:
        self._prepare()
        with self._inference() as compiled:
            found = [
                self._posterior_at(compiled, block)[:2]
                for block, _ in rows.chunks(self._row_width())
            ]
        logits, variance = map(np.concatenate, zip(*found, strict=True))
        return logits, variance

    def _tempered(
        self, temperature: float, logits: np.ndarray, *variance: np.ndarray
    ) -> np.ndarray:
        return self._probability(logits / temperature, *variance)

    def _prepare(self) -> None:
        if self._directions() is None:
            self.posterior_.whitening  # noqa: B018  (computed once, and kept)
        if self.input_distance_ is not None:
            self.input_distance_.whitening  # noqa: B018

    def _directions(self) -> np.ndarray | None:
        """The few directions that suffice for float32, if there are such."""
        if self.architecture_["dtype"] == "float64":
            return None
        return self.posterior_.directions

    def _features(
        self, rows: Rows | StreamedRows, batch: int | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Chunks of random features with the rows' weights in the posterior."""
        with self._inference() as compiled:
            for block, part in rows.chunks(self._row_width(), batch):
                logits, features = compiled.forward(block)
                self._check_overflow(features)
                weights = rows.weights[part]
                if batch:  # a mean over the batch, in which a weight is a repetition
                    weights = weights / weights.mean()
                yield (
                    _float64(features),
                    self._posterior_weights(_float64(logits), weights),
                )

    def _posterior_weights(self, logits: np.ndarray, weights: np.ndarray) -> np.ndarray:
        if self.covariance == "shared":
            return weights[:, None]
        proba = softmax(logits, axis=1)
        return weights[:, None] * proba * (1.0 - proba)

    def _evaluate(
        self, compiled: CompiledNetwork, projected: np.ndarray, what: str
    ) -> NDArray[np.float64]:
        if what == "aleatoric":
            logits, _ = compiled.forward(projected)
            return entropy_of_logits(_float64(logits) / self.temperature_)
        logits, variance, prior = self._posterior_at(compiled, projected)
        if what == "epistemic":
            return self._epistemic(variance, prior)
        if what in ("ood", "ood parts"):
            score = self._variance_score(logits, variance, prior)
            if self.input_distance_ is None:
                return score
            distance = self.input_distance_(projected)
            parts = np.column_stack([score, distance, entropy_of_logits(logits)])
            return self._combined(parts) if what == "ood" else parts
        proba = self._probability(logits / self.temperature_, variance)
        return proba if what == "proba" else normalised_entropy(proba)

    @property
    def _ood_parts(self) -> str:
        return "ood" if self.input_distance_ is None else "ood parts"

    def _held_out_parts(
        self, X: np.ndarray | RowSource, rows: Rows | StreamedRows, refit: bool
    ) -> NDArray[np.float64]:
        """As in the base class, with variances of a posterior of all samples.

        The network has not seen these samples, but the final posterior will have seen
        nearly as many more as they are. So the posterior takes them in, and each is
        scored without itself and its equals.
        """
        if not refit or self.posterior_.ridge is None:
            return super()._held_out_parts(X, rows, refit)
        seen = copy.copy(self)
        seen._absorb(rows, afresh=False)
        weights = holdout.weights_of_equals(X, rows.weights)
        scores, entropies = [], []
        with self._inference() as compiled:
            for block, part in rows.chunks(self._row_width()):
                logits, features = map(_float64, compiled.forward(block))
                variance = seen.posterior_.variance_without(
                    features, self._posterior_weights(logits, weights[part])
                )
                prior = self._prior_variance * np.square(features).sum(1, keepdims=True)
                scores.append(self._variance_score(logits, variance, prior))
                entropies.append(entropy_of_logits(logits))
        score = np.concatenate(scores)
        if self.input_distance_ is None:
            return score
        distance = self.input_distance_.absorb(rows)
        distances = [
            distance.without(block, weights[part])
            for block, part in rows.chunks(self._row_width())
        ]
        return np.column_stack(
            [score, np.concatenate(distances), np.concatenate(entropies)]
        )

    def _combine_scores(
        self, parts: NDArray[np.float64], known: np.ndarray | RowSource
    ) -> NDArray[np.float64]:
        self._surprisals = None
        if self.input_distance_ is None:
            return parts
        reference = parts
        if len(parts) < FEWEST_REFERENCES:  # what was trained on is better than nothing
            step = -(-len(known) // LARGEST_COMPARISON)
            few = select(known, np.arange(len(known)) % step == 0)
            reference = self._predict_valid(few, self._ood_parts)
        self._surprisals = tuple(map(fit_surprisal, reference.T))
        parts = parts.reshape(-1, len(PART_WEIGHTS))
        if len(reference) > len(parts):
            return self._combined(parts)
        pairs = zip(self._surprisals, parts.T, strict=True)
        return combine([surprisal.of_references(part) for surprisal, part in pairs])

    def _combined(self, parts: NDArray[np.float64]) -> NDArray[np.float64]:
        assert self._surprisals is not None
        pairs = zip(self._surprisals, parts.T, strict=True)
        return combine([surprisal(part) for surprisal, part in pairs])

    def _posterior_at(
        self, compiled: CompiledNetwork, projected: np.ndarray
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Logits (n, K), their variances (n, G), and the prior variance (n, 1)."""
        directions = self._directions()
        if directions is None:
            logits, features, products = compiled.whiten(
                projected, self.posterior_.whitening
            )
        else:
            logits, features, products = compiled.project(projected, directions)
        norms = np.einsum("gnm,gnm->ng", products, products).astype(np.float64)
        prior = np.einsum("nm,nm->n", features, features)[:, None].astype(np.float64)
        if directions is None:
            variance = self.posterior_.scale * norms
        else:
            # Rounding must not leave a variance of 0, the mark of a certain row.
            variance = self._prior_variance * np.maximum(prior - norms, 1e-7 * prior)
        return logits.astype(np.float64), variance, self._prior_variance * prior

    def _probability(
        self, logits: NDArray[np.float64], variance: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        if self.inference == "monte_carlo" or variance.shape[1] > 1:
            return posterior.sampled_probability(logits, variance, self.noise_)
        return posterior.mean_field_probability(
            logits, variance, self.mean_field_factor
        )

    def _variance_score(
        self,
        logits: NDArray[np.float64],
        variance: NDArray[np.float64],
        prior: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Epistemic uncertainty times the root of the entropy of the mean logits."""
        return self._epistemic(variance, prior) * np.sqrt(entropy_of_logits(logits))

    def _epistemic(
        self, variance: NDArray[np.float64], prior: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        share = (variance / prior).mean(axis=1)
        if self.posterior_.ridge is not None:
            return np.clip(share, 0.0, 1.0)
        return share / (1.0 + share)  # the ridge decays, and the ratio has no bound


def _float64(tensor: Any) -> NDArray[np.float64]:
    return tensor.numpy().astype(np.float64)
