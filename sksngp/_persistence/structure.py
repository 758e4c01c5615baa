"""Validation of the archive of a model file before any object is created.

The archive has the format of skops: `schema.json`, a tree of nodes, and one file for
each array. An attacker may control all of its content. The cost of loading is therefore
bounded by the size of the file:

- Entries are uncompressed and do not overlap.
- The size of an array agrees with its header.
- The depth and the number of nodes of the tree are limited.
- Nodes with the same identity are equal.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from math import prod
from typing import Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np

from .records import RECORDS
from .trusted import NAMED_TYPES, SCALARS, function_names, trusted_classes

#: Bounds on the content of a file.
MAX_ENTRIES = 20_000
MAX_SCHEMA_BYTES = 2**25
MAX_NODES = 60_000
MAX_DEPTH = 100
#: Maximum size of all references to arrays together: this many bytes, and this multiple
#: of the size of the archive. Each object that refers to an array is checked with it.
MAX_SHARED_BYTES = 2**28
MAX_REFERENCES = 20
#: Maximum length of a number in a schema, and of the header of an array.
MAX_DIGITS = 400
MAX_HEADER_BYTES = 10_000

SCHEMA = "schema.json"
_ENTRY_SIGNATURE = b"PK\x01\x02"

Node = dict[str, Any]


class UntrustedError(ValueError):
    """Raised if an archive holds types that are not trusted."""


def check_archive(data: bytes) -> None:
    """Check the structure of a skops archive and the types in it.

    Parameters
    ----------
    data : bytes
        Archive, which may be preceded by other bytes.

    Raises
    ------
    UntrustedError
        If the archive holds types that are not trusted.
    ValueError, KeyError, TypeError, RecursionError, zipfile.BadZipFile
        If the archive exceeds a bound or does not have the structure that skops writes.
    """
    with open_archive(data) as archive:
        schema = read_schema(archive)
        if not isinstance(schema, dict):
            raise ValueError("its schema is not an object")
        tree = _Tree(archive)
        tree.check(schema, 0)
    if tree.untrusted:
        raise UntrustedError(", ".join(sorted(tree.untrusted)))


def open_archive(data: bytes) -> ZipFile:
    """Check the entries of an archive and open it.

    Parameters
    ----------
    data : bytes
        Archive, which may be preceded by other bytes.

    Returns
    -------
    ZipFile
        Opened archive.

    Raises
    ------
    ValueError, zipfile.BadZipFile
        If there are too many entries, or entries that skops does not write.
    """
    if data.count(_ENTRY_SIGNATURE) > MAX_ENTRIES:
        raise ValueError(f"it has more than {MAX_ENTRIES} entries")
    archive = ZipFile(io.BytesIO(data))
    _check_entries(archive.infolist(), len(data))
    return archive


def used_types(data: bytes) -> list[str]:
    """Return the names of all types and functions in an archive.

    The archive must have been checked.
    """
    with ZipFile(io.BytesIO(data)) as archive:
        found, waiting = set(), [read_schema(archive)]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            waiting += part.values()
            if "__loader__" in part and part["__loader__"] != "JsonNode":
                found.add(f"{part['__module__']}.{part['__class__']}")
    return sorted(found)


def _check_entries(entries: list[ZipInfo], size: int) -> None:
    names = {entry.filename for entry in entries}
    if len(names) < len(entries):
        raise ValueError("two of its entries have the same name")
    for entry in entries:
        if entry.compress_type != ZIP_STORED or entry.file_size != entry.compress_size:
            raise ValueError(f"its entry {entry.filename[:80]!r} is compressed")
        if entry.flag_bits & 1:
            raise ValueError(f"its entry {entry.filename[:80]!r} is encrypted")
    if sum(entry.file_size for entry in entries) > size:
        raise ValueError("its entries overlap")


def read_schema(archive: ZipFile) -> Any:
    """Parse the schema of an archive if it does not exceed the bounds."""
    size = archive.getinfo(SCHEMA).file_size
    if size > MAX_SCHEMA_BYTES:
        raise ValueError(
            f"its schema must have at most {MAX_SCHEMA_BYTES} bytes, got {size}"
        )
    text = archive.read(SCHEMA)
    # These counts are checked before parsing, because many short lists use much more
    # memory than their text.
    if sum(map(text.count, (b"{", b"["))) > 4 * MAX_NODES:
        raise ValueError(f"its schema has too many parts for {MAX_NODES} nodes")
    if text.count(b",") > 10 * MAX_NODES:
        raise ValueError(f"its schema has too many values for {MAX_NODES} nodes")
    return json.loads(text)


class _Tree:
    """Validator of the tree of nodes in a schema.

    Parameters
    ----------
    archive : ZipFile
        Archive of the schema.

    Attributes
    ----------
    untrusted : set of str
        Types found so far that are not trusted.
    """

    def __init__(self, archive: ZipFile) -> None:
        self.archive = archive
        size = sum(entry.file_size for entry in archive.infolist())
        self.array_bytes_left = MAX_SHARED_BYTES + MAX_REFERENCES * size
        self.untrusted: set[str] = set()
        self.nodes = 0
        self.digests: dict[int, bytes] = {}
        self.users: dict[str, int] = {}

    def check(self, node: Any, depth: int) -> bytes:
        """Check a node and its descendants, and return a digest of their content."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise ValueError(f"it has more than {MAX_NODES} nodes")
        if depth > MAX_DEPTH:
            raise ValueError(f"it has more than {MAX_DEPTH} levels")
        loader, identity = node["__loader__"], node.get("__id__")
        if loader not in _LOADERS:
            name = f"{node['__module__']}.{node['__class__']}"
            self.untrusted.add(f"{name} (stored by {str(loader)[:40]})")
            return b""
        if not isinstance(identity, int | None) or isinstance(identity, bool):
            raise ValueError("an identity is not an integer")
        name = f"{node['__module__']}.{node['__class__']}"
        parts = [f"{loader} {name}".encode()]
        for part in _LOADERS[loader](self, node, name):
            parts.append(
                part if isinstance(part, bytes) else self.check(part, depth + 1)
            )
        digest = hashlib.blake2b(b"\0".join(parts), digest_size=16).digest()
        # For nodes with the same identity, skops uses the object of the first node.
        if identity and self.digests.setdefault(identity, digest) != digest:
            raise ValueError("two different objects have the same identity")
        return digest

    def check_trusted(self, name: str, trusted: Any) -> None:
        """Record a type as untrusted unless it is in `trusted`."""
        if name not in trusted:
            self.untrusted.add(name)

    def array(self, node: Node) -> bytes:
        """Check the header of an array, and return bytes that identify its content."""
        name, identity = node["file"], node.get("__id__")
        if not isinstance(name, str) or not identity:
            raise ValueError("an array has no identity")
        if self.users.setdefault(name, identity) != identity:
            raise ValueError(f"two arrays share the entry {name[:80]!r}")
        entry = self.archive.getinfo(name)
        self.array_bytes_left -= entry.file_size
        if self.array_bytes_left < 0:
            raise ValueError("it has too many references to its arrays")
        with self.archive.open(entry) as stream:
            dtype, shape, start = _array_header(stream)
        if entry.file_size - start != dtype.itemsize * prod(shape):
            raise ValueError(
                f"the size of the array in {name[:80]!r} differs from its header"
            )
        return f"{entry.CRC} {entry.file_size}".encode()


def _array_header(stream: Any) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    version = np.lib.format.read_magic(stream)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, _, dtype = read(stream, max_header_size=MAX_HEADER_BYTES)
    if dtype.kind not in "biufcmMSU" or not dtype.itemsize:
        raise ValueError(f"an array has the type {dtype}")
    if len(shape) > 32 or any(length < 0 for length in shape):
        raise ValueError("an array has an impossible shape")
    return dtype, shape, stream.tell()


# For each loader of skops, a function checks a node and yields the digests of its
# values and its child nodes.

Parts = Iterator[bytes | Any]


def _json(tree: _Tree, node: Node, name: str) -> Parts:
    text = node["content"]
    if not isinstance(text, str):
        raise ValueError("a value is not text")
    if not text.startswith('"') and len(text) > MAX_DIGITS:
        raise ValueError("a value is too long")
    if not isinstance(json.loads(text), str | int | float | None):
        raise ValueError("a value is not a number or text")
    yield text.encode("utf-8", "surrogatepass")


def _object(tree: _Tree, node: Node, name: str) -> Parts:
    tree.check_trusted(name, trusted_classes())
    if node.get("content") is not None:
        yield node["content"]


def _record(tree: _Tree, node: Node, name: str) -> Parts:
    tree.check_trusted(name, RECORDS)
    yield node["content"]


def _function(tree: _Tree, node: Node, name: str) -> Parts:
    tree.check_trusted(name, function_names())
    yield from ()


def _type(tree: _Tree, node: Node, name: str) -> Parts:
    tree.check_trusted(name, NAMED_TYPES)
    yield from ()


def _dict(tree: _Tree, node: Node, name: str) -> Parts:
    tree.check_trusted(name, {"builtins.dict", *_DICTIONARIES})
    content, types = node["content"], node["key_types"]
    if types["__loader__"] != "ListNode" or len(types["content"]) != len(content):
        raise ValueError("keys and their types differ in number")
    for kind in types["content"]:
        if kind["__loader__"] != "TypeNode":
            raise ValueError("the type of a key is not a type")
        tree.check_trusted(f"{kind['__module__']}.{kind['__class__']}", _KEYS)
    yield types
    for key, part in content.items():
        yield key.encode("utf-8", "surrogatepass")
        yield part


def _sequence(*trusted: str) -> Callable[[_Tree, Node, str], Parts]:
    def parts(tree: _Tree, node: Node, name: str) -> Parts:
        tree.check_trusted(name, trusted)
        if not isinstance(node["content"], list):
            raise ValueError("the items of a sequence are not a list")
        yield from node["content"]

    return parts


def _array(tree: _Tree, node: Node, name: str) -> Parts:
    if node["type"] == "numpy":
        tree.check_trusted(name, {"numpy.ndarray", *SCALARS})
        yield tree.array(node)
    else:
        tree.check_trusted(name, {"numpy.ndarray"})
        if node["type"] != "json" or not isinstance(node["content"], list):
            raise ValueError("an array does not consist of numbers or objects")
        yield node["shape"]
        yield from node["content"]


def _masked_array(tree: _Tree, node: Node, name: str) -> Parts:
    tree.check_trusted(name, {"numpy.ma.MaskedArray", "numpy.ma.core.MaskedArray"})
    yield node["content"]["data"]
    yield node["content"]["mask"]


def _wrapped(*trusted: str) -> Callable[[_Tree, Node, str], Parts]:
    def parts(tree: _Tree, node: Node, name: str) -> Parts:
        tree.check_trusted(name, trusted)
        yield node["content"]

    return parts


def _slice(tree: _Tree, node: Node, name: str) -> Parts:
    tree.check_trusted(name, {"builtins.slice"})
    for end in ("start", "stop", "step"):
        if not isinstance(node["content"][end], str | int | None):
            raise ValueError("the end of a slice is not a number or text")
        yield repr(node["content"][end]).encode("utf-8", "surrogatepass")


_KEYS = {*SCALARS, "builtins.NoneType"}
_DICTIONARIES = ("collections.OrderedDict", "sklearn.utils._bunch.Bunch")
_LOADERS: dict[str, Callable[[_Tree, Node, str], Parts]] = {
    "ConstructorFromReduceNode": _record,
    "DTypeNode": _wrapped("numpy.dtype"),
    "DictNode": _dict,
    "FunctionNode": _function,
    "JsonNode": _json,
    "ListNode": _sequence("builtins.list"),
    "MaskedArrayNode": _masked_array,
    "NdArrayNode": _array,
    "ObjectNode": _object,
    "RandomStateNode": _wrapped("numpy.random.mtrand.RandomState"),
    "SetNode": _sequence("builtins.set"),
    "SliceNode": _slice,
    "TupleNode": _sequence("builtins.tuple"),
    "TypeNode": _type,
}
