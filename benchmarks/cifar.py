"""The published configurations for CIFAR-10; requires a GPU.

Run ``python -m benchmarks.cifar --device gpu:0 --mixed-precision bfloat16``. Each
classifier trains `WideResNet(28, 10)` for 200 or 250 epochs; ``--epochs``, ``--depth``
and ``--width`` reduce the work. CIFAR-10 (170 MB) and the test images of SVHN (64 MB)
are downloaded to the folder of Keras unless they are already there.

The following is taken from Liu et al. (arXiv 2006.10108) and from ``baselines/cifar``
of Uncertainty Baselines: the network, stochastic gradient descent with a Nesterov
momentum of 0.9, the learning rate, weight decay and epochs of each classifier
(`RECIPES`), the division of the learning rate by five after 30%, 60% and 80% of the
epochs, SNGP's spectral bound of 6, ridge penalty of 1 and 1,024 random features, 30
samples of dropout at a rate of 0.1, and the training set of 50,000 images. Batch
normalization uses 64 images, as on each of their eight cores.

The following differs. The first value is the one used here, the second the published
one:

- mini-batch: 128 images at the learning rates of `RECIPES`, or 512 at four times these;
- first epoch: half the learning rate, or a rate that increases with each step;
- augmentation: shifts by up to four pixels, or by up to two;
- weight decay: convolutions only, or also batch normalization and the output layer,
  except that of SNGP;
- MC dropout: before the second convolution of a block, or before its batch
  normalization; the same 30 masks for all images, or separate masks for each image;
- dropout of SNGP: none, or a tenth of the channels during training;
- shortcuts that change the size of an image: from the activations, or from the input of
  the block;
- random features of SNGP: independent, of the mean activations, with a kernel scale
  computed from these; or orthogonal, of 128 random projections of the normalized mean
  activations, with a scale of 2;
- a training step of SNGP: 128 of the random features in turn, or all of them;
- mean-field factor of SNGP: pi / 8, or 25, which was tuned for CIFAR-10;
- OOD score: that of the classifier, or the Dempster-Shafer score of the logits.
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

from benchmarks._tools.printing import print_header
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
#: Parameters of the network and of the classifier.
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
        # No dropout of the hidden representation.
        {"learning_rate": 0.05, "epochs": 200, "num_samples": 30, "dropout_rate": 0.0},
    ),
}
#: Accuracy and ECE of Uncertainty Baselines, AUPR of the paper.
PUBLISHED = pd.DataFrame(
    {
        "accuracy": {"SNGP": 0.960, "ResNet": 0.960, "MC dropout": 0.961},
        "ECE": {"SNGP": 0.007, "ResNet": 0.023, "MC dropout": 0.019},
        "AUPR, SVHN": {"SNGP": 0.99},
    }
)


def step_decay(done: float) -> float:
    """Return the factor of the learning rate after a fraction of the epochs."""
    if done == 0:
        return 0.5
    return 0.2 ** sum(done >= start for start in (0.3, 0.6, 0.8))


def classifier(name: str, *, depth: int = 28, width: int = 10, **params):
    """Create a classifier of `RECIPES`; `params` override its parameters."""
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
    """Load CIFAR-10 and the test images of SVHN."""
    backend.start()  # allocates GPU memory as needed
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
    """Read images of the second format of SVHN, in float32 of shape (n, 32, 32, 3)."""
    return np.moveaxis(loadmat(path)["X"], -1, 0).astype(np.float32)


def measure(clf, data: Bunch) -> dict[str, float]:
    """Compute the measures of a fitted classifier."""
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
    """Fit classifiers and compare their results with the published ones."""
    table = {}
    for name in names:
        start = time.perf_counter()
        with warnings.catch_warnings():  # no sample is held out
            warnings.filterwarnings("ignore", "predict_ood will not flag any sample")
            clf = classifier(name, **params).fit(data.X_train, data.y_train)
        table[name] = measure(clf, data)
        table[name]["fit s"] = time.perf_counter() - start
        print(f"{name}: {table[name]}", flush=True)
    ours = pd.DataFrame(table).T
    return ours.join(PUBLISHED.add_prefix("published "))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = list(CLASSIFIERS)
    parser.add_argument("--classifiers", nargs="+", choices=names, default=names)
    parser.add_argument("--epochs", type=int, help="instead of the published number")
    parser.add_argument("--depth", type=int, default=28)
    parser.add_argument("--width", type=int, default=10)
    parser.add_argument("--device")
    parser.add_argument("--mixed-precision", choices=["bfloat16", "float16"])
    options = {k: v for k, v in vars(parser.parse_args()).items() if v is not None}
    print_header()
    table = run(options.pop("classifiers"), load_images(), **options, verbose=1)
    print(table.round(4).to_string())


if __name__ == "__main__":
    main()
