"""Fitted classifiers for those who serve models without this package."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sklearn.utils.validation import check_is_fitted

from ._runtime.files import write_atomically
from ._tensorflow import backend

if TYPE_CHECKING:
    import tf_keras


class ExportMixin:
    """Methods that turn a fitted classifier into TensorFlow's own kinds of models."""

    # Attributes of the classifier.
    network: Any
    inference: str  # of `SNGPClassifier` only
    architecture_: dict[str, Any]

    def to_keras(self) -> tf_keras.Model:
        """Make a tf_keras model whose output equals `predict_proba`.

        Of SNGP, hidden layers and output are tf-models-official's, with the learnt
        weights and covariance; the temperature is folded into the output weights. With
        `mixed_precision` those of "resnet" compute in float32 here, so that
        probabilities differ a little. The output layer gives a covariance between all
        rows of a batch and inverts the precision in each call: pass batches of some
        hundred rows. Call the model rather than its `predict`, which rounds rows to
        float32. ``tf.saved_model.save`` writes it to a
        directory that needs no code of ours; to load what ``model.save_weights`` wrote,
        build the model anew by this method. Keras' own format cannot hold it, as
        tf-models-official's output layer has no configuration to write. For
        uncertainties and flags, too, see `export_savedmodel`.

        Returns
        -------
        tf_keras.Model
            From rows, float64 of shape (n, n_features), to probabilities, float64
            of shape (n, n_classes). Models of images take images. It shares nothing
            with the classifier.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            For ``inference="monte_carlo"``, which the layer doesn't know, and for the
            samples of a `MCDropoutClassifier` with another network than "resnet".

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sksngp import ResNetClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = ResNetClassifier(epochs=2, num_layers=1, random_state=0).fit(X, y)
        >>> proba = clf.to_keras()(X).numpy()
        >>> bool(abs(proba - clf.predict_proba(X)).max() < 1e-5)
        True
        """
        check_is_fitted(self)
        if getattr(self, "inference", "mean_field") != "mean_field":
            raise ValueError(
                f"inference={self.inference!r} has no layer in tf-models-official; "
                "to_keras needs 'mean_field'. export_savedmodel takes both."
            )
        if self.architecture_.get("body") is not None and hasattr(self, "masks_"):
            raise ValueError(
                f"to_keras has no layers for the samples of network={self.network!r}; "
                "export_savedmodel has."
            )
        backend.start()
        from ._tensorflow.export_keras import keras_model

        return keras_model(self)

    def export_savedmodel(self, path: str | os.PathLike[str]) -> None:
        """Write a TensorFlow SavedModel that serves probabilities and uncertainty.

        It needs nothing but TensorFlow where it is loaded. Its signature
        ``serving_default`` takes ``inputs``, float64 of shape (n, n_features), or of
        (n, height, width, channels) for models of images. It returns ``label``,
        ``probabilities`` (n, n_classes), ``total``, ``aleatoric``, ``epistemic``,
        ``ood_score``, ``ood_pvalue`` and ``ood``, each of what the methods of the
        classifier say. Scores that agree to 1e-6 with one of the calibration set are
        tied with it in both, so that rounding does not change flags and p-values.
        Values are not checked, and memory grows with the rows of a call.

        Parameters
        ----------
        path : str or path-like
            A directory that does not exist; serving systems watch for new ones. It
            appears when all of it is written.

        Raises
        ------
        NotFittedError
            Before `fit`.
        FileExistsError
            If there is something at `path`.
        OSError
            If it can't be written; nothing is left at `path`.

        Examples
        --------
        >>> import tempfile
        >>> import tensorflow as tf
        >>> from sklearn.datasets import load_iris
        >>> from sksngp import ResNetClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = ResNetClassifier(epochs=2, num_layers=1, random_state=0).fit(X, y)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     clf.export_savedmodel(f"{folder}/1")
        ...     serve = tf.saved_model.load(f"{folder}/1").signatures["serving_default"]
        ...     outputs = serve(inputs=tf.constant(X))
        >>> bool((outputs["label"].numpy() == clf.predict(X)).all())
        True
        """
        check_is_fitted(self)
        path = Path(path)
        if path.exists() or path.is_symlink():
            raise FileExistsError(
                f"path={str(path)!r} exists; it must be a new directory."
            )
        backend.start()
        import tensorflow as tf

        from ._tensorflow.export_savedmodel import served_module

        module = served_module(self)
        path.parent.mkdir(parents=True, exist_ok=True)
        # In the same directory, so that renaming moves nothing between disks.
        unfinished = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        try:
            tf.saved_model.save(
                module, str(unfinished), signatures={"serving_default": module.serve}
            )
            unfinished.chmod(0o755)
            unfinished.rename(path)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise

    def export_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write an ONNX model that returns probabilities, uncertainties and OOD flags.

        The model requires only an ONNX runtime where it is loaded. Its input and
        outputs have the names, types and shapes of those of `export_savedmodel`, and
        differ from the results of the methods by rounding. The conversion uses tf2onnx
        (https://github.com/onnx/tensorflow-onnx) in a separate process, which takes
        some seconds.

        Parameters
        ----------
        path : str or path-like
            An existing file is replaced as a whole or not at all.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ImportError
            If tf2onnx is not installed: ``pip install tf2onnx``.
        ValueError
            If the network has operations that ONNX does not have, such as the random
            numbers of a `MCDropoutClassifier` with a network other than "resnet".
        OSError
            If the file cannot be written. An existing file is kept.

        See Also
        --------
        export_savedmodel : Write a TensorFlow SavedModel.

        Examples
        --------
        >>> import tempfile
        >>> import onnxruntime
        >>> from sklearn.datasets import load_iris
        >>> from sksngp import ResNetClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = ResNetClassifier(epochs=2, num_layers=1, random_state=0).fit(X, y)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     clf.export_onnx(f"{folder}/iris.onnx")
        ...     session = onnxruntime.InferenceSession(f"{folder}/iris.onnx")
        >>> (label,) = session.run(["label"], {"inputs": X})
        >>> bool((label == clf.predict(X)).all())
        True
        """
        check_is_fitted(self)
        from ._tensorflow.export_onnx import converted, require_converter

        require_converter()
        with tempfile.TemporaryDirectory() as folder:
            savedmodel = Path(folder, "model")
            self.export_savedmodel(savedmodel)
            model = converted(savedmodel)
        write_atomically(path, lambda stream: stream.write(model))
