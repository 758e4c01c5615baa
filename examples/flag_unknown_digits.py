"""
Detecting digit classes absent from training
============================================

Two of the ten digits are absent from training. The classifiers then predict test
samples of the known classes and samples of the two unseen classes. No classifier can
label the unseen classes correctly, but it can flag them as out of distribution (OOD).

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

parser = argparse.ArgumentParser(description="Flag digits of unseen classes.")
parser.add_argument("--output", metavar="FILE", help="save the figure to this file")
output = parser.parse_args().output

# %%
# Fours and sevens are the unseen classes.

data = hold_out_classes(*load_digits(return_X_y=True), [4, 7], random_state=0)
print(
    f"{len(data.X_train)} training samples, {len(data.X_test)} test samples of known "
    f"classes and {len(data.X_ood)} of unseen classes"
)

# %%
# ``predict_ood`` flags samples whose OOD score exceeds a threshold. ``fit`` determines
# the threshold from samples that were not used for training, such that about 5%
# (``ood_alpha``) of new samples of the known classes are flagged. The figure shows the
# threshold as a line. The ensemble has five members instead of ten and is fitted once
# (``cv=None``), which takes a tenth of the time.

classifiers = {
    "deterministic": ResNetClassifier(random_state=0),
    "MC dropout": MCDropoutClassifier(random_state=0),
    "deep ensemble": DeepEnsembleClassifier(num_ensemble=5, cv=None, random_state=0),
    "SNGP": SNGPClassifier(random_state=0),
}
print(f"{'':14} accuracy  OOD AUROC  flagged: known   unseen")
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
