"""Training and sums over samples on the workers of a Dask cluster."""

import os
import signal
from contextlib import contextmanager
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

import sksngp._data.streamed_rows
import sksngp._tensorflow.dask_training
from sksngp import DeepEnsembleClassifier, SNGPClassifier
from sksngp._data.collections import open_source
from sksngp._data.dask_sums import reader
from sksngp._tensorflow.dask_training import _average, _rounds

SMALL = {
    "num_layers": 1,
    "num_hidden": 8,
    "epochs": 4,
    "learning_rate": 0.02,
    "cv": None,
    "random_state": 0,
}
SNGP = SNGPClassifier(**SMALL, num_inducing=32)
ENSEMBLE = DeepEnsembleClassifier(**SMALL, num_ensemble=2)
X, Y = make_moons(600, noise=0.2, random_state=0)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    # Workers start faster than with "spawn".
    method = {"distributed.worker.multiprocessing-method": "forkserver"}
    with (
        dask.config.set(method),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=None,
            local_directory=tmp_path_factory.mktemp("dask"),
        ) as cluster,
    ):
        yield cluster


@contextmanager
def client_of(cluster):
    """Use the workers, both of which are alive."""
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=300)
        yield client


@pytest.fixture
def client(cluster):
    with client_of(cluster) as client:
        yield client


def use_little_memory(monkeypatch):
    """Read samples only when needed, and average weights often."""
    monkeypatch.setattr(sksngp._data.streamed_rows, "IN_MEMORY_BYTES", 1000)
    monkeypatch.setattr(sksngp._tensorflow.dask_training, "ROUND_ROWS", 150)


@pytest.fixture
def little_memory(monkeypatch):
    use_little_memory(monkeypatch)


def die_at(block, folder, calls):
    """Return a partition, but end the worker process at the given calls."""
    for number in range(1000):
        try:
            os.close(os.open(Path(folder, str(number)), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        if number in calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return block
    return block


def lazy(folder=None, calls=()):
    rows = dask.array.from_array(X, chunks=(75, 2))
    if folder is None:
        return rows
    return rows.map_blocks(die_at, str(folder), calls, meta=np.empty((0, 2)))


@pytest.fixture(scope="module")
def fitted_on_workers(cluster):
    with client_of(cluster), pytest.MonkeyPatch.context() as patch:
        use_little_memory(patch)
        return clone(SNGP).set_params(device="cpu").fit(lazy(), Y)


@pytest.fixture(scope="module")
def fitted():
    return clone(SNGP).fit(X, Y)


@pytest.mark.slow
def test_training_on_workers_equals_local_training(fitted_on_workers, little_memory):
    alone = clone(SNGP).fit(lazy(), Y)
    assert fitted_on_workers.kernel_scale_ == pytest.approx(alone.kernel_scale_, 1e-6)
    losses = fitted_on_workers.loss_curve_
    assert losses[-1] < 0.8 * losses[0]
    assert fitted_on_workers.score(X, Y) == pytest.approx(alone.score(X, Y), abs=0.05)


def test_sums_of_the_posterior_are_exact(cluster, fitted, little_memory):
    def information():
        rows = fitted._project(open_source(lazy()), Y.astype(np.int32), np.ones(len(Y)))
        return rows.sum_over_samples(fitted._precision_of)[0], rows.source.client

    alone, client = information()
    assert client is None
    with client_of(cluster):
        summed, client = information()
    assert client is not None
    np.testing.assert_allclose(summed, alone, rtol=1e-12, atol=1e-12)


def test_dataframes_train_on_workers(client, little_memory):
    frame = pd.DataFrame(X, columns=["u", "v"])
    clf = clone(SNGP).fit(dask.dataframe.from_pandas(frame, npartitions=6), Y)
    assert clf.feature_names_in_.tolist() == ["u", "v"]
    assert clf.loss_curve_[-1] < 0.8 * clf.loss_curve_[0]


def fit_here(seed):
    """Fit inside a task that reads its samples only when needed."""
    with pytest.MonkeyPatch.context() as patch:
        use_little_memory(patch)
        clf = clone(SNGP).set_params(random_state=seed)
        return clf.fit(lazy(), Y).score(X, Y)


@pytest.mark.slow
def test_fits_run_inside_tasks(client):
    """There are more tasks than threads: a task must not wait for other tasks."""
    scores = client.gather(client.map(fit_here, range(3)))
    assert min(scores) > 0.7


def test_projection_has_one_key(fitted, little_memory):
    rows = fitted._project(open_source(lazy()), Y.astype(np.int32), np.ones(len(Y)))
    read = reader(rows)
    graphs = [dict(read(block).__dask_graph__()) for block in range(3)]
    keys = set.intersection(*map(set, graphs))
    assert any("InputProjection" in str(key) for key in keys)


@pytest.mark.slow
def test_a_cross_fitted_ensemble_trains_on_workers(client, little_memory, monkeypatch):
    """The networks of the folds and the final network are trained on workers."""
    clients, epochs = [], sksngp._tensorflow.dask_training.epochs

    def recorded(compiled, rows, *args):
        clients.append((rows.source.client, len(rows.labels)))
        return epochs(compiled, rows, *args)

    monkeypatch.setattr(sksngp._tensorflow.dask_training, "epochs", recorded)
    clf = clone(ENSEMBLE).set_params(cv=2).fit(lazy(), Y)
    assert clients == [(client, 300), (client, 300), (client, 600)]
    assert clf.loss_curve_[-1] < 0.8 * clf.loss_curve_[0]
    assert clf.score(X, Y) > 0.8
    assert clf.ood_scores_.shape == (600,)
    assert np.isfinite(clf.ood_scores_).all() and np.isfinite(clf.ood_threshold_)
    assert clf.temperature_ != 1.0  # that of the held-out samples


@pytest.mark.slow
def test_searches_and_ensembles_run_on_workers(cluster):
    search = GridSearchCV(ENSEMBLE, {"learning_rate": [0.0001, 0.02]}, cv=2)
    alone = clone(search).fit(X, Y)
    with client_of(cluster), joblib.parallel_config(backend="dask"):
        search.fit(X, Y)
    assert search.best_params_ == alone.best_params_
    for key in ("split0_test_score", "split1_test_score"):
        np.testing.assert_allclose(
            search.cv_results_[key], alone.cv_results_[key], atol=0.01
        )


# Workers that die. These tests are the last ones that use workers, so that few of the
# new workers import TensorFlow.


@pytest.mark.slow
def test_workers_that_die_do_not_change_the_result(
    client, fitted_on_workers, little_memory, tmp_path
):
    """A worker dies when samples are first read, and another one during training."""
    clf = clone(SNGP).fit(lazy(tmp_path, (5, 50)), Y)
    assert Path(tmp_path, "51").exists()  # others continued
    for name, array in fitted_on_workers.weights_.items():
        np.testing.assert_array_equal(clf.weights_[name], array)
    np.testing.assert_array_equal(
        clf.posterior_.factor, fitted_on_workers.posterior_.factor
    )
    assert clf.ood_threshold_ == fitted_on_workers.ood_threshold_


@pytest.mark.slow
def test_predictions_continue_without_a_worker(client, fitted_on_workers, tmp_path):
    found = fitted_on_workers.predict_proba(lazy(tmp_path, (3,))).compute()
    assert Path(tmp_path, "4").exists()
    np.testing.assert_array_equal(found, fitted_on_workers.predict_proba(X))


# Partition of the work, and averages


def test_rounds_contain_each_partition_once(monkeypatch):
    monkeypatch.setattr(sksngp._tensorflow.dask_training, "ROUND_ROWS", 100)
    sizes = np.random.default_rng(0).integers(0, 60, 50)
    rounds = list(_rounds(sizes, 3, np.random.default_rng(1)))
    blocks = [block for dealt in rounds for group in dealt for block in group]
    assert sorted(blocks) == np.flatnonzero(sizes).tolist()
    assert all(len(dealt) == 3 for dealt in rounds[:-1])
    for group in [group for dealt in rounds for group in dealt][:-1]:
        assert sizes[group[:-1]].sum() < 100 <= sizes[group].sum()


def test_averages_are_weighted_by_numbers_of_samples():
    def state(value):
        return {
            "weights": {"kernel": np.full(2, value, np.float32)},
            "variables": {"dropout_rate": 0.1},
            "optimizer": [np.array(7), np.full(2, value)],
        }

    mean = _average([state(1.0), state(5.0)], [0.75, 0.25])
    assert mean["weights"]["kernel"].tolist() == [2.0, 2.0]
    assert mean["weights"]["kernel"].dtype == np.float32
    assert mean["optimizer"][0] == 7
    assert mean["optimizer"][1].tolist() == [2.0, 2.0]
    assert mean["variables"] == {"dropout_rate": 0.1}
