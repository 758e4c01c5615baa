"""Helpers that change the content of model files and store a matching hash."""

import io
import json
import struct
import zipfile

from sksngp import persistence


def body_of(data):
    """Return the archive in a model file."""
    return data[data.index(b"\n") + 1 + persistence._HASH_BYTES :]


def seal(body):
    """Return a model file that contains an archive."""
    return b"sksngp model %d\n" % persistence.FORMAT + persistence._hash(body) + body


def entries_of(data):
    """Return the entries of the archive by name, with a parsed schema."""
    with zipfile.ZipFile(io.BytesIO(body_of(data))) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    return entries | {"schema.json": json.loads(entries["schema.json"])}


def file_of(entries, compression=zipfile.ZIP_STORED):
    """Return a model file with the given entries."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in entries.items():
            if not isinstance(content, bytes):
                content = json.dumps(content).encode()
            archive.writestr(name, content)
    return seal(stream.getvalue())


def node(loader, content, name="builtins.list", **fields):
    """Return a node of a schema."""
    module, _, kind = name.rpartition(".")
    known = {"__class__": kind, "__module__": module, "__loader__": loader}
    return {**known, "content": content, **fields}


def value(number):
    """Return the node of a number or text."""
    return node("JsonNode", json.dumps(number), "builtins.str", is_json=True)


def schema(root):
    """Return a schema whose root is a node."""
    return {**root, "protocol": 2, "_skops_version": "0.16.0"}


def npy(descr, shape, data=b""):
    """Return the content of an array's entry."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    header = header.encode() + b" " * (63 - (len(header) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def attributes(entries):
    """Return the nodes of the model's attributes."""
    return entries["schema.json"]["content"]["content"]


def nodes(part, found=None):
    """Return all nodes in a schema."""
    found = [] if found is None else found
    if isinstance(part, dict):
        if "__loader__" in part:
            found.append(part)
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            nodes(inner, found)
    return found
