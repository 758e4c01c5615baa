"""Parameters of the classifiers: type, default, constraints and documentation.

Each parameter is declared once. `with_parameters` derives from the declarations what
scikit-learn expects of an estimator: a constructor with an explicit signature that
stores its arguments, ``_parameter_constraints`` and the section of the docstring.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, make_dataclass
from numbers import Integral, Real
from textwrap import indent
from types import FunctionType
from typing import (
    Any,
    ClassVar,
    Literal,
    TypeAlias,
    TypeVar,
    dataclass_transform,
    get_type_hints,
)

import numpy as np
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils._param_validation import Interval, StrOptions

Network: TypeAlias = Literal["resnet", "wide_resnet"] | Callable[[tuple[int, ...]], Any]
Schedule: TypeAlias = Literal["constant", "cosine"] | Callable[[float], float]
ClassWeight: TypeAlias = dict[Any, float] | Literal["balanced"] | None
CrossValidator: TypeAlias = (
    int | Literal["auto"] | Iterable[Any] | BaseCrossValidator | None
)
RandomState: TypeAlias = int | np.random.RandomState | None

#: The optimizers store their learning rate in float32.
LARGEST_LEARNING_RATE = float(np.finfo(np.float32).max)

T = TypeVar("T", bound=type)


@dataclass(frozen=True)
class Parameter:
    """Declaration of a parameter.

    Parameters
    ----------
    default : object
    constraints : list
        Allowed types and values, as in scikit-learn's ``_parameter_constraints``.
    kind : str
        Type, as it is written in the docstring.
    text : str
        Description.
    shown : str or None
        Default value in the docstring, if it differs from the representation.
    """

    default: Any
    constraints: list[Any]
    kind: str
    text: str
    shown: str | None = None

    def entry(self, name: str) -> str:
        """Return the entry of the docstring's section on parameters."""
        shown = self.shown
        if shown is None:
            value = self.default
            shown = f'"{value}"' if isinstance(value, str) else repr(value)
        text = indent(inspect.cleandoc(self.text), "    ")
        return f"{name} : {self.kind}, default={shown}\n{text}"


def parameter(
    *,
    default: Any,
    constraints: list[Any],
    kind: str,
    text: str,
    shown: str | None = None,
) -> Any:
    """Declare a parameter; see `Parameter`."""
    return Parameter(default, constraints, kind, text, shown)


@dataclass_transform(kw_only_default=True, field_specifiers=(parameter,))
def with_parameters(cls: T) -> T:
    """Add a constructor and constraints for declared and inherited parameters.

    The parameters that the class itself declares come first. The constructor is that of
    a dataclass, but the class is none: Dask, for example, identifies a dataclass by its
    fields, and two fitted classifiers may differ in other attributes only.

    Parameters
    ----------
    cls : type
        Class whose body assigns `parameter` to annotated names.

    Returns
    -------
    type
        The same class.
    """
    own = {
        name: value for name, value in vars(cls).items() if isinstance(value, Parameter)
    }
    for name in own:
        delattr(cls, name)
    table = {**own, **getattr(cls, "_parameters", {})}
    types = get_type_hints(cls)
    scratch = make_dataclass(
        cls.__name__,
        [(name, types[name], declared.default) for name, declared in table.items()],
        kw_only=True,
    )
    constructor: Any = vars(scratch)["__init__"]
    constructor.__qualname__ = f"{cls.__qualname__}.__init__"
    constructor.__module__ = cls.__module__
    namespace: Any = cls
    namespace.__init__ = constructor
    namespace._parameters = table
    namespace._parameter_constraints = {
        name: declared.constraints for name, declared in table.items()
    }
    return cls


def with_own_constructor(cls: T) -> T:
    """Decorate a class to have a copy of the constructor that it inherits.

    Errors about unknown arguments then have the name of this class.
    """
    inherited: Any = cls.__init__  # type: ignore[misc]
    constructor = FunctionType(
        inherited.__code__,
        inherited.__globals__,
        inherited.__name__,
        inherited.__defaults__,
        inherited.__closure__,
    )
    constructor.__kwdefaults__ = inherited.__kwdefaults__
    constructor.__annotations__ = inherited.__annotations__
    constructor.__qualname__ = f"{cls.__qualname__}.__init__"
    constructor.__module__ = cls.__module__
    cls.__init__ = constructor  # type: ignore[misc]
    return cls


@with_parameters
class SharedParameters:
    """Parameters of all classifiers."""

    #: Declarations by name, in the order of the signature.
    _parameters: ClassVar[dict[str, Parameter]]
    #: Constraints by name, as scikit-learn's validation expects them.
    _parameter_constraints: ClassVar[dict[str, list[Any]]]

    network: Network = parameter(
        default="resnet",
        constraints=[StrOptions({"resnet", "wide_resnet"}), callable],
        kind='{"resnet", "wide_resnet"} or callable',
        text="""
        Network below the output layer. "resnet" is the tutorial's network of dense
        residual blocks. "wide_resnet" is `WideResNet()`, a convolutional network for
        images. A callable receives the shape of a sample, (n_features,) or
        `image_shape`, and returns a ``tf_keras.Model`` that maps samples of this shape
        to float32 hidden representations of shape (n_samples, n_outputs). It must
        create new layers in each call, and build the same model until the next `fit`.
        All layers of the model are trained, including the losses that they add.
        Weights that the callable loads are the starting point of the training. The
        randomness of layers other than dropout is not controlled by `random_state`.
        The samples of `MCDropoutClassifier` are drawn by the dropout layers, each with
        its own rate. `SNGPClassifier` normalizes the spectral norms of layers whose
        kernel is a matrix or a convolution, including the projections of
        MultiHeadAttention layers and the layer in a TimeDistributed layer. A warning
        names the remaining layers with kernels. Both require functional or sequential
        models; layers used in a custom `call` method are not found. If the callable is
        a scikit-learn estimator such as `WideResNet`, searches can set its parameters,
        for example ``network__depth``.
        """,
    )
    image_shape: tuple[int, int, int] | None = parameter(
        default=None,
        constraints=[tuple, None],
        kind="tuple (height, width, channels) or None",
        text="""
        Shape of the images that are flattened into the samples of `X`. Used by
        convolutional networks. If None, the shape is that of `X`, if `X` has the shape
        (n_samples, height, width, channels).
        """,
    )
    num_layers: int | Literal["auto"] = parameter(
        default="auto",
        constraints=[Interval(Integral, 0, None, closed="left"), StrOptions({"auto"})],
        kind='int or "auto"',
        text="""
        Number of residual blocks of "resnet". If "auto", networks of 2 and 6 blocks
        (for `SNGPClassifier` also of 0) are compared by their log loss on samples that
        they were not trained on. If no samples are held out, for more than 65,536
        samples, and in `partial_fit`, "auto" means 6, as in the tutorial.
        """,
    )
    num_hidden: int | Literal["auto"] = parameter(
        default="auto",
        constraints=[Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        kind='int or "auto"',
        text="""
        Width of "resnet". If "auto", the width is 128, as in the tutorial. For more
        than 128 features, it is the number of features, rounded up to a multiple of
        64, but at most 512. If the number of features exceeds the width, the inputs
        are projected onto the directions of largest variance, and differences in other
        directions have no effect.
        """,
    )
    dropout_rate: float = parameter(
        default=0.1,
        constraints=[Interval(Real, 0, 1, closed="left")],
        kind="float in [0, 1)",
        text="""
        Fraction of the outputs of a residual block that are set to zero in training,
        as in the tutorial. Custom networks use the rates of their own dropout layers;
        `MCDropoutClassifier` applies this rate to their hidden representation, too.
        """,
    )
    standardize: bool = parameter(
        default=True,
        constraints=["boolean"],
        kind="bool",
        text="""
        Whether to center and scale the features, or, for images, the channels.
        Distances between samples are hardly meaningful if features have different
        units.
        """,
    )
    dtype: Literal["float32", "float64"] = parameter(
        default="float32",
        constraints=[StrOptions({"float32", "float64"})],
        kind='{"float32", "float64"}',
        text="""
        Floating-point type of "resnet" in training and prediction. Other networks
        require "float32". The posterior is computed in float64 in both cases, and
        results are float64.
        """,
    )
    mixed_precision: Literal["bfloat16", "float16"] | None = parameter(
        default=None,
        constraints=[StrOptions({"bfloat16", "float16"}), None],
        kind='{"bfloat16", "float16"} or None',
        text="""
        Floating-point type of the computations in hidden layers. The types of weights
        and posterior do not change. Faster on GPUs that support the type, slower on
        most CPUs. With "float16", activations are clipped to +-65,504, so distant
        samples saturate earlier than with "bfloat16". A callable is called under the
        Keras policy of the type, which is a setting of the whole process for the
        duration of the call. Its layers then round their inputs to 8 (bfloat16) or 11
        (float16) significant bits unless they specify their own `dtype`. Specify a
        `dtype` for layers that receive token ids.
        """,
    )
    device: str | None = parameter(
        default=None,
        constraints=[str, None],
        kind="str or None",
        text="""
        Device on which networks are trained and evaluated: "cpu", or "gpu:0" for the
        first GPU. If None, TensorFlow chooses a GPU if there is one. If the device is
        not available, a warning is issued and the CPU is used. A model that was fitted
        on a GPU can predict on any machine.
        """,
    )
    optimizer: Literal["adam", "rmsprop", "sgd"] = parameter(
        default="adam",
        constraints=[StrOptions({"adam", "rmsprop", "sgd"})],
        kind='{"adam", "rmsprop", "sgd"}',
        text="""
        Optimizer, with the default settings of Keras; "sgd" uses Nesterov momentum of
        0.9.
        """,
    )
    learning_rate: float = parameter(
        default=3e-3,
        constraints=[Interval(Real, 0, LARGEST_LEARNING_RATE, closed="right")],
        kind="float",
        text="Learning rate of the first epoch. The tutorial uses 1e-4.",
        shown="3e-3",
    )
    learning_rate_schedule: Schedule = parameter(
        default="cosine",
        constraints=[StrOptions({"constant", "cosine"}), callable],
        kind='{"constant", "cosine"} or callable',
        text="""
        Schedule of the learning rate over the epochs of a `fit`. "cosine" decreases it
        to nearly 0. A callable receives the fraction of the epochs that are completed,
        in [0, 1), and returns a factor. Ignored by `partial_fit`.
        """,
    )
    epochs: int | Literal["auto"] = parameter(
        default="auto",
        constraints=[Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        kind='int or "auto"',
        text="""
        Number of passes over the training set. "auto" means 50, or the number of
        epochs with 8,000 optimizer steps if that is smaller. The tutorial uses 100.
        """,
    )
    batch_size: int | None = parameter(
        default=128,
        constraints=[Interval(Integral, 1, None, closed="left"), None],
        kind="int or None",
        text="""
        Maximum size of the mini-batches, as in the tutorial. Samples are distributed
        evenly over the steps of an epoch. If None, each epoch is a single step on all
        samples. Batch normalization in custom networks uses the statistics of half a
        mini-batch, or of the whole mini-batch if it has fewer than 16 samples.
        """,
    )
    early_stopping: bool = parameter(
        default=False,
        constraints=["boolean"],
        kind="bool",
        text="""
        Whether to stop training if the log-likelihood of the held-out samples has not
        increased for `n_iter_no_change` epochs. The weights of the best epoch are kept.
        """,
    )
    cv: CrossValidator = parameter(
        default="auto",
        constraints=["cv_object", StrOptions({"auto"})],
        kind='int, cross-validation generator, iterable, "auto" or None',
        text="""
        Folds for cross-fitting, as a number, a splitter of scikit-learn or an iterable
        of (train, test) indices. A network is trained on each training set. The samples
        of the test sets determine the choices for parameters that are "auto", the
        temperature and `ood_threshold_`. The final network is then fitted on all
        samples. A splitter receives the validated samples as an array. Equal samples
        are in the same fold if `cv` is a number or "auto". A number must not exceed the
        number of unique samples. Later training with `warm_start`
        or `partial_fit` holds out new samples only, and keeps the calibration until
        there are some. If None, a held-out set of `validation_fraction` is used
        instead. "auto" means 5 folds for at most 2,000 samples and None otherwise. With
        `early_stopping`, `warm_start`, custom networks or ``validation_fraction=0``,
        "auto" means None. Data with fewer than 20 unique samples are not divided into
        folds. Ignored by `partial_fit`.
        """,
    )
    validation_fraction: float = parameter(
        default=0.1,
        constraints=[Interval(Real, 0, 1, closed="left")],
        kind="float in [0, 1)",
        text="""
        Fraction of the samples of each class to hold out from training if there are no
        folds. Their scores determine `ood_threshold_`, and with `early_stopping` they
        determine when to stop. The fraction is raised up to a quarter if fewer than
        ``1 / ood_alpha - 1`` samples would be held out. If a quarter is too few as
        well, or if the fraction is 0, `predict_ood` does not flag any sample until
        `calibrate_ood` is called, and a `sksngp.exceptions.FewSamplesWarning` is
        issued. The first fit chooses these samples. Later fits with `warm_start`, and
        `partial_fit`, hold out the same samples and choose new ones in the same way.
        """,
    )
    n_iter_no_change: int = parameter(
        default=10,
        constraints=[Interval(Integral, 1, None, closed="left")],
        kind="int",
        text="Number of epochs without improvement after which training stops.",
    )
    temperature: float | Literal["auto"] = parameter(
        default="auto",
        constraints=[StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        kind='"auto" or float',
        text="""
        Temperature that divides the logits before the softmax. If "auto", it is fitted
        to the held-out samples. It is 1 if no samples are held out and in
        `partial_fit`, which keeps the temperature of an earlier `fit`.
        """,
    )
    class_weight: ClassWeight = parameter(
        default=None,
        constraints=[dict, StrOptions({"balanced"}), None],
        kind='dict, "balanced" or None',
        text="""
        Weights of the classes, which are multiplied into `sample_weight`. Only their
        ratios matter. "balanced" uses the inverse class frequencies. If None, all
        classes have weight 1.
        """,
    )
    warm_start: bool = parameter(
        default=False,
        constraints=["boolean"],
        kind="bool",
        text="""
        Whether `fit` continues from the weights of the previous `fit`, for `epochs`
        more.
        """,
    )
    ood_alpha: float = parameter(
        default=0.05,
        constraints=[Interval(Real, 0, 1, closed="neither")],
        kind="float in (0, 1)",
        text="""
        Bound on the expected fraction of new in-distribution samples that
        `predict_ood` flags, based on the scores of samples that were not used for
        training. The bound is approximate after `partial_fit`, and if the held-out
        samples also determined when to stop. `calibrate_ood` with other samples
        restores it.
        """,
    )
    ood_confidence: float | None = parameter(
        default=None,
        constraints=[Interval(Real, 0, 1, closed="neither"), None],
        kind="float in (0, 1) or None",
        text="""
        Probability, over calibration sets, that a fit flags at most a fraction
        `ood_alpha` of new in-distribution samples. If None, only the expected fraction
        is bounded: some fits flag more, others less. A confidence raises the threshold
        and requires more samples: 59 instead of 19 for 0.95 at the default `ood_alpha`
        (Vovk 2012, arXiv 1209.2673). It is exact after `calibrate_ood`, and
        approximate after cross-fitting, whose samples are scored by several networks.
        Like `ood_alpha`, it takes effect in `fit`, `partial_fit` and `calibrate_ood`.
        """,
    )
    random_state: RandomState = parameter(
        default=None,
        constraints=["random_state"],
        kind="int, RandomState instance or None",
        text="""
        Controls the randomness of the initial weights, the shuffling, the dropout and
        the choice of held-out samples. Pass an int for results that are reproducible
        bit for bit on one machine. If None, a seed is drawn from the global random
        state of NumPy; otherwise global random states are neither read nor changed.
        """,
    )
    verbose: int = parameter(
        default=0,
        constraints=["verbose"],
        kind="int",
        text="""
        If positive, report the progress with the loss and the validation score on
        standard error: as a bar in a terminal or a notebook, otherwise as a line every
        10 seconds and at the end. The networks of a cross-fitted `fit` share the bar or
        the lines.
        """,
    )
