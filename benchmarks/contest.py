"""The two sides of `benchmarks.speed`: the tutorial's recipe and this library.

Both get the same data and are set up alike: the library's classifiers take the
tutorial's learning rate, kernel scale and ridge, all rows to train on, and columns
as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from statistics import median

import numpy as np
from sklearn.base import clone

from benchmarks import flops, settings, timing
from benchmarks.report import Check, Row
from benchmarks.tutorial_process import TutorialProcess
from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
)
from sksngp._networks.architecture import Architecture
from sksngp._networks.kinds import architecture_of
from sksngp._uncertainty.entropy import normalised_entropy
from sksngp.datasets import two_moons, two_moons_ood
from sksngp.metrics import ood_auroc

#: Accuracies on 1,000 test rows that differ by less differ by seeds.
ACCURACY_NOISE = 0.02
#: What both SNGPs must reach in telling the blob from the moons.
SNGP_AUROC = 0.99
#: Rows up to which the recipe predicts; its n x n covariance is 1.6 GB there.
LARGEST_COVARIANCE = 20_000
FLOAT_TYPES = ("float32", "float64")
#: Epochs of the fits whose memory is taken: it peaks in the first.
MEMORY_EPOCHS = 2

OURS = """
import numpy as np
import sksngp
X, y = np.load({folder!r} + "/X.npy"), np.load({folder!r} + "/y.npy")
clf = sksngp.{name}(**{params!r})
"""
TUTORIAL = """
import numpy as np
from benchmarks import tutorial
X, y = np.load({folder!r} + "/X.npy"), np.load({folder!r} + "/y.npy")
"""


class Contest:
    """Data, contestants and how they are judged.

    Parameters
    ----------
    folder : str
        Where arrays are put for child processes.
    repeats : int
        Rounds of each timing.
    quick : bool, default=False
        Few rows, epochs and members: to see that everything runs.
    """

    def __init__(self, folder: str, repeats: int, quick: bool = False):
        self.folder = Path(folder)
        self.repeats = repeats
        self.quick = quick
        self.epochs = 2 if quick else settings.EPOCHS
        self.members = 3 if quick else 10
        self.X, self.y = two_moons(200 if quick else 1000, random_state=0)
        self.X_test, self.y_test = two_moons(1000, random_state=1)
        self.X_ood = two_moons_ood(500, random_state=0)
        # Start TensorFlow as this library does, before anything else can.
        self.ours(ResNetClassifier, epochs=1).fit(self.X[:64], self.y[:64])
        np.save(self.folder / "X.npy", self.X)
        np.save(self.folder / "y.npy", self.y)

    # The contestants

    @cached_property
    def tutorial(self) -> TutorialProcess:
        """The recipe, started on first use."""
        return TutorialProcess()

    def ours(self, Classifier, **params):
        """One of our classifiers, unfitted, set up like the tutorial's."""
        alike = {
            "num_layers": settings.NUM_LAYERS,
            "num_hidden": settings.NUM_HIDDEN,
            "learning_rate": settings.LEARNING_RATE,
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
        """Fit one of ours."""
        return self.ours(Classifier, random_state=seed, **params).fit(self.X, self.y)

    def fit_tutorial(self, seed: int, function: str, **params):
        """Fit one of the tutorial's."""
        fit = getattr(self.tutorial, function)
        return fit(self.X, self.y, seed=seed, epochs=self.epochs, **params)

    @cached_property
    def sngps(self) -> dict:
        """A fitted SNGP of each side."""
        return {
            "tutorial": self.fit_tutorial(0, "fit_sngp"),
            "ours": self.fit_ours(0, SNGPClassifier),
        }

    @cached_property
    def droppers(self) -> dict:
        """Networks with dropout of each side, one for each of a few seeds."""
        seeds = range(min(self.repeats, 3))
        return {
            "tutorial": [self.fit_tutorial(s, "fit_deterministic") for s in seeds],
            "ours": [self.fit_ours(s, MCDropoutClassifier) for s in seeds],
        }

    # How they are judged

    def judge(self, predict: tuple[str, Callable]) -> Callable:
        """``judge(side, model)``: accuracy and OOD AUROC of a fitted model.

        `predict` is one of `AWARE`, `SINGLE`, `ENSEMBLE` and `DROPOUT`.
        """

        def say(side, model, X):
            if side == "ours":
                return predict[1](model, X)
            answer = getattr(self.tutorial, predict[0])(model, X)
            if isinstance(answer, tuple):  # with variances
                return answer
            return answer, normalised_entropy(answer)

        def judged(side, model):
            proba, known = say(side, model, self.X_test)
            _, unknown = say(side, model, self.X_ood)
            return {
                "accuracy": float((proba.argmax(axis=1) == self.y_test).mean()),
                "AUROC": ood_auroc(known, unknown),
            }

        return judged

    def compare(self, row: Row, judged: dict[str, list[dict]], aware: bool) -> None:
        """Check that both sides give the same answers, within seed noise.

        Parameters
        ----------
        row : Row
            Gets the checks, and the answers among its details.
        judged : dict of str to list of dict
            What `judge` said of each side's models.
        aware : bool
            Whether the models are aware of distance. The AUROC of others hangs on
            the seed, so that it's told but not checked.
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

    # Measuring

    def timed(self, calls, work=None, judge=None, warm_up=True):
        """Times, answers and the ideal seconds of the work.

        The rate of plain matrix products is taken before and after; the better
        counts, as a roofline is what the machine could do.
        """
        before = self.rates() if work else {}
        seconds, judged = timing.alternate(
            calls, self.repeats, judge=judge, warm_up=warm_up
        )
        if not work:
            return seconds, judged, {}
        rates = self.rates(before)
        plain = {"float32": sum(work.values())}  # the tutorial's only float type
        ideal = {
            "tutorial": flops.ideal_seconds(plain, rates),
            "ours": flops.ideal_seconds(work, rates),
        }
        return seconds, judged, ideal

    def rates(self, before: dict[str, float] | None = None) -> dict[str, float]:
        """Rates of plain matrix products, GFLOP/s, or those before if better."""
        sizes = (512,) if self.quick else (512, 1024, 2048)
        now = {dtype: timing.matmul_rate(dtype, sizes) for dtype in FLOAT_TYPES}
        return {dtype: max(now[dtype], (before or now)[dtype]) for dtype in now}

    def architecture(self, classifier) -> Architecture:
        """Architecture of one of ours, for counting operations."""
        classifier = clone(classifier)
        classifier.classes_ = np.unique(self.y)
        return architecture_of(classifier._architecture())

    def fit_work(self, classifier) -> dict[str, float]:
        """Useful operations of a fit."""
        return flops.fit(
            self.architecture(classifier),
            *self.X.shape,
            epochs=classifier.epochs,
            batch_size=classifier.batch_size,
        )

    # Snippets for child processes

    def ours_code(self, Classifier, **params) -> str:
        """Code that makes ``clf``, ``X`` and ``y``."""
        return OURS.format(
            folder=str(self.folder),
            name=Classifier.__name__,
            params=self.ours(Classifier, **params).get_params(),
        )

    def tutorial_code(self) -> str:
        """Code that imports the recipe and makes ``X`` and ``y``."""
        return TUTORIAL.format(folder=str(self.folder))

    def fit_memory(self, Classifier, function: str) -> dict[str, float]:
        """Peak memory of a fit in a process that has fitted a few rows before."""
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
        """Peak memory of a prediction, above the input's own.

        The rows are a memory-mapped file whose pages have been read before, so
        that they count among what's there at the start. The recipe is left out
        where its covariance would not fit.
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
        """File of `n` float32 rows around the moons, made on first use."""
        path = self.folder / f"rows-{n}.npy"
        if not path.exists():
            rng = np.random.default_rng(0)
            rows = np.lib.format.open_memmap(path, "w+", np.float32, (n, 2))
            for start in range(0, n, 1_000_000):
                part = rows[start : start + 1_000_000]
                part[:] = rng.uniform(-2.5, 2.5, part.shape)
        return path

    def rows(self, n: int) -> np.ndarray:
        """The rows of `rows_file`, memory-mapped."""
        return np.load(self.rows_file(n), mmap_mode="r")


# What both sides say of rows: class probabilities, and how strange each row is.


def ours_aware(classifier, X):
    """Probabilities and epistemic uncertainty."""
    return classifier.predict_proba(X), classifier.predict_uncertainty(X, "epistemic")


def ours_entropy(classifier, X):
    """Probabilities and their entropy."""
    return classifier.predict_proba(X), classifier.predict_uncertainty(X, "total")


#: For `Contest.judge`: the recipe's function, and ours, for each kind of model.
AWARE = ("predict_sngp", ours_aware)
SINGLE = ("predict_deterministic", ours_entropy)
ENSEMBLE = ("predict_ensemble", ours_entropy)
DROPOUT = ("predict_dropout", ours_entropy)

#: Classifiers by what the fits' rows call them.
CLASSIFIERS = {
    "sngp": SNGPClassifier,
    "deterministic": ResNetClassifier,
    "ensemble": DeepEnsembleClassifier,
}
