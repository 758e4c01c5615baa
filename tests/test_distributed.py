import os
import signal
from pathlib import Path

import dask.array
import dask.dataframe
import distributed
import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import make_moons
from sklearn.model_selection import GridSearchCV

import sksngp.distributed
import sksngp.rows
from sksngp import DeepEnsembleClassifier, SNGPClassifier
from sksngp.distributed import _average, _reader, _rounds
from sksngp.sources import open_source

SMALL = {
    "num_layers": 1,
    "num_hidden": 16,
    "epochs": 5,
    "learning_rate": 0.01,
    "random_state": 0,
}
X, Y = make_moons(1200, noise=0.2, random_state=0)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address=None,
        local_directory=tmp_path_factory.mktemp("dask"),
    ) as cluster:
        yield cluster


def use_little_memory(monkeypatch):
    """Rows are streamed, and averaged often."""
    monkeypatch.setattr(sksngp.rows, "IN_MEMORY_BYTES", 1000)
    monkeypatch.setattr(sksngp.distributed, "ROUND_ROWS", 300)


@pytest.fixture
def little_memory(monkeypatch):
    use_little_memory(monkeypatch)


def die_once(block, folder, call):
    """A block, but the worker that reads the `call`-th one dies."""
    for number in range(1000):
        try:
            os.close(os.open(Path(folder, str(number)), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        if number == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return block
    return block


def lazy(folder=None, call=None):
    rows = dask.array.from_array(X, chunks=(150, 2))
    if folder is None:
        return rows
    return rows.map_blocks(die_once, str(folder), call, meta=np.empty((0, 2)))


@pytest.fixture(scope="module")
def without_a_fault(cluster):
    with distributed.Client(cluster) as client, pytest.MonkeyPatch.context() as patch:
        use_little_memory(patch)
        client.wait_for_workers(2, timeout=60)
        clf = SNGPClassifier(**SMALL, num_inducing=64, device="cpu")
        return clf.fit(lazy(), Y)


def test_fit_on_workers_learns_what_a_fit_alone_does(without_a_fault, little_memory):
    alone = SNGPClassifier(**SMALL, num_inducing=64).fit(lazy(), Y)
    assert without_a_fault.kernel_scale_ == pytest.approx(alone.kernel_scale_, 1e-6)
    assert without_a_fault.loss_curve_[-1] < 0.8 * without_a_fault.loss_curve_[0]
    assert without_a_fault.score(X, Y) == pytest.approx(alone.score(X, Y), abs=0.05)


def test_the_posterior_is_summed_exactly(cluster, without_a_fault, little_memory):
    def information():
        rows, _ = without_a_fault._project(
            open_source(lazy()), Y.astype(np.int32), np.ones(len(Y))
        )
        return rows.total(without_a_fault._information)[0], rows.source.client

    alone, client = information()
    assert client is None
    with distributed.Client(cluster):
        summed, client = information()
    assert client is not None
    np.testing.assert_allclose(summed, alone, rtol=1e-12, atol=1e-12)


# Reading, and training.
@pytest.mark.parametrize("call", [5, 50])
def test_a_worker_that_dies_changes_nothing(
    call, cluster, without_a_fault, little_memory, tmp_path
):
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        survivor = SNGPClassifier(**SMALL, num_inducing=64)
        survivor.fit(lazy(tmp_path, call), Y)
    assert Path(tmp_path, str(call + 1)).exists()  # it died, and others went on
    for name, array in without_a_fault.weights_.items():
        np.testing.assert_array_equal(survivor.weights_[name], array)
    np.testing.assert_array_equal(
        survivor.posterior_.factor, without_a_fault.posterior_.factor
    )
    assert survivor.ood_threshold_ == without_a_fault.ood_threshold_


def test_dataframes_train_on_workers(cluster, little_memory):
    frame = pd.DataFrame(X, columns=["u", "v"])
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        clf = SNGPClassifier(**SMALL, num_inducing=64)
        clf.fit(dask.dataframe.from_pandas(frame, npartitions=6), Y)
    assert clf.feature_names_in_.tolist() == ["u", "v"]
    assert clf.loss_curve_[-1] < 0.8 * clf.loss_curve_[0]


def fit_here(seed):
    """A fit inside a task, of rows that it streams."""
    with pytest.MonkeyPatch.context() as patch:
        use_little_memory(patch)
        clf = SNGPClassifier(**SMALL | {"random_state": seed}, num_inducing=64)
        return clf.fit(lazy(), Y).score(X, Y)


# More tasks than threads: one that waited for others would wait forever.
def test_fits_run_inside_tasks(cluster):
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        scores = client.gather(client.map(fit_here, range(4)))
    assert min(scores) > 0.7


def test_the_projection_is_one_key(without_a_fault, little_memory):
    rows, _ = without_a_fault._project(
        open_source(lazy()), Y.astype(np.int32), np.ones(len(Y))
    )
    read = _reader(rows)
    graphs = [dict(read(block).__dask_graph__()) for block in range(3)]
    keys = set.intersection(*map(set, graphs))
    assert any("InputProjection" in str(key) for key in keys)


def test_an_ensemble_trains_on_workers(cluster, little_memory):
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        clf = DeepEnsembleClassifier(**SMALL, num_ensemble=3).fit(lazy(), Y)
    assert clf.loss_curve_[-1] < 0.8 * clf.loss_curve_[0]
    assert clf.score(X, Y) > 0.8


def test_predictions_survive_a_worker(cluster, without_a_fault, tmp_path):
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        found = without_a_fault.predict_proba(lazy(tmp_path, 3)).compute()
    assert Path(tmp_path, "4").exists()
    np.testing.assert_array_equal(found, without_a_fault.predict_proba(X))


def test_searches_and_ensembles_run_on_workers(cluster):
    search = GridSearchCV(
        DeepEnsembleClassifier(**SMALL, num_ensemble=2),
        {"learning_rate": [0.001, 0.01]},
        cv=2,
    )
    alone = clone(search).fit(X, Y)
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        with joblib.parallel_config(backend="dask"):
            search.fit(X, Y)
    assert search.best_params_ == alone.best_params_
    for key in ("split0_test_score", "split1_test_score"):
        np.testing.assert_allclose(
            search.cv_results_[key], alone.cv_results_[key], atol=0.01
        )


def test_rounds_deal_each_block_once(monkeypatch):
    monkeypatch.setattr(sksngp.distributed, "ROUND_ROWS", 100)
    sizes = np.random.default_rng(0).integers(0, 60, 50)
    rounds = list(_rounds(sizes, 3, np.random.default_rng(1)))
    blocks = [block for dealt in rounds for group in dealt for block in group]
    assert sorted(blocks) == np.flatnonzero(sizes).tolist()
    assert all(len(dealt) == 3 for dealt in rounds[:-1])
    for group in [group for dealt in rounds for group in dealt][:-1]:
        assert sizes[group[:-1]].sum() < 100 <= sizes[group].sum()


def test_states_are_averaged_by_their_rows():
    def state(value):
        return {
            "weights": {"kernel": np.full(2, value, np.float32)},
            "scalars": {"dropout_rate": 0.1},
            "optimizer": [np.array(7), np.full(2, value)],
        }

    mean = _average([state(1.0), state(5.0)], [0.75, 0.25])
    assert mean["weights"]["kernel"].tolist() == [2.0, 2.0]
    assert mean["weights"]["kernel"].dtype == np.float32
    assert mean["optimizer"][0] == 7
    assert mean["optimizer"][1].tolist() == [2.0, 2.0]
    assert mean["scalars"] == {"dropout_rate": 0.1}
