"""Selection of the device on which networks compute: the CPU or a GPU."""

from __future__ import annotations

import re
import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Any

_NAMES = re.compile("cpu(:0)?|gpu(:[0-9]{1,3})?", re.IGNORECASE)


def check_device(device: str | None) -> None:
    """Check that a device name is valid.

    Parameters
    ----------
    device : str or None
        Parameter `device` of a classifier.

    Raises
    ------
    ValueError
        If `device` is not None, "cpu", "gpu" or "gpu:" followed by a number.

    Examples
    --------
    >>> check_device("gpu:0")
    >>> check_device("cuda")
    Traceback (most recent call last):
    ValueError: device must be None, 'cpu', 'gpu' or 'gpu:<number>', got 'cuda'.
    """
    if device is None:
        return
    if not isinstance(device, str) or not _NAMES.fullmatch(device):
        raise ValueError(
            f"device must be None, 'cpu', 'gpu' or 'gpu:<number>', got {device!r}."
        )


def available_device(device: str | None) -> str | None:
    """Return the TensorFlow name of a device, or of the CPU if it is not available.

    Parameters
    ----------
    device : str or None
        Parameter `device` of a classifier.

    Returns
    -------
    str or None
        Name of the device. If None, TensorFlow selects the device, which is the first
        GPU if there is one.

    Warns
    -----
    UserWarning
        If the device is not available. A model that was trained on a GPU can still
        make predictions on the CPU.
    """
    check_device(device)
    if device is None:
        return None
    kind, _, number = device.upper().partition(":")
    name = f"{kind}:{int(number or 0)}"
    if kind == "CPU":
        return name
    import tensorflow as tf

    available = [found.name for found in tf.config.list_logical_devices()]
    if f"/device:{name}" in available:
        return name
    warnings.warn(
        f"device={device!r} is not available; TensorFlow finds {', '.join(available)}. "
        "Falling back to the CPU, which is slower but gives the same results up to "
        "rounding.",
        UserWarning,
        stacklevel=2,
    )
    return "CPU:0"


def on_device(name: str | None) -> AbstractContextManager[Any]:
    """Return a context in which tensors and variables are created on a device.

    Parameters
    ----------
    name : str or None
        Result of `available_device`. If None, the context has no effect.

    Returns
    -------
    context manager
        Context of the device.
    """
    if name is None:
        return nullcontext()
    import tensorflow as tf

    return tf.device(name)
