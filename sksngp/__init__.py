"""scikit-learn classifiers that know what they don't know.

Importing this package does not import TensorFlow; the first fit does.
"""

from . import startup as _startup

with _startup.collector_paused():  # scikit-learn and SciPy make many objects that stay
    from ._deep_ensemble import DeepEnsembleClassifier
    from ._mc_dropout import MCDropoutClassifier
    from ._resnet import ResNetClassifier
    from ._sngp import SNGPClassifier
    from .wide_resnet import WideResNet

from ._version import __version__

__all__ = [
    "DeepEnsembleClassifier",
    "MCDropoutClassifier",
    "ResNetClassifier",
    "SNGPClassifier",
    "WideResNet",
    "__version__",
]
