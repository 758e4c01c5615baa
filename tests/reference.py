"""Reference implementation of the network in NumPy."""

import numpy as np
from scipy.special import softmax


def forward(weights, projected, *, masks=None, input_scale=1.0):
    """Compute hidden representation, logits and random features (or None).

    Ensemble members and dropout masks are broadcast over the leading axes.
    """
    hidden = projected
    for block in range(sum(name.endswith("/kernel") for name in weights)):
        if f"hidden_{block}/kernel" not in weights:
            break
        update = hidden @ weights[f"hidden_{block}/kernel"]
        update = np.maximum(update + weights[f"hidden_{block}/bias"], 0)
        hidden = hidden + (update if masks is None else update * masks[block])
    features, inputs = None, hidden
    if "random_features/kernel" in weights:
        phase = input_scale * hidden @ weights["random_features/kernel"]
        phase += weights["random_features/bias"]
        inputs = features = np.sqrt(2 / phase.shape[-1]) * np.cos(phase)
    logits = inputs @ weights["output/kernel"] + weights["output/bias"]
    return hidden, logits, features


def gradient(weights, projected, labels, row_weights, *, input_scale=1.0, decay=1e-6):
    """Differentiate mean weighted cross-entropy + decay |beta|^2 of one network."""
    num_layers = sum(name.startswith("hidden_") for name in weights) // (
        4 if "hidden_0/u" in weights else 2
    )
    hiddens = [projected]
    for block in range(num_layers):
        kernel = weights[f"hidden_{block}/kernel"]
        update = hiddens[-1] @ kernel + weights[f"hidden_{block}/bias"]
        hiddens.append(hiddens[-1] + np.maximum(update, 0))
    _, logits, features = forward(weights, projected, input_scale=input_scale)
    delta = softmax(logits, axis=1)
    delta[np.arange(len(labels)), labels] -= 1
    delta *= row_weights[:, None] / len(labels)
    inputs = hiddens[-1] if features is None else features
    beta = weights["output/kernel"]
    result = {"output/kernel": inputs.T @ delta, "output/bias": delta.sum(axis=0)}
    delta = delta @ beta.T
    if features is not None:
        result["output/kernel"] += 2 * decay * beta
        omega = weights["random_features/kernel"]
        phase = input_scale * hiddens[-1] @ omega + weights["random_features/bias"]
        delta = -delta * np.sqrt(2 / phase.shape[1]) * np.sin(phase)
        delta = input_scale * delta @ omega.T
    for block in reversed(range(num_layers)):
        kernel = weights[f"hidden_{block}/kernel"]
        active = hiddens[block] @ kernel + weights[f"hidden_{block}/bias"] > 0
        inner = delta * active
        result[f"hidden_{block}/kernel"] = hiddens[block].T @ inner
        result[f"hidden_{block}/bias"] = inner.sum(axis=0)
        delta = delta + inner @ kernel.T
    return result


def variance_of(posterior, features):
    """Compute variances (n, G) at random features: scale phi^T P^-1 phi."""
    columns = np.asarray(features, dtype=np.float64).T
    whitened = posterior.whitening.transpose(0, 2, 1) @ columns
    return posterior.scale * np.square(whitened).sum(axis=1).T
