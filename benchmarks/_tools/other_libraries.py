"""Classifiers of other libraries, for `benchmarks.speed` and `benchmarks.quality`.

The libraries are optional (``pip install -e ".[bench]"``). Networks have the size of
the tutorial, six layers of 128 units, and its epochs and mini-batches. All other
parameters are defaults of the library or taken from its documentation. The OOD score is
a variance if the library provides one, and the entropy of the probabilities otherwise.
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

from benchmarks._tools import tutorial_settings
from benchmarks._tools.printing import shown, table, time_text
from benchmarks._tools.speed_comparison import SpeedComparison, ours_aware
from benchmarks._tools.timing import seconds_of
from sksngp import SNGPClassifier
from sksngp._uncertainty.entropy import normalized_entropy
from sksngp.metrics import ood_auroc

LAYERS = (tutorial_settings.NUM_HIDDEN,) * tutorial_settings.NUM_LAYERS
LEARNING_RATE = 1e-3

#: ``predict(X)`` returns class probabilities, and OOD scores that are higher for more
#: unusual samples.
Predict = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def sklearn_mlp(X, y, epochs: int, seed: int) -> Predict:
    """Fit scikit-learn's multi-layer perceptron; the score is the entropy."""
    model = MLPClassifier(
        LAYERS,
        batch_size=min(tutorial_settings.BATCH_SIZE, len(X)),
        max_iter=epochs,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # the number of epochs is given
        model.fit(X, y)
    return _with_entropy(model.predict_proba)


def sklearn_gaussian_process(X, y, epochs: int, seed: int) -> Predict:
    """Fit scikit-learn's Gaussian process; the score is the latent variance."""
    model = GaussianProcessClassifier(RBF(), random_state=seed).fit(X, y)

    def predict(rows):
        _, variance = model.latent_mean_and_variance(rows)
        return model.predict_proba(rows), variance

    return predict


def laplace_torch(X, y, epochs: int, seed: int) -> Predict:
    """Fit a last-layer Laplace approximation; the score is the logit variance."""
    import torch
    from laplace import Laplace

    torch.manual_seed(seed)
    network = torch.nn.Sequential(*_torch_layers(X.shape[1]))
    network.append(torch.nn.Linear(LAYERS[-1], int(y.max()) + 1))
    rows = torch.utils.data.DataLoader(
        _torch_data(X, y), batch_size=tutorial_settings.BATCH_SIZE, shuffle=True
    )
    _torch_train(network, rows, epochs)
    model = Laplace(network, "classification")  # last layer, Kronecker factors
    model.fit(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about a default of its own
        model.optimize_prior_precision()

    def predict(rows):
        batch = torch.as_tensor(np.asarray(rows), dtype=torch.float32)
        proba = model(batch, link_approx="probit")
        # No public method returns the variances of the logits.
        _, variance = model._glm_predictive_distribution(batch)
        trace = variance.diagonal(dim1=1, dim2=2).sum(dim=1)
        return proba.detach().numpy(), trace.detach().numpy()

    return predict


def sngp_package(X, y, epochs: int, seed: int) -> Predict:
    """Fit the package ``sngp`` on a PyTorch network; the score is the variance."""
    import torch
    from sngp import SNGP

    torch.manual_seed(seed)
    backbone = torch.nn.Sequential(*_torch_layers(X.shape[1]))
    model = SNGP(int(y.max()) + 1, backbone, LAYERS[-1], momentum=-1, ridge_penalty=1.0)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints one line per epoch
        model.train_model(
            _torch_data(X, y),
            epochs=epochs,
            batch_size=tutorial_settings.BATCH_SIZE,
            lr=LEARNING_RATE,
        )

    def predict(rows):
        data = _torch_data(rows, np.zeros(len(rows), int))
        with contextlib.redirect_stdout(io.StringIO()):
            found = model.predict(data, batch_size=1024)
        return found.mean, found.variance

    return predict


def bayesian_deep_ensemble(X, y, epochs: int, seed: int, **params) -> Predict:
    """Fit the sampled networks of sklearn-contrib-bde; the score is the entropy."""
    from bde import BdeClassifier

    params = {"hidden_layers": list(LAYERS)} | params
    model = BdeClassifier(epochs=epochs, seed=seed, **params)
    # Suppress its progress bars.
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


CLASSIFIERS = {
    "scikit-learn MLPClassifier": sklearn_mlp,
    "scikit-learn GaussianProcessClassifier": sklearn_gaussian_process,
    "laplace-torch, last layer": laplace_torch,
    "sngp (PyPI)": sngp_package,
    "sklearn-contrib-bde": bayesian_deep_ensemble,
}


def measure(comparison: SpeedComparison) -> list[dict]:
    """Measure the time and quality of each classifier, and of `SNGPClassifier`.

    Parameters
    ----------
    comparison : SpeedComparison
        Provides the data, the epochs and the number of rounds, of which at most three
        are used.

    Returns
    -------
    list of dict
        Times, accuracies and AUROCs, or the reason why a classifier is missing.
    """

    def ours(X, y, epochs, seed):
        classifier = comparison.ours(SNGPClassifier, epochs=epochs, random_state=seed)
        classifier.fit(X, y)
        return lambda rows: ours_aware(classifier, rows)

    classifiers = {"sksngp SNGPClassifier": ours, **CLASSIFIERS}
    return [_measure(name, fit, comparison) for name, fit in classifiers.items()]


def _measure(name, fit, comparison):
    result = {"classifier": name, "note": ""}
    try:
        fit(
            comparison.X[:64], comparison.y[:64], 1, 0
        )  # imports, outside the measurement
    except ImportError as error:
        return {**result, "note": f"not installed ({error})"}
    except (
        RuntimeError
    ) as error:  # for example, incompatible builds of torch and an extension
        return {**result, "note": f"fails ({str(error).splitlines()[0]})"}
    keys = "fit seconds", "predict seconds", "accuracy", "AUROC"
    result |= {key: [] for key in keys}
    for seed in range(min(comparison.repeats, 3)):
        fitting, predict = seconds_of(
            fit, comparison.X, comparison.y, comparison.epochs, seed
        )
        predict(comparison.X_test)  # compiles functions of this shape
        predicting, (proba, known) = seconds_of(predict, comparison.X_test)
        _, unknown = predict(comparison.X_ood)
        accuracy = float((proba.argmax(axis=1) == comparison.y_test).mean())
        values = fitting, predicting, accuracy, ood_auroc(known, unknown)
        for key, value in zip(keys, values, strict=True):
            result[key].append(value)
    return result


def results_table(results: list[dict]) -> str:
    """Format the results of `measure`."""
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
        lines.append([result["classifier"], *times, *scores, result["note"]])
    header = [
        "classifier",
        "fit",
        "predict 1,000 samples",
        "accuracy",
        "OOD AUROC",
        "note",
    ]
    return table(header, lines)
