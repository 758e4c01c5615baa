"""The method `explain_ood` of the classifiers."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from ._data.projection import padded_blocks
from ._data.sources import MatrixLike
from ._data.validation import check_samples
from ._uncertainty.explanation import OODExplanation, explain

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ._data.projection import InputProjection
    from ._tensorflow.network_pool import CompiledNetwork


class ExplanationMixin:
    """Mixin of the classifiers with the method `explain_ood`."""

    # Attributes of the classifier
    architecture_: dict[str, Any]
    image_shape_: tuple[int, ...] | None
    projection_: InputProjection

    if TYPE_CHECKING:  # methods of the classifier

        def _inference(self) -> AbstractContextManager[CompiledNetwork]: ...

        def _row_width(self) -> int: ...

        def score_samples(self, X: Any) -> NDArray[np.float64]: ...

    def explain_ood(
        self, X: Any, X_reference: Any, *, n_neighbors: int = 5
    ) -> OODExplanation:
        """Explain out-of-distribution scores by contributions and similar samples.

        Each sample is compared with the 5 reference samples that agree with it in most
        features. The contribution of a feature is the mean of two differences: the
        decrease in the score of the sample if the feature takes the value of a
        reference sample, and the increase in the score of the reference sample if the
        feature takes the value of the sample. Contributions have the unit of the score,
        and are large for features that make the sample unusual. Features may interact,
        and contributions therefore need not sum to the difference of the scores. For
        images, patches are used instead of features, about 8 along the longer side.

        The explanation requires ``10 * n_features`` predictions for each sample.

        Parameters
        ----------
        X : array-like or dataframe of shape (n_samples, n_features)
            Samples to explain, such as flagged samples. `X` may be empty. Images may
            have the shape (n_samples, height, width, channels).
        X_reference : array-like or dataframe of shape (n_reference, n_features)
            In-distribution samples, such as a few hundred samples of the training set.
            The classifier does not store its training set.
        n_neighbors : int, default=5
            Number of nearest reference samples to find. Distances are those of the
            hidden representation, the input of the output layer.

        Returns
        -------
        OODExplanation
            Explanation with the attributes `contributions` of shape (n_samples,
            n_features) or (n_samples, height, width), `scores`, and `neighbors` and
            `distances` of shape (n_samples, min(n_neighbors, n_reference)), among
            others.

        Raises
        ------
        ValueError
            If `X` or `X_reference` is invalid, their features differ, `X_reference`
            is empty or `n_neighbors` is less than 1.
        TypeError
            For sparse input.
        sklearn.exceptions.NotFittedError
            If the classifier is not fitted.

        See Also
        --------
        sksngp.explain_ood : Explain scores through pipelines and searches.
        sksngp.inspection.OODExplanationDisplay : Plot an explanation.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sksngp import SNGPClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = SNGPClassifier(num_layers=2, cv=None, epochs=20, random_state=0)
        >>> odd = X[:1] + [[0, 9, 0, 0]]
        >>> explanation = clf.fit(X, y).explain_ood(odd, X)
        >>> explanation.contributions.argmax(axis=1)
        array([1])
        >>> y[explanation.neighbors].shape
        (1, 5)
        """
        check_is_fitted(self)
        model = copy.copy(self)  # another thread may refit the classifier
        return explain(
            lambda rows: -model.score_samples(rows),
            model._represent,
            X,
            X_reference,
            n_neighbors=n_neighbors,
            image_shape=model.image_shape_,
        )

    def _represent(self, X: MatrixLike) -> NDArray[np.float64]:
        """Compute hidden representations, concatenated over ensemble members."""
        check_is_fitted(self)
        model = copy.copy(self)
        rows = check_samples(model, X, reset=False)
        dtype, parts = model.architecture_["dtype"], []
        with model._inference() as compiled:
            for part, block in padded_blocks(rows, model._row_width()):
                hidden = compiled.hidden(model.projection_(block, dtype)).numpy()
                if hidden.ndim == 3:  # the first dimension is the ensemble member
                    hidden = np.concatenate(list(hidden), axis=1)
                parts.append(hidden[: part.stop - part.start].astype(np.float64))
        return np.concatenate(parts)
