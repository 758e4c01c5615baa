"""Memory of fits and predictions, and the check of the memory that a fit requires."""

import json
import re

import numpy as np
import pytest

import sksngp
from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
)
from sksngp._networks import memory_needs
from sksngp._networks.kinds import architecture_of
from sksngp._tensorflow import network_pool

# Peak memory, measured in new processes: freed memory would hide what a call requires

MEASURE = """
import json, sys, warnings
import numpy as np
import sksngp
from benchmarks._tools.timing import PeakMemory

warnings.simplefilter("ignore")
rng = np.random.default_rng(0)

def megabytes(call, *arguments):
    peak = PeakMemory()
    call(*arguments)
    return peak.growth()
"""


@pytest.fixture(scope="module")
def megabytes(run_python):
    """Return the peak memory of three predictions and of a fit in one process."""
    code = """
X = rng.normal(size=(50_000, 4)).astype(np.float32)
found = {}
for name in ("MCDropoutClassifier", "DeepEnsembleClassifier", "SNGPClassifier"):
    clf = getattr(sksngp, name)(num_layers=1, num_hidden=64, epochs=1, cv=None)
    clf.fit(X[:200], X[:200, 0] > 0).predict_uncertainty(X[:10_000])
    found[name] = megabytes(clf.predict_uncertainty, X)

X = rng.normal(size=(40, 100_000))
y = X[:, 0] > 0
clf = sksngp.SNGPClassifier(
    num_layers=1, num_hidden=16, num_inducing=32, epochs=1, cv=None
)
clf.fit(X[:, :3], y).predict_proba(X[:, :3])
found["features"] = megabytes(lambda: clf.fit(X, y).predict_proba(X))
print(json.dumps(found))
"""
    run = run_python(MEASURE + code)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["MCDropoutClassifier", "DeepEnsembleClassifier", "SNGPClassifier"]
)
def test_memory_does_not_grow_with_the_number_of_samples(megabytes, name):
    # The random features alone would take 200 MB, and the hidden representations of
    # ten networks 125 MB.
    assert 0 < megabytes[name] < 60


@pytest.mark.slow
def test_a_hundred_thousand_features(megabytes):
    # The samples take 32 MB and the kernel of the projection 13 MB. A matrix of
    # products of all pairs of features would take 80 GB.
    assert 0 < megabytes["features"] < 400


# Memory that a fit requires

PER_CLASS = {"covariance": "per_class", "inference": "monte_carlo"}
LARGE = {
    "layers": (ResNetClassifier, 300, {"num_layers": 4, "num_hidden": 1500}),
    "posteriors": (
        SNGPClassifier,
        300,
        {"num_layers": 1, "num_inducing": 700, **PER_CLASS},
    ),
    "posterior": (SNGPClassifier, 300, {"num_layers": 1, "num_inducing": 2000}),
    "batch": (
        ResNetClassifier,
        50_000,
        {"num_layers": 4, "num_hidden": 128, "batch_size": None},
    ),
}


@pytest.mark.slow
def test_estimate_is_a_tight_lower_bound(run_python):
    code = """
found = {}
for key, (name, num_samples, params) in json.loads(sys.argv[1]).items():
    X = rng.normal(size=(num_samples, 4)).astype(np.float32)
    y = np.arange(num_samples) % 8
    clf = getattr(sksngp, name)(epochs=1, num_layers=1, num_hidden=4)
    clf.fit(X[:100], y[:100])
    found[key] = megabytes(clf.set_params(**params).fit, X, y)
print(json.dumps(found))
"""
    fits = {key: (cls.__name__, *fit) for key, (cls, *fit) in LARGE.items()}
    run = run_python(MEASURE + code, json.dumps(fits))
    assert run.returncode == 0, run.stderr
    for key, found in json.loads(run.stdout).items():
        Classifier, num_samples, params = LARGE[key]
        clf = Classifier(epochs=1, **params)
        clf.classes_, clf.n_features_in_ = np.arange(8), 4
        needs = clf._memory_needs(clf._architecture(), num_samples, 4)
        estimate = sum(need.num_bytes for need in needs) / 1e6
        assert found / 5 < estimate < found, key


def test_weights_are_counted():
    fields = {"num_outputs": 3, "num_layers": 7, "num_hidden": 5, "num_inducing": 11}
    architecture = architecture_of(**fields, members=2)
    weights = architecture.initial_weights(np.random.default_rng(0), np.zeros(3))
    needs = architecture.memory_needs(num_rows=9, num_columns=4, batch_size=None)
    counted = sum(need.num_bytes for need in needs[:2])
    drawn = sum(array.nbytes for array in weights.values())
    assert counted == memory_needs.WEIGHT_COPIES * drawn


GIBIBYTE = memory_needs.Need("the thing (size=7)", 2**30, "Choose a smaller size.")


@pytest.mark.parametrize("available", [None, 2**31, 2**40])
def test_enough_or_unknown_memory_passes(monkeypatch, available):
    monkeypatch.setattr(memory_needs, "available_bytes", lambda: available)
    memory_needs.check_memory([GIBIBYTE, GIBIBYTE])


def test_error_names_the_largest_need(monkeypatch):
    monkeypatch.setattr(memory_needs, "available_bytes", lambda: 2**31 - 1)
    small = memory_needs.Need("the rest", 2**29, "Choose nothing.")
    match = re.escape(
        "needs at least 2.5 GiB of memory, of which 2.0 GiB are for the thing "
        "(size=7), but 2.0 GiB are available. Choose a smaller size."
    )
    large = memory_needs.Need(GIBIBYTE.part, 2**31, GIBIBYTE.suggestion)
    with pytest.raises(MemoryError, match=match):
        memory_needs.check_memory(iter([small, large]))


def test_available_memory_is_positive():
    assert 2**20 < memory_needs.available_bytes()


@pytest.mark.parametrize(
    ("line", "files", "left"),
    [
        (
            "0::/job",
            {
                "job/memory.max": "1000\n",
                "job/memory.current": "700\n",
                "job/memory.stat": "anon 600\ninactive_file 50\n",
                "memory.max": "max\n",
                "memory.current": "9\n",
            },
            [350],
        ),
        (
            "3:memory:/",
            {
                "memory/memory.limit_in_bytes": "1000\n",
                "memory/memory.usage_in_bytes": "1200\n",
                "memory/memory.stat": "total_inactive_file 100\n",
            },
            [0],
        ),
        ("2:cpu:/", {"memory.max": "1000\n", "memory.current": "1\n"}, []),
        ("0::/gone", {}, []),
    ],
    ids=["version 2", "version 1", "another controller", "unreadable"],
)
def test_control_groups(tmp_path, line, files, left):
    root = tmp_path / "cgroup"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    own = tmp_path / "own"
    own.write_text(line + "\n")
    assert list(memory_needs._control_group_bytes(root, own)) == left
    assert list(memory_needs._control_group_bytes(root, tmp_path / "none")) == []


# Fits that require too much memory


@pytest.fixture
def no_allocation(monkeypatch):
    """Limit memory to 1 GiB, and fail if a fit starts to allocate memory."""
    monkeypatch.setattr(memory_needs, "available_bytes", lambda: 2**30)
    for module, name in [
        (sksngp._network_training, "fit_projection"),
        (network_pool, "lease"),
    ]:
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("work began"))
    return lambda what: (
        rf"needs at least .*iB .*{what}.* 1\.0 GiB are available\. Choose"
    )


@pytest.mark.parametrize(
    ("Classifier", "params", "match"),
    [
        (SNGPClassifier, {"num_inducing": np.int64(10**10)}, "num_inducing=10{10}"),
        (ResNetClassifier, {"num_hidden": 10**5}, "num_hidden=100000"),
        (MCDropoutClassifier, {"num_layers": 10**9}, "num_layers=1000000000"),
        (DeepEnsembleClassifier, {"num_ensemble": 10**7}, "10000000 networks"),
    ],
    ids=str,
)
@pytest.mark.parametrize("how", ["fit", "partial_fit"])
def test_network_that_is_too_large(
    small, moons, no_allocation, Classifier, params, match, how
):
    clf = small(Classifier, **params)
    kwargs = {"classes": [0, 1]} if how == "partial_fit" else {}
    with pytest.raises(MemoryError, match=no_allocation(match)):
        getattr(clf, how)(*moons, **kwargs)
    assert not [name for name in vars(clf) if name.endswith("_")]


@pytest.mark.parametrize("batch_size", [None, 10**5])
def test_mini_batch_that_is_too_large(small, no_allocation, batch_size):
    X = np.zeros((100_000, 1), np.float32)
    clf = small(ResNetClassifier, num_layers=50, num_hidden=128, batch_size=batch_size)
    match = no_allocation(f"100000 samples .batch_size={batch_size}, num_layers=50")
    with pytest.raises(MemoryError, match=match):
        clf.fit(X, np.arange(len(X)) % 2)


def test_large_batch_size_with_few_samples(make_two, moons, monkeypatch):
    monkeypatch.setattr(memory_needs, "available_bytes", lambda: 0)
    make_two(batch_size=10**12, epochs=1).fit(*moons)


def test_covariances_of_many_classes(small, no_allocation):
    X = np.zeros((2000, 1))
    clf = small(
        SNGPClassifier,
        num_inducing=1024,
        covariance="per_class",
        inference="monte_carlo",
    )
    match = no_allocation("num_inducing=1024, covariance='per_class' with 1000 classes")
    with pytest.raises(MemoryError, match=match + r".*covariance='shared'"):
        clf.fit(X, np.arange(2000) % 1000)
