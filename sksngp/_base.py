"""What the classifiers share: parameters, validation and the flow of data."""

from __future__ import annotations

import copy
import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from . import pool
from ._docs import document
from ._export import ExportMixin
from ._held_out import HeldOutMixin
from ._prediction import PredictionMixin
from ._validation import check_labels, check_training_rows, checks_parameters
from ._younger import YoungerParametersMixin
from .architecture import Architecture, initial_weights
from .body import Body, initial_body_weights
from .device import check_device
from .memory import Need, body_needs, check_memory, network_needs
from .projection import fit_projection
from .rows import Rows, StreamedRows, project
from .sources import MatrixLike, RowSource, select
from .wide_resnet import WideResNet

if TYPE_CHECKING:
    from .pool import CompiledNetwork

# Types of parameters that all classifiers have.
Network: TypeAlias = Literal["resnet", "wide_resnet"] | Callable[[tuple[int, ...]], Any]
Schedule: TypeAlias = Literal["constant", "cosine"] | Callable[[float], float]
ClassWeight: TypeAlias = dict[Any, float] | Literal["balanced"] | None
RandomState: TypeAlias = int | np.random.RandomState | None

#: The optimisers hold their learning rate in float32.
LARGEST_LEARNING_RATE = float(np.finfo(np.float32).max)
#: What the learning rate is multiplied by after a share of a fit's epochs.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: 0.5 * (1.0 + np.cos(np.pi * done)),
}


class BaseNetworkClassifier(
    HeldOutMixin,
    PredictionMixin,
    ExportMixin,
    ClassifierMixin,
    YoungerParametersMixin,
    BaseEstimator,
    ABC,
):
    """Base of the residual-network classifiers.

    A subclass says what network it needs (`_architecture`), what its prediction
    is (`_evaluate`) and, where it has more to learn than weights, what happens
    before and after training (`_before_training`, `_after_training`).

    The fitted state is arrays; compiled networks are leased from `sksngp.pool`.
    A fit works on a copy of the estimator and replaces the state at its end, so
    that a failed fit changes nothing.
    """

    # Attributes of a fitted classifier, besides those that the mixins declare.
    n_iter_: int
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    _settled_as: dict[str, Any]
    _optimizer_state: list[np.ndarray] | None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__doc__ = document(cls.__doc__)

    _parameter_constraints: dict[str, list[Any]] = {
        "network": [StrOptions({"resnet", "wide_resnet"}), callable],
        "image_shape": [tuple, None],
        "num_layers": [Interval(Integral, 0, None, closed="left")],
        "num_hidden": [Interval(Integral, 1, None, closed="left")],
        "dropout_rate": [Interval(Real, 0, 1, closed="left")],
        "standardize": ["boolean"],
        "dtype": [StrOptions({"float32", "float64"})],
        "mixed_precision": [StrOptions({"bfloat16", "float16"}), None],
        "device": [str, None],
        "optimizer": [StrOptions({"adam", "rmsprop", "sgd"})],
        "learning_rate": [Interval(Real, 0, LARGEST_LEARNING_RATE, closed="right")],
        "learning_rate_schedule": [StrOptions({"constant", "cosine"}), callable],
        "epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "warm_start": ["boolean"],
        "ood_alpha": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    @abstractmethod
    def __init__(
        self,
        *,
        network: Network,
        image_shape: tuple[int, int, int] | None,
        num_layers: int,
        num_hidden: int,
        dropout_rate: float,
        standardize: bool,
        dtype: Literal["float32", "float64"],
        mixed_precision: Literal["bfloat16", "float16"] | None,
        device: str | None,
        optimizer: Literal["adam", "rmsprop", "sgd"],
        learning_rate: float,
        learning_rate_schedule: Schedule,
        epochs: int,
        batch_size: int | None,
        early_stopping: bool,
        validation_fraction: float,
        n_iter_no_change: int,
        class_weight: ClassWeight,
        warm_start: bool,
        ood_alpha: float,
        random_state: RandomState,
        verbose: int,
    ) -> None:
        self.network = network
        self.image_shape = image_shape
        self.num_layers = num_layers
        self.num_hidden = num_hidden
        self.dropout_rate = dropout_rate
        self.standardize = standardize
        self.dtype = dtype
        self.mixed_precision = mixed_precision
        self.device = device
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.learning_rate_schedule = learning_rate_schedule
        self.epochs = epochs
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.ood_alpha = ood_alpha
        self.random_state = random_state
        self.verbose = verbose

    # What a subclass fills in

    #: Parameters, besides those of the architecture, that further training of a
    #: fitted classifier cannot change.
    _settled: tuple[str, ...] = ()

    def _architecture(self, fitted: Body | None = None) -> dict[str, Any]:
        """Fields of `sksngp.architecture.Architecture`.

        Of a body whose function is that of `fitted`, nothing new is built.
        """
        fields: dict[str, Any] = {
            "num_outputs": len(self.classes_),
            "num_layers": int(self.num_layers),
            "num_hidden": int(self.num_hidden),
            "members": 1,
            "dropout": self.dropout_rate > 0,
            "optimizer": self.optimizer,
            "dtype": self.dtype,
        }
        if self.mixed_precision is not None:
            fields["mixed"] = self.mixed_precision
        body = self._body()
        if body is None:
            return fields
        if fitted is not None and body.has_function_of(fitted):
            body = fitted
        else:
            body = body.described(self.mixed_precision)
        assert body.description is not None
        features = body.description.num_features
        own = {"num_layers": 0, "num_hidden": features, "dropout": False}
        return {**fields, **own, "body": body}

    def _body(self) -> Body | None:
        """What `network` asks for in place of the dense network."""
        if isinstance(self.network, str) and self.network == "resnet":
            return None
        network: Any = self.network
        if isinstance(network, str):
            network = self._wide_resnet()
        if isinstance(network, BaseEstimator):
            network = clone(network)  # set_params must not change what is fitted
        shape = getattr(self, "image_shape_", None) or (self.n_features_in_,)
        return Body(network, shape)

    def _wide_resnet(self) -> WideResNet:
        return WideResNet()

    def _check_parameters(self) -> None:
        """Refuse combinations that the single constraints allow."""
        check_device(self.device)
        if self.dtype != "float32" and self.mixed_precision is not None:
            raise ValueError(
                f"mixed_precision={self.mixed_precision!r} needs dtype='float32', got "
                f"{self.dtype!r}."
            )
        if self.dtype != "float32" and self.network != "resnet":
            raise ValueError(
                f"network={self.network!r} needs dtype='float32', got {self.dtype!r}."
            )
        if self.early_stopping and not self.validation_fraction:
            raise ValueError(
                "early_stopping=True needs rows to validate on, but "
                "validation_fraction=0; choose a share in (0, 1)."
            )

    def _before_training(
        self, rows: Rows | StreamedRows, rng: np.random.Generator
    ) -> None:
        """Learn what precedes training from the untrained network."""

    def _scalars(self) -> dict[str, float]:
        """Variables of the network that are parameters, not weights."""
        return {"dropout_rate": self.dropout_rate}

    def _after_training(self, rows: Rows | StreamedRows, streaming: bool) -> None:
        """Learn what follows from the trained weights and the training rows."""

    @abstractmethod
    def _evaluate(
        self, compiled: CompiledNetwork, projected: np.ndarray, what: str
    ) -> NDArray[np.float64]:
        """Prediction for projected rows.

        `what` is "proba", with a result of shape (n, K), or one of
        `sksngp.uncertainty.KINDS` or `_ood_score`, with one of shape (n,).
        """

    def _memory_needs(
        self, fields: dict[str, Any], num_rows: int, num_columns: int
    ) -> list[Need]:
        """What a fit of an architecture with these fields takes."""
        architecture = Architecture(**fields)
        if architecture.body is not None:
            assert architecture.body.description is not None
            return body_needs(
                architecture.body.description,
                members=architecture.members,
                num_rows=num_rows,
                batch_size=self.batch_size,
            )
        return network_needs(
            architecture,
            num_rows=num_rows,
            num_columns=num_columns,
            batch_size=self.batch_size,
        )

    def _row_width(self) -> int:
        """How many floats one row needs while it is predicted."""
        widest = max(self.architecture_["num_hidden"], len(self.classes_))
        body = self.architecture_.get("body")
        if body is not None:  # what one layer takes, and what it gives
            widest = max(widest, 2 * body.description.widest_floats)
        return self.architecture_["members"] * widest

    def _calibrate(self, rows: Rows | StreamedRows) -> None:
        """Learn what rows that were not trained on have to tell."""

    # Fitting

    @checks_parameters
    def fit(
        self, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Fit the classifier.

        Parameters
        ----------
        X : array-like, dataframe or collection of shape (n_samples, n_features)
            Numeric and finite. Read in chunks, without a copy of the whole, are
            float32, float64 and memory-mapped arrays, dask arrays and dataframes and
            `pyarrow.dataset.Dataset`; where the projected rows take more than 256 MiB,
            an epoch reads them anew, in blocks in random order. Images may have the
            shape (n_samples, height, width, channels).
        y : array-like of shape (n_samples,)
            Class labels: strings, booleans or integers. For a pyarrow data set, the
            name of the column with them; all other columns are then features.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights. A row of weight 2 counts as that row twice.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            For invalid data or parameters, before any training, and if the
            training loss stops being finite. The estimator stays as it was.
        TypeError
            For sparse `X`.
        MemoryError
            If the network or its posterior cannot fit into memory, before training
            takes any of it.
        """
        fitted = copy.copy(self)
        fitted._fit(X, y, sample_weight)
        self.__dict__ = fitted.__dict__
        return self

    def _fit(
        self, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None
    ) -> None:
        self._check_parameters()
        learning_rates = self._learning_rates()
        warm = self.warm_start and hasattr(self, "weights_")
        known = self.classes_ if warm else None
        checked, labels, weights, self.classes_ = check_training_rows(
            self, X, y, sample_weight, known_classes=known, reset=not warm
        )
        architecture = self._architecture(
            self.architecture_.get("body") if warm else None
        )
        check_memory(self._memory_needs(architecture, *checked.shape))
        rng = _generator(self.random_state)
        held_out = self._hold_out(checked, labels, rng, afresh=not warm)
        if warm:
            self._check_architecture(architecture)
        else:
            learnt = np.where(held_out, 0.0, weights)
            self._start(architecture, checked, labels, learnt, rng)
        rows, validation = self._project(checked, labels, weights, held_out)
        if not warm:
            self._before_training(rows, rng)
        self._train(rows, rng, learning_rates, validation=validation)
        self._after_training(rows, streaming=False)
        if validation is not None:
            self._calibrate(validation)
        self._score_held_out(select(checked, held_out), afresh=True)

    @checks_parameters
    def partial_fit(
        self,
        X: MatrixLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Go once over a chunk of a stream.

        The columns' means and variances follow the stream; the projection and
        the kernel scale are those of the first chunk, which should therefore
        not be tiny. A share `validation_fraction` of all rows, chosen by their
        values, is never trained on, however often it is passed; the latest scores of
        1,000 of these set the out-of-distribution threshold.

        Parameters
        ----------
        X : array-like or dataframe of shape (n_samples, n_features)
            As for `fit`; or images, of shape (n_samples, height, width, channels).
        y : array-like of shape (n_samples,)
            As for `fit`.
        classes : array-like of shape (n_classes,), default=None
            All classes of the stream; needed in the first call, and the same or
            left out in later ones.
        sample_weight : array-like of shape (n_samples,), default=None
            As for `fit`.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            As for `fit`; also if `y` holds a class that `classes` does not, if
            ``early_stopping=True`` or if ``class_weight="balanced"``.
        """
        fitted = copy.copy(self)
        fitted._partial_fit(X, y, classes, sample_weight)
        self.__dict__ = fitted.__dict__
        return self

    def _partial_fit(
        self,
        X: MatrixLike,
        y: ArrayLike,
        classes: ArrayLike | None,
        sample_weight: ArrayLike | None,
    ) -> None:
        self._check_parameters()
        first = not hasattr(self, "weights_")
        known = self._check_stream(classes, first)
        checked, labels, weights, self.classes_ = check_training_rows(
            self, X, y, sample_weight, known_classes=known, reset=first
        )
        architecture = self._architecture(
            None if first else self.architecture_.get("body")
        )
        check_memory(self._memory_needs(architecture, *checked.shape))
        # Later chunks must not repeat the shuffles and masks of the first.
        rng = _generator(self.random_state, 0 if first else self.n_iter_)
        held_out = self._hold_out_of_stream(checked, labels, weights, rng, first)
        learnt = np.where(held_out, 0.0, weights)
        if first:
            self._start(architecture, checked, labels, learnt, rng)
        else:
            self._check_architecture(architecture)
            self.projection_ = self.projection_.update(checked, learnt)
        if learnt.any():
            rows, _ = self._project(checked, labels, weights, held_out)
            if first:
                self._before_training(rows, rng)
            self._train(rows, rng, [self.learning_rate], streaming=True)
            self._after_training(rows, streaming=True)
        self._score_held_out(select(checked, held_out), afresh=first)

    def _check_stream(self, classes: ArrayLike | None, first: bool) -> np.ndarray:
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True.")
        if self.class_weight == "balanced":
            raise ValueError(
                "partial_fit does not support class_weight='balanced': a chunk does "
                "not show the balance of the stream. Pass a dict of weights."
            )
        if first:
            if classes is None:
                raise ValueError("classes must be passed in the first partial_fit.")
            check_labels(classes, "classes")
            return np.unique(classes)
        if classes is not None and not np.array_equal(
            np.unique(classes), self.classes_
        ):
            raise ValueError(
                f"classes={reprlib.repr(np.unique(classes).tolist())} differs from the "
                f"classes of the first call: {reprlib.repr(self.classes_.tolist())}."
            )
        return self.classes_

    def _check_architecture(self, architecture: dict[str, Any]) -> None:
        """Refuse further training of what was fitted with other parameters."""

        def parameters(
            fields: dict[str, Any], settled: dict[str, Any], image_shape: object
        ) -> dict[str, Any]:
            fields = vars(Architecture(**fields))
            names = {
                "body": "network",
                "mixed": "mixed_precision",
                "normalised": "spectral normalisation",
            }
            named = {names.get(name, name): value for name, value in fields.items()}
            return named | settled | {"image_shape": image_shape}

        given = None if architecture.get("body") is None else self.image_shape
        fitted = parameters(self.architecture_, self._settled_as, self.image_shape_)
        now = parameters(
            architecture,
            {name: getattr(self, name) for name in self._settled},
            self.image_shape_ if given is None else tuple(given),
        )
        changes = [
            f"{name}={now[name]!r} instead of {fitted[name]!r}"
            for name in now
            if now[name] != fitted[name]
        ]
        if changes:
            raise ValueError(
                "What was fitted cannot be trained further with other parameters: "
                f"{', '.join(changes)}. To start anew, call fit with warm_start=False."
            )

    def _start(
        self,
        fields: dict[str, Any],
        X: np.ndarray | RowSource,
        labels: np.ndarray,
        weights: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        """Draw a new model; rows of weight 0 have no part in it."""
        self.architecture_ = fields
        architecture = Architecture(**fields)
        shape = None if architecture.body is None else self.image_shape_
        self.projection_ = fit_projection(
            X,
            weights,
            num_hidden=self.num_hidden if architecture.body is None else None,
            members=architecture.members,
            standardize=self.standardize,
            rng=rng,
            channels=None if shape is None else shape[-1],
        )
        self.weights_ = initial_weights(
            architecture, rng, _log_prior(labels, weights, len(self.classes_))
        )
        if architecture.body is not None:
            self.weights_ |= initial_body_weights(architecture, rng)
        self._settled_as = {name: getattr(self, name) for name in self._settled}
        self._optimizer_state = None
        self.n_iter_, self.loss_curve_, self.validation_scores_ = 0, [], None

    def _project(
        self,
        X: np.ndarray | RowSource,
        labels: np.ndarray,
        weights: np.ndarray,
        held_out: NDArray[np.bool_] | None = None,
    ) -> tuple[Rows | StreamedRows, Rows | StreamedRows | None]:
        """Projected rows to train on, and those held out (or None)."""
        if held_out is None or not held_out.any():
            return project(X, labels, weights, self.projection_, self.dtype), None
        learnt, validation = (
            project(
                select(X, mask),
                labels[mask],
                weights[mask],
                self.projection_,
                self.dtype,
            )
            for mask in (~held_out, held_out)
        )
        return learnt, validation

    def _train(
        self,
        rows: Rows | StreamedRows,
        rng: np.random.Generator,
        learning_rates: list[float],
        *,
        validation: Rows | StreamedRows | None = None,
        streaming: bool = False,
    ) -> None:
        with pool.lease(self.device, **self.architecture_) as compiled:
            from .training import train  # not before the lease: it needs TensorFlow

            compiled.load(self.weights_, **self._scalars())
            compiled.load_optimizer(
                self.learning_rate, self._optimizer_state if streaming else None
            )
            self.weights_, history = train(
                compiled,
                rows,
                epochs=len(learning_rates),
                learning_rates=learning_rates,
                batch_size=self.batch_size,
                seed=int(rng.integers(2**31)),
                validation=validation if self.early_stopping else None,
                patience=self.n_iter_no_change,
                verbose=bool(self.verbose),
            )
            # Only a stream goes on where it was; the moments are twice the weights.
            self._optimizer_state = compiled.dump_optimizer() if streaming else None
        self.n_iter_ = self.n_iter_ + len(history.loss)
        self.loss_curve_ = self.loss_curve_ + history.loss
        scores = (self.validation_scores_ or []) + history.validation_score
        self.validation_scores_ = scores or None

    def _learning_rates(self) -> list[float]:
        """Learning rate of each epoch of a fit."""
        factor = self.learning_rate_schedule
        factor = SCHEDULES[factor] if isinstance(factor, str) else factor
        factors = [factor(epoch / self.epochs) for epoch in range(self.epochs)]
        for epoch, given in enumerate(factors, start=1):
            if not isinstance(given, Real) or not (
                0 <= self.learning_rate * given <= LARGEST_LEARNING_RATE
            ):
                raise ValueError(
                    f"learning_rate_schedule={self.learning_rate_schedule!r} gives "
                    f"{given!r} in epoch {epoch}; factors of learning_rate="
                    f"{self.learning_rate} must be finite numbers of at least 0."
                )
        return [float(self.learning_rate * given) for given in factors]


def _generator(random_state: RandomState, *spawn_key: int) -> np.random.Generator:
    """NumPy generator seeded from a scikit-learn random state."""
    seed = check_random_state(random_state).randint(2**31 - 1, size=4)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=spawn_key))


def _log_prior(
    labels: np.ndarray, weights: np.ndarray, num_classes: int
) -> NDArray[np.float64]:
    """Log class frequencies, with one row more a class than was seen."""
    counts = np.bincount(labels, weights, minlength=num_classes) + 1.0
    return np.log(counts / counts.sum())
