"""Check that enough memory is available before a fit allocates any.

An estimate includes the arrays that are allocated and the largest number of their
copies that exist at the same time, but not the samples. It detects parameters that are
wrong by orders of magnitude. It is a lower bound, so that no fit is rejected that would
succeed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

#: Copies of a weight: in the model, in the network, of two gradients and two moments.
WEIGHT_COPIES = 6
#: Copies of the kernel of the input projection while it is computed.
KERNEL_COPIES = 3
#: Skip the check for fits that need at most this many bytes.
MIN_CHECKED_BYTES = 2**28


@dataclass(frozen=True)
class Need:
    """Memory requirement of a part of a fit.

    Parameters
    ----------
    part : str
        Name of the part, with the parameters that determine its size.
    num_bytes : int
    suggestion : str
        Sentence that names a change that requires less memory.
    """

    part: str
    num_bytes: int
    suggestion: str


def posterior_need(num_inducing: int, groups: int) -> Need:
    """Return the memory requirement of the posterior of a Gaussian-process output.

    Parameters
    ----------
    num_inducing : int
    groups : int
        Number of covariance matrices: 1 or the number of classes.

    Returns
    -------
    Need
    """
    part = f"the posterior (num_inducing={num_inducing}"
    suggestion = "Choose a smaller num_inducing."
    if groups > 1:
        part += f", covariance='per_class' with {groups} classes"
        suggestion = "Choose a smaller num_inducing or covariance='shared'."
    # The precision, its factors in a list and stacked, the same as triangles in float64
    # and float32, and two temporary arrays.
    num_bytes = (4 * groups + 2) * 8 * num_inducing**2
    return Need(f"{part})", num_bytes, suggestion)


def check_memory(needs: Iterable[Need]) -> None:
    """Raise an error if a fit requires more memory than is available.

    Parameters
    ----------
    needs : iterable of Need

    Raises
    ------
    MemoryError
        If the available memory is known and smaller than the sum of the requirements.
    """
    needs = list(needs)
    total = sum(need.num_bytes for need in needs)
    if total <= MIN_CHECKED_BYTES:
        return
    available = available_bytes()
    if available is None or total <= available:
        return
    largest = max(needs, key=lambda need: need.num_bytes)
    raise MemoryError(
        f"This fit needs at least {readable(total)} of memory, of which "
        f"{readable(largest.num_bytes)} are for {largest.part}, but "
        f"{readable(available)} are available. {largest.suggestion}"
    )


def readable(num_bytes: int) -> str:
    """Format a number of bytes in a suitable unit.

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
    """Return the memory that this process can still allocate; None if it is unknown.

    The result is the minimum over the free memory of the system, with swap, and the
    limits of the control groups of the process, such as that of a container.
    """
    left = [_system_bytes(), *_control_group_bytes()]
    return min((number for number in left if number is not None), default=None)


def _system_bytes() -> int | None:
    fields = _fields(Path("/proc/meminfo"))
    if "MemAvailable:" in fields:
        return 1024 * (fields["MemAvailable:"] + fields.get("SwapFree:", 0))
    try:  # the physical memory, an upper bound
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _control_group_bytes(
    root: Path = Path("/sys/fs/cgroup"), process: Path = Path("/proc/self/cgroup")
) -> Iterator[int]:
    """Yield the memory left in each control group of this process, of versions 1, 2."""
    for line in (_read(process) or "").splitlines():
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
    """Parse a file whose lines consist of a name and a number."""
    rows = (line.split() for line in (_read(path) or "").splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
