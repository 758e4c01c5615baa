import io
import json
from importlib.util import find_spec
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import pytest

from sksngp._persistence.older import MOVED, with_current_names
from sksngp._persistence.records import RECORDS
from sksngp._persistence.structure import MAX_ENTRIES, MAX_SCHEMA_BYTES
from sksngp._persistence.trusted import trusted_classes


def archive(schema, compression=ZIP_STORED, others=1):
    stream = io.BytesIO()
    with ZipFile(stream, "w", compression) as new:
        new.writestr("schema.json", schema)
        for number in range(others):
            new.writestr(f"{number}.npy", b"array")
    return stream.getvalue()


def test_moved_classes_are_trusted_at_their_new_location():
    modules = {name.rpartition(".")[0] for name in trusted_classes() | RECORDS}
    assert set(MOVED.values()) <= modules
    assert not any(find_spec(module) for module in MOVED)


def test_names_are_replaced_at_any_level_and_nothing_else():
    schema = {
        "__module__": "sksngp.body",
        "content": [{"__module__": "sksngp.posterior"}],
    }
    schema |= {"text": "sksngp.body", "other": {"__module__": "numpy"}}
    with ZipFile(io.BytesIO(with_current_names(archive(json.dumps(schema))))) as new:
        found = json.loads(new.read("schema.json"))
        assert new.read("0.npy") == b"array"
    assert found == {
        "__module__": "sksngp._networks.custom_function",
        "content": [{"__module__": "sksngp._uncertainty.posterior"}],
        "text": "sksngp.body",
        "other": {"__module__": "numpy"},
    }


@pytest.mark.parametrize(
    "data",
    [
        archive("{}", ZIP_DEFLATED),
        archive("{}", others=MAX_ENTRIES + 1),
        archive(" " * (MAX_SCHEMA_BYTES + 1)),
    ],
    ids=["compressed", "many entries", "large schema"],
)
def test_bounds_hold_before_anything_is_read(data):
    with pytest.raises(ValueError, match=r"compressed|entries|bytes"):
        with_current_names(data)
