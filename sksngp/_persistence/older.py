"""Conversion of model files from earlier formats to the current format."""

from __future__ import annotations

import io
import json
from typing import Any
from zipfile import ZIP_STORED, ZipFile

from .structure import SCHEMA, open_archive, read_schema

#: First format with the current class names. In format 3, posteriors store triangles
#: instead of square matrices; `Posterior.__setstate__` accepts both.
RENAMED = 2
#: Modules of classes in format 1, and the modules of these classes in format 2.
MOVED = {
    "sksngp._records": "sksngp._persistence.records",
    "sksngp.body": "sksngp._networks.custom_function",
    "sksngp.input_distance": "sksngp._uncertainty.input_distance",
    "sksngp.posterior": "sksngp._uncertainty.posterior",
    "sksngp.projection": "sksngp._data.projection",
    "sksngp.surprisal": "sksngp._uncertainty.surprisal",
    "sksngp.wide_resnet": "sksngp._wide_resnet",
}


def with_current_names(archive: bytes) -> bytes:
    """Convert the class names in an archive of format 1 to the current names.

    Parameters
    ----------
    archive : bytes
        Archive that has not been checked. It may be preceded by other bytes.

    Returns
    -------
    bytes
        Converted archive, which `sksngp._persistence.structure.check_archive` must
        check.

    Raises
    ------
    ValueError, KeyError, TypeError, RecursionError, zipfile.BadZipFile
        If the archive exceeds a bound or does not have the structure that skops writes.
    """
    renewed = io.BytesIO()
    with open_archive(archive) as old, ZipFile(renewed, "w", ZIP_STORED) as new:
        schema = read_schema(old)
        _rename(schema)
        for entry in old.infolist():
            if entry.filename == SCHEMA:
                new.writestr(SCHEMA, json.dumps(schema))
            else:
                new.writestr(entry.filename, old.read(entry))
    return renewed.getvalue()


def _rename(schema: Any) -> None:
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            waiting += part.values()
            module = part.get("__module__")
            if isinstance(module, str) and module in MOVED:
                part["__module__"] = MOVED[module]
