"""Other libraries' classifiers on the two moons, for ``benchmarks.speed --peers``.

Each is optional (``pip install -e ".[bench]"``) and imported where it's used. Where
a peer has a network it gets the tutorial's size, six layers of 128, and as many
epochs and rows a batch; everything else is the peer's own default, or what its
documentation shows. Scores for OOD detection are what each offers: a variance where
there is one, else the entropy of the probabilities.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from itertools import pairwise
from statistics import median

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF
from sklearn.neural_network import MLPClassifier

from benchmarks import settings
from benchmarks.contest import Contest, ours_aware
from benchmarks.report import shown, table, time_text
from benchmarks.timing import seconds_of
from sksngp import SNGPClassifier
from sksngp._uncertainty.entropy import normalized_entropy
from sksngp.metrics import ood_auroc

LAYERS = (settings.NUM_HIDDEN,) * settings.NUM_LAYERS
LEARNING_RATE = 1e-3

#: ``predict(X)``: class probabilities, and a score that is higher for stranger rows.
Predict = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def sklearn_mlp(X, y, epochs: int, seed: int) -> Predict:
    """scikit-learn's multi-layer perceptron; entropy."""
    model = MLPClassifier(
        LAYERS,
        batch_size=min(settings.BATCH_SIZE, len(X)),
        max_iter=epochs,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # as many epochs as asked
        model.fit(X, y)
    return _with_entropy(model.predict_proba)


def sklearn_gaussian_process(X, y, epochs: int, seed: int) -> Predict:
    """scikit-learn's Gaussian process; variance of the latent function."""
    model = GaussianProcessClassifier(RBF(), random_state=seed).fit(X, y)

    def predict(rows):
        _, variance = model.latent_mean_and_variance(rows)
        return model.predict_proba(rows), variance

    return predict


def laplace_torch(X, y, epochs: int, seed: int) -> Predict:
    """Last-layer Laplace on a network trained in PyTorch; variance of the logits."""
    import torch
    from laplace import Laplace

    torch.manual_seed(seed)
    network = torch.nn.Sequential(*_torch_layers(X.shape[1]))
    network.append(torch.nn.Linear(LAYERS[-1], int(y.max()) + 1))
    rows = torch.utils.data.DataLoader(
        _torch_data(X, y), batch_size=settings.BATCH_SIZE, shuffle=True
    )
    _torch_train(network, rows, epochs)
    model = Laplace(network, "classification")  # last layer, Kronecker factors
    model.fit(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it names a default of its own
        model.optimize_prior_precision()

    def predict(rows):
        batch = torch.as_tensor(np.asarray(rows), dtype=torch.float32)
        proba = model(batch, link_approx="probit")
        # No public method gives the variances of the logits.
        _, variance = model._glm_predictive_distribution(batch)
        trace = variance.diagonal(dim1=1, dim2=2).sum(dim=1)
        return proba.detach().numpy(), trace.detach().numpy()

    return predict


def sngp_package(X, y, epochs: int, seed: int) -> Predict:
    """PyPI's ``sngp``, behind a PyTorch network; variance."""
    import torch
    from sngp import SNGP

    torch.manual_seed(seed)
    backbone = torch.nn.Sequential(*_torch_layers(X.shape[1]))
    model = SNGP(int(y.max()) + 1, backbone, LAYERS[-1], momentum=-1, ridge_penalty=1.0)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints a line an epoch
        model.train_model(
            _torch_data(X, y),
            epochs=epochs,
            batch_size=settings.BATCH_SIZE,
            lr=LEARNING_RATE,
        )

    def predict(rows):
        data = _torch_data(rows, np.zeros(len(rows), int))
        with contextlib.redirect_stdout(io.StringIO()):
            found = model.predict(data, batch_size=1024)
        return found.mean, found.variance

    return predict


def bayesian_deep_ensemble(X, y, epochs: int, seed: int, **params) -> Predict:
    """sklearn-contrib-bde: sampled networks in JAX; entropy."""
    from bde import BdeClassifier

    params = {"hidden_layers": list(LAYERS)} | params
    model = BdeClassifier(epochs=epochs, seed=seed, **params)
    # Its progress bars would fill the terminal.
    with (
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        model.fit(X.astype(np.float32), y)
    return _with_entropy(lambda rows: np.asarray(model.predict_proba(rows)))


def _with_entropy(predict_proba) -> Predict:
    def predict(rows):
        proba = predict_proba(rows)
        return proba, normalized_entropy(proba)

    return predict


def _torch_layers(columns):
    import torch

    widths = (columns, *LAYERS)
    layers = []
    for width, units in pairwise(widths):
        layers += [torch.nn.Linear(width, units), torch.nn.ReLU()]
    return layers


def _torch_train(network, rows, epochs):
    import torch

    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    for _ in range(epochs):
        for batch, labels in rows:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(batch), labels).backward()
            optimizer.step()
    network.eval()


def _torch_data(X, y):
    import torch

    return torch.utils.data.TensorDataset(
        torch.as_tensor(np.asarray(X), dtype=torch.float32),
        torch.as_tensor(np.asarray(y), dtype=torch.long),
    )


PEERS = {
    "scikit-learn MLPClassifier": sklearn_mlp,
    "scikit-learn GaussianProcessClassifier": sklearn_gaussian_process,
    "laplace-torch, last layer": laplace_torch,
    "sngp (PyPI)": sngp_package,
    "sklearn-contrib-bde": bayesian_deep_ensemble,
}


def measure(contest: Contest) -> list[dict]:
    """Time and score every peer, and our SNGP beside them.

    Parameters
    ----------
    contest : Contest
        Data, epochs and number of rounds (three at most).

    Returns
    -------
    list of dict
        Raw times, accuracies and AUROCs, or why a peer is missing.
    """

    def ours(X, y, epochs, seed):
        classifier = contest.ours(SNGPClassifier, epochs=epochs, random_state=seed)
        classifier.fit(X, y)
        return lambda rows: ours_aware(classifier, rows)

    contestants = {"sksngp SNGPClassifier": ours, **PEERS}
    return [_measure(name, fit, contest) for name, fit in contestants.items()]


def _measure(name, fit, contest):
    result = {"peer": name, "note": ""}
    try:
        fit(contest.X[:64], contest.y[:64], 1, 0)  # imports; off the clock
    except ImportError as error:
        return {**result, "note": f"not installed ({error})"}
    except RuntimeError as error:  # torch and an extension of another build, say
        return {**result, "note": f"fails ({str(error).splitlines()[0]})"}
    keys = "fit seconds", "predict seconds", "accuracy", "AUROC"
    result |= {key: [] for key in keys}
    for seed in range(min(contest.repeats, 3)):
        fitting, predict = seconds_of(fit, contest.X, contest.y, contest.epochs, seed)
        predict(contest.X_test)  # whatever is compiled for this shape
        predicting, (proba, known) = seconds_of(predict, contest.X_test)
        _, unknown = predict(contest.X_ood)
        accuracy = float((proba.argmax(axis=1) == contest.y_test).mean())
        values = fitting, predicting, accuracy, ood_auroc(known, unknown)
        for key, value in zip(keys, values, strict=True):
            result[key].append(value)
    return result


def peer_table(results: list[dict]) -> str:
    """Text table of what `measure` found."""
    lines = []
    for result in results:
        times = [
            time_text(median(result[key])) if key in result else "-"
            for key in ("fit seconds", "predict seconds")
        ]
        scores = [
            shown(median(result[key]) if key in result else None, "{:.3f}")
            for key in ("accuracy", "AUROC")
        ]
        lines.append([result["peer"], *times, *scores, result["note"]])
    header = ["peer", "fit", "predict 1,000 rows", "accuracy", "OOD AUROC", "note"]
    return table(header, lines)
