"""Warning categories of the package."""

from __future__ import annotations

import warnings

__all__ = ["FewSamplesWarning"]


class FewSamplesWarning(UserWarning):
    """Warning used if there are too few samples for a guarantee of a classifier.

    The warning is raised if the calibration set is so small that no finite threshold
    bounds the false positive rate by `ood_alpha`. `predict_ood` then does not flag any
    sample.

    Each distinct message of this category is shown once per process, irrespective of
    the location of the call. Warning filters can change this behavior.

    Examples
    --------
    >>> import warnings
    >>> from sksngp.exceptions import FewSamplesWarning
    >>> warnings.simplefilter("ignore", FewSamplesWarning)
    """


#: Messages that have been shown. Python's own registry is reset whenever a filter
#: changes, which happens in each fit of a scikit-learn search.
_shown: set[str] = set()


def warn_of_few_samples(message: str, stacklevel: int) -> None:
    """Issue a `FewSamplesWarning`, once unless a user's filter takes precedence.

    Parameters
    ----------
    message : str
        Text of the warning.
    stacklevel : int
        Stack level relative to the caller of this function.
    """
    actions = (
        action
        for action, text, category, module, _ in warnings.filters
        if issubclass(FewSamplesWarning, category) and text is None and module is None
    )
    if next(actions, "default") == "once":
        if message in _shown:
            return
        _shown.add(message)
    warnings.warn(message, FewSamplesWarning, stacklevel=stacklevel + 1)


# The filter is appended, so that the filters of users take precedence.
warnings.simplefilter("once", FewSamplesWarning, append=True)
