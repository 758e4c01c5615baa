"""The kinds of networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .architecture import Architecture
from .custom_architecture import CustomArchitecture
from .dense_architecture import DenseArchitecture

#: Fields that only custom networks have.
_CUSTOM = ("function", "normalized")


def architecture_of(
    fields: Mapping[str, Any] | None = None, /, **others: Any
) -> Architecture:
    """Return the architecture with given fields, such as those of `architecture_`."""
    fields = {**(fields or {}), **others}
    if fields.get("function") is not None:
        return CustomArchitecture(**fields)
    return DenseArchitecture(
        **{name: value for name, value in fields.items() if name not in _CUSTOM}
    )
