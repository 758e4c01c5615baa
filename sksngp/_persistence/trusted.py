"""Types and functions that are trusted in model files.

A type is trusted if its objects are harmless for arbitrary values of their attributes.
Either their methods use Python and NumPy, which check indices and shapes, or
`sksngp._persistence.consistency` validates the attributes that their compiled code
relies on. The list therefore excludes trees and forests, histogram gradient boosting,
support vector machines with kernels, neighbors, clusterers, and transformers that hash
or solve in compiled code.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Any

#: Trusted classes of each module. Names that do not exist in the installed version of
#: scikit-learn are ignored.
CLASSES = {
    "sksngp": """
        DeepEnsembleClassifier MCDropoutClassifier ResNetClassifier SNGPClassifier
        WideResNet
    """,
    "sksngp._data.holdout": "HoldOut",
    "sksngp._networks.custom_function": "NetworkFunction",
    "sksngp._uncertainty.input_distance": "InputDistance",
    "sksngp.metrics": "OODScorer",
    "sksngp._uncertainty.posterior": "Posterior",
    "sksngp._data.projection": "InputProjection",
    "sksngp._uncertainty.surprisal": "Surprisal",
    # Pipelines and meta-estimators
    "sklearn.calibration": """
        CalibratedClassifierCV _CalibratedClassifier _SigmoidCalibration
        _TemperatureScaling
    """,
    "sklearn.compose": "ColumnTransformer make_column_selector",
    "sklearn.compose._column_transformer": "_RemainderColsList",
    "sklearn.ensemble": """
        AdaBoostClassifier BaggingClassifier StackingClassifier VotingClassifier
    """,
    "sklearn.frozen": "FrozenEstimator",
    "sklearn.multiclass": "OneVsOneClassifier OneVsRestClassifier _ConstantPredictor",
    "sklearn.pipeline": "FeatureUnion Pipeline",
    "sklearn.utils": "Bunch",
    "sklearn.utils._metadata_requests": "MetadataRequest MethodMetadataRequest",
    # Transformers and selectors
    "sklearn.decomposition": """
        FactorAnalysis FastICA IncrementalPCA KernelPCA PCA TruncatedSVD
    """,
    "sklearn.feature_extraction.text": """
        CountVectorizer TfidfTransformer TfidfVectorizer
    """,
    "sklearn.feature_selection": """
        GenericUnivariateSelect RFE RFECV SelectFdr SelectFpr SelectFromModel SelectFwe
        SelectKBest SelectPercentile SequentialFeatureSelector VarianceThreshold
    """,
    "sklearn.impute": "KNNImputer MissingIndicator SimpleImputer",
    "sklearn.kernel_approximation": """
        AdditiveChi2Sampler Nystroem PolynomialCountSketch RBFSampler SkewedChi2Sampler
    """,
    "sklearn.preprocessing": """
        Binarizer FunctionTransformer KBinsDiscretizer KernelCenterer LabelBinarizer
        LabelEncoder MaxAbsScaler MinMaxScaler Normalizer OneHotEncoder OrdinalEncoder
        PolynomialFeatures PowerTransformer QuantileTransformer RobustScaler
        SplineTransformer StandardScaler TargetEncoder
    """,
    "sklearn.random_projection": "GaussianRandomProjection",
    # Other classifiers and regressors, for votes, stacks and selectors
    "sklearn.discriminant_analysis": """
        LinearDiscriminantAnalysis QuadraticDiscriminantAnalysis
    """,
    "sklearn.dummy": "DummyClassifier",
    "sklearn.isotonic": "IsotonicRegression",
    "sklearn.linear_model": """
        ElasticNet ElasticNetCV Lasso LassoCV LinearRegression LogisticRegression
        LogisticRegressionCV Ridge RidgeClassifier RidgeClassifierCV RidgeCV
    """,
    "sklearn.naive_bayes": "BernoulliNB ComplementNB GaussianNB MultinomialNB",
    "sklearn.neural_network": "MLPClassifier",
    "sklearn.neural_network._stochastic_optimizers": "AdamOptimizer SGDOptimizer",
    "sklearn.svm": "LinearSVC",
    # Searches, splitters and scorers
    "sklearn.metrics._scorer": """
        _CurveScorer _MultimetricScorer _PassthroughScorer _Scorer
    """,
    "sklearn.model_selection": """
        FixedThresholdClassifier GridSearchCV GroupKFold GroupShuffleSplit KFold
        LeaveOneGroupOut LeaveOneOut LeavePGroupsOut LeavePOut PredefinedSplit
        RandomizedSearchCV RepeatedKFold RepeatedStratifiedKFold ShuffleSplit
        StratifiedGroupKFold StratifiedKFold StratifiedShuffleSplit TimeSeriesSplit
        TunedThresholdClassifierCV
    """,
    "sklearn.model_selection._search_successive_halving": """
        HalvingGridSearchCV HalvingRandomSearchCV
    """,
    "sklearn.model_selection._split": "_CVIterableWrapper",
}

#: Names of trusted classes in files of earlier versions.
FORMER_NAMES = frozenset({"sksngp._networks.custom_function.Body"})

#: Trusted functions of each module, which parameters may refer to.
FUNCTIONS = {
    "numpy": """
        absolute arcsin arcsinh arctan cbrt ceil cos cosh deg2rad degrees exp exp2 expm1
        fabs floor isfinite isnan log log10 log1p log2 nan_to_num negative rad2deg
        radians reciprocal rint sign sin sinh sqrt square tan tanh trunc
    """,
    "scipy.special": "erf expit gammaln logit ndtr ndtri",
    "sklearn.feature_selection": """
        chi2 f_classif f_regression mutual_info_classif mutual_info_regression
        r_regression
    """,
    "sklearn.metrics": """
        accuracy_score average_precision_score balanced_accuracy_score brier_score_loss
        cohen_kappa_score d2_brier_score d2_log_loss_score explained_variance_score
        f1_score fbeta_score hamming_loss hinge_loss jaccard_score log_loss
        matthews_corrcoef max_error mean_absolute_error mean_squared_error
        median_absolute_error precision_score r2_score recall_score roc_auc_score
        root_mean_squared_error top_k_accuracy_score zero_one_loss
    """,
    "sklearn.metrics._scorer": "negative_likelihood_ratio positive_likelihood_ratio",
    "sksngp.metrics": """
        area_under_risk_coverage expected_calibration_error fpr_at_tpr
        neg_area_under_risk_coverage_scorer neg_expected_calibration_error_scorer
        ood_auroc ood_average_precision
    """,
}

#: Distributions of `scipy.stats` that randomized searches may use in frozen form.
DISTRIBUTIONS = """
    bernoulli beta binom cauchy chi2 expon gamma geom halfnorm laplace loggamma logistic
    lognorm loguniform norm pareto poisson powerlaw randint reciprocal t trapezoid
    triang truncnorm uniform weibull_min
""".split()

#: Modules of ufuncs in older files. Ufuncs do not store the name of their module.
UFUNC_MODULES = (
    "numpy",
    "numpy.core._multiarray_umath",
    "numpy._core._multiarray_umath",
    "numpy._core.umath",
    "numpy.core.umath",
)

#: Types of scalar values and of keys.
SCALARS = [
    f"builtins.{name}" for name in ("bool", "complex", "float", "int", "str")
] + [
    f"numpy.{name}"
    for name in """
        bool bool_ complex64 complex128 datetime64 float16 float32 float64 int8 int16
        int32 int64 longlong str_ timedelta64 uint8 uint16 uint32 uint64 ulonglong
    """.split()
]
#: Types that a parameter or an attribute may refer to.
NAMED_TYPES = [
    *SCALARS,
    "builtins.NoneType",
    "builtins.object",
    "numpy.floating",
    "numpy.generic",
    "numpy.inexact",
    "numpy.integer",
    "numpy.number",
    "numpy.object_",
    "sklearn.model_selection._split.KFold",
    "sklearn.model_selection._split.StratifiedKFold",
]


def _members(listed: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """Yield the public names and the objects of all listed members that exist."""
    for module, names in listed.items():
        for name in names.split():
            found = getattr(import_module(module), name, None)
            if found is not None:
                yield f"{module}.{name}", found


@cache
def trusted_classes() -> frozenset[str]:
    """Return the names of the trusted classes in files, with their defining modules."""
    return FORMER_NAMES.union(
        f"{found.__module__}.{found.__qualname__}" for _, found in _members(CLASSES)
    )


@cache
def trusted_functions() -> dict[str, Any]:
    """Return the trusted functions by public name."""
    return dict(_members(FUNCTIONS))


@cache
def function_names() -> frozenset[str]:
    """Return the names of the trusted functions in files of skops."""
    names = set(trusted_functions())
    for name, function in trusted_functions().items():
        own = name.rpartition(".")[2]
        if isinstance(module := getattr(function, "__module__", None), str):
            names.add(f"{module}.{own}")
        if name.startswith("numpy."):
            names.update(f"{module}.{own}" for module in UFUNC_MODULES)
        if name.startswith("scipy.special."):
            names.add(f"scipy.special._ufuncs.{own}")
    return frozenset(names)
