"""Classifiers with uncertainty estimates and out-of-distribution detection.

They are compatible with scikit-learn. Importing this package does not import
TensorFlow; the first fit or prediction does.
"""

from ._runtime.garbage_collection import collector_paused as _paused

with _paused():  # scikit-learn and SciPy create many objects that stay
    from ._deep_ensemble import DeepEnsembleClassifier
    from ._mc_dropout import MCDropoutClassifier
    from ._pipelines import (
        calibrate_ood,
        explain_ood,
        ood_pvalue,
        ood_score,
        predict_ood,
        predict_uncertainty,
    )
    from ._resnet import ResNetClassifier
    from ._sngp import SNGPClassifier
    from ._uncertainty.drift import DriftMonitor
    from ._uncertainty.explanation import OODExplanation
    from ._uncertainty.false_discovery import (
        control_false_discoveries,
        fewest_discoveries,
    )
    from ._wide_resnet import WideResNet

from ._version import __version__

__all__ = [
    "DeepEnsembleClassifier",
    "DriftMonitor",
    "MCDropoutClassifier",
    "OODExplanation",
    "ResNetClassifier",
    "SNGPClassifier",
    "WideResNet",
    "__version__",
    "calibrate_ood",
    "control_false_discoveries",
    "explain_ood",
    "fewest_discoveries",
    "ood_pvalue",
    "ood_score",
    "predict_ood",
    "predict_uncertainty",
]
