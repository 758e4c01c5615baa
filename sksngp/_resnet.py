"""The deterministic residual network."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from ._base import BaseNetworkClassifier
from .uncertainty import normalised_entropy


class ResNetClassifier(BaseNetworkClassifier):
    """Deterministic residual network, the baseline of the other three.

    A single network cannot tell a row it has never seen the like of from one
    where classes overlap: `predict_uncertainty` returns the entropy of the
    prediction for every `kind`, and `predict_ood` flags rows of high entropy.

    Parameters
    ----------
    {shared parameters}

    Attributes
    ----------
    {shared attributes}

    See Also
    --------
    SNGPClassifier : Knows how far a row is from the training data.
    MCDropoutClassifier : Averages this network over dropout masks.
    DeepEnsembleClassifier : Averages several such networks.

    References
    ----------
    .. [1] He, K., Zhang, X., Ren, S. and Sun, J. (2016). "Deep residual learning
       for image recognition", arXiv 1512.03385.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sksngp import ResNetClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = ResNetClassifier(epochs=50, batch_size=32, random_state=0).fit(X, y)
    >>> clf.predict_proba(X[:2]).shape
    (2, 3)
    >>> clf.score(X, y) > 0.9
    True
    """

    def __init__(
        self,
        *,
        network="resnet",
        image_shape=None,
        num_layers=6,
        num_hidden=128,
        dropout_rate=0.1,
        standardize=True,
        dtype="float32",
        mixed_precision=None,
        device=None,
        optimizer="adam",
        learning_rate=1e-3,
        learning_rate_schedule="constant",
        epochs=100,
        batch_size=128,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        class_weight=None,
        warm_start=False,
        ood_alpha=0.05,
        random_state=None,
        verbose=0,
    ):
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
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            class_weight=class_weight,
            warm_start=warm_start,
            ood_alpha=ood_alpha,
            random_state=random_state,
            verbose=verbose,
        )

    def _evaluate(self, compiled, projected, what):
        logits = compiled.forward(projected).numpy()
        proba = softmax(logits.astype(np.float64), axis=-1)
        return proba if what == "proba" else normalised_entropy(proba)
