"""Digits that were never taught, and which classifiers notice.

Two of ten digits are held out of training. Each classifier is then shown digits
of the kinds that it knows and of the two that it does not. It cannot classify
the latter rightly; it can only notice. `predict_ood` flags what it takes for
unknown, with a threshold set during `fit` on rows held out of training, so that
about 5 % (`ood_alpha`) of known digits are flagged by mistake.

The picture shows the scores of known and unknown digits for each classifier.

Run: ``python flag_unknown_digits.py [--output FILE.png]``
"""

import argparse

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
)
from sksngp.datasets import hold_out_classes
from sksngp.inspection import OODHistogramDisplay
from sksngp.metrics import ood_auroc

HELD_OUT = [4, 7]

CLASSIFIERS = {
    "deterministic": ResNetClassifier(random_state=0),
    "MC dropout": MCDropoutClassifier(random_state=0),
    "deep ensemble": DeepEnsembleClassifier(random_state=0),
    "SNGP": SNGPClassifier(random_state=0),
}


def main(output=None):
    data = hold_out_classes(*load_digits(return_X_y=True), HELD_OUT, random_state=0)
    print(
        f"{len(data.X_train)} digits to train on, {len(data.X_test)} known ones and "
        f"{len(data.X_ood)} unknown ones ({HELD_OUT[0]} and {HELD_OUT[1]}) to test\n"
    )
    print(f"{'':14} accuracy  OOD AUROC  flagged: known  unknown")
    figure, axes = plt.subplots(2, 2, figsize=(11, 7.5))
    figure.set_layout_engine("constrained")
    for ax, (name, clf) in zip(axes.flat, CLASSIFIERS.items(), strict=True):
        clf.fit(data.X_train, data.y_train)
        display = OODHistogramDisplay.from_estimator(
            clf, data.X_test, data.X_ood, ax=ax
        )
        ax.set_title(name)
        auroc = ood_auroc(display.scores_in, display.scores_out)
        print(
            f"{name:14} {clf.score(data.X_test, data.y_test):8.3f} {auroc:10.3f} "
            f"{display.flagged_in_:15.1%} {display.flagged_out_:8.1%}"
        )
    show(figure, output)


def show(figure, output):
    """Save the figure where asked to; else show it where there is a screen."""
    if output:
        figure.savefig(output, dpi=120)
        print(f"picture written to {output}")
    elif plt.get_backend().lower() != "agg":
        plt.show()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Flag digits of unknown classes.")
    parser.add_argument("--output", metavar="FILE", help="write the picture there")
    main(parser.parse_args().output)
