"""
Four classifiers on two moons
=============================

All four classifiers separate the two moons almost perfectly. They differ on a blob of
points far from the moons: a distance-aware classifier is less certain of the blob than
of the moons.

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
parser.add_argument("--output", metavar="FILE", help="save the figure to this file")
output = parser.parse_args().output

# %%
# The training set and the test set are two moons. The blob is out of distribution
# (OOD).

X, y = two_moons(1000, random_state=0)
X_new, y_new = two_moons(1000, random_state=1)
X_ood = two_moons_ood(500, random_state=0)

# %%
# By default, ``fit`` compares networks of several depths on five folds. Here, each
# classifier trains networks of six residual blocks once. The table reports
#
# - the accuracy on new points of the moons;
# - the OOD AUROC: the probability that the OOD score ranks a point of the blob above a
#   new point of the moons (1: always, 0.5: chance, 0: never);
# - the fractions of the moons (false positives) and of the blob (detections) that
#   ``predict_ood`` flags.

params = {"num_layers": 6, "cv": None, "random_state": 0}
classifiers = {
    "deterministic": ResNetClassifier(**params),
    "MC dropout": MCDropoutClassifier(**params),
    "deep ensemble": DeepEnsembleClassifier(num_ensemble=5, **params),
    "SNGP": SNGPClassifier(**params),
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
print(
    "(the first fits include the import of TensorFlow and the compilation of networks)"
)

# %%
# Each row shows the probability of class 1 and the uncertainty of a classifier.

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
