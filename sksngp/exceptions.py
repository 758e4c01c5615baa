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


# After all filters of users, which take precedence.
warnings.simplefilter("once", FewSamplesWarning, append=True)
