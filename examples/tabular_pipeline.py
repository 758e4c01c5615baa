"""
Deferring rows of a table with mixed columns
============================================

A service company reads the sensors of water pumps. The table has numbers, categories
and missing values. A classifier decides what a pump requires: nothing, a new bearing or
a new seal. One in ten pumps of this month is of a new model that has another pressure
and temperature and pumps oil, unlike all earlier pumps. The training data contain no
information about such pumps.

A wrong decision costs 400 euros. An engineer, whose decision is always correct, costs
40 euros.

Run: ``python tabular_pipeline.py``
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sksngp import ResNetClassifier, SNGPClassifier, predict_ood

WRONG, VISIT = 400, 40  # euros
STATES = np.array(["sound", "worn bearing", "leaking seal"])


def make_pumps(n, rng, new_model=False):
    """Draw a dataframe of n pumps and their true states.

    The state depends on the age and on the medium. The sensors depend on the state and
    on the use of the pump. Sensors of the new model have other values and respond to
    defects in another way.
    """
    age = rng.gamma(3.0, 2.5, n)
    hours = rng.uniform(4, 24, n)
    media = ["oil"] if new_model else ["fresh water", "salt water", "slurry"]
    medium = rng.choice(media, n)
    bearing = 0.4 * (age - 10) + 1.0 * (medium == "slurry") + rng.logistic(size=n)
    seal = 0.3 * (age - 11) + 1.5 * (medium == "salt water") + rng.logistic(size=n)
    state = np.where(np.maximum(bearing, seal) < 0, 0, np.where(bearing > seal, 1, 2))
    worn, leaking = state == 1, state == 2
    if new_model:
        temperature = 38 + 0.4 * hours + 4 * leaking + rng.normal(0, 2, n)
        vibration = 5.5 + 1.5 * worn + rng.normal(0, 0.6, n)
        pressure = 9.0 - 2.0 * leaking + rng.normal(0, 0.5, n)
    else:
        temperature = 50 + 0.8 * hours + 9 * worn + rng.normal(0, 3, n)
        vibration = 2.5 + 0.1 * age + 1.8 * worn + rng.normal(0, 0.5, n)
        pressure = 6.0 - 1.4 * leaking - 0.02 * hours + rng.normal(0, 0.4, n)
    pumps = pd.DataFrame(
        {
            "age_years": age,
            "hours_per_day": hours,
            "temperature_c": temperature,
            "vibration_mm_s": vibration,
            "pressure_bar": pressure,
            "medium": medium,
            "site": rng.choice(["coast", "hills", "valley"], n),
        }
    )
    for column, fraction in {"age_years": 0.03, "vibration_mm_s": 0.08}.items():
        pumps.loc[rng.random(n) < fraction, column] = np.nan
    pumps.loc[rng.random(n) < 0.05, "medium"] = None
    return pumps, STATES[state]


# %%
# Data
# ----
#
# The training set contains pumps of known models only.

rng = np.random.default_rng(0)
X_train, y_train = make_pumps(3000, rng)
known, y_known = make_pumps(1800, rng)
new, y_new = make_pumps(200, rng, new_model=True)
pumps = pd.concat([known, new], ignore_index=True)
states = np.concatenate([y_known, y_new])
is_new = np.arange(len(pumps)) >= len(known)
pumps.sample(4, random_state=0).round(1)

# %%
# Pipeline
# --------
#
# Imputation, scaling and one-hot encoding precede the classifier.


def make_model(classifier):
    """Create a pipeline for mixed columns with missing values."""
    numeric = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True), StandardScaler()
    )
    categorical = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="missing"),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    )
    columns = make_column_transformer(
        (numeric, make_column_selector(dtype_include="number")),
        (categorical, make_column_selector(dtype_exclude="number")),
    )
    return make_pipeline(columns, classifier)


# %%
# Cost of each policy
# -------------------
#
# Five policies are compared:
#
# - act on all predictions;
# - defer rows that ``predict_ood`` flags;
# - defer rows whose expected cost, 400 (1 - largest probability), exceeds the cost of
#   an engineer;
# - defer flagged and uncertain rows;
# - send the engineer to all pumps.


def report(name, pipe):
    """Print the results of each policy, and return the costs per pump."""
    proba = pipe.predict_proba(pumps)
    right = pipe.classes_[proba.argmax(axis=1)] == states
    flagged = predict_ood(pipe, pumps)
    uncertain = WRONG * (1 - proba.max(axis=1)) > VISIT
    everything = np.ones(len(pumps), dtype=bool)
    policies = {
        "act on all predictions": ~everything,
        "defer flagged rows": flagged,
        "defer uncertain rows": uncertain,
        "defer flagged or uncertain": flagged | uncertain,
        "send the engineer to all": everything,
    }
    print(
        f"\n{name}: accuracy {right[~is_new].mean():.3f} on pumps of known models, "
        f"{right[is_new].mean():.3f} on the new one"
    )
    print(f"{'':28}deferred: known     new   wrong decisions   euros per pump")
    costs = {}
    for policy, deferred in policies.items():
        wrong = ~right & ~deferred
        costs[policy] = (WRONG * wrong.sum() + VISIT * deferred.sum()) / len(pumps)
        print(
            f"{policy:28}{deferred[~is_new].mean():15.1%} "
            f"{deferred[is_new].mean():7.1%} {wrong.sum():17d} {costs[policy]:16.2f}"
        )
    return costs


# %%
# SNGP is compared with a deterministic network in the same pipeline. Each trains a
# single network of two residual blocks; the default parameters would compare several.

costs = {}
for Classifier in (ResNetClassifier, SNGPClassifier):
    model = make_model(Classifier(num_layers=2, cv=None, random_state=0))
    costs[Classifier.__name__] = report(
        Classifier.__name__, model.fit(X_train, y_train)
    )

figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
pd.DataFrame(costs).iloc[::-1].plot.barh(ax=ax)
ax.set_xlabel("euros per pump")
plt.show()
