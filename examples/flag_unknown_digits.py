"""
Digits that were never taught
=============================

Two of ten digits are held out of training. Each classifier is then shown digits
of the kinds that it knows and of the two that it does not. It cannot classify
the latter rightly; it can only notice.

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

parser = argparse.ArgumentParser(description="Flag digits of unknown classes.")
parser.add_argument("--output", metavar="FILE", help="write the picture there")
output = parser.parse_args().output

# %%
# Fours and sevens are unknown: no classifier is trained on one.

data = hold_out_classes(*load_digits(return_X_y=True), [4, 7], random_state=0)
print(
    f"{len(data.X_train)} digits to train on, {len(data.X_test)} known ones and "
    f"{len(data.X_ood)} unknown ones to test"
)

# %%
# ``predict_ood`` flags what a classifier takes for unknown. Its threshold is set by
# ``fit`` on rows held out of training, so that about 5 % (``ood_alpha``) of known
# digits are flagged by mistake; the picture shows it as a line.

classifiers = {
    "deterministic": ResNetClassifier(random_state=0),
    "MC dropout": MCDropoutClassifier(random_state=0),
    "deep ensemble": DeepEnsembleClassifier(random_state=0),
    "SNGP": SNGPClassifier(random_state=0),
}
print(f"{'':14} accuracy  OOD AUROC  flagged: known  unknown")
figure, axes = plt.subplots(2, 2, figsize=(11, 7.5))
figure.set_layout_engine("constrained")
for ax, (name, clf) in zip(axes.flat, classifiers.items(), strict=True):
    clf.fit(data.X_train, data.y_train)
    display = OODHistogramDisplay.from_estimator(clf, data.X_test, data.X_ood, ax=ax)
    ax.set_title(name)
    auroc = ood_auroc(display.scores_in, display.scores_out)
    print(
        f"{name:14} {clf.score(data.X_test, data.y_test):8.3f} {auroc:10.3f} "
        f"{display.flagged_in_:15.1%} {display.flagged_out_:8.1%}"
    )

if output:
    figure.savefig(output, dpi=120)
else:
    plt.show()
