"""Forged archives are rejected before any object is created."""

import copy
import io
import json
import os
import random
import resource
import sys
import time
import tracemalloc
import zipfile
from contextlib import suppress
from typing import NamedTuple

import forging
import numpy as np
import pandas as pd
import pytest
from scipy.stats import randint
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, SplineTransformer

from sksngp import MCDropoutClassifier, SNGPClassifier, persistence
from sksngp._persistence import structure
from sksngp._persistence.structure import MAX_DEPTH, MAX_NODES, MAX_SCHEMA_BYTES
from sksngp.persistence import ModelFileError, save


def saved(model, folder):
    save(model, folder / "model")
    return (folder / "model").read_bytes()


@pytest.fixture(scope="module")
def base(small, iris, tmp_path_factory):
    """Return the file of an SNGP classifier."""
    clf = small(SNGPClassifier, num_inducing=16, num_hidden=4, epochs=1).fit(*iris)
    return saved(clf, tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def frame(iris):
    """Return samples with columns of several types."""
    X = iris[0]
    frame = pd.DataFrame(X, columns=list("abcd"))
    frame["kind"] = np.where(X[:, 0] > 6, "large", "small")
    frame["text"] = np.where(X[:, 1] > 3, "a wide leaf", "a narrow leaf")
    return frame


@pytest.fixture(scope="module")
def bases(base, small, frame, iris, tmp_path_factory):
    """Files of several kinds of models."""
    columns = ColumnTransformer(
        [
            ("number", SplineTransformer(n_knots=3), ["a", "b"]),
            ("kind", OneHotEncoder(sparse_output=False), ["kind"]),
            ("text", CountVectorizer(), "text"),
        ],
        remainder="drop",
        sparse_threshold=0,
    )
    clf = small(MCDropoutClassifier, num_layers=1, num_hidden=4, epochs=1)
    search = RandomizedSearchCV(
        make_pipeline(columns, clf),
        {"mcdropoutclassifier__batch_size": randint(64, 128)},
        n_iter=1,
        cv=2,
        scoring="neg_log_loss",
        random_state=0,
    )
    folder = tmp_path_factory.mktemp("bases")
    return [base, saved(search.fit(frame, iris[1]), folder)]


def assert_refused(data, match):
    with pytest.raises(ModelFileError, match=match):
        persistence._decode(data)


def changed(base, change):
    entries = forging.entries_of(base)
    change(entries)
    return forging.file_of(entries)


def test_an_unchanged_archive_is_a_model(base):
    same = changed(base, lambda entries: None)
    assert isinstance(persistence._decode(same), SNGPClassifier)


@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_compressed_entries(base, compression):
    bomb = forging.entries_of(base) | {"bomb": bytes(2**24)}
    assert_refused(forging.file_of(bomb, compression), "compressed")


def test_entries_that_overlap_or_share_a_name(base):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a", bytes(10_000))
        for name in ("b", "c"):
            twin = copy.copy(archive.infolist()[0])
            twin.filename = name
            archive.filelist.append(twin)
            archive.NameToInfo[name] = twin
    assert_refused(forging.seal(stream.getvalue()), "overlap")
    with pytest.warns(UserWarning, match="Duplicate name"):
        with zipfile.ZipFile(stream := io.BytesIO(), "w") as archive:
            archive.writestr("schema.json", "{}")
            archive.writestr("schema.json", "{}")
    assert_refused(forging.seal(stream.getvalue()), "same name")


def test_too_many_entries(base):
    many = {f"{number}": b"" for number in range(20_001)}
    assert_refused(forging.file_of(many | {"schema.json": {}}), "20000 entries")


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (forging.npy("<U0", (2**33,)), "type <U0"),
        (forging.npy("|V0", (2**40,)), "type"),
        (forging.npy("<f8", (2**40,)), "differs from its header"),
        (forging.npy("<f8", (-3,), bytes(24)), "shape"),
        (forging.npy("|O", (3,), bytes(24)), "type object"),
        (forging.npy([("a", "<f8")], (3,), bytes(24)), "type"),
        (forging.npy("<f8", (1,) * 33, bytes(8)), "shape"),
        (forging.npy("<f8", (3,), bytes(24))[:40], "read"),
        (b"PK\x03\x04" + bytes(100), "magic"),
        (b"", "read"),
    ],
    ids=str,
)
def test_arrays_with_inconsistent_headers(base, array, match):
    def change(entries):
        entries[forging.attributes(entries)["classes_"]["file"]] = array

    assert_refused(changed(base, change), match)


def test_array_entries_are_not_shared(base):
    def share(entries):
        attributes = forging.attributes(entries)
        attributes["classes_"]["file"] = attributes["ood_scores_"]["file"]

    def forget(entries):
        del forging.attributes(entries)["classes_"]["__id__"]

    def escape(entries):
        forging.attributes(entries)["classes_"]["file"] = "/etc/passwd"

    assert_refused(changed(base, share), "share the entry")
    assert_refused(changed(base, forget), "no identity")
    assert_refused(changed(base, escape), "no item named")


def test_arrays_are_not_referred_to_without_bound(base, monkeypatch):
    """Each of many classifiers could refer to one large array."""
    monkeypatch.setattr(structure, "MAX_SHARED_BYTES", 0)
    assert persistence._decode(base)

    def refer(entries, times):
        array = forging.attributes(entries)["classes_"]
        forging.attributes(entries)["_surprisals"] = forging.node(
            "ListNode", [array] * times, __id__=10**9
        )
        array["__id__"] = 10**9 + 1
        entries[array["file"]] = forging.npy("<i8", (10**5,), bytes(8 * 10**5))

    assert_refused(changed(base, lambda entries: refer(entries, 3)), "is invalid")
    assert_refused(changed(base, lambda entries: refer(entries, 60)), "references")


def in_attribute(base, node):
    def change(entries):
        forging.attributes(entries)["verbose"] = node

    return changed(base, change)


def nested(levels):
    inner = forging.node("ListNode", [])
    for _ in range(levels):
        inner = forging.node("ListNode", [inner])
    return inner


def test_levels_and_nodes_are_bounded(base):
    assert_refused(in_attribute(base, nested(MAX_DEPTH)), "100 levels")
    many = [forging.value(0)] * MAX_NODES
    assert_refused(in_attribute(base, forging.node("ListNode", many)), "nodes")
    deep = ("[" * 99_999 + "]" * 99_999).encode()
    for schema in (deep, b"[" * 10**6, b"[],[]," * 10**5, b'{"a":' + deep + b"}"):
        assert_refused(forging.file_of({"schema.json": schema}), "read")
    text = b'"' + bytes(MAX_SCHEMA_BYTES) + b'"'
    assert_refused(forging.file_of({"schema.json": text}), "bytes")


@pytest.mark.parametrize(
    "text", ["[" * 399, "[1]", "{}", "1" * 401, "x", "", 1, None], ids=repr
)
def test_values_are_numbers_or_text(base, text):
    node = forging.value(0) | {"content": text}
    assert_refused(in_attribute(base, node), "read")


def test_equal_identities_are_equal_objects(base):
    first = forging.node("ListNode", [forging.value(0)], __id__=1)
    other = forging.node("ListNode", [], __id__=1)
    for items in ([first, other], [forging.node("ListNode", [first], __id__=1)]):
        assert_refused(in_attribute(base, forging.node("ListNode", items)), "identity")
    twice = in_attribute(base, forging.node("ListNode", [first, first]))
    items = (
        persistence._skops()
        .loads(forging.body_of(twice), trusted=list(persistence.TRUSTED_TYPES))
        .verbose
    )
    assert items[0] is items[1]


@pytest.mark.parametrize(
    ("loader", "name"),
    [
        ("ObjectNode", "sklearn.svm._classes.SVC"),
        ("ObjectNode", "sklearn.neighbors._unsupervised.NearestNeighbors"),
        ("ObjectNode", "subprocess.Popen"),
        ("ConstructorFromReduceNode", "os.system"),
        ("ConstructorFromReduceNode", "sksngp._sngp.SNGPClassifier"),
        ("FunctionNode", "numpy.load"),
        ("FunctionNode", "sksngp._sngp.SNGPClassifier"),
        ("TypeNode", "subprocess.Popen"),
        ("TypeNode", "numpy.memmap"),
        ("ListNode", "numpy.zeros"),
        ("TupleNode", "os.stat_result"),
        ("CachedNode", "builtins.list"),
        ("MethodNode", "builtins.list"),
        ("OperatorFuncNode", "operator.attrgetter"),
        ("PartialNode", "functools.partial"),
        ("SparseMatrixNode", "scipy.sparse._csr.csr_matrix"),
        ("TreeNode", "sklearn.tree._tree.Tree"),
        ("RandomGeneratorNode", "numpy.random._generator.Generator"),
    ],
)
def test_untrusted_types(base, loader, name):
    content = [] if "Object" not in loader and "Reduce" not in loader else nested(0)
    node = forging.node(loader, content, name, __id__=5)
    assert_refused(in_attribute(base, node), f"not trusted: {name}")


def test_keys_have_plain_types(base):
    kinds = forging.node("ListNode", [forging.node("TypeNode", None, "numpy.void")])
    node = forging.node(
        "DictNode", {"10000000000": forging.value(0)}, "builtins.dict", key_types=kinds
    )
    assert_refused(in_attribute(base, node), "not trusted: numpy.void")
    node["key_types"] = forging.node("ListNode", [])
    assert_refused(in_attribute(base, node), "differ in number")


@pytest.mark.slow
def test_largest_schema_is_loaded_in_bounded_memory(base):
    node = forging.node("ListNode", [forging.value(0)] * (MAX_NODES - 1000))
    data = in_attribute(base, node)
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match="verbose"):
            persistence._decode(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * len(data) + 200 * 2**20


def test_insufficient_memory_is_an_error(base, tmp_path, monkeypatch):
    (tmp_path / "model").write_bytes(base)
    for place in ("check_archive", "_read"):
        with monkeypatch.context() as patch:
            patch.setattr(persistence, place, lambda data: bytearray(sys.maxsize))
            with pytest.raises(ModelFileError, match=r"[Mm]emory"):
                persistence.load(tmp_path / "model")


def test_pipes_are_rejected(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(ModelFileError, match="not a regular file"):
            persistence.load(path)


# Fuzzing

VALUES = [-1, 0, 1, 2, 3.5, 10**9, 2**63, 1e300, float("nan"), None, True, "", "x"]
NAMES = [
    "SNGPClassifier",
    "Pipeline",
    "StandardScaler",
    "OneHotEncoder",
    "dict",
    "list",
]


def mutate(rng, entries):
    """Change one node in the schema of a file."""
    found = forging.nodes(entries["schema.json"])
    chosen, other = rng.choice(found), rng.choice(found)
    kind = rng.randrange(8)
    if kind == 0:  # another value
        chosen["content"] = json.dumps(rng.choice(VALUES))
    elif kind == 1:  # another field
        chosen[rng.choice(list(chosen))] = rng.choice(
            [*VALUES, [], {}, copy.deepcopy(other)]
        )
    elif kind == 2:
        del chosen[rng.choice(list(chosen))]
    elif kind == 3:  # content of another node
        for key in set(other) - {"protocol"}:
            chosen[key] = copy.deepcopy(other[key])
    elif kind == 4:  # another type
        for key in ("__class__", "__module__", "__loader__"):
            if rng.random() < 0.5:
                chosen[key] = rng.choice([other[key], rng.choice(NAMES)])
    elif kind == 5 and isinstance(chosen.get("content"), dict | list):
        mutate_items(rng, chosen["content"], copy.deepcopy(other))
    elif kind == 6:  # another array
        array = rng.choice([name for name in entries if name.endswith(".npy")])
        entries[array] = mutated_array(rng, entries[array])
    else:
        chosen["__id__"] = other.get("__id__", rng.randrange(3))


def mutate_items(rng, items, other):
    keys = list(items) if isinstance(items, dict) else list(range(len(items)))
    if not keys:
        return
    key, place = rng.choice(keys), rng.choice(keys)
    if rng.random() < 0.3:
        del items[key]
    elif rng.random() < 0.5:
        items[key] = items[place]
    else:
        items[key] = other


def mutated_array(rng, content):
    array = np.load(io.BytesIO(content), allow_pickle=False)
    kind = rng.randrange(4)
    if kind == 0 and array.size and array.dtype.kind in "iuf":
        array = array.copy()
        number = rng.choice([0, 1, -1, 2**31, 1e300, float("nan"), float("inf")])
        with np.errstate(all="ignore"):
            array.flat[rng.randrange(array.size)] = np.array(number).astype(array.dtype)
    elif kind == 1:
        array = array[..., :-1] if array.ndim else array[None]
    elif kind == 2:
        array = array.astype(rng.choice(["f4", "f8", "i8", "U5", "?"]))
    else:
        array = np.zeros(rng.choice([(), (0,), (3,), (2, 2)]))
    np.save(stream := io.BytesIO(), array)
    return stream.getvalue()


class Cost(NamedTuple):
    """Cost of many files together."""

    loaded: int
    slowest: float  # CPU time of a file in seconds
    growth: int  # of the memory of the process in bytes


def fuzz(bases, number, seed, rows=None):
    """Check that altered files are rejected or contain a valid model.

    With `rows` for each of the bases, valid models also predict; errors are ignored.
    """
    rng = random.Random(seed)
    loaded, slowest, memory = 0, 0.0, peak_memory()
    originals = [forging.entries_of(base) for base in bases]
    originals = [(each, json.dumps(each["schema.json"])) for each in originals]
    for _ in range(number):
        place = rng.randrange(len(bases))
        entries, schema = originals[place]
        entries = entries | {"schema.json": json.loads(schema)}  # a copy, quickly
        for _ in range(rng.choice([1, 1, 1, 2, 5])):
            try:
                mutate(rng, entries)
            except (KeyError, TypeError, ValueError):  # the file has no such node
                continue
        data, start = forging.file_of(entries), time.process_time()
        try:
            model = persistence._decode(data)
        except ModelFileError:
            model = None
        slowest = max(slowest, time.process_time() - start)
        if model is None:
            continue
        loaded += 1
        persistence._check_objects(model)
        if rows is not None:
            with suppress(Exception):
                model.predict_proba(rows[place])
    return Cost(loaded, slowest, peak_memory() - memory)


def peak_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def assert_bounded(cost, number):
    """Check the limits for files of a few kilobytes."""
    assert 0 < cost.loaded < number
    assert cost.slowest < 2.0
    assert cost.growth < 200 * 2**20


@pytest.mark.filterwarnings("ignore")
def test_mutated_structures_are_rejected_or_valid(bases):
    assert_bounded(fuzz(bases, 150, seed=0), 150)


@pytest.mark.fuzz
@pytest.mark.filterwarnings("ignore")
def test_ten_thousand_mutated_structures_are_rejected_or_valid(bases, frame, iris):
    cost = fuzz(bases, 10_000, seed=1, rows=[iris[0][:2], frame[:2]])
    print(cost)  # with pytest -s
    assert_bounded(cost, 10_000)
