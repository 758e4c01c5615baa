"""What the classifiers' docstrings have in common, written once."""

from __future__ import annotations

import inspect

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
    `SNGPClassifier` normalizes the spectral norms of layers whose kernel is a matrix or
    a convolution, including the projections of MultiHeadAttention layers and the layer
    in a TimeDistributed layer. A warning names the other layers. Both see the layers of
    functional and sequential models, not those in a `call`. Where the callable is a
    scikit-learn estimator, as `WideResNet` is, a search reaches its parameters as
    ``network__depth``.
image_shape : tuple (height, width, channels) or None, default=None
    Of the images whose pixels are the rows of `X`, for a convolutional network. None
    takes it from an `X` of shape (n_samples, height, width, channels).
num_layers : int or "auto", default="auto"
    Number of residual blocks of "resnet". If "auto", networks of 2 and 6 blocks (for
    `SNGPClassifier` also of 0) are compared by their log loss on samples that they
    were not trained on. If no samples are held out, and in `partial_fit`, "auto" means
    6, as in the tutorial.
num_hidden : int or "auto", default="auto"
    Width of "resnet". "auto" means 128, as in the tutorial; for more than 128
    features it is the number of features, rounded up to a multiple of 64, but at
    most 512. If there are more features than that, the network sees the directions
    of largest variance, and samples that differ in other directions are not noticed.
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
learning_rate : float, default=3e-3
    Learning rate of the first epoch. The tutorial uses 1e-4.
learning_rate_schedule : {"constant", "cosine"} or callable, default="cosine"
    Schedule of the learning rate over the epochs of a `fit`. "cosine" decreases it to
    nearly 0. A callable receives the fraction of the epochs that are done, in [0, 1),
    and returns a factor. Ignored by `partial_fit`.
epochs : int or "auto", default="auto"
    Number of passes over the training samples. "auto" means 50, or as many as take
    8,000 optimizer steps if that is fewer. The tutorial uses 100.
batch_size : int or None, default=128
    Rows an optimiser step at most, as in the tutorial; the rows are spread
    evenly over the steps. None takes all of them. Batch normalisation in other
    networks than "resnet" goes by half a batch, or by all of one below 16 rows.
early_stopping : bool, default=False
    Stop when the log-likelihood of the held-out rows has not risen for
    `n_iter_no_change` epochs, and keep the weights of the best epoch.
cv : int, cross-validation generator, iterable, "auto" or None, default="auto"
    Folds for cross-fitting, as a number, a splitter of scikit-learn or an iterable of
    (train, test) indices: each test set in turn is left out of training, and its
    samples decide on what "auto" stands for in other parameters, the temperature
    and `ood_threshold_`; the samples outside of the test set are trained on. The final
    network is then fitted on all samples. Equal samples share a fold of a number of
    folds. Later training with `warm_start` or `partial_fit` holds out new samples only,
    and keeps the calibration until there are some. If None, a held-out set of
    `validation_fraction` decides instead. "auto" means 5 folds for at most 2,000
    samples and None otherwise; with `early_stopping`, `warm_start`, custom networks or
    ``validation_fraction=0`` it means None. Data with fewer than 20 unique samples are
    not divided into folds. Ignored by `partial_fit`.
validation_fraction : float in [0, 1), default=0.1
    Fraction of the samples of each class to hold out from training if there are no
    folds. Their scores set `ood_threshold_`, and with `early_stopping` they decide when
    to stop. The fraction is raised up to a quarter if fewer than ``1 / ood_alpha - 1``
    samples would be held out. If a quarter is too few as well, or if it is 0,
    `predict_ood` does not flag any sample until `calibrate_ood` is called, and a
    `sksngp.exceptions.FewSamplesWarning` is raised. The first fit chooses these
    samples; later fits with `warm_start`, and `partial_fit`, hold out the same samples
    and others like them.
n_iter_no_change : int, default=10
    Epochs without improvement before `early_stopping` stops.
temperature : "auto" or float, default="auto"
    Temperature that divides the logits before the softmax. "auto" fits it to the
    held-out samples. It is 1 if no samples are held out and in `partial_fit`, which
    keeps the temperature of an earlier `fit`.
class_weight : dict, "balanced" or None, default=None
    Weights of classes, multiplied into `sample_weight`. Only their ratios matter.
    "balanced" uses the inverse class frequencies. If None, all classes have weight 1.
warm_start : bool, default=False
    Whether `fit` goes on from the weights of the last one, for `epochs` more.
ood_alpha : float in (0, 1), default=0.05
    Largest fraction of samples from the training distribution that `predict_ood` flags,
    in expectation, by the scores of samples that were not trained on. In streams of
    `partial_fit`, and where those rows have also decided when to stop, it holds
    less exactly; `calibrate_ood` on other rows makes up for that.
ood_confidence : float in (0, 1) or None, default=None
    Probability with which `ood_alpha` bounds the fraction that this fit flags, over the
    choice of the samples that set the threshold. None bounds the expected fraction
    only: some fits flag more, others less. A confidence raises the threshold, and
    requires more samples: 59 instead of 19 for 0.95 at the default `ood_alpha`
    (Vovk 2012, arXiv 1209.2673). It is exact after `calibrate_ood`, and approximate
    after cross-fitting, whose samples are scored by several networks. Like
    `ood_alpha`, it takes effect in `fit`, `partial_fit` and `calibrate_ood`.
random_state : int, RandomState instance or None, default=None
    Seeds weights, shuffling, dropout and the choice of held-out rows. An int
    makes results repeatable bit for bit on one machine. Global random states
    are neither read nor changed, but by None, which draws on NumPy's.
verbose : int, default=0
    Above 0, report the progress with the loss and the validation score on standard
    error: as a bar in a terminal or a notebook, otherwise as a line every 10 seconds
    and at the end. The networks of a cross-fitted `fit` share the bar or the lines."""

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
    Number of epochs trained. 0 if the network has no residual blocks and its output
    layer was computed rather than trained.
loss_curve_ : list of float
    Mean cross-entropy of each epoch, with dropout, and with the losses that layers
    of other networks than "resnet" add.
num_layers_ : int
    Number of residual blocks in use.
temperature_ : float
    Temperature in use.
candidates_ : list of dict or None
    Settings that were compared (``num_layers``, ``kernel_factor``), the ``log_loss`` of
    each on held-out samples, at its best temperature, and ``n_splits``, the number of
    splits that the log loss is from: with more than three, most candidates are dropped
    after the first two.
validation_scores_ : list of float or None
    Log-likelihood of the held-out rows after each epoch that was trained
    with `early_stopping`.
ood_scores_ : ndarray
    Out-of-distribution scores of the samples that set the threshold: the held-out
    samples, each scored by a network that was trained without it, or those last
    passed to `calibrate_ood`.
ood_threshold_ : float
    Out-of-distribution score above which `predict_ood` flags a row; infinite where
    the rows were too few for `ood_alpha` and `ood_confidence`.
weights_ : dict of str to ndarray
    The network's arrays by name.
projection_ : InputProjection
    Standardisation and frozen input layer.
architecture_ : dict
    What the compiled network depends on."""


def document(docstring: str | None) -> str | None:
    """Fill the placeholders for shared parameters and attributes."""
    if docstring is None:
        return None
    docstring = inspect.cleandoc(docstring)  # as Python 3.13 does by itself
    for name, text in (
        ("{shared parameters}", SHARED_PARAMETERS),
        ("{shared attributes}", SHARED_ATTRIBUTES),
    ):
        docstring = docstring.replace(name, text)
    return docstring
