"""Export of fitted classifiers to models that do not require this package."""

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

    from ._networks.architecture import Architecture


class ExportMixin:
    """Mixin of the classifiers with methods that export TensorFlow models."""

    # Attributes of the classifier
    network: Any
    inference: Any  # of `SNGPClassifier` only

    if TYPE_CHECKING:

        @property
        def _fitted_architecture(self) -> Architecture: ...

    def to_keras(self) -> tf_keras.Model:
        """Return a tf_keras model whose output equals `predict_proba`.

        For SNGP, the model uses the hidden layers and the output layer of
        tf-models-official with the fitted weights and covariance. The temperature is
        included in the output weights. Some properties of the model should be noted:

        - The output layer computes the covariance between all samples of a batch and
          inverts the precision in each call. Use batches of a few hundred samples.
        - Call the model itself, because its method `predict` converts samples to
          float32.
        - With `mixed_precision`, the layers of the network "resnet" compute in float32
          in this model, and probabilities differ slightly.
        - ``tf.saved_model.save`` writes the model to a directory that does not require
          this package. Weights that were saved with ``model.save_weights`` can be
          loaded into a new model returned by this method. The native format of Keras is
          not supported, because the output layer of tf-models-official does not define
          a configuration.

        Use `export_savedmodel` for a model that also returns uncertainties and flags.

        Returns
        -------
        tf_keras.Model
            Model that maps samples, float64 of shape (n_samples, n_features), to
            probabilities, float64 of shape (n_samples, n_classes). A model of images
            takes images. The model does not share state with the classifier.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ValueError
            If ``inference="monte_carlo"``, which the output layer does not support, or
            if the classifier is an `MCDropoutClassifier` with a custom network.

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
                "inference must be 'mean_field' for to_keras, because "
                "tf-models-official has no layer for other values, got "
                f"{self.inference!r}. Use export_savedmodel instead."
            )
        architecture = self._fitted_architecture
        if hasattr(self, "masks_") and not architecture.masks_are_arrays:
            raise ValueError(
                "to_keras does not support MCDropoutClassifier with "
                f"network={self.network!r}. Use export_savedmodel instead."
            )
        backend.start()
        from ._tensorflow.export_keras import keras_model

        return keras_model(self)

    def export_savedmodel(self, path: str | os.PathLike[str]) -> None:
        """Write a TensorFlow SavedModel that returns predictions and uncertainties.

        Loading the model requires only TensorFlow. Its signature ``serving_default``
        takes ``inputs``, float64 of shape (n_samples, n_features), or of shape
        (n_samples, height, width, channels) for models of images. It returns ``label``,
        ``probabilities`` of shape (n_samples, n_classes), ``total``, ``aleatoric``,
        ``epistemic``, ``ood_score``, ``ood_pvalue`` and ``ood``, which are equal to the
        results of the methods of the classifier, apart from rounding errors. The model
        and the classifier treat scores as equal to a score of the calibration set if
        they agree to 1e-6, so that rounding errors rarely change flags and p-values.

        Inputs are not validated, and memory grows with the number of samples per call.
        Samples with NaN are flagged: their score is infinite, and their label and
        probabilities are meaningless.

        Parameters
        ----------
        path : str or path-like
            Directory to create, which must not exist. It appears atomically once it is
            complete, as required by serving systems that watch for new directories.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        FileExistsError
            If `path` exists.
        OSError
            If the directory cannot be written. No directory remains at `path`.

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
                f"path must be a new directory, got {str(path)!r}, which exists."
            )
        backend.start()
        import tensorflow as tf

        from ._tensorflow.export_savedmodel import served_module

        module = served_module(self)
        path.parent.mkdir(parents=True, exist_ok=True)
        # The temporary directory is on the same file system, so that renaming is
        # atomic.
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
        outputs have the names, types and shapes of those of `export_savedmodel`.
        The outputs equal the results of the methods apart from rounding errors, which
        are smallest for ``dtype="float64"``. The conversion uses tf2onnx
        (https://github.com/onnx/tensorflow-onnx) in a separate process, which takes
        some seconds.

        Parameters
        ----------
        path : str or path-like
            File to write. An existing file is replaced atomically.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ImportError
            If tf2onnx is not installed (extra ``onnx``).
        ValueError
            If the network has operations that ONNX does not have, such as the random
            numbers of a `MCDropoutClassifier` with a network other than "resnet", or if
            the conversion fails.
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
