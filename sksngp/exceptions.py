"""Warnings of the library."""

from __future__ import annotations

import warnings

__all__ = ["FewSamplesWarning"]


class FewSamplesWarning(UserWarning):
    """Warning used if samples are too few for what a classifier promises.

    It is raised where so few samples are held out from training that no threshold
    keeps the rate `ood_alpha`, and `predict_ood` therefore flags nothing.

    Python shows equal warnings of this category once in a process, whatever calls
    raise them, unless a filter says otherwise.

    Examples
    --------
    >>> import warnings
    >>> from sksngp.exceptions import FewSamplesWarning
    >>> warnings.simplefilter("ignore", FewSamplesWarning)
    """


#: What has been shown. Python's own record is reset whenever a filter changes, which
#: scikit-learn's searches do in each fit.
_shown: set[str] = set()


def warn_of_few_samples(message: str, stacklevel: int) -> None:
    """Raise a `FewSamplesWarning`, once while the filter is the library's own."""
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


# After all filters of users, which take precedence.
warnings.simplefilter("once", FewSamplesWarning, append=True)
