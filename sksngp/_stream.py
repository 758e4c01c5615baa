"""Incremental training on the batches of a stream with `partial_fit`."""

from __future__ import annotations

import copy
import reprlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._data import holdout
from ._data.collections import compute_if_lazy
from ._data.input_types import plain_labels
from ._data.projection import InputProjection
from ._data.sample_weight import WeightTotals
from ._data.sources import MatrixLike, RowSource
from ._data.validation import check_labels, check_training_samples, checks_parameters
from ._networks.memory_needs import Need, check_memory
from ._stream_derived import DERIVED, MARGIN, StreamDerivedMixin
from ._stream_state import Batch, StreamState, bounds_of_scaler, new_stream
from ._stream_training import TRAINED, StreamTrainingMixin
from ._uncertainty import conformal


class StreamMixin(StreamTrainingMixin, StreamDerivedMixin):
    """Mixin of the classifiers with the method `partial_fit`.

    Each batch trains the network, together with samples of earlier batches. The
    posterior of the output layer and the scores of the held-out samples take longer;
    they are computed by the first prediction that requires them. `StreamState` is the
    state that is kept between calls.
    """

    # Parameters and attributes of the classifier.
    class_weight: Any
    classes_: np.ndarray
    early_stopping: bool
    projection_: InputProjection
    temperature: Any
    temperature_: float
    validation_fraction: float
    _hold_out: holdout.HoldOut
    _weight_totals: tuple[float, float, bool, float]

    if TYPE_CHECKING:  # methods of the classifier

        def _architecture(
            self, fitted: Mapping[str, Any] | None = None
        ) -> dict[str, Any]: ...
        def _check_architecture(self, architecture: dict[str, Any]) -> None: ...
        def _check_parameters(self) -> None: ...
        def _memory_needs(self, *args: Any) -> list[Need]: ...
        def _rng(self, *spawn_key: int) -> np.random.Generator: ...
        def _start_holding_out(self, rng: np.random.Generator) -> None: ...
        def _validate_params(self) -> None: ...
        def _warn_of_few(self, number: int, streaming: bool = False) -> None: ...
        def get_params(self, deep: bool = True) -> dict[str, Any]: ...

    @checks_parameters
    def partial_fit(
        self,
        X: MatrixLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Fit the classifier incrementally on a batch of a stream.

        A batch consists of one or more samples of any classes. The network is trained
        on the batch together with samples of earlier batches. For this purpose, the
        classifier stores a random sample of at most 2,000 samples, balanced between the
        classes, that does not depend on the order of the stream:

        - During the first few thousand samples, a new network is initialized and
          trained on the stored samples each time the stream has grown threefold.
        - The means and scales of the features follow the stream.
        - Samples with values far beyond all others, more than about 10,000 times the
          range of most values of a feature, are used in the training step of their
          batch only, unless most samples of their class have such values: scales, later
          training, the posterior and the threshold do not depend on them.
        - Batches of fewer than 8 samples are collected until there are 32 samples, or
          an eighth of the previous samples. Predictions do not use them before that.
        - The posterior and the threshold are computed by the first prediction that
          requires them. `SNGPClassifier` also computes its output layer then. The dense
          networks of the other classifiers are trained for 100 further steps on the
          stored samples, at a decreasing learning rate.

        A fraction `validation_fraction` of all samples, selected by a hash of their
        values, is held out and not used for training, even if it is passed again,
        except for values that make up more than 5% of the stream. The fraction is
        larger at first, until there are enough samples for a threshold. The
        out-of-distribution threshold is determined by the scores of the latest 1,000
        held-out samples under the current model.

        After `fit`, which stores no training set, each batch is used for one epoch. The
        same applies after `sksngp.persistence.load`, because files do not contain
        samples. Pickles do.

        Parameters
        ----------
        X : array-like or dataframe of shape (n_samples, n_features)
            Samples, as for `fit`. Images may have the shape (n_samples, height, width,
            channels).
        y : array-like of shape (n_samples,)
            Class labels, as for `fit`.
        classes : array-like of shape (n_classes,), default=None
            All classes of the stream. Required in the first call. In later calls, it
            may be omitted and must otherwise be the same.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights, as for `fit`. Importances are divided by their mean over the
            stream. Samples of earlier batches without weights have weight 1.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            For the reasons given for `fit`, and if `y` contains a label that is not
            among the `classes`, if ``early_stopping=True``, or if
            ``class_weight="balanced"``.

        Warns
        -----
        FewSamplesWarning
            In the first call, and whenever the held-out samples no longer suffice for
            a threshold, for example after a change of `ood_alpha`.

        Examples
        --------
        >>> from sklearn.datasets import make_moons
        >>> from sksngp import SNGPClassifier
        >>> X, y = make_moons(400, noise=0.1, random_state=0)
        >>> clf = SNGPClassifier(num_layers=2, num_inducing=256, random_state=0)
        >>> for start in range(0, 400, 100):
        ...     batch = slice(start, start + 100)
        ...     clf = clf.partial_fit(X[batch], y[batch], classes=[0, 1])
        >>> clf.score(X, y) > 0.9
        True
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
        self._validate_params()  # which scikit-learn does in the first call only
        self._check_parameters()
        # The previous state must not be used to compute attributes from here on.
        state: StreamState | None = self.__dict__.pop("_stream", None)
        first = state is None and "weights_" not in self.__dict__
        known = self._check_stream(classes, first)
        checked, labels, weights, _, self.classes_, _ = check_training_samples(
            self, X, y, sample_weight, known_classes=known, reset=first, streaming=True
        )
        architecture = self._architecture(None if first else self.architecture_)
        check_memory(self._memory_needs(architecture, *checked.shape))
        if first:
            self.architecture_ = architecture
            self.temperature_, self.n_iter_, self.loss_curve_ = 1.0, 0, []
        else:
            self._check_architecture(architecture)
        if self.temperature != "auto":
            self.temperature_ = float(self.temperature)
        rng = None
        if state is None:
            rng = self._rng(self.n_iter_)
            if first:
                self._start_holding_out(rng)
            state = self._new_stream(checked, first, int(rng.integers(2**63)))
        hashes = self._hold_out.digests(checked)
        held_out = self._hold_out_of_batch(hashes, labels, state)
        batch = Batch(checked, labels, weights, hashes, held_out)
        if not state.is_due(batch):
            (waiting,) = state.concatenate(batch.copied())
            self._stream = replace(state, waiting=waiting)
            return
        # Later batches must not repeat the shuffling and the masks of the first.
        rng = rng or self._rng(self.n_iter_)
        self._stream = self._learn_now(state, batch, rng, first)

    def _learn_now(
        self, state: StreamState, batch: Batch, rng: np.random.Generator, first: bool
    ) -> StreamState:
        """Train on a batch, and warn if there are now too few held-out samples."""
        state = replace(
            state,
            unit=WeightTotals(*self._weight_totals).unit,
            parameters=self.get_params(deep=False),
        )
        state = self._learn(state, batch, rng)
        for name in DERIVED:
            self.__dict__.pop(name, None)
        tame, others = self._calibration_rows(state)
        number = int(np.count_nonzero(tame)) + len(others)
        if first or state.enough:
            self._warn_of_few(number, streaming=True)
        needed = conformal.min_calibration_size(self.ood_alpha, self.ood_confidence)
        return replace(state, enough=number >= needed)

    def _check_stream(self, classes: ArrayLike | None, first: bool) -> np.ndarray:
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True.")
        if self.class_weight == "balanced":
            raise ValueError(
                "partial_fit does not support class_weight='balanced', because class "
                "frequencies of the stream are not known. Pass a dict of weights."
            )
        classes = compute_if_lazy(classes)
        if first:
            if classes is None:
                raise ValueError("classes must be passed in the first partial_fit.")
            check_labels(classes, "classes")
            if np.ndim(classes) == 0:  # also sets and dicts
                raise ValueError(
                    f"classes must be an array of labels, got {reprlib.repr(classes)}."
                )
            return np.unique(plain_labels(classes, "classes"))
        classes = plain_labels(classes, "classes")
        if classes is not None and not np.array_equal(
            np.unique(classes), self.classes_
        ):
            raise ValueError(
                f"classes={reprlib.repr(np.unique(classes).tolist())} differs from the "
                f"classes of earlier calls: {reprlib.repr(self.classes_.tolist())}."
            )
        return self.classes_

    def _hold_out_of_batch(
        self, hashes: NDArray[np.uint64], labels: NDArray[np.int32], state: StreamState
    ) -> NDArray[np.bool_]:
        """Select the held-out samples of a batch independently of other batches."""
        place = state.size() + np.arange(len(hashes))
        larger = place < self._rows_with_larger_share(state)
        cutoffs = np.where(
            larger,
            np.uint64(holdout.cutoff_for_fraction(holdout.MAX_HELD_OUT_FRACTION)),
            self._hold_out.cutoffs[labels],
        )
        held_out = self._hold_out.keep_sides(holdout.are_below(hashes, cutoffs), hashes)
        held_out = state.keep_sides(held_out, hashes)
        new = np.setdiff1d([] if state.fitted else labels, state.known_labels())
        for label in new:  # the model requires a sample of each class
            held_out[labels == label] &= not held_out[labels == label].all()
        if larger.any() or len(new):
            # These samples stay on their side after the memory has lost them.
            rule = self._hold_out.mask(hashes, labels)
            self._hold_out = self._hold_out.after(
                held_out=hashes[held_out & ~rule], trained=hashes[rule & ~held_out]
            )
        return held_out

    def _rows_with_larger_share(self, state: StreamState) -> float:
        """Return the number of first samples of which a larger fraction is held out."""
        fraction = holdout.MAX_HELD_OUT_FRACTION
        if state.fitted or not 0 < self.validation_fraction < fraction:
            return 0
        needed = conformal.min_calibration_size(self.ood_alpha, self.ood_confidence)
        return MARGIN * needed / fraction

    def _new_stream(
        self, X: np.ndarray | RowSource, first: bool, seed: int
    ) -> StreamState:
        """Return the state of a stream that starts here or continues a `fit`."""
        state = new_stream(X, len(self.classes_), seed)
        if first:
            return state
        scaler = self.projection_.scaler
        if scaler is not None and not scaler.var_.any():
            return state  # equal samples have no scale: a new network is trained
        found = {name: vars(self)[name] for name in DERIVED if name in vars(self)}
        return replace(
            state,
            bounds=bounds_of_scaler(scaler, X.shape[1]),
            trained={name: found.pop(name) for name in TRAINED if name in found},
            fitted=found,
            scaler=scaler,
            enough=bool(np.isfinite(found["ood_threshold_"])),
        )
