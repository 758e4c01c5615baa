"""The published recipes for CIFAR-10, for a machine with a graphics card.

Run ``python -m benchmarks.cifar --device gpu:0 --mixed-precision bfloat16``; it takes
`WideResNet(28, 10)` through 200 or 250 epochs for each classifier, which ``--epochs``,
``--depth`` and ``--width`` shorten. CIFAR-10 (170 MB) and the test images of SVHN
(64 MB) are downloaded to Keras' folder, or read from there.

Of Liu et al. (arXiv 2006.10108) and of Uncertainty Baselines' ``baselines/cifar`` are
the network, stochastic gradient descent with Nesterov momentum 0.9, each classifier's
learning rate, weight decay and epochs (`RECIPES`), the division of the rate by five
after 30, 60 and 80 % of the epochs, SNGP's spectral bound of 6, ridge of 1 and 1,024
random features, 30 samples of dropout at 0.1, and all 50,000 images to train on. Batch
normalisation goes by 64 images, as on each of their eight cores.

What differs, here as against there:

- batches of 128 at the rates of `RECIPES`; of 512 at four times these rates;
- half the rate in the first epoch; a rate that rises in each of its steps;
- images moved by up to four pixels; by up to two;
- weight decay of the convolutions; of batch normalisation and the output layer too,
  but for SNGP's output;
- MC dropout drops units just before a block's second convolution; before its batch
  normalisation. Its 30 masks are those of all images; each image has its own;
- SNGP drops no units; a tenth of the channels, in training;
- shortcuts that change the size of an image begin at the activations; at what the
  block is given;
- SNGP's random features are independent, see the mean activations, and take their
  kernel scale from them; are orthogonal, see 128 random projections of these behind
  layer normalisation, and have a scale of 2;
- a training step of SNGP goes by 128 of the random features, in turn; by all of them;
- SNGP's mean-field factor is pi / 8; it is 25, tuned for CIFAR-10;
- the out-of-distribution score is the classifier's own; Dempster and Shafer's of the
  logits.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.io import loadmat
from sklearn.metrics import log_loss
from sklearn.utils import Bunch

from sksngp import MCDropoutClassifier, ResNetClassifier, SNGPClassifier, WideResNet
from sksngp._tensorflow import backend
from sksngp.metrics import expected_calibration_error, ood_auroc, ood_average_precision

SVHN_URL = "http://ufldl.stanford.edu/housenumbers/test_32x32.mat"
SVHN_MD5 = "eb5a983be6a315427106f1b164d9cef3"
CLASSIFIERS = {
    "SNGP": SNGPClassifier,
    "ResNet": ResNetClassifier,
    "MC dropout": MCDropoutClassifier,
}
#: Weight decay and dropout of the network, and parameters of the classifier.
RECIPES = {
    "SNGP": (
        {"l2": 3e-4},
        {
            "learning_rate": 0.05,
            "epochs": 250,
            "spec_norm_bound": 6.0,
            "ridge_penalty": 1.0,
        },
    ),
    "ResNet": ({"l2": 2e-4}, {"learning_rate": 0.1, "epochs": 200}),
    "MC dropout": (
        {"l2": 3e-4, "dropout_rate": 0.1},
        # None of the features are dropped.
        {"learning_rate": 0.05, "epochs": 200, "num_samples": 30, "dropout_rate": 0.0},
    ),
}
#: Accuracy and calibration error of Uncertainty Baselines, AUPR of the paper.
PUBLISHED = pd.DataFrame(
    {
        "accuracy": {"SNGP": 0.960, "ResNet": 0.960, "MC dropout": 0.961},
        "ECE": {"SNGP": 0.007, "ResNet": 0.023, "MC dropout": 0.019},
        "AUPR, SVHN": {"SNGP": 0.99},
    }
)


def step_decay(done: float) -> float:
    """Factor of the learning rate after a share of the epochs; the first warms up."""
    if done == 0:
        return 0.5
    return 0.2 ** sum(done >= start for start in (0.3, 0.6, 0.8))


def classifier(name: str, *, depth: int = 28, width: int = 10, **params):
    """A classifier by its recipe; `params` replace parts of it."""
    of_network, of_classifier = RECIPES[name]
    recipe = {
        "network": WideResNet(depth, width, augment=True, **of_network),
        "optimizer": "sgd",
        "learning_rate_schedule": step_decay,
        "batch_size": 128,
        "validation_fraction": 0,
        "random_state": 0,
    }
    return CLASSIFIERS[name](**recipe | of_classifier | params)


def load_images() -> Bunch:
    """CIFAR-10, and the test images of SVHN."""
    backend.start()  # which takes a card's memory as needed
    import tf_keras

    (X, y), (X_test, y_test) = tf_keras.datasets.cifar10.load_data()
    path = tf_keras.utils.get_file("svhn_test_32x32.mat", SVHN_URL, file_hash=SVHN_MD5)
    return Bunch(
        X_train=X.astype(np.float32),
        y_train=y.ravel(),
        X_test=X_test.astype(np.float32),
        y_test=y_test.ravel(),
        X_unknown=read_svhn(path),
    )


def read_svhn(path: str | Path) -> np.ndarray:
    """Images of a file of SVHN's second format, float32 of shape (n, 32, 32, 3)."""
    return np.moveaxis(loadmat(path)["X"], -1, 0).astype(np.float32)


def measured(clf, data: Bunch) -> dict[str, float]:
    """Figures of a fitted classifier."""
    proba = clf.predict_proba(data.X_test)
    known, unknown = (-clf.score_samples(X) for X in (data.X_test, data.X_unknown))
    return {
        "accuracy": np.mean(clf.classes_[proba.argmax(axis=1)] == data.y_test),
        "ECE": expected_calibration_error(data.y_test, proba),
        "NLL": log_loss(data.y_test, proba, labels=clf.classes_),
        "AUPR, SVHN": ood_average_precision(known, unknown),
        "AUROC, SVHN": ood_auroc(known, unknown),
    }


def run(names: Sequence[str], data: Bunch, **params) -> pd.DataFrame:
    """Fit classifiers, and put their figures beside the published ones."""
    table = {}
    for name in names:
        start = time.perf_counter()
        with warnings.catch_warnings():  # no row is held out, and no flag is asked for
            warnings.filterwarnings("ignore", "predict_ood will flag no row")
            clf = classifier(name, **params).fit(data.X_train, data.y_train)
        table[name] = measured(clf, data)
        table[name]["fit s"] = time.perf_counter() - start
        print(f"{name}: {table[name]}", flush=True)
    ours = pd.DataFrame(table).T
    return ours.join(PUBLISHED.add_prefix("published "))


def main() -> None:
    """Fit, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = list(CLASSIFIERS)
    parser.add_argument("--classifiers", nargs="+", choices=names, default=names)
    parser.add_argument("--epochs", type=int, help="instead of each recipe's own")
    parser.add_argument("--depth", type=int, default=28)
    parser.add_argument("--width", type=int, default=10)
    parser.add_argument("--device")
    parser.add_argument("--mixed-precision", choices=["bfloat16", "float16"])
    options = {k: v for k, v in vars(parser.parse_args()).items() if v is not None}
    table = run(options.pop("classifiers"), load_images(), **options, verbose=1)
    print(table.round(4).to_string())


if __name__ == "__main__":
    main()
