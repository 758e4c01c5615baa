"""Whether memory suffices for a fit, asked before any of it is taken.

An estimate knows what is allocated, and how many copies live side by side at the
worst moment; it leaves out the rows themselves. It is meant to catch a parameter that
is wrong by orders of magnitude, and to stay below what a fit takes, so that none is
refused that would have worked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np

from .architecture import Architecture, weight_shapes
from .custom_function import Description

#: Copies of a weight: the model's, the network's, two gradients', two moments'.
WEIGHT_COPIES = 6
#: Copies of the input projection's kernel while it is computed.
KERNEL_COPIES = 3
#: What is needed of memory is not compared with what there is below so many bytes.
NEGLIGIBLE = 2**28


@dataclass(frozen=True)
class Need:
    """What one part of a fit takes.

    Parameters
    ----------
    what : str
        The part, with the parameters that decide its size.
    num_bytes : int
    remedy : str
        What to change for less.
    """

    what: str
    num_bytes: int
    remedy: str


def network_needs(
    architecture: Architecture,
    *,
    num_rows: int,
    num_columns: int,
    batch_size: int | None,
) -> list[Need]:
    """What training a network takes, beside its rows.

    Parameters
    ----------
    architecture : Architecture
    num_rows : int
        Number of rows to train on, which a batch cannot exceed.
    num_columns : int
    batch_size : int or None

    Returns
    -------
    list of Need
    """
    layers, hidden = architecture.num_layers, architecture.num_hidden
    classes, members = architecture.num_outputs, architecture.members
    inducing = architecture.num_inducing or 0
    size = np.dtype(architecture.dtype).itemsize
    batch = int(min(batch_size or num_rows, num_rows))
    units = layers * hidden + inducing + classes
    outer = _num_weights(replace(architecture, num_layers=0))
    block = _num_weights(replace(architecture, num_layers=1)) - outer
    wide = f"num_hidden={hidden}"
    if members > 1:
        wide += f", {members} networks"
    outputs = f"num_inducing={inducing}" if inducing else wide
    deep = f"num_layers={layers}, {wide}"
    return [
        Need(
            f"the hidden layers ({deep})",
            WEIGHT_COPIES * size * layers * block,
            "Choose fewer or narrower layers or fewer networks.",
        ),
        Need(
            f"the output layer ({classes} classes, {outputs})",
            WEIGHT_COPIES * size * outer,
            "Choose a narrower layer or a target with fewer classes.",
        ),
        Need(
            f"the projection of {num_columns} columns ({wide})",
            KERNEL_COPIES * 8 * members * num_columns * hidden,
            "Choose a smaller num_hidden or fewer columns.",
        ),
        Need(
            f"steps of {batch} rows (batch_size={batch_size}, {deep})",
            size * members * batch * units,  # what each gives, for the gradient
            "Choose a smaller batch_size or a smaller network.",
        ),
    ]


def body_needs(
    description: Description, *, members: int, num_rows: int, batch_size: int | None
) -> list[Need]:
    """What training a network that a function builds takes, beside its rows.

    Parameters
    ----------
    description : Description
    members : int
        Number of networks.
    num_rows, batch_size
        As for `network_needs`.

    Returns
    -------
    list of Need
    """
    batch = int(min(batch_size or num_rows, num_rows))
    networks = "the network" if members == 1 else f"{members} networks"
    return [
        Need(
            f"{networks} ({description.num_weights} weights)",
            WEIGHT_COPIES * 4 * members * description.num_weights,
            "Choose a smaller network or fewer.",
        ),
        Need(
            f"steps of {batch} rows (batch_size={batch_size})",
            4 * batch * description.row_floats,
            "Choose a smaller batch_size or a smaller network.",
        ),
    ]


def posterior_need(num_inducing: int, groups: int) -> Need:
    """What the posterior of a Gaussian-process output takes.

    Parameters
    ----------
    num_inducing : int
    groups : int
        Number of covariance matrices: 1, or the number of classes.

    Returns
    -------
    Need
    """
    what = f"the posterior (num_inducing={num_inducing}"
    remedy = "Choose a smaller num_inducing."
    if groups > 1:
        what += f", covariance='per_class' with {groups} classes"
        remedy = "Choose a smaller num_inducing or covariance='shared'."
    # The precision and its factors, in a list and stacked; two more are at work.
    num_bytes = (3 * groups + 2) * 8 * num_inducing**2
    return Need(f"{what})", num_bytes, remedy)


def check_memory(needs: Iterable[Need]) -> None:
    """Refuse what cannot fit into memory.

    Parameters
    ----------
    needs : iterable of Need

    Raises
    ------
    MemoryError
        If more is needed than is available. Not where the system does not say what is.
    """
    needs = list(needs)
    total = sum(need.num_bytes for need in needs)
    if total <= NEGLIGIBLE:
        return
    available = available_bytes()
    if available is None or total <= available:
        return
    largest = max(needs, key=lambda need: need.num_bytes)
    raise MemoryError(
        f"This fit needs at least {readable(total)} of memory, of which "
        f"{readable(largest.num_bytes)} are for {largest.what}, but "
        f"{readable(available)} are available. {largest.remedy}"
    )


def readable(num_bytes: int) -> str:
    """Bytes in units that a person reads.

    Examples
    --------
    >>> readable(3 * 8 * 100_000**2), readable(2**28)
    ('223.5 GiB', '256.0 MiB')
    """
    number, units = float(num_bytes), ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while number >= 1024 and len(units) > 1:
        number, units = number / 1024, units[1:]
    return f"{number:.1f} {units[0]}" if number < 1e6 else f"{number:.1e} {units[0]}"


def available_bytes() -> int | None:
    """Memory that this process could still take; None where that is not known.

    The least of what the system has left, with swap, and what the process' control
    groups (a container's limit, say) allow.
    """
    left = [_system_bytes(), *_control_group_bytes()]
    return min((number for number in left if number is not None), default=None)


def _num_weights(architecture: Architecture) -> int:
    return sum(prod(shape) for shape in weight_shapes(architecture).values())


def _system_bytes() -> int | None:
    fields = _fields(Path("/proc/meminfo"))
    if "MemAvailable:" in fields:
        return 1024 * (fields["MemAvailable:"] + fields.get("SwapFree:", 0))
    try:  # all there is, at least
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _control_group_bytes(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> Iterator[int]:
    """What each control group that holds this process has left, in either version."""
    for line in (_read(own) or "").splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
        if not controllers:
            names = "memory.max", "memory.current", "inactive_file"
        top = root / controllers
        group = top / name.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(top):
                yield from _left_in(folder, *names)


def _left_in(folder: Path, limit: str, usage: str, cache: str) -> Iterator[int]:
    allowed, used = (_read(folder / name) for name in (limit, usage))
    if allowed and used and allowed.strip().isdigit():  # not "max"
        freed = _fields(folder / "memory.stat").get(cache, 0)
        yield max(0, int(allowed) - int(used) + freed)


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _fields(path: Path) -> dict[str, int]:
    """Names and numbers of a file with one of each a line."""
    rows = (line.split() for line in (_read(path) or "").splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
