"""What the classifiers' docstrings have in common, written once."""

from __future__ import annotations

SHARED_PARAMETERS = """\
network : {"resnet", "wide_resnet"} or callable, default="resnet"
    What lies below the output layer. "resnet" is the tutorial's network of dense
    residual blocks; "wide_resnet" is `WideResNet()`, of convolutions, for images. A
    callable is called with the shape of a row, (n_features,) or `image_shape`, and
    returns a ``tf_keras.Model`` from such rows to features of shape (n, d), in float32.
    It must build new layers in each call, and the same ones until the next `fit`. The
    model is trained as a whole, with the losses that its layers add; weights that the
    callable loads are where training starts. Random layers other than dropout draw
    from generators of their own, which `random_state` doesn't reach.
    Dropout layers (with rates of their own) make the samples of `MCDropoutClassifier`;
    `SNGPClassifier` wraps Dense and Conv2D layers in spectral normalisation. Both see
    the layers of functional and sequential models, not those in a `call`. Where the
    callable is a scikit-learn estimator, as `WideResNet` is, a search reaches its
    parameters as ``network__depth``.
image_shape : tuple (height, width, channels) or None, default=None
    Of the images whose pixels are the rows of `X`, for a convolutional network. None
    takes it from an `X` of shape (n_samples, height, width, channels).
num_layers : int, default=6
    Number of residual blocks of "resnet", as in the tutorial.
num_hidden : int, default=128
    Width of "resnet", as in the tutorial.
dropout_rate : float in [0, 1), default=0.1
    Share of a block's output units set to zero in training, as in the
    tutorial. Other networks drop units as their layers say;
    `MCDropoutClassifier` also drops this share of their features.
standardize : bool, default=True
    Centre and scale the columns first, or for other networks than "resnet" the
    channels of images. Distances between rows mean little while columns have
    different units.
dtype : {"float32", "float64"}, default="float32"
    Floating type of "resnet", in training and prediction; other networks are of
    float32. The posterior is
    summed and factorised in float64 either way, and results are float64.
mixed_precision : {"bfloat16", "float16"} or None, default=None
    Floating type in which hidden layers compute, with weights and posterior as they
    are: faster on graphics cards with units for it, slower on most processors.
    "float16" ends at 65,504, so far-off rows meet its end before those of "bfloat16".
    A callable is called under Keras' policy of that type, which is the whole process'
    meanwhile; its layers then round rows to 8 (bfloat16) or 11 bits (float16), but for
    those with a `dtype` of their own: give one to a layer that takes numbers of words.
device : str or None, default=None
    Where networks are trained and predict: "cpu", or "gpu:0" for the first graphics
    card. None leaves the choice to TensorFlow, which takes a card where it finds one.
    Where a card isn't there, a warning says so and the processor takes its place; a
    model that was fitted on a card predicts anywhere.
optimizer : {"adam", "rmsprop", "sgd"}, default="adam"
    The optimiser, with Keras' settings; "sgd" has Nesterov momentum 0.9.
learning_rate : float, default=1e-3
    Chosen in ``benchmarks/defaults.py``; the tutorial's 1e-4 leaves small
    data sets unfinished in 100 epochs.
learning_rate_schedule : {"constant", "cosine"} or callable, default="constant"
    How `learning_rate` changes from epoch to epoch of a `fit`: "cosine" lowers it to
    nearly 0, which short fits of convolutional networks profit from. A callable takes
    the share of the epochs that are done, in [0, 1), and returns a factor.
    `partial_fit` has no use for it.
epochs : int, default=100
    Passes over the training rows, as in the tutorial.
batch_size : int or None, default=128
    Rows an optimiser step at most, as in the tutorial; the rows are spread
    evenly over the steps. None takes all of them. Batch normalisation in other
    networks than "resnet" goes by half a batch, or by all of one below 16 rows.
early_stopping : bool, default=False
    Stop when the log-likelihood of the held-out rows has not risen for
    `n_iter_no_change` epochs, and keep the weights of the best epoch.
validation_fraction : float in [0, 1), default=0.1
    Share of each class's rows that the network is not trained on. Their
    scores set `ood_threshold_`, and with `early_stopping` they decide when to
    stop. The share rises up to a quarter where fewer than ``1 / ood_alpha - 1``
    rows would be held out. If a quarter is too few as well, or at 0,
    `predict_ood` flags no row until `calibrate_ood` is called, and a warning
    says so. Which rows these are is decided by the first fit; later ones with
    `warm_start`, and `partial_fit`, hold out the same and others like them.
n_iter_no_change : int, default=10
    Epochs without improvement before `early_stopping` stops.
class_weight : dict, "balanced" or None, default=None
    Weights of classes, multiplied into `sample_weight`.
warm_start : bool, default=False
    Whether `fit` goes on from the weights of the last one, for `epochs` more.
ood_alpha : float in (0, 1), default=0.05
    Share of rows from the training distribution that `predict_ood` flags at most,
    in expectation: split-conformal, by the rows held out. In streams of
    `partial_fit`, and where those rows have also decided when to stop, it holds
    less exactly; `calibrate_ood` on other rows makes up for that.
random_state : int, RandomState instance or None, default=None
    Seeds weights, shuffling, dropout and the choice of held-out rows. An int
    makes results repeatable bit for bit on one machine. Global random states
    are neither read nor changed, but by None, which draws on NumPy's.
verbose : int, default=0
    Above 0, show a progress bar with the loss and the validation score."""

SHARED_ATTRIBUTES = """\
classes_ : ndarray of shape (n_classes,)
    Class labels, sorted.
n_features_in_ : int
    Number of columns seen in `fit`.
feature_names_in_ : ndarray of shape (n_features,)
    Names of the columns, where all are strings.
image_shape_ : tuple or None
    Height, width and channels of the images in `X`.
n_iter_ : int
    Number of epochs trained.
loss_curve_ : list of float
    Mean cross-entropy of each epoch, with dropout, and with the losses that layers
    of other networks than "resnet" add.
validation_scores_ : list of float or None
    Log-likelihood of the held-out rows after each epoch that was trained
    with `early_stopping`.
ood_scores_ : ndarray
    Out-of-distribution scores of the rows that set the threshold: those held out,
    or those last passed to `calibrate_ood`.
ood_threshold_ : float
    Out-of-distribution score above which `predict_ood` flags a row; infinite where
    the rows were too few for `ood_alpha`.
weights_ : dict of str to ndarray
    The network's arrays by name.
projection_ : sksngp.projection.InputProjection
    Standardisation and frozen input layer.
architecture_ : dict
    What the compiled network depends on."""


def document(docstring: str | None) -> str | None:
    """Fill the placeholders for shared parameters and attributes."""
    if docstring is None:
        return None
    for name, text in (
        ("{shared parameters}", SHARED_PARAMETERS),
        ("{shared attributes}", SHARED_ATTRIBUTES),
    ):
        docstring = docstring.replace(name, text.replace("\n", "\n    "))
    return docstring
