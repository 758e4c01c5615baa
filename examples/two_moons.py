"""
Four classifiers on two moons
=============================

All four separate the two moons, or very nearly. A blob of points far from both
tells the four apart: a classifier that knows what it doesn't know is less
certain of the blob than of the moons.

Run: ``python two_moons.py [--output FILE.png]``
"""

import argparse
import time

import matplotlib.pyplot as plt

from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
)
from sksngp.datasets import two_moons, two_moons_ood
from sksngp.inspection import UncertaintyDisplay
from sksngp.metrics import ood_auroc

parser = argparse.ArgumentParser(description="Four classifiers on two moons.")
parser.add_argument("--output", metavar="FILE", help="write the picture there")
output = parser.parse_args().output

# %%
# The moons to train on, new points of the moons, and the blob, which nothing is
# trained on.

X, y = two_moons(1000, random_state=0)
X_new, y_new = two_moons(1000, random_state=1)
X_ood = two_moons_ood(500, random_state=0)

# %%
# Each classifier is fitted at its defaults. The table shows
#
# - accuracy: the share of new points of the moons that are classified rightly;
# - OOD AUROC: how well the out-of-distribution score ranks the blob above new points
#   of the moons (1 = always above, 0.5 = no better than chance, 0 = always below);
# - the flagged shares: how many of the moons' points (false alarms) and of the
#   blob's points (detections) ``predict_ood`` flags.

classifiers = {
    "deterministic": ResNetClassifier(random_state=0),
    "MC dropout": MCDropoutClassifier(random_state=0),
    "deep ensemble": DeepEnsembleClassifier(random_state=0),
    "SNGP": SNGPClassifier(random_state=0),
}
print(f"{'':14} accuracy  OOD AUROC  flagged: moons   blob  seconds to fit")
for name, clf in classifiers.items():
    start = time.perf_counter()
    clf.fit(X, y)
    seconds = time.perf_counter() - start
    auroc = ood_auroc(-clf.score_samples(X_new), -clf.score_samples(X_ood))
    print(
        f"{name:14} {clf.score(X_new, y_new):8.3f} {auroc:10.3f} "
        f"{clf.predict_ood(X_new).mean():15.1%} "
        f"{clf.predict_ood(X_ood).mean():6.1%} {seconds:15.1f}"
    )
print("(the first fit of a kind includes starting and compiling TensorFlow)")

# %%
# A row of pictures for each classifier: the probability of class 1, and the
# uncertainty of the prediction.

figure, axes = plt.subplots(4, 2, figsize=(11, 15), sharex=True, sharey=True)
figure.set_layout_engine("constrained")
for row, (name, clf) in zip(axes, classifiers.items(), strict=True):
    for ax, kind in zip(row, ("probability", "total"), strict=True):
        UncertaintyDisplay.from_estimator(
            clf, X, y=y, X_ood=X_ood, kind=kind, ax=ax, legend=ax is axes[0, 0]
        )
        ax.set_title(f"{name}: {kind if kind == 'probability' else 'uncertainty'}")

if output:
    figure.savefig(output, dpi=120)
else:
    plt.show()
