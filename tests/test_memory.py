"""Memory of predictions, and the check of the memory that a fit requires."""

import re

import numpy as np
import pytest

import sksngp
from benchmarks.timing import peak_memory
from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
    memory,
    pool,
)
from sksngp.architecture import Architecture, initial_weights

SETUP = """
import numpy as np
import sksngp

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 4))
rows = np.load({path!r}, mmap_mode="r")
rows.max()
classifier = sksngp.{name}(num_layers=1, num_hidden=64, epochs=1)
classifier.fit(X, X[:, 0] > 0).predict_uncertainty(rows[:10_000])
"""


@pytest.mark.parametrize(
    "name", ["MCDropoutClassifier", "DeepEnsembleClassifier", "SNGPClassifier"]
)
def test_memory_does_not_grow_with_rows(name, tmp_path):
    path = str(tmp_path / "rows.npy")
    rows = np.random.default_rng(0).normal(size=(100_000, 4)).astype(np.float32)
    np.save(path, rows)
    setup = SETUP.format(path=path, name=name)
    megabytes = peak_memory(setup, "classifier.predict_uncertainty(rows)")
    # The random features alone would take 400 MB, and the hidden representations of
    # ten networks 250 MB.
    assert 0 < megabytes < 100


# What a fit needs

SETUP_OF_FIT = """
import warnings
import numpy as np
import sksngp

warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
X = rng.normal(size=({rows}, 4)).astype(np.float32)
y = np.arange({rows}) % 8
first = sksngp.{name}(num_layers=1, num_hidden=4, epochs=1).set_params(**{first})
first.fit(X[:100], y[:100])
classifier = sksngp.{name}(epochs=1).set_params(**{params})
"""
PER_CLASS = {"covariance": "per_class", "inference": "monte_carlo"}
LARGE = {
    "posterior": (SNGPClassifier, 300, {"num_layers": 1, "num_inducing": 2000}),
    "posteriors": (
        SNGPClassifier,
        300,
        {"num_layers": 1, "num_inducing": 700, **PER_CLASS},
    ),
    "layers": (ResNetClassifier, 300, {"num_layers": 4, "num_hidden": 1500}),
    "batch": (
        ResNetClassifier,
        50_000,
        {"num_layers": 4, "num_hidden": 128, "batch_size": None},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("Classifier", "rows", "params"), LARGE.values(), ids=LARGE)
def test_the_estimate_is_below_what_a_fit_takes_but_not_far(Classifier, rows, params):
    classifier = Classifier(epochs=1).set_params(**params)
    classifier.classes_ = np.arange(8)
    needs = classifier._memory_needs(classifier._architecture(), rows, 4)
    first = {"num_inducing": 8} if Classifier is SNGPClassifier else {}
    setup = SETUP_OF_FIT.format(
        name=Classifier.__name__, rows=rows, first=first, params=params
    )
    megabytes = peak_memory(setup, "classifier.fit(X, y)")
    estimate = sum(need.num_bytes for need in needs) / 1e6
    assert megabytes / 5 < estimate < megabytes


def test_weights_are_counted():
    fields = {"num_outputs": 3, "num_layers": 7, "num_hidden": 5, "num_inducing": 11}
    architecture = Architecture(**fields, members=2)
    weights = initial_weights(architecture, np.random.default_rng(0), np.zeros(3))
    needs = memory.network_needs(
        architecture, num_rows=9, num_columns=4, batch_size=None
    )
    counted = sum(need.num_bytes for need in needs[:2])
    drawn = sum(array.nbytes for array in weights.values())
    assert counted == memory.WEIGHT_COPIES * drawn


GIBIBYTE = memory.Need("the thing (size=7)", 2**30, "Choose a smaller size.")


@pytest.mark.parametrize("available", [None, 2**31, 2**40])
def test_what_fits_or_cannot_be_known_passes(monkeypatch, available):
    monkeypatch.setattr(memory, "available_bytes", lambda: available)
    memory.check_memory([GIBIBYTE, GIBIBYTE])


def test_what_does_not_fit_is_named(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 2**31 - 1)
    small = memory.Need("the rest", 2**29, "Choose nothing.")
    match = re.escape(
        "needs at least 2.5 GiB of memory, of which 2.0 GiB are for the thing "
        "(size=7), but 2.0 GiB are available. Choose a smaller size."
    )
    large = memory.Need(GIBIBYTE.what, 2**31, GIBIBYTE.remedy)
    with pytest.raises(MemoryError, match=match):
        memory.check_memory(iter([small, large]))


def test_available_memory_is_at_least_what_can_be_taken():
    assert 2**20 < memory.available_bytes()


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
    assert list(memory._control_group_bytes(root, own)) == left
    assert list(memory._control_group_bytes(root, tmp_path / "none")) == []


# Fits that require too much memory


@pytest.fixture
def no_allocation(monkeypatch):
    """One GiB is available, and nothing may be drawn, projected or leased."""
    monkeypatch.setattr(memory, "available_bytes", lambda: 2**30)
    for module, name in [(sksngp._base, "fit_projection"), (pool, "lease")]:
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
    match = no_allocation(f"100000 rows .batch_size={batch_size}, num_layers=50")
    with pytest.raises(MemoryError, match=match):
        clf.fit(X, np.arange(len(X)) % 2)


def test_large_batch_size_with_few_samples(make_two, moons, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 0)
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


def test_a_hundred_thousand_features():
    setup = """
import numpy as np
from sksngp import SNGPClassifier

X = np.random.default_rng(0).normal(size=(200, 100_000))
clf = SNGPClassifier(num_layers=1, num_hidden=16, num_inducing=32, epochs=1)
clf.fit(X[:100, :3], X[:100, 0] > 0).predict_proba(X[:100, :3])
"""
    code = "assert clf.fit(X, X[:, 0] > 0).predict_proba(X).shape == (200, 2)"
    # The samples take 160 MB and the kernel of the projection 13 MB. A matrix of
    # products of all pairs of features would take 80 GB.
    assert 0 < peak_memory(setup, code) < 800
