"""
Search over the spectral bound of SNGP
======================================

``spec_norm_bound`` limits how far a hidden layer may stretch distances. In this
example, ``GridSearchCV`` selects it by the cross-validated log loss on in-distribution
data. The bound is a variable of the compiled network. All fits of the search therefore
use the same compiled network.

Run: ``python grid_search_spectral_bound.py``
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksngp import SNGPClassifier, predict_ood, predict_uncertainty
from sksngp.datasets import shuffle_columns
from sksngp.metrics import ood_auroc

# %%
# The OOD samples are test samples whose columns are shuffled. Each value occurs in the
# test set, but their combinations do not.

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.3, stratify=y, random_state=0
)
X_ood = shuffle_columns(X_test, random_state=0)

# %%
# By default, ``fit`` trains several networks to select the depth and to compute the
# threshold of ``predict_ood``. In a search, ``num_layers=6`` and ``cv=None`` save time:
# ``fit`` then trains a single network and holds out 40 samples for the threshold. The
# false positive rate is set to 0.1, because the default of 0.05 would depend on the two
# most unusual of these samples.

bounds = [0.3, 0.6, 0.9, 1.2]
search = GridSearchCV(
    make_pipeline(
        StandardScaler(),
        SNGPClassifier(num_layers=6, cv=None, ood_alpha=0.1, random_state=0),
    ),
    {"sngpclassifier__spec_norm_bound": bounds},
    scoring=["neg_log_loss", "accuracy"],
    refit="neg_log_loss",
    cv=3,
).fit(X_train, y_train)

print("spec_norm_bound  log loss  accuracy   (means over 3 folds)")
results = search.cv_results_
for index, bound in enumerate(bounds):
    print(
        f"{bound:15.1f} {-results['mean_test_neg_log_loss'][index]:9.3f}"
        f" {results['mean_test_accuracy'][index]:9.3f}"
        f"{'  <- selected' if index == search.best_index_ else ''}"
    )

figure, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
ax.errorbar(
    bounds,
    -results["mean_test_neg_log_loss"],
    yerr=results["std_test_neg_log_loss"],
    marker="o",
    capsize=4,
)
ax.set(xlabel="spec_norm_bound", ylabel="log loss (mean and deviation)")
plt.show()

# %%
# Pipelines and searches forward the methods that scikit-learn defines. One of them is
# ``score_samples``, whose values are lower for more unusual samples.

print("Selected classifier on the test samples:")
print(f"  accuracy {accuracy_score(y_test, search.predict(X_test)):.3f}")
print(f"  log loss {log_loss(y_test, search.predict_proba(X_test)):.3f}")
auroc = ood_auroc(-search.score_samples(X_test), -search.score_samples(X_ood))
print(f"  AUROC of score_samples for shuffled samples {auroc:.3f}")

# %%
# The functions `sksngp.predict_ood` and `sksngp.predict_uncertainty` find the
# classifier inside the search and transform the samples that are passed to it. The
# false positive rate is ``ood_alpha`` on average. With a threshold from 40 samples,
# both fractions vary between splits.

for name, samples in {"test": X_test, "shuffled": X_ood}.items():
    print(
        f"{name:8} samples: {predict_ood(search, samples).mean():6.1%} flagged, "
        f"mean uncertainty {predict_uncertainty(search, samples).mean():.3f}"
    )
