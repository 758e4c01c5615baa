"""Where networks compute: on the processor or on a graphics card."""

from __future__ import annotations

import re
import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Any

_NAMES = re.compile("cpu(:0)?|gpu(:[0-9]{1,3})?", re.IGNORECASE)


def check_device(device: str | None) -> None:
    """Refuse what is no name of a device.

    Parameters
    ----------
    device : str or None

    Raises
    ------
    ValueError
        If it is none of None, "cpu", "gpu" and "gpu:" with a number.

    Examples
    --------
    >>> check_device("gpu:0")
    >>> check_device("cuda")
    Traceback (most recent call last):
    ValueError: device must be None, 'cpu', 'gpu' or 'gpu:' and a number, got 'cuda'.
    """
    if device is None:
        return
    if not isinstance(device, str) or not _NAMES.fullmatch(device):
        raise ValueError(
            f"device must be None, 'cpu', 'gpu' or 'gpu:' and a number, got {device!r}."
        )


def available_device(device: str | None) -> str | None:
    """A device's name for TensorFlow, or the processor's where there is no such device.

    Parameters
    ----------
    device : str or None
        As the classifiers' parameter.

    Returns
    -------
    str or None
        None leaves the choice to TensorFlow, which takes the first graphics card.

    Warns
    -----
    UserWarning
        If the device isn't there; a model that was trained on one works without.
    """
    check_device(device)
    if device is None:
        return None
    kind, _, number = device.upper().partition(":")
    name = f"{kind}:{int(number or 0)}"
    if kind == "CPU":
        return name
    import tensorflow as tf

    there = [found.name for found in tf.config.list_logical_devices()]
    if f"/device:{name}" in there:
        return name
    warnings.warn(
        f"device={device!r} isn't there: TensorFlow finds {', '.join(there)}. The CPU "
        "does the work, which takes longer and gives the same up to rounding.",
        UserWarning,
        stacklevel=2,
    )
    return "CPU:0"


def on_device(name: str | None) -> AbstractContextManager[Any]:
    """Context in which tensors and variables are made on a device.

    Parameters
    ----------
    name : str or None
        From `available_device`; None changes nothing.

    Returns
    -------
    context manager
    """
    if name is None:
        return nullcontext()
    import tensorflow as tf

    return tf.device(name)
