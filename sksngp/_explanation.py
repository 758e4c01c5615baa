"""How the classifiers explain their out-of-distribution scores."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from ._data.projection import padded_blocks
from ._data.sources import MatrixLike
from ._data.validation import check_rows
from ._uncertainty.explanation import OODExplanation, explain

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ._data.projection import InputProjection
    from ._tensorflow.pool import CompiledNetwork


class ExplanationMixin:
    """`explain_ood` of a fitted classifier, and the representation that it needs."""

    # Attributes of the classifier.
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
        """Explain why samples are unusual: which features, and what is nearest.

        Each sample is compared with 5 reference samples, those that agree with most of
        its features. The contribution of a feature is the mean of two differences: by
        how much the score of the sample decreases if the feature takes the value of
        a reference sample, and by how much the score of the reference sample increases
        if it takes the value of the sample. It is in units of the score, and large for
        features that make the sample unusual. Contributions need not sum to the
        difference of the scores, as features interact. Of images, patches take
        the place of features, about 8 along the longer side.

        The network predicts ``10 * n_features`` samples for each sample to explain.

        Parameters
        ----------
        X : array-like or dataframe of shape (n_samples, n_features)
            Samples to explain, such as those flagged, of which there may be none; or
            images, of shape (n_samples, height, width, channels).
        X_reference : array-like or dataframe of shape (n_reference, n_features)
            In-distribution samples, such as the training set or a few hundred of it.
            The classifier does not keep its training set.
        n_neighbors : int, default=5
            Number of reference samples to find that are nearest in the hidden
            representation, which is the input of the output layer.

        Returns
        -------
        OODExplanation
            With `contributions`, of shape (n_samples, n_features) or (n_samples,
            height, width), `scores`, and `neighbors` and `distances` of shape
            (n_samples, n_neighbors), and others.

        Raises
        ------
        ValueError
            If `X` or `X_reference` are invalid, their features differ, `X_reference`
            is empty or `n_neighbors` is less than 1.

        See Also
        --------
        sksngp.explain_ood : The same through pipelines and searches.
        sksngp.inspection.OODExplanationDisplay : Bars, or maps of images.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sksngp import SNGPClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = SNGPClassifier(num_layers=2, cv=None, epochs=20, random_state=0)
        >>> odd = X[:1] + [[0, 9, 0, 0]]
        >>> found = clf.fit(X, y).explain_ood(odd, X)
        >>> found.contributions.argmax(axis=1)
        array([1])
        >>> y[found.neighbors].shape
        (1, 5)
        """
        check_is_fitted(self)
        model = copy.copy(self)  # one model, even while another thread refits
        return explain(
            lambda rows: -model.score_samples(rows),
            model._represent,
            X,
            X_reference,
            n_neighbors=n_neighbors,
            image_shape=model.image_shape_,
        )

    def _represent(self, X: MatrixLike) -> NDArray[np.float64]:
        """Hidden representations of samples, those of ensemble members side by side."""
        check_is_fitted(self)
        model = copy.copy(self)
        rows = check_rows(model, X, reset=False)
        dtype, parts = model.architecture_["dtype"], []
        with model._inference() as compiled:
            for part, block in padded_blocks(rows, model._row_width()):
                hidden = compiled.hidden(model.projection_(block, dtype)).numpy()
                if hidden.ndim == 3:  # of members
                    hidden = np.concatenate(list(hidden), axis=1)
                parts.append(hidden[: part.stop - part.start].astype(np.float64))
        return np.concatenate(parts)
