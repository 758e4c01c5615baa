"""
Search over SNGP's spectral bound
=================================

``spec_norm_bound`` limits how far a hidden layer may stretch distances. It is a
parameter like any other: ``GridSearchCV`` chooses it by cross-validated log-loss,
on in-distribution data only. The bound is a variable of the compiled network,
so all these fits compile it once.

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
# Unusual rows are the test rows with each column shuffled: every value has been
# seen, their combination has not.

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.3, stratify=y, random_state=0
)
X_odd = shuffle_columns(X_test, random_state=0)

# %%
# By default, ``fit`` trains several networks to choose the depth and to calibrate. In
# a search, ``num_layers=6`` and ``cv=None`` save that: one network, and a held-out set
# of 40 samples for the threshold of ``predict_ood``. The default false positive rate,
# 0.05, would depend on the two most unusual of them; 0.1 is steadier.

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

print("spec_norm_bound  log-loss  accuracy   (means over 3 folds)")
results = search.cv_results_
for index, bound in enumerate(bounds):
    print(
        f"{bound:15.1f} {-results['mean_test_neg_log_loss'][index]:9.3f}"
        f" {results['mean_test_accuracy'][index]:9.3f}"
        f"{'  <- chosen' if index == search.best_index_ else ''}"
    )

figure, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
ax.errorbar(
    bounds,
    -results["mean_test_neg_log_loss"],
    yerr=results["std_test_neg_log_loss"],
    marker="o",
    capsize=4,
)
ax.set(xlabel="spec_norm_bound", ylabel="log-loss: mean, deviation of folds")
plt.show()

# %%
# Pipelines and searches forward the methods that scikit-learn knows, among them
# ``score_samples`` (higher = more normal).

print("The chosen one on the test rows:")
print(f"  accuracy {accuracy_score(y_test, search.predict(X_test)):.3f}")
print(f"  log-loss {log_loss(y_test, search.predict_proba(X_test)):.3f}")
auroc = ood_auroc(-search.score_samples(X_test), -search.score_samples(X_odd))
print(f"  AUROC of score_samples against shuffled rows {auroc:.3f}")

# %%
# The functions `sksngp.predict_ood` and `sksngp.predict_uncertainty` find the
# classifier inside the search and transform the rows on the way.
# A share ``ood_alpha`` of false alarms is what is asked for on average; a threshold
# from 40 rows strays, so both shares vary between splits.

for name, rows in {"test": X_test, "shuffled": X_odd}.items():
    print(
        f"{name:8} rows: {predict_ood(search, rows).mean():6.1%} flagged, "
        f"mean uncertainty {predict_uncertainty(search, rows).mean():.3f}"
    )
