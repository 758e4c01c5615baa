"""Errors of the export methods, and atomic writing of directories."""

import os

import pytest
import tensorflow as tf
from sklearn.exceptions import NotFittedError

from sksngp import ResNetClassifier, SNGPClassifier
from sksngp.persistence import save


def test_unfitted_classifiers_are_rejected(make, tmp_path):
    with pytest.raises(NotFittedError):
        make().to_keras()
    with pytest.raises(NotFittedError):
        make().export_savedmodel(tmp_path / "model")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("covariance", ["shared", "per_class"])
def test_keras_model_requires_the_mean_field(small, moons, covariance):
    clf = small(SNGPClassifier, inference="monte_carlo", covariance=covariance)
    with pytest.raises(ValueError, match=r"inference must be .*export_savedmodel"):
        clf.fit(*moons).to_keras()


def test_existing_path_is_rejected(fitted_two, tmp_path):
    with pytest.raises(FileExistsError, match="path must be"):
        fitted_two.export_savedmodel(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match="path must be"):
        fitted_two.export_savedmodel(link)


def test_failed_write_leaves_nothing(fitted_on_moons, tmp_path, monkeypatch):
    save = tf.saved_model.save

    def fail(*args, **kwargs):
        save(*args, **kwargs)
        raise OSError("disk full")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        fitted_on_moons(ResNetClassifier).export_savedmodel(tmp_path / "model")
    assert not os.listdir(tmp_path)


@pytest.mark.slow
def test_exports_start_tensorflow_as_predictions_do(
    fitted_on_moons, tmp_path, run_python
):
    """The export prints nothing and does not change the number of threads."""
    save(fitted_on_moons(SNGPClassifier), tmp_path / "model")
    done = run_python(
        """
        import sys
        from sksngp.persistence import load

        load(sys.argv[1]).to_keras()
        import tensorflow as tf

        threads = tf.config.threading
        print(threads.get_intra_op_parallelism_threads())
        """,
        tmp_path / "model",
    )
    assert done.stdout.split() == ["1"], done.stderr
    assert done.stderr == ""
