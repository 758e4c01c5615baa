import dask
import dask.array
import dask.dataframe
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError

from sksngp import ResNetClassifier, SNGPClassifier

X, Y = make_blobs(200, n_features=3, random_state=0)
Y = np.array(["ash", "birch", "cedar"])[Y]
NAMES = ["u", "v", "w"]
METHODS = [
    ("predict", ()),
    ("predict_proba", ()),
    ("predict_log_proba", ()),
    ("predict_uncertainty", ("epistemic",)),
    ("predict_ood", ()),
    ("ood_pvalue", ()),
    ("score_samples", ()),
]


@pytest.fixture(scope="module")
def clf():
    small = {
        "num_layers": 1,
        "num_hidden": 16,
        "num_inducing": 64,
        "epochs": 3,
        "cv": None,
    }
    return SNGPClassifier(**small, random_state=0).fit(X, Y)


@pytest.fixture(scope="module")
def named():
    small = {"num_layers": 1, "num_hidden": 16, "epochs": 3, "cv": None}
    return ResNetClassifier(**small, random_state=0).fit(
        pd.DataFrame(X, columns=NAMES), Y
    )


@pytest.mark.parametrize(("method", "arguments"), METHODS)
def test_arrays(method, arguments, clf):
    lazy = getattr(clf, method)(dask.array.from_array(X, chunks=(70, 2)), *arguments)
    expected = getattr(clf, method)(X, *arguments)
    assert isinstance(lazy, dask.array.Array)
    assert (lazy.shape, lazy.dtype) == (expected.shape, expected.dtype)
    assert lazy.chunks[0] == (70, 70, 60)
    np.testing.assert_array_equal(lazy.compute(scheduler="synchronous"), expected)
    np.testing.assert_array_equal(lazy[70:90].compute(), expected[70:90])


@pytest.mark.parametrize(("method", "arguments"), METHODS)
def test_dataframes(method, arguments, named):
    frame = pd.DataFrame(X, columns=NAMES)
    lazy = dask.dataframe.from_pandas(frame, npartitions=3)
    result = getattr(named, method)(lazy, *arguments)
    expected = getattr(named, method)(frame, *arguments)
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result.compute(), expected)


def test_empty_partitions(named):
    frame = dask.dataframe.from_pandas(pd.DataFrame(X, columns=NAMES), npartitions=4)
    few = frame[frame["u"] > np.sort(X[:, 0])[-5]]
    assert len(named.predict_proba(few).compute()) == 4
    assert named.predict(frame[frame["u"] > 1e9]).compute().shape == (0,)


def test_model_has_a_single_key_in_the_graph(clf):
    lazy = clf.predict_proba(dask.array.from_array(X, chunks=(20, 3)))
    graph = dict(lazy.__dask_graph__())
    holders = [key for key, task in graph.items() if "SNGPClassifier" in str(key)]
    assert len(holders) == 1
    assert len(graph) >= 20


def test_later_fit_does_not_change_lazy_predictions(clf):
    other = SNGPClassifier(**clf.get_params()).fit(X, Y)
    lazy = other.predict_proba(dask.array.from_array(X, chunks=(70, 3)))
    expected = other.predict_proba(X)
    other.fit(X[::-1], Y)
    np.testing.assert_array_equal(lazy.compute(), expected)


def test_columns_are_checked_immediately_and_values_lazily(clf, named):
    with pytest.raises(NotFittedError):
        SNGPClassifier().predict(dask.array.from_array(X))
    with pytest.raises(ValueError, match="expecting 3 features"):
        clf.predict(dask.array.from_array(X[:, :2]))
    with pytest.raises(ValueError, match="Array with 1 dimensions"):
        clf.predict(dask.array.from_array(X[0]))
    with pytest.raises(ValueError, match="kind must be one of"):
        clf.predict_uncertainty(dask.array.from_array(X), "all")
    frame = pd.DataFrame(X, columns=["u", "v", "x"])
    with pytest.raises(ValueError, match="feature names"):
        named.predict(dask.dataframe.from_pandas(frame, npartitions=2))
    spoilt = X.copy()
    spoilt[3, 1] = np.nan
    lazy = clf.predict(dask.array.from_array(spoilt))
    with pytest.raises(ValueError, match="Input X contains NaN"):
        lazy.compute()


def test_score_of_a_collection(clf, named):
    lazy = dask.array.from_array(X, chunks=(70, 3))
    assert clf.score(lazy, Y) == clf.score(X, Y)
    half, weights = X[:, 0] > 0, np.arange(200.0)
    unknown = lazy[lazy[:, 0] > 0]
    assert clf.score(
        unknown,
        dask.array.from_array(Y[half]),
        sample_weight=dask.array.from_array(weights[half]),
    ) == clf.score(X[half], Y[half], sample_weight=weights[half])
    frame = pd.DataFrame(X, columns=NAMES)
    labels = dask.dataframe.from_pandas(pd.Series(Y), npartitions=3)
    frames = dask.dataframe.from_pandas(frame, npartitions=3)
    assert named.score(frames, labels) == named.score(frame, Y)
