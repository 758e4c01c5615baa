"""The two sides of `benchmarks.speed`: the recipe of the tutorial and this library.

Both sides use the same data and parameters. The classifiers of this library have the
learning rate, the kernel scale and the ridge penalty of the tutorial, train on all
samples and do not standardize features.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from statistics import median

import numpy as np
from sklearn.base import clone

from benchmarks._tools import operation_counts, timing, tutorial_settings
from benchmarks._tools.speed_report import Check, Row
from benchmarks._tools.tutorial_process import TutorialProcess
from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
)
from sksngp._networks.architecture import Architecture
from sksngp._networks.kinds import architecture_of
from sksngp._uncertainty.entropy import normalized_entropy
from sksngp.datasets import two_moons, two_moons_ood
from sksngp.metrics import ood_auroc

#: Differences of accuracies on 1,000 test samples that are due to the seeds.
ACCURACY_NOISE = 0.02
#: Minimum AUROC with which both SNGP models separate the OOD samples from the moons.
SNGP_AUROC = 0.99
#: Maximum number of samples of a prediction of the recipe, with a covariance of 1.6 GB.
LARGEST_COVARIANCE = 20_000
FLOAT_TYPES = ("float32", "float64")
#: Epochs of fits whose memory is measured. The peak occurs in the first epoch.
MEMORY_EPOCHS = 2

OURS = """
import numpy as np
import sksngp
X, y = np.load({folder!r} + "/X.npy"), np.load({folder!r} + "/y.npy")
clf = sksngp.{name}(**{params!r})
"""
TUTORIAL = """
import numpy as np
from benchmarks._tools import tutorial_recipe as tutorial
X, y = np.load({folder!r} + "/X.npy"), np.load({folder!r} + "/y.npy")
"""


class SpeedComparison:
    """Data, models of both sides, and their measurement.

    Parameters
    ----------
    folder : str
        Folder of the arrays that child processes read.
    repeats : int
        Number of measurements of each time.
    quick : bool, default=False
        Whether to use few samples, epochs and ensemble members, for a smoke test.
    """

    def __init__(self, folder: str, repeats: int, quick: bool = False):
        self.folder = Path(folder)
        self.repeats = repeats
        self.quick = quick
        self.epochs = 2 if quick else tutorial_settings.EPOCHS
        self.members = 3 if quick else 10
        self.X, self.y = two_moons(200 if quick else 1000, random_state=0)
        self.X_test, self.y_test = two_moons(1000, random_state=1)
        self.X_ood = two_moons_ood(500, random_state=0)
        # Start TensorFlow with the thread settings of this library.
        self.ours(ResNetClassifier, epochs=1).fit(self.X[:64], self.y[:64])
        np.save(self.folder / "X.npy", self.X)
        np.save(self.folder / "y.npy", self.y)

    # Models

    @cached_property
    def tutorial(self) -> TutorialProcess:
        """Process of the recipe, which is started on first use."""
        return TutorialProcess()

    def ours(self, Classifier, **params):
        """Create a classifier of this library with the parameters of the tutorial."""
        alike = {
            "num_layers": tutorial_settings.NUM_LAYERS,
            "num_hidden": tutorial_settings.NUM_HIDDEN,
            "learning_rate": tutorial_settings.LEARNING_RATE,
            "learning_rate_schedule": "constant",
            "epochs": self.epochs,
            "standardize": False,
            "validation_fraction": 0,
            "random_state": 0,
        }
        if Classifier is SNGPClassifier:
            alike |= {"kernel_scale": 1.0, "ridge_penalty": 1.0}
        if Classifier is DeepEnsembleClassifier:
            alike["num_ensemble"] = self.members
        return Classifier(**{**alike, **params})

    def fit_ours(self, seed: int, Classifier, **params):
        """Fit a classifier of this library."""
        return self.ours(Classifier, random_state=seed, **params).fit(self.X, self.y)

    def fit_tutorial(self, seed: int, function: str, **params):
        """Fit a model of the tutorial."""
        fit = getattr(self.tutorial, function)
        return fit(self.X, self.y, seed=seed, epochs=self.epochs, **params)

    @cached_property
    def sngps(self) -> dict:
        """Fitted SNGP model of each side."""
        return {
            "tutorial": self.fit_tutorial(0, "fit_sngp"),
            "ours": self.fit_ours(0, SNGPClassifier),
        }

    @cached_property
    def droppers(self) -> dict:
        """Fitted networks with dropout of each side, for at most three seeds."""
        seeds = range(min(self.repeats, 3))
        return {
            "tutorial": [self.fit_tutorial(s, "fit_deterministic") for s in seeds],
            "ours": [self.fit_ours(s, MCDropoutClassifier) for s in seeds],
        }

    # Comparison of the answers

    def judge(self, predict: tuple[str, Callable]) -> Callable:
        """Return a function that computes the accuracy and OOD AUROC of a model.

        Parameters
        ----------
        predict : tuple of (str, callable)
            One of `AWARE`, `SINGLE`, `ENSEMBLE` and `DROPOUT`.

        Returns
        -------
        callable
            ``judge(side, model)`` returns a dict.
        """

        def answer(side, model, X):
            if side == "ours":
                return predict[1](model, X)
            found = getattr(self.tutorial, predict[0])(model, X)
            if isinstance(found, tuple):  # with variances
                return found
            return found, normalized_entropy(found)

        def judged(side, model):
            proba, known = answer(side, model, self.X_test)
            _, unknown = answer(side, model, self.X_ood)
            return {
                "accuracy": float((proba.argmax(axis=1) == self.y_test).mean()),
                "AUROC": ood_auroc(known, unknown),
            }

        return judged

    def compare(self, row: Row, judged: dict[str, list[dict]], aware: bool) -> None:
        """Check that the answers of both sides agree, apart from the effect of seeds.

        Parameters
        ----------
        row : Row
            Receives the checks, and the answers in its details.
        judged : dict of str to list of dict
            Values that `judge` returned for the models of each side.
        aware : bool
            Whether the models are distance-aware. The AUROC of other models depends on
            the seed. It is reported but not checked.
        """
        row.details["answers"] = judged
        means = {
            side: float(np.mean([answer["accuracy"] for answer in answers]))
            for side, answers in judged.items()
        }
        gap = abs(means["tutorial"] - means["ours"])
        row.checks.append(
            Check("difference of accuracies", gap, at_most=ACCURACY_NOISE)
        )
        for side, answers in judged.items():
            aurocs = [answer["AUROC"] for answer in answers]
            if aware:
                what = f"median OOD AUROC, {side}"
                row.checks.append(Check(what, median(aurocs), at_least=SNGP_AUROC))
            row.notes.append(
                f"{side}: accuracy {means[side]:.4f}, OOD AUROC "
                f"{min(aurocs):.3f} to {max(aurocs):.3f} over {len(aurocs)} seeds"
            )

    # Measurements

    def timed(self, calls, work=None, judge=None, warm_up=True):
        """Measure the times of both sides, and compute the time at the roofline.

        The rate of matrix products is measured before and after. The higher rate is
        the roofline.
        """
        before = self.rates() if work else {}
        seconds, judged = timing.alternate(
            calls, self.repeats, judge=judge, warm_up=warm_up
        )
        if not work:
            return seconds, judged, {}
        rates = self.rates(before)
        plain = {"float32": sum(work.values())}  # the only float type of the tutorial
        ideal = {
            "tutorial": operation_counts.ideal_seconds(plain, rates),
            "ours": operation_counts.ideal_seconds(work, rates),
        }
        return seconds, judged, ideal

    def rates(self, before: dict[str, float] | None = None) -> dict[str, float]:
        """Measure rates of matrix products in GFLOP/s; keep higher ones of `before`."""
        sizes = (512,) if self.quick else (512, 1024, 2048)
        now = {dtype: timing.matmul_rate(dtype, sizes) for dtype in FLOAT_TYPES}
        return {dtype: max(now[dtype], (before or now)[dtype]) for dtype in now}

    def architecture(self, classifier) -> Architecture:
        """Return the architecture of a classifier, to count operations."""
        classifier = clone(classifier)
        classifier.classes_ = np.unique(self.y)
        return architecture_of(classifier._architecture())

    def fit_work(self, classifier) -> dict[str, float]:
        """Count the required operations of a fit."""
        return operation_counts.fit(
            self.architecture(classifier),
            *self.X.shape,
            epochs=classifier.epochs,
            batch_size=classifier.batch_size,
        )

    # Code for child processes

    def ours_code(self, Classifier, **params) -> str:
        """Return code that defines ``clf``, ``X`` and ``y``."""
        return OURS.format(
            folder=str(self.folder),
            name=Classifier.__name__,
            params=self.ours(Classifier, **params).get_params(),
        )

    def tutorial_code(self) -> str:
        """Return code that imports the recipe and defines ``X`` and ``y``."""
        return TUTORIAL.format(folder=str(self.folder))

    def fit_memory(self, Classifier, function: str) -> dict[str, float]:
        """Measure the peak memory of a fit, after a first fit of a few samples."""
        few = "X[:64], y[:64]"
        ours = self.ours_code(Classifier, epochs=MEMORY_EPOCHS)
        theirs = self.tutorial_code()
        recipe = f"tutorial.{function}({{}}, epochs={MEMORY_EPOCHS})"
        return {
            "tutorial": timing.peak_memory(
                theirs + recipe.format(few), recipe.format("X, y")
            ),
            "ours": timing.peak_memory(f"{ours}clf.fit({few})", "clf.fit(X, y)"),
        }

    def predict_memory(
        self, Classifier, fit: str, predict: str, n: int
    ) -> dict[str, float]:
        """Measure the peak memory of a prediction, without its input.

        The samples are a memory-mapped file whose pages are read before the
        measurement. The recipe is omitted if its covariance would be too large.
        """
        rows = (
            f'rows = np.load({str(self.rows_file(n))!r}, mmap_mode="r"); rows.max()\n'
        )
        warm = "X[:64], y[:64]"
        ours = self.ours_code(Classifier, epochs=1)
        memory = {
            "ours": timing.peak_memory(
                f"{ours}{rows}clf.fit({warm}).predict_proba(rows[:10])",
                "clf.predict_proba(rows)",
            )
        }
        if n <= LARGEST_COVARIANCE or "sngp" not in predict:
            theirs = self.tutorial_code()
            memory["tutorial"] = timing.peak_memory(
                f"{theirs}{rows}model = tutorial.{fit}({warm}, epochs=1)\n"
                f"tutorial.{predict}(model, rows[:10])",
                f"tutorial.{predict}(model, rows)",
            )
        return memory

    def rows_file(self, n: int) -> Path:
        """Return the file of `n` float32 samples, which is created on first use."""
        path = self.folder / f"rows-{n}.npy"
        if not path.exists():
            rng = np.random.default_rng(0)
            rows = np.lib.format.open_memmap(path, "w+", np.float32, (n, 2))
            for start in range(0, n, 1_000_000):
                part = rows[start : start + 1_000_000]
                part[:] = rng.uniform(-2.5, 2.5, part.shape)
        return path

    def rows(self, n: int) -> np.ndarray:
        """Return the samples of `rows_file` as a memory map."""
        return np.load(self.rows_file(n), mmap_mode="r")


# Answers of a model: class probabilities and OOD scores


def ours_aware(classifier, X):
    """Return the probabilities and the epistemic uncertainty."""
    return classifier.predict_proba(X), classifier.predict_uncertainty(X, "epistemic")


def ours_entropy(classifier, X):
    """Return the probabilities and their entropy."""
    return classifier.predict_proba(X), classifier.predict_uncertainty(X, "total")


#: Arguments of `SpeedComparison.judge`: functions of the recipe and of this library.
AWARE = ("predict_sngp", ours_aware)
SINGLE = ("predict_deterministic", ours_entropy)
ENSEMBLE = ("predict_ensemble", ours_entropy)
DROPOUT = ("predict_dropout", ours_entropy)

#: Classifiers by name.
CLASSIFIERS = {
    "sngp": SNGPClassifier,
    "deterministic": ResNetClassifier,
    "ensemble": DeepEnsembleClassifier,
}
