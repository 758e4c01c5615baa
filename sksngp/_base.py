"""What the classifiers share: parameters, validation and the flow of data."""

from __future__ import annotations

import copy
import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import check_random_state

from ._compat import YoungerParametersMixin
from ._data import holdout
from ._data.projection import fit_projection
from ._data.rows import Rows
from ._data.sources import MatrixLike, RowSource, select
from ._data.streamed_rows import StreamedRows, project
from ._data.validation import check_training_rows, checks_parameters
from ._docstrings import document
from ._explanation import ExplanationMixin
from ._export import ExportMixin
from ._held_out import HeldOutMixin
from ._networks.architecture import Architecture, initial_weights
from ._networks.custom_function import Body
from ._networks.memory_needs import Need, body_needs, check_memory, network_needs
from ._parameters import LARGEST_LEARNING_RATE, RandomState, SharedParameters
from ._prediction import PredictionMixin
from ._runtime.device import check_device
from ._runtime.progress import expect_networks, one_report
from ._selection import (
    Candidate,
    Samples,
    Splits,
    Trial,
    compare,
    out_of_fold_scores,
    out_of_fold_temperature,
)
from ._stream import StreamMixin
from ._tensorflow import backend, pool
from ._wide_resnet import WideResNet

if TYPE_CHECKING:
    from ._tensorflow.pool import CompiledNetwork

#: Residual blocks of the tutorial's network, where ``num_layers="auto"`` cannot choose.
DEFAULT_NUM_LAYERS = 6
#: Width of the tutorial's network, which ``num_hidden="auto"`` raises in steps to the
#: number of features, but not further than that.
DEFAULT_NUM_HIDDEN = 128
WIDTH_STEP = 64
MOST_NUM_HIDDEN = 512
#: Most samples on which networks of several depths are trained to compare them.
MOST_ROWS_TO_COMPARE = 2**16
#: ``epochs="auto"`` trains for as many epochs or, on large data, optimizer steps.
MOST_EPOCHS = 50
MOST_STEPS = 8000
#: What the learning rate is multiplied by after a share of a fit's epochs.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: 0.5 * (1.0 + np.cos(np.pi * done)),
}


class BaseNetworkClassifier(
    SharedParameters,
    StreamMixin,
    HeldOutMixin,
    PredictionMixin,
    ExplanationMixin,
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

    The fitted state is arrays; compiled networks are leased from
    `sksngp._tensorflow.pool`. A fit works on a copy of the estimator and replaces the
    state at its end, so that a failed fit changes nothing.
    """

    # Attributes of a fitted classifier, besides those that the mixins declare.
    n_iter_: int
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    _settled_as: dict[str, Any]
    _optimizer_state: list[np.ndarray] | None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__doc__ = document(cls)

    # What a subclass fills in

    #: Parameters, besides those of the architecture, that further training of a
    #: fitted classifier cannot change.
    _settled: tuple[str, ...] = ()
    #: Numbers of residual blocks that ``num_layers="auto"`` compares.
    _depths: tuple[int, ...] = (2, 6)

    def _architecture(self, fitted: Body | None = None) -> dict[str, Any]:
        """Fields of `sksngp._networks.architecture.Architecture`.

        Of a body whose function is that of `fitted`, nothing new is built.
        """
        fields: dict[str, Any] = {
            "num_outputs": len(self.classes_),
            "num_layers": self._depth(),
            "num_hidden": self._width(),
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
            body = backend.describe(body, self.mixed_precision)
        assert body.description is not None
        features = body.description.num_features
        own = {"num_layers": 0, "num_hidden": features, "dropout": False}
        return {**fields, **own, "body": body}

    def _depth(self) -> int:
        """Number of residual blocks: the parameter, or what was chosen for it."""
        if self.num_layers != "auto":
            return int(self.num_layers)
        return getattr(self, "num_layers_", DEFAULT_NUM_LAYERS)

    def _width(self) -> int:
        """Width of the dense network: the parameter, or enough for the features."""
        if self.num_hidden != "auto":
            return int(self.num_hidden)
        steps = -(-self.n_features_in_ // WIDTH_STEP)
        return min(max(DEFAULT_NUM_HIDDEN, steps * WIDTH_STEP), MOST_NUM_HIDDEN)

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
        for name in ("early_stopping", "warm_start"):
            if getattr(self, name) and not (self.cv is None or self._cv_is_automatic()):
                raise ValueError(
                    f"{name}=True requires a held-out set: cv must be None or 'auto', "
                    f"got {reprlib.repr(self.cv)}."
                )

    def _before_training(
        self, rows: Rows | StreamedRows, rng: np.random.Generator
    ) -> None:
        """Learn what precedes training from the untrained network."""

    def _scalars(self) -> dict[str, float]:
        """Variables of the network that are parameters, not weights."""
        return {"dropout_rate": self.dropout_rate}

    def _constrain_weights(self) -> None:
        """Make the trained weights meet constraints that training only approaches."""

    def _finish(self, rows: Rows | StreamedRows, kernel_factor: float | None) -> None:
        """Fit what follows from the trained network and its training samples."""

    def _held_out_parts(
        self, X: np.ndarray | RowSource, rows: Rows | StreamedRows, refit: bool
    ) -> NDArray[np.float64]:
        """Compute `_ood_parts` of samples that this network was trained without.

        `rows` are the same samples, projected. If `refit`, the scores are for a model
        that will be fitted on all samples.
        """
        return self._predict_valid(X, self._ood_parts)

    def _combine_scores(
        self, parts: NDArray[np.float64], known: np.ndarray | RowSource
    ) -> NDArray[np.float64]:
        """Learn how `_ood_parts` of held-out samples combine; return their scores."""
        return parts

    def _depths_to_compare(self, samples: Samples, splits: Splits) -> tuple[int, ...]:
        """Numbers of residual blocks, from which the held-out samples choose."""
        if self.num_layers != "auto":
            return (int(self.num_layers),)
        dense = isinstance(self.network, str) and self.network == "resnet"
        few = len(samples.labels) <= MOST_ROWS_TO_COMPARE
        if dense and few and splits.any():
            return self._depths
        return (DEFAULT_NUM_LAYERS,)

    def _factors_to_compare(
        self, samples: Samples, splits: Splits
    ) -> tuple[float | None, ...]:
        """Kernel factors, from which the held-out samples choose."""
        return (None,)

    def _candidate_logits(
        self,
        rows: Rows | StreamedRows,
        held_out: Rows | StreamedRows,
        factors: Sequence[float | None],
    ) -> list[np.ndarray]:
        """Logits of held-out samples, (n, K) or (S, n, K), for each kernel factor."""
        return [self._predictive_parts(held_out)[0]]

    def _predictive_parts(self, rows: Rows | StreamedRows) -> tuple[np.ndarray, ...]:
        """Compute what `_tempered` takes, with samples on the last but one axis."""
        with self._inference() as compiled:
            parts = [
                self._logits(compiled, block)
                for block, _ in rows.chunks(self._row_width())
            ]
        return (np.concatenate(parts, axis=-2),)

    def _logits(
        self, compiled: CompiledNetwork, projected: np.ndarray
    ) -> NDArray[np.float64]:
        """Logits of projected samples: (n, K), or (S, n, K) of S samples."""
        return compiled.forward(projected).numpy().astype(np.float64)

    def _tempered(self, temperature: float, logits: np.ndarray) -> np.ndarray:
        """Class probabilities at a temperature."""
        proba = softmax(logits / temperature, axis=-1)
        return proba if proba.ndim == 2 else proba.mean(axis=0)

    @abstractmethod
    def _evaluate(
        self, compiled: CompiledNetwork, projected: np.ndarray, what: str
    ) -> NDArray[np.float64]:
        """Prediction for projected rows.

        `what` is "proba", with a result of shape (n, K), or one of
        `sksngp._uncertainty.entropy.KINDS` or `_ood_score`, with one of shape (n,).
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
            Non-negative sample weights. If None, all samples have equal weight.
            Integers are counts: a sample of weight 2 is equivalent to two equal
            samples. All other weights are importances: only their ratios matter, and
            they are divided by their mean. `class_weight` always gives importances.
            The temperature is fitted to held-out samples with their weights, at their
            effective number. `ood_threshold_` is determined by samples without their
            weights.

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

        Warns
        -----
        UserWarning
            If `sample_weight` consists of integers with a mean above 10, which are
            used as counts.
        """
        fitted = copy.copy(self)
        with one_report():
            fitted._fit(X, y, sample_weight)
        self.__dict__ = fitted.__dict__
        return self

    def _fit(
        self, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None
    ) -> None:
        self._check_parameters()
        if self.warm_start:
            self._end_stream()
        self.__dict__.pop("_stream", None)
        warm = self.warm_start and hasattr(self, "weights_")
        known = self.classes_ if warm else None
        checked, labels, weights, index, self.classes_, counts = check_training_rows(
            self, X, y, sample_weight, known_classes=known, reset=not warm
        )
        samples = Samples(checked, labels, weights, index, counts)
        self._learning_rates(len(labels))  # raises an error before any work starts
        rng = _generator(self.random_state)
        if warm:
            self._fit_further(samples, rng)
        else:
            self._fit_from_scratch(samples, rng)

    def _fit_from_scratch(self, samples: Samples, rng: np.random.Generator) -> None:
        """Compare candidates, fit the best one and calibrate it."""
        splits = self._choose_splits(samples, rng)
        depths = self._depths_to_compare(samples, splits)
        self.num_layers_ = max(depths)
        check_memory(self._memory_needs(self._architecture(), *samples.X.shape))
        expect_networks(len(depths) * len(splits.held_out) + splits.refit)
        trials = [self._trial(depth, samples, splits, rng) for depth in depths]
        factors = self._factors_to_compare(samples, splits)
        trial, chosen, scores = trials[0], Candidate(depths[0], factors[0]), None
        if len(trials) * len(factors) > 1:
            trial, chosen, scores = compare(trials, factors)
        for model, rows in zip(trial.models, trial.rows, strict=True):
            model._finish(rows, chosen.kernel_factor)
        temperature = self._out_of_fold_temperature(trial, splits)
        for model in trial.models:
            model.temperature_ = temperature
        parts = out_of_fold_scores(trial, samples, splits)
        if splits.refit:
            self.num_layers_ = chosen.num_layers
            nothing = np.zeros(len(samples.labels), bool)
            rows, _ = self._train_network(samples, nothing, rng)
            self._finish(rows, chosen.kernel_factor)
            self.temperature_ = temperature
        else:
            self.__dict__ = trial.models[0].__dict__
        self.candidates_ = scores
        self._calibrate(self._combine_scores(parts, samples.X), samples, splits)

    def _calibrate(
        self, scores: NDArray[np.float64], samples: Samples, splits: Splits
    ) -> None:
        """Set the threshold by the scores of the held-out samples."""
        held_out = np.logical_or.reduce(splits.held_out)
        scored = select(samples.X, held_out)
        self._ood_rows = holdout.digests(scored, self._split)
        if splits.refit and (self._cv_is_automatic() or isinstance(self.cv, Integral)):
            # The final network knows common samples, which are in no fold, and will
            # know new ones like them.
            common = select(samples.X, ~held_out)
            scores = np.append(scores, self._predict_valid(common, self._ood_score))
            self._ood_rows = np.append(
                self._ood_rows, holdout.digests(common, self._split)
            )
        self._set_threshold(scores, depth=2)

    def _trial(
        self, depth: int, samples: Samples, splits: Splits, rng: np.random.Generator
    ) -> Trial:
        """Train a network of a depth for each split."""
        trial = Trial(depth, [], [], [], [])
        for held_out in splits.held_out:
            model = copy.copy(self)
            model.num_layers_ = depth
            rows, others = model._train_network(samples, held_out, rng)
            trial.models.append(model)
            trial.rows.append(rows)
            trial.held_out.append(others)
            trial.counts.append(samples.counts[held_out])
        return trial

    def _train_network(
        self, samples: Samples, held_out: NDArray[np.bool_], rng: np.random.Generator
    ) -> tuple[Rows | StreamedRows, Rows | StreamedRows | None]:
        """Train a new network; return its training and held-out samples, projected."""
        learnt = np.where(held_out, 0.0, samples.weights)
        self._start(self._architecture(), samples.X, samples.labels, learnt, rng)
        rows, others = self._project(*samples[:3], held_out)
        self._before_training(rows, rng)
        learning_rates = self._learning_rates(len(rows.labels))
        self._train(rows, rng, learning_rates, validation=others)
        self._constrain_weights()
        return rows, others

    def _fit_further(self, samples: Samples, rng: np.random.Generator) -> None:
        """Train the fitted network for more epochs."""
        architecture = self._architecture(self.architecture_.get("body"))
        check_memory(self._memory_needs(architecture, *samples.X.shape))
        held_out = self._hold_out_again(samples.X, samples.labels)
        self._check_architecture(architecture)
        rows, others = self._project(*samples[:3], held_out)
        learning_rates = self._learning_rates(len(rows.labels))
        self._train(rows, rng, learning_rates, validation=others)
        self._constrain_weights()
        self._finish(rows, None)
        if others is None:  # the calibration of the first fit is the best there is
            if self.temperature != "auto":
                self.temperature_ = float(self.temperature)
            self._set_threshold(self.ood_scores_, depth=1)
            return
        trial = Trial(
            self._depth(), [self], [rows], [others], [samples.counts[held_out]]
        )
        splits = Splits([held_out], refit=False)
        self.temperature_ = self._out_of_fold_temperature(trial, splits)
        parts = out_of_fold_scores(trial, samples, splits)
        self._ood_rows = holdout.digests(select(samples.X, held_out), self._split)
        self._set_threshold(self._combine_scores(parts, samples.X), depth=1)

    def _out_of_fold_temperature(self, trial: Trial, splits: Splits) -> float:
        if self.temperature != "auto":
            return float(self.temperature)
        return out_of_fold_temperature(trial) if splits.any() else 1.0

    def _rng(self, *spawn_key: int) -> np.random.Generator:
        return _generator(self.random_state, *spawn_key)

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
        self.architecture_, self.candidates_ = fields, None
        self.num_layers_ = fields["num_layers"]
        architecture = Architecture(**fields)
        shape = None if architecture.body is None else self.image_shape_
        self.projection_ = fit_projection(
            X,
            weights,
            num_hidden=None if architecture.body else architecture.num_hidden,
            members=architecture.members,
            standardize=self.standardize,
            rng=rng,
            channels=None if shape is None else shape[-1],
        )
        self.weights_ = initial_weights(
            architecture, rng, _log_prior(labels, weights, len(self.classes_))
        )
        if architecture.body is not None:
            self.weights_ |= backend.initial_body_weights(architecture, rng)
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
            from ._tensorflow.training import (
                train,  # not before the lease: it needs TensorFlow
            )

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

    def _learning_rates(self, num_rows: int) -> list[float]:
        """Learning rate of each epoch of a fit."""
        steps = -(-num_rows // (self.batch_size or num_rows))
        epochs = max(1, min(MOST_EPOCHS, MOST_STEPS // steps))
        if self.epochs != "auto":
            epochs = int(self.epochs)
        factor = self.learning_rate_schedule
        factor = SCHEDULES[factor] if isinstance(factor, str) else factor
        factors = [factor(epoch / epochs) for epoch in range(epochs)]
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
