"""
Tumours that an expert should look at
=====================================

A classifier tells benign from malignant tumours and may refer a case to an expert.
A wrong call costs twenty times what a referral does. Both costs decide how many
cases to refer: too few, and errors are paid for; too many, and the expert's time.

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

parser = argparse.ArgumentParser(description="Refer doubtful cases to an expert.")
parser.add_argument("--output", metavar="FILE", help="write the picture there")
output = parser.parse_args().output

REFERRAL = 1.0  # an expert looks at the case
WRONG = 20.0  # a wrong call

# %%
# The threshold
# -------------
#
# It is chosen without a look at the test cases. Cases are sorted by confidence, and
# the threshold is where the mean cost is least along the risk-coverage curve.


def costs(correct, uncertainty):
    """Coverages, and the mean cost of a case when so many are kept."""
    coverage, risk = risk_coverage_curve(correct, uncertainty)
    return (
        np.append(0.0, coverage),
        np.append(REFERRAL, (1 - coverage) * REFERRAL + coverage * risk * WRONG),
    )


def choose_threshold(correct, uncertainty):
    """Uncertainty above which to refer, for the least mean cost of these cases."""
    coverage, cost = costs(correct, uncertainty)
    kept = round(coverage[np.argmin(cost)] * len(correct))
    ordered = np.sort(uncertainty)
    if kept == 0:
        return -np.inf
    return ordered[kept - 1] if kept < len(ordered) else np.inf


# %%
# Every training case is predicted by a classifier that was not trained on it.

X, y = load_breast_cancer(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.4, stratify=y, random_state=0)
clf = SNGPClassifier(random_state=0)
proba = cross_val_predict(clf, X, y, method="predict_proba")
threshold = choose_threshold(proba.argmax(axis=1) == y, 1 - proba.max(axis=1))

# %%
# What each policy costs
# ----------------------
#
# The last line of the table also refers the cases that the classifier flags as unlike
# its training data, whatever its confidence: a price for safety, as these test cases
# are all like it.

proba = clf.fit(X, y).predict_proba(X_test)
correct, uncertainty = proba.argmax(axis=1) == y_test, 1 - proba.max(axis=1)
unsure = uncertainty > threshold
print(f"{len(X_test)} cases; a wrong call costs {WRONG:g} referrals\n")
print("policy             referred  wrong calls  cost per case")
for name, refer in (
    ("decide every case", np.zeros(len(y_test), bool)),
    ("refer every case", np.ones(len(y_test), bool)),
    ("refer when unsure", unsure),
    ("... or unlike them", unsure | clf.predict_ood(X_test)),
):
    wrong = int((~correct & ~refer).sum())
    cost = (REFERRAL * refer.sum() + WRONG * wrong) / len(refer)
    print(f"{name:18} {refer.mean():8.1%} {wrong:12d} {cost:14.3f}")

# %%
# Risk by coverage on the test cases, and the cost of each share of referrals, with the
# share that the threshold gave marked.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
RiskCoverageDisplay.from_predictions(correct, uncertainty, ax=left)
left.axvline(1 - unsure.mean(), color="gray", linestyle=":")
coverage, cost = costs(correct, uncertainty)
right.plot(1 - coverage, cost)
right.axvline(unsure.mean(), color="gray", linestyle=":", label="chosen before")
right.set(xlabel="share of cases referred", ylabel="cost per case")
right.legend()

if output:
    figure.savefig(output, dpi=120)
else:
    plt.show()
