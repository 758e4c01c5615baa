"""Parts of docstrings that the classifiers share."""

from __future__ import annotations

import inspect

from ._shared_parameters import SharedParameters

SHARED_ATTRIBUTES = """\
classes_ : ndarray of shape (n_classes,)
    Sorted class labels.
n_features_in_ : int
    Number of features seen in `fit`.
feature_names_in_ : ndarray of shape (`n_features_in_`,)
    Names of the features seen in `fit`. Defined only if all names are strings.
image_shape_ : tuple or None
    Height, width and channels of the images in `X`.
n_iter_ : int
    Number of training epochs. 0 if the network has no residual blocks and its output
    layer was computed rather than trained.
loss_curve_ : list of float
    Mean cross-entropy of each epoch, with dropout. Includes the losses that the layers
    of custom networks add.
num_layers_ : int
    Number of residual blocks in use.
temperature_ : float
    Temperature in use.
candidates_ : list of dict or None
    Settings that were compared: ``num_layers``, ``kernel_factor`` and
    ``ridge_penalty``, which are None if they are fixed or the classifier does not have
    them. The attribute is None if nothing was compared. ``log_loss`` is
    computed on held-out samples at the best temperature, without the variance of SNGP,
    and ``n_splits`` is the number of splits. With more than three splits, most
    candidates are evaluated on the first two only. Values of ``ridge_penalty`` are
    compared for the best candidate.
validation_scores_ : list of float or None
    Log-likelihood of the held-out samples after each epoch that was trained with
    `early_stopping`.
ood_scores_ : ndarray
    Out-of-distribution scores of the calibration set: the held-out samples, each
    scored by a network that was trained without it, or the samples last passed to
    `calibrate_ood`.
ood_threshold_ : float
    Out-of-distribution score above which `predict_ood` flags a sample; infinite if the
    calibration set is too small for `ood_alpha` and `ood_confidence`.
weights_ : dict of str to ndarray
    Arrays of the network by name.
projection_ : InputProjection
    Standardization and frozen input layer.
architecture_ : dict
    Settings that determine the compiled network."""


def document(cls: type[SharedParameters]) -> str | None:
    """Return the docstring of a class, with its placeholders filled.

    The placeholder ``{parameters}`` stands for all parameters of the class,
    ``{shared attributes}`` for the attributes of all classifiers.
    """
    if cls.__doc__ is None:
        return None
    entries = [declared.entry(name) for name, declared in cls._parameters.items()]
    docstring = inspect.cleandoc(cls.__doc__)  # Python 3.13 does this by itself
    for name, text in (
        ("{parameters}", "\n".join(entries)),
        ("{shared attributes}", SHARED_ATTRIBUTES),
    ):
        docstring = docstring.replace(name, text)
    return docstring
