"""
Deferring uncertain predictions to an expert
============================================

A classifier distinguishes benign from malignant tumors and can refer a case to an
expert. A wrong decision costs twenty times as much as a referral. The two costs
determine how many cases should be referred: with too few referrals, errors dominate
the cost, and with too many, the time of the expert does.

Run: ``python defer_to_expert.py [--output FILE.png]``
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import cross_val_predict, train_test_split

from sksngp import SNGPClassifier
from sksngp.inspection import RiskCoverageDisplay
from sksngp.metrics import risk_coverage_curve

parser = argparse.ArgumentParser(description="Refer uncertain cases to an expert.")
parser.add_argument("--output", metavar="FILE", help="save the figure to this file")
output = parser.parse_args().output

REFERRAL = 1.0  # cost of a referral
WRONG = 20.0  # cost of a wrong decision

# %%
# Choosing a threshold
# --------------------
#
# The threshold is chosen without the test cases. Cases are sorted by confidence. The
# threshold minimizes the mean cost along the risk-coverage curve.


def costs(correct, uncertainty):
    """Return the coverages, and the mean cost per case at each of them."""
    coverage, risk = risk_coverage_curve(correct, uncertainty)
    return (
        np.append(0.0, coverage),
        np.append(REFERRAL, (1 - coverage) * REFERRAL + coverage * risk * WRONG),
    )


def choose_threshold(correct, uncertainty):
    """Return the uncertainty above which referrals minimize the mean cost."""
    coverage, cost = costs(correct, uncertainty)
    kept = round(coverage[np.argmin(cost)] * len(correct))
    ordered = np.sort(uncertainty)
    if kept == 0:
        return -np.inf
    return ordered[kept - 1] if kept < len(ordered) else np.inf


# %%
# Each training case is predicted by a classifier that was trained without it. By
# default, each of these fits compares networks on folds. With ``num_layers=2`` and
# ``cv=None``, a single network is trained instead.

X, y = load_breast_cancer(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.4, stratify=y, random_state=0)
clf = SNGPClassifier(num_layers=2, cv=None, random_state=0)
proba = cross_val_predict(clf, X, y, method="predict_proba")
threshold = choose_threshold(proba.argmax(axis=1) == y, 1 - proba.max(axis=1))

# %%
# Cost of each policy
# -------------------
#
# The last policy also refers the cases that are flagged as out of distribution (OOD),
# regardless of the confidence. It costs more here, because all test cases are in
# distribution, but it protects against cases of another kind.

proba = clf.fit(X, y).predict_proba(X_test)
correct, uncertainty = proba.argmax(axis=1) == y_test, 1 - proba.max(axis=1)
uncertain = uncertainty > threshold
print(f"{len(X_test)} cases; a wrong decision costs {WRONG:g} referrals\n")
print("policy                referred  wrong decisions  cost per case")
for name, refer in (
    ("decide every case", np.zeros(len(y_test), bool)),
    ("refer every case", np.ones(len(y_test), bool)),
    ("refer if uncertain", uncertain),
    ("refer if also OOD", uncertain | clf.predict_ood(X_test)),
):
    wrong = int((~correct & ~refer).sum())
    cost = (REFERRAL * refer.sum() + WRONG * wrong) / len(refer)
    print(f"{name:21} {refer.mean():8.1%} {wrong:16d} {cost:14.3f}")

# %%
# The figure shows the risk by coverage on the test cases, and the cost by the fraction
# of referrals. Dotted lines mark the fraction that results from the chosen threshold.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
RiskCoverageDisplay.from_predictions(correct, uncertainty, ax=left)
left.axvline(1 - uncertain.mean(), color="gray", linestyle=":")
coverage, cost = costs(correct, uncertainty)
right.plot(1 - coverage, cost)
right.axvline(uncertain.mean(), color="gray", linestyle=":", label="chosen")
right.set(xlabel="fraction of cases referred", ylabel="cost per case")
right.legend()

if output:
    figure.savefig(output, dpi=120)
else:
    plt.show()
